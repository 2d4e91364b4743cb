"""How time and memory grow with the number of frames, and with the budget of tokens."""

import warnings
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from leovl_mini.config import GrowthConfig, command_of
from leovl_mini.data.files import hardware
from leovl_mini.experiments.speed import median_seconds, workload
from leovl_mini.perception.lift import Patches, lift
from leovl_mini.show.report import write_rows
from leovl_mini.tokens import representation

FRAMES = (8, 16, 32, 64, 128, 256)


BUDGETS = (50, 100, 200, 400, 800, 1600)


KINDS = ("patches", "voxels", "grid", "proxies", "objects")


def peak_bytes(call: Callable[[], object]) -> int:
    """The most bytes of tensors that a call held at one time, from the profiler's record of every
    allocation.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        result = call()  # noqa: F841  (kept until the record ends)
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def measure(
    repeats: int = 7, frames: tuple[int, ...] = FRAMES, budgets: tuple[int, ...] = BUDGETS
) -> list[dict]:
    """Rows {what, against, value, patches, tokens, milliseconds, megabytes}: lifting and every
    representation.

    One room of 256 x 336 pixels and 112 channels, seen by more and more cameras; then 32 frames
    under growing budgets.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    scene, features = workload(max(frames))
    rows: list[dict] = []

    def row(what: str, against: str, value: int, patches: Patches, call: Callable) -> None:
        tokens = len(call())
        seconds, most = median_seconds(call, repeats, device, warmup=1), peak_bytes(call)
        measured = {"milliseconds": round(1000 * seconds, 2), "megabytes": round(most / 1e6, 2)}
        rows.append(
            {
                "what": what,
                "against": against,
                "value": value,
                "patches": len(patches),
                "tokens": tokens,
                **measured,
            }
        )

    def lifted(count: int) -> Callable[[], Patches]:
        pick = (
            torch.linspace(0, max(frames) - 1, count).round().long()
        )  # spread around the room, whatever their number
        inputs = [
            t[pick].to(device)
            for t in (features, scene.depth, scene.intrinsics, scene.camera_to_world)
        ]
        masks = scene.instances[pick].to(device)
        return lambda: lift(*inputs, masks=masks)

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # budgets that enlarge cells
        for count in frames:
            lifting = lifted(count)
            patches = lifting()
            row("lifting", "frames", count, patches, lifting)
            for kind in KINDS:
                module = representation(kind, features.shape[-1]).to(device)
                row(
                    kind,
                    "frames",
                    count,
                    patches,
                    lambda module=module, patches=patches: module(patches),
                )
        patches = lifted(32)()
        for budget in budgets:
            for kind, options in (
                ("voxels", {"reduce": "farthest"}),
                ("grid", {}),
                ("proxies", {}),
            ):
                module = representation(kind, features.shape[-1], budget=budget, **options).to(
                    device
                )
                row(kind, "budget", budget, patches, lambda module=module: module(patches))
    return rows


def reproduce(config: GrowthConfig) -> list:
    """``leovl-mini reproduce growth``: measure, and write the rows with the command and the machine
    they come from.
    """
    rows = measure()
    note = {"command": command_of("reproduce growth", config), "hardware": hardware()}
    write_rows(config.write, note, "rows", rows)
    return ["  ".join(str(value) for value in row.values()) for row in rows]

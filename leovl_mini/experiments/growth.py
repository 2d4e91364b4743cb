"""How time and memory grow with the number of frames, and with the budget of tokens.

The table is drawn in notebook 03 (back-projection).
"""

import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

from leovl_mini.config import GrowthConfig, command_of
from leovl_mini.data.files import hardware, write_json
from leovl_mini.experiments.speed import median_seconds, workload
from leovl_mini.perception.lift import Patches, lift
from leovl_mini.tokens import REPRESENTATIONS, representation

FRAMES = (8, 16, 32, 64, 128, 256)
BUDGETS = (50, 100, 200, 400, 800, 1600)
WITH_BUDGET = {"voxels": {"reduce": "farthest"}, "grid": {}, "proxies": {}}


def peak_bytes(call: Callable[[], object]) -> int:
    """The most bytes of tensors that a call held at one time: on a CPU from the profiler's record
    of every allocation.
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
    seconds: float = 0.5, frames: tuple[int, ...] = FRAMES, budgets: tuple[int, ...] = BUDGETS
) -> list[dict]:
    """Rows {what, against, value, patches, tokens, milliseconds, megabytes}: lifting and every
    representation. Each call is repeated for about so many ``seconds``.

    One room of 256 x 336 pixels and 112 channels, seen by more and more cameras; then 32 frames
    under growing budgets.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    scene, features = workload(max(frames))

    def row(what: str, against: str, value: int, patches: Patches, call: Callable) -> dict:
        return {
            "what": what,
            "against": against,
            "value": value,
            "patches": len(patches),
            "tokens": len(call()),
            "milliseconds": round(1000 * median_seconds(call, seconds), 2),
            "megabytes": round(peak_bytes(call) / 1e6, 2),
        }

    def lifting(count: int) -> Callable[[], Patches]:
        """Of so many frames, spread around the room."""
        i = torch.linspace(0, max(frames) - 1, count).round().long()
        tensors = features, scene.depth, scene.intrinsics, scene.camera_to_world, scene.instances
        *inputs, masks = (t[i].to(device) for t in tensors)
        return partial(lift, *inputs, masks=masks)

    rows = []
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # budgets that enlarge cells
        for count in frames:
            patches = lifting(count)()
            rows.append(row("lifting", "frames", count, patches, lifting(count)))
            for kind in REPRESENTATIONS:
                pool = partial(representation(kind), patches)
                rows.append(row(kind, "frames", count, patches, pool))

        patches = lifting(min(32, max(frames)))()
        for budget in budgets:
            for kind, options in WITH_BUDGET.items():
                pool = partial(representation(kind, budget=budget, **options), patches)
                rows.append(row(kind, "budget", budget, patches, pool))
    return rows


def reproduce(config: GrowthConfig) -> list[str]:
    """``leovl-mini reproduce growth``: measure, and write the rows with the command and the machine
    they come from.
    """
    rows = measure()
    note = {"command": command_of("reproduce growth", config), "hardware": hardware()}
    write_json(config.write, {**note, "rows": rows})
    return ["  ".join(str(value) for value in row.values()) for row in rows]

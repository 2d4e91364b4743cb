"""Write a scene to disk: in the plain layout of this package, or in the published layout of a real
data set.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from leovl_mini.data.files import atomic_folder
from leovl_mini.data.samples import SAMPLES
from leovl_mini.rooms.formats import (
    arkitscenes,
    multiscan,
    one_camera,
    rscan,
    save_depth,
    save_png,
    scannet,
)
from leovl_mini.scans.scene import Scene


def export_samples(folder: Path, views: int = 8) -> None:
    """Record the bundled rooms and write each with its examples; ``folder`` must be new."""
    from leovl_mini.data.examples import save_examples
    from leovl_mini.rooms.cameras import domain_room, record
    from leovl_mini.rooms.export import export
    from leovl_mini.rooms.facts import visible_graph
    from leovl_mini.rooms.recording import examples_of

    with atomic_folder(folder) as partial:
        for domain, numbers in SAMPLES.items():
            for number in numbers:
                room = domain_room(domain, number)
                scene = record(room, domain, views, f"{domain}_{number}")
                export(
                    scene,
                    partial / scene.name,
                    extras={"areas": [dataclasses.asdict(a) for a in room.areas]},
                )
                save_examples(
                    examples_of(scene, visible_graph(scene, room.areas), number),
                    partial / scene.name / "examples.jsonl",
                )


REAL_LAYOUTS = {
    "scannet": scannet,
    "rscan": rscan,
    "multiscan": multiscan,
    "arkitscenes": arkitscenes,
}


LAYOUTS = ("poses_txt", *REAL_LAYOUTS)


def export(
    scene: Scene, folder: str | Path, layout: str = "poses_txt", extras: dict | None = None
) -> None:
    """Write the frames of a z-up scene; depth becomes whole millimetres. ``folder`` must be new; it
    is written whole or not at all.

    ``layout`` is one of ``LAYOUTS``. Only "poses_txt" holds instance masks, objects and frame
    names, and ``extras``: further entries of its ``scene.json`` (JSON values; an entry named as one
    of the usual ones takes its place). The other layouts hold RGB, depth, poses and cameras. Raises
    ``ValueError`` for what a layout cannot hold, ``FileExistsError`` for a used folder.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, not {layout!r}")
    if extras and layout != "poses_txt":
        raise ValueError(f"the {layout} layout has no scene.json to hold extras; use 'poses_txt'")
    with atomic_folder(Path(folder)) as partial:
        if layout == "poses_txt":
            poses_txt(scene, partial, extras or {})
        else:
            REAL_LAYOUTS[layout](scene, partial)


def poses_txt(scene: Scene, folder: Path, extras: dict) -> None:
    """poses.txt, K.txt, frames.txt, images/, depth/, instances/ and scene.json: the plain layout,
    one camera for all frames.
    """
    K = one_camera(scene)
    for name in ("images", "depth") + (("instances",) if scene.instances is not None else ()):
        (folder / name).mkdir()
    ids = np.uint8 if scene.instances is None or scene.instances.max() < 256 else np.uint16
    for i, name in enumerate(scene.frame_names):
        save_png(scene.rgb[i].numpy(), folder / "images" / f"{name}.png")
        save_depth(scene.depth[i], folder / "depth" / f"{name}.png")
        if scene.instances is not None:
            save_png(scene.instances[i].numpy().astype(ids), folder / "instances" / f"{name}.png")
    np.savetxt(folder / "K.txt", K, fmt="%.6f")
    np.savetxt(folder / "poses.txt", scene.camera_to_world.flatten(1).numpy(), fmt="%.7f")
    (folder / "frames.txt").write_text("\n".join(scene.frame_names) + "\n")
    entries = {"up": "z", "floor": 0.0, "objects": [dataclasses.asdict(o) for o in scene.objects]}
    (folder / "scene.json").write_text(json.dumps(entries | extras, indent=1) + "\n")

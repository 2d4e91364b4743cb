"""Write a scene to disk in the plain layout: poses.txt, K.txt, images/, depth/, instances/, scene.json."""

import dataclasses
import json
from pathlib import Path

import numpy as np
from PIL import Image

from leovl_mini.files import new_folder
from leovl_mini.scene import Scene


def export(scene: Scene, folder: str | Path) -> None:
    """Depth as 16-bit millimetres; one camera for all frames. The folder must be new."""
    if (scene.intrinsics != scene.intrinsics[0]).any():
        raise ValueError("this layout holds one camera matrix for all frames")
    with new_folder(Path(folder)) as partial:
        for name in ("images", "depth") + (("instances",) if scene.instances is not None else ()):
            (partial / name).mkdir()
        for i, name in enumerate(scene.frame_names):
            save_png(scene.rgb[i].numpy(), partial / "images" / f"{name}.png")
            save_png((scene.depth[i].numpy() * 1000).round().astype(np.uint16), partial / "depth" / f"{name}.png")
            if scene.instances is not None:
                save_png(scene.instances[i].numpy().astype(np.uint8), partial / "instances" / f"{name}.png")
        np.savetxt(partial / "K.txt", scene.intrinsics[0].numpy(), fmt="%.6f")
        np.savetxt(partial / "poses.txt", scene.camera_to_world.flatten(1).numpy(), fmt="%.7f")
        (partial / "frames.txt").write_text("\n".join(scene.frame_names) + "\n")
        extras = {"up": "z", "floor": 0.0, "objects": [dataclasses.asdict(o) for o in scene.objects]}
        (partial / "scene.json").write_text(json.dumps(extras, indent=1) + "\n")


def save_png(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels).save(path, optimize=True)

"""leovl-mini: from posed RGB-D frames to a few hundred 3D tokens to a language model's answer.

    from leovl_mini import LeoVL, ask, load_scene, perceive

    scene = load_scene("path/to/capture")        # posed RGB-D frames, gravity down, in metres
    scene_input = perceive(scene)                # a few hundred 3D tokens
    model = LeoVL.from_pretrained("nano")        # trained weights of the package
    print(ask(scene_input, "Is there a table?", model))

Explained in notebook 00 (overview).
"""

import importlib
import os
from typing import TYPE_CHECKING

# Open3D looks for this before it starts a web server of its own; leovl-mini never opens a window.
os.environ.setdefault("OPEN3D_DISABLE_WEB_VISUALIZER", "true")

if TYPE_CHECKING:
    from leovl_mini.model.ask import ask
    from leovl_mini.model.leovl import LeoVL
    from leovl_mini.scans.load import load_scene
    from leovl_mini.tokens.pipeline import perceive

__all__ = ["LeoVL", "ask", "load_scene", "perceive"]
__version__ = "0.13.0"

HOME = {
    "LeoVL": "leovl_mini.model.leovl",
    "ask": "leovl_mini.model.ask",
    "load_scene": "leovl_mini.scans.load",
    "perceive": "leovl_mini.tokens.pipeline",
}


def __getattr__(name: str):
    """Import a name when it is first used: ``leovl-mini --help`` need not wait for torch."""
    if name not in HOME:
        raise AttributeError(f"module 'leovl_mini' has no attribute {name!r}")
    return getattr(importlib.import_module(HOME[name]), name)

"""How is a capture read? One call for every file format: ``load_scene(path)``."""

from leovl_mini.scans.geometry import back_project, pixel_grid, project, scene_points
from leovl_mini.scans.gravity import align, rotation_between
from leovl_mini.scans.load import FORMATS, load_scene
from leovl_mini.scans.scene import (
    InputError,
    Object,
    Scene,
    check_intrinsics,
    check_pose,
    clean_depth,
)

__all__ = [
    "FORMATS",
    "InputError",
    "Object",
    "Scene",
    "align",
    "back_project",
    "check_intrinsics",
    "check_pose",
    "clean_depth",
    "load_scene",
    "pixel_grid",
    "project",
    "rotation_between",
    "scene_points",
]

"""How is a capture read? One call for every file format: ``load_scene(path)``."""

from leovl_mini.scans.load import load_scene

__all__ = ["load_scene"]

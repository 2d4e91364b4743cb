"""One call for every layout on disk: ``load_scene(path)``. One short file per layout says what it
expects.
"""

from leovl_mini.scans.load import load_scene, open_capture

__all__ = ["load_scene", "open_capture"]

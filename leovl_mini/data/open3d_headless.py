"""Open3D on a bare machine: its Linux wheel links against libusb without carrying it, so load a
packaged copy first.

Use ``from leovl_mini.data.open3d_headless import open3d``. No window is ever opened.
"""

import ctypes
import sys

if sys.platform == "linux":
    import libusb_package

    ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)

import open3d  # noqa: E402

__all__ = ["open3d"]

"""leovl-mini: from posed RGB-D frames to a few hundred 3D tokens to a language model's answer.

Start with ``load_scene`` (any capture on disk), then follow ``pipeline.run`` to see every stage in
order.
"""

import os

# Open3D looks for this before it starts a web server of its own; leovl-mini never opens a window.
os.environ.setdefault("OPEN3D_DISABLE_WEB_VISUALIZER", "true")


__version__ = "0.12.0"

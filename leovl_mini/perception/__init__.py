"""What does a frozen network see, and where? Features of frames, lifted to 3D; found segments."""

from leovl_mini.perception.encoders import load_encoder, resize
from leovl_mini.perception.lift import Patches, lift, patch_centers, patch_segments, patchify
from leovl_mini.perception.segments import segment, segment_quality

__all__ = [
    "Patches",
    "lift",
    "load_encoder",
    "patch_centers",
    "patch_segments",
    "patchify",
    "resize",
    "segment",
    "segment_quality",
]

"""What does it look like? Figures, pages, tables, the course."""

from leovl_mini.show.objects import floor_plan, scene_graph
from leovl_mini.show.plots import (
    cells_view,
    feature_colours,
    label_plane,
    overview,
    show_depth,
    show_image,
    token_colours,
    top_view,
    voxels_of,
)
from leovl_mini.show.viewer import figure

__all__ = [
    "cells_view",
    "feature_colours",
    "figure",
    "floor_plan",
    "label_plane",
    "overview",
    "scene_graph",
    "show_depth",
    "show_image",
    "token_colours",
    "top_view",
    "voxels_of",
]

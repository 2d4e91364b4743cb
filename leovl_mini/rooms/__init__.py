"""Known-answer rooms: furnished rooms made from a seed, rendered as posed RGB-D frames with instance masks."""

from leovl_mini.rooms.export import export
from leovl_mini.rooms.layout import Room, make_room
from leovl_mini.rooms.render import render

__all__ = ["Room", "export", "make_room", "render"]

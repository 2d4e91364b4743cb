"""Known-answer rooms: furnished rooms made from a seed, recorded as posed RGB-D frames with masks,
and questions on them.

Explained in notebook 01 (RGB-D frames and cameras).
"""

from leovl_mini.rooms.cameras import DOMAINS, domain_room, exact, intrinsics, place_cameras, record
from leovl_mini.rooms.dataset import RoomDataset, make_rooms
from leovl_mini.rooms.edits import asked_elsewhere, edit_pairs
from leovl_mini.rooms.export import export
from leovl_mini.rooms.facts import SceneGraph, visible_graph
from leovl_mini.rooms.furniture import COLOURS, FIXED, LARGE, SMALL
from leovl_mini.rooms.layout import make_room
from leovl_mini.rooms.render import shoot
from leovl_mini.rooms.room import Area, Room
from leovl_mini.rooms.texts.lists import LISTS, counting_questions, distance_questions
from leovl_mini.rooms.texts.phrases import PHRASES
from leovl_mini.rooms.texts.tasks import examples_of

__all__ = [
    "COLOURS",
    "DOMAINS",
    "FIXED",
    "LARGE",
    "LISTS",
    "PHRASES",
    "SMALL",
    "Area",
    "Room",
    "RoomDataset",
    "SceneGraph",
    "asked_elsewhere",
    "counting_questions",
    "distance_questions",
    "domain_room",
    "edit_pairs",
    "exact",
    "examples_of",
    "export",
    "intrinsics",
    "make_room",
    "make_rooms",
    "place_cameras",
    "record",
    "shoot",
    "visible_graph",
]

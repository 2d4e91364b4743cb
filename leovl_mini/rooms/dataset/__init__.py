"""Thousands of made rooms with all their text. A room is its number: the data set on disk holds
only text, and a scene is rendered anew whenever it is asked for.

A folder holds ``rooms.json`` (how it was made) and the balanced examples of every split
(``train.jsonl``, ``val.jsonl``, ``test.jsonl`` ...). Rooms without pictures, of which only the
objects are used, also have their objects there (``rooms.jsonl``): to read them is faster than to
furnish the rooms again.

Explained in notebook 01 (RGB-D frames and cameras).
"""

from leovl_mini.rooms.dataset.make import has_published_test_sets, make_rooms
from leovl_mini.rooms.dataset.read import RoomDataset, is_bundled
from leovl_mini.rooms.dataset.splits import split_of

__all__ = ["RoomDataset", "has_published_test_sets", "is_bundled", "make_rooms", "split_of"]

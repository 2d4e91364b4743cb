"""Known-answer rooms: furnished rooms made from a seed, recorded as posed RGB-D frames with masks,
and questions on them.

Explained in notebook 01 (RGB-D frames and cameras).
"""

from leovl_mini.rooms.cameras import DOMAINS, domain_room, record
from leovl_mini.rooms.export import export
from leovl_mini.rooms.layout import make_room
from leovl_mini.rooms.room import Area, Room

__all__ = ["DOMAINS", "Area", "Room", "domain_room", "export", "make_room", "record"]

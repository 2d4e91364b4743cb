"""What is true in a room: the scene graph (graph.py) and the table of rules (rules.py).

Explained in notebook 01 (RGB-D frames and cameras).
"""

from leovl_mini.rooms.facts.graph import SceneGraph, name_objects, visible_graph
from leovl_mini.rooms.facts.rules import MEASURES, RULES, STATEMENTS

__all__ = ["MEASURES", "RULES", "STATEMENTS", "SceneGraph", "name_objects", "visible_graph"]

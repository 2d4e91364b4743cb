"""All examples of one room: its questions, captions, plans and dialogues, not yet balanced.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import dataclasses
import re

import numpy as np

from leovl_mini.data.examples import Example
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.rooms.furniture import HELD_OUT
from leovl_mini.rooms.questions import groundings, questions
from leovl_mini.rooms.room import rotate, top
from leovl_mini.rooms.texts.captions import dialogues, object_captions, scene_caption
from leovl_mini.rooms.texts.phrases import plural
from leovl_mini.rooms.texts.plans import plans
from leovl_mini.scans.geometry import back_project
from leovl_mini.scans.scene import Scene

HELD_OUT_NAME = re.compile(
    "|".join(rf"\b{colour} ({name}|{plural(name)})\b" for name, colour in HELD_OUT.items())
)

Spots = dict[int, list[float]]


def examples_of(scene: Scene, graph: SceneGraph, seed: int, novel: bool = False) -> list[Example]:
    """All examples of a recorded room. Unless it is ``novel``, none mentions a held-out pair of
    colour and category, not even to say that there is no such thing.
    """
    rng = np.random.default_rng((seed, 5))
    found = [*questions(graph, rng), *groundings(graph, rng)]
    found += texts_about(graph, rng, measured_spots(scene, graph, rng))
    return numbered(found, scene.name, novel)


def symbolic_examples(name: str, graph: SceneGraph, seed: int) -> list[Example]:
    """All examples of a room without pictures: nothing is hidden in it, and everything may be asked
    about. Its longer texts come without their proofs, which would be most of the file.
    """
    rng = np.random.default_rng((seed, 6))
    found = list(questions(graph, rng))
    spots = {o.id: [*o.center[:2], top(o)] for o in graph.objects}
    texts = texts_about(graph, rng, spots)
    return numbered([*found, *(dataclasses.replace(e, derivation={}) for e in texts)], name)


def texts_about(graph: SceneGraph, rng: np.random.Generator, spots: Spots) -> list[Example]:
    found = [*object_captions(graph, rng, spots), scene_caption(graph, rng)]
    return [*found, *plans(graph, rng), *dialogues(graph, rng)]


def numbered(examples: list[Example], scene: str, novel: bool = False) -> list[Example]:
    kept = [e for e in examples if novel or not about_held_out(e)]
    return [dataclasses.replace(e, id=f"{scene}/{i:03d}", scene=scene) for i, e in enumerate(kept)]


def measured_spots(scene: Scene, graph: SceneGraph, rng: np.random.Generator) -> Spots:
    """For every clear object one measured point on its surface, world metres."""
    points = back_project(scene.depth, scene.intrinsics, scene.camera_to_world).numpy()
    points = points.reshape(-1, 3)
    ids = np.where(scene.depth.numpy() > 0, scene.instances.numpy(), 0).ravel()
    by_object = np.argsort(ids, kind="stable")
    ends = np.bincount(ids).cumsum()
    found = {}
    for item in graph.askable:
        drawn = points[by_object[rng.integers(ends[item.id - 1], ends[item.id], size=12)]]
        across = rotate(drawn[:, :2] - item.center[:2], -item.yaw)
        local = np.abs(np.c_[across, drawn[:, 2] - item.center[2]])
        # noise may have moved a pixel elsewhere
        on_it = drawn[(local <= np.array(item.size) / 2 + 0.04).all(1)]
        if len(on_it):
            found[item.id] = [round(float(x), 2) for x in on_it[0]]
    return found


def about_held_out(example: Example) -> bool:
    """Whether the words name a pair of colour and category that never occurs in training, or ask
    for the colour of one.
    """
    slots = example.derivation.get("slots", {})
    words = " ".join([example.question, *example.answers, *map(str, slots.values())])
    asked = example.kind == "colour" and HELD_OUT.get(slots.get("ref", "")) == example.answers[0]
    return asked or bool(HELD_OUT_NAME.search(words))

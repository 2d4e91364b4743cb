"""From the frames of a recorded room to its examples: what do they show, and what may be asked
about it?
"""

import dataclasses
import re

import numpy as np

from leovl_mini.data.examples import Example
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.rooms.layout import HELD_OUT
from leovl_mini.rooms.plans import plans
from leovl_mini.rooms.questions import groundings, plural, questions
from leovl_mini.rooms.room import rotate
from leovl_mini.rooms.texts import dialogues, object_captions, scene_caption
from leovl_mini.scans.geometry import back_project
from leovl_mini.scans.scene import Scene

HELD_OUT_NAME = re.compile(
    "|".join(rf"\b{colour} ({name}|{plural(name)})\b" for name, colour in HELD_OUT.items())
)


def spots_on(scene: Scene, world: SceneGraph, rng: np.random.Generator) -> dict[int, list[float]]:
    """For every clear object one measured point on its surface, world metres."""
    points = back_project(scene.depth, scene.intrinsics, scene.camera_to_world).numpy()
    points = points.reshape(-1, 3)
    ids = np.where(scene.depth.numpy() > 0, scene.instances.numpy(), 0).ravel()
    by_object = np.argsort(ids, kind="stable")
    ends = np.bincount(ids).cumsum()
    found = {}
    for item in world.askable:
        some = points[by_object[rng.integers(ends[item.id - 1], ends[item.id], size=12)]]
        local = np.abs(
            np.c_[rotate(some[:, :2] - item.center[:2], -item.yaw), some[:, 2] - item.center[2]]
        )
        on_it = some[
            (local <= np.array(item.size) / 2 + 0.04).all(1)
        ]  # noise may have moved a pixel elsewhere
        if len(on_it):
            found[item.id] = [round(float(x), 2) for x in on_it[0]]
    return found


def examples_of(scene: Scene, world: SceneGraph, seed: int, novel: bool = False) -> list[Example]:
    """All examples of one recorded room, not yet balanced. Unless it is ``novel``, none mentions a
    held-out pair, not even to say that there is no such thing.
    """
    rng = np.random.default_rng((seed, 5))
    found = [
        *questions(world, rng),
        *groundings(world, rng),
        *object_captions(world, rng, spots_on(scene, world, rng)),
    ]
    found += [scene_caption(world, rng), *plans(world, rng), *dialogues(world, rng)]
    kept = [e for e in found if novel or not about_held_out(e)]
    return [
        dataclasses.replace(e, id=f"{scene.name}/{i:03d}", scene=scene.name)
        for i, e in enumerate(kept)
    ]


def about_held_out(example: Example) -> bool:
    """Whether the words name a pair of colour and category that never occurs in training, or ask
    for the colour of one.
    """
    slots = example.derivation.get("slots", {})
    words = " ".join([example.question, *example.answers, *map(str, slots.values())])
    asked = example.kind == "colour" and HELD_OUT.get(slots.get("ref", "")) == example.answers[0]
    return asked or bool(HELD_OUT_NAME.search(words))

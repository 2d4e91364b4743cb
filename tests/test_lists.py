"""Lists against a hand-made room, and against the rules that answer questions."""

from collections import Counter

import numpy as np
import pytest

from leovl_mini.rooms import domain_room
from leovl_mini.rooms.facts import SceneGraph, name_objects
from leovl_mini.rooms.texts.lists import (
    EVERYTHING,
    LISTS,
    count_list,
    counting_questions,
    distance_questions,
    object_list,
    short_form_questions,
    support_list,
)
from leovl_mini.rooms.texts.phrases import plural
from leovl_mini.scans.scene import Object


def thing(number, category, colour, at, **more):
    looks = {"colour": colour, "pattern": "plain", **more}
    return Object(number, category, at, (0.2, 0.2, 0.2), 0.0, looks)


ROOM = [
    thing(1, "chair", "red", (1.3, -0.2, 0.5)),
    thing(2, "chair", "blue", (0.0, 0.6, 0.5)),
    thing(3, "mug", "red", (1.3, -0.2, 0.7), on="1"),
    thing(4, "ball", "red", (0.0, -3.0, 0.0)),
    thing(5, "ball", "red", (-3.0, 1.0, 0.0)),
]


def test_every_list_says_what_is_there():
    rng = np.random.default_rng(0)
    assert name_objects(ROOM) == {1: "red chair", 2: "blue chair", 3: "mug"}
    assert sorted(object_list(ROOM, rng).split("; ")) == [
        "blue chair plain, x 0.0, y 0.5",
        "mug red plain, x 1.5, y 0.0",
        "red chair plain, x 1.5, y 0.0",
    ]
    assert support_list(ROOM, rng) == "on red chair: mug"
    said = dict(line.rsplit(" ", 1) for line in count_list(ROOM, rng).split("; "))
    present = {category: number for category, number in said.items() if number != "no"}
    assert present == {"chair": "2", "mug": "1", "ball": "2"} and len(said) == 6


def test_distance_questions_are_those_that_are_clear():
    """The mug, which lies on the red chair, is nearer to it than the blue chair is; both are
    equally far from the blue one.
    """
    said = distance_questions(ROOM, np.random.default_rng(0))
    assert len(said) == len(dict(said)) >= 3
    assert set(said) <= {
        ("red chair blue chair mug", "red chair"),
        ("blue chair red chair mug", "red chair"),
        ("mug blue chair red chair", "mug"),
        ("blue chair mug red chair", "mug"),
    }


def test_counting_questions_leave_out_most_categories_that_are_there_once():
    said = sorted(counting_questions(ROOM, np.random.default_rng(0)))
    assert said == [("balls", "2"), ("chairs", "2"), ("mugs", "1")]
    once = ("bed", "desk", "bookshelf", "lamp")
    singles = [thing(10 + i, c, "red", (1.0 * i, 0.0, 0.0)) for i, c in enumerate(once)]
    seen = set()
    for seed in range(20):
        said = dict(counting_questions(ROOM + singles, np.random.default_rng(seed)))
        assert sorted(said.values()) == ["1", "1", "2", "2"]
        seen |= set(said)
    assert seen == {"balls", "chairs", "mugs", "beds", "desks", "bookshelves", "lamps"}


def test_an_empty_room_is_an_empty_list():
    rng = np.random.default_rng(0)
    assert [make([], rng) for make in LISTS.values()] == [""] * 3
    assert distance_questions([], rng) == distance_questions(ROOM[:2], rng) == []
    assert counting_questions([], rng) == []
    assert short_form_questions([], rng) == [(EVERYTHING, "")]


@pytest.mark.parametrize("domain", ["scannet", "multiscan"])
def test_lists_agree_with_what_is_true_in_a_room(domain):
    objects, rng = domain_room(domain, 3).objects, np.random.default_rng(1)
    graph = SceneGraph(objects, [])
    by_name = {name: graph.by_id[i] for i, name in graph.names.items()}
    for line in filter(None, support_list(objects, rng).split("; ")):
        where, held = line.split(": ")
        relation, holder = where.split(" ", 1)
        hosts = [graph.host(by_name[name]) for name in held.split(", ")]
        assert hosts == [(relation, by_name[holder])] * len(hosts)
    for line in count_list(objects, rng).split("; "):
        category, number = line.rsplit(" ", 1)
        assert len(graph.matching(category)) == (0 if number == "no" else int(number))
    told = dict(counting_questions(objects, rng))
    for category, number in Counter(o.category for o in objects).items():
        assert told.get(plural(category), "1") == str(number)


def test_each_list_is_asked_for_and_short_questions():
    rng = np.random.default_rng(0)
    asked = [short_form_questions(ROOM, rng) for _ in range(300)]
    lists = [some for some in asked if some[0][0] in LISTS]
    assert {some[0][0] for some in lists} == set(LISTS) and 0.5 < 1 - len(lists) / 300 < 0.7
    assert all(len(some) == 1 for some in lists)
    assert 20 < sum(some[0][0] == EVERYTHING for some in lists) < 70
    short = [some for some in asked if some[0][0] not in LISTS]
    assert all(("chairs", "2") in some and "red chair" in dict(some).values() for some in short)
    assert len({some.index(("chairs", "2")) for some in short}) > 3  # both sorts are mixed

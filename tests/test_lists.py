"""Lists against hand-made rooms, and against the rules that answer questions."""

import itertools
from collections import Counter

import numpy as np
import pytest

from leovl_mini.rooms import domain_room
from leovl_mini.rooms.facts import SceneGraph, nearest
from leovl_mini.rooms.lists import (
    EVERYTHING,
    LISTS,
    count_list,
    counting_questions,
    distance_questions,
    names,
    object_list,
    short_form_questions,
    support_list,
)
from leovl_mini.rooms.questions import plural
from leovl_mini.scans.scene import Object


def thing(number, category, colour, at, **more):
    return Object(
        number, category, at, (0.2, 0.2, 0.2), 0.0, {"colour": colour, "pattern": "plain", **more}
    )


ROOM = [
    thing(1, "chair", "red", (1.3, -0.2, 0.5)),
    thing(2, "chair", "blue", (0.0, 0.6, 0.5)),
    thing(3, "mug", "red", (1.3, -0.2, 0.7), on="1"),
    thing(4, "ball", "red", (0.0, -3.0, 0.0)),
    thing(5, "ball", "red", (-3.0, 1.0, 0.0)),
]


def lines(text):
    return sorted(text.split("; "))


def test_things_of_a_kind_are_told_apart_by_colour_or_left_out():
    assert names(ROOM) == {1: "red chair", 2: "blue chair", 3: "mug"}


def test_every_list_says_what_is_there():
    rng = np.random.default_rng(0)
    assert lines(object_list(ROOM, rng)) == [
        "blue chair plain, x 0.0, y 0.5",
        "mug red plain, x 1.5, y 0.0",
        "red chair plain, x 1.5, y 0.0",
    ]
    assert support_list(ROOM, rng) == "on red chair: mug"
    said = dict(line.rsplit(" ", 1) for line in count_list(ROOM, rng).split("; "))
    assert {k: v for k, v in said.items() if v != "no"} == {
        "chair": "2",
        "mug": "1",
        "ball": "2",
    } and len(said) == 6


def test_comparisons_are_those_that_are_clear():
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


def test_tallies_count_the_categories_and_leave_out_most_that_are_there_once():
    assert sorted(counting_questions(ROOM, np.random.default_rng(0))) == [
        ("balls", "2"),
        ("chairs", "2"),
        ("mugs", "1"),
    ]
    once = ("bed", "desk", "bookshelf", "lamp")
    singles = [
        thing(10 + i, category, "red", (1.0 * i, 0.0, 0.0)) for i, category in enumerate(once)
    ]
    seen = set()
    for seed in range(20):
        said = dict(counting_questions(ROOM + singles, np.random.default_rng(seed)))
        assert sorted(said.values()) == ["1", "1", "2", "2"]
        seen |= set(said)
    assert seen == {"balls", "chairs", "mugs", "beds", "desks", "bookshelves", "lamps"}


def test_an_empty_room_is_an_empty_list():
    rng = np.random.default_rng(0)
    assert [make([], rng) for make in LISTS.values()] == [""] * 3
    assert (
        distance_questions([], rng)
        == distance_questions(ROOM[:2], rng)
        == counting_questions([], rng)
        == []
    )
    assert short_form_questions([], rng) == [(EVERYTHING, "")]


@pytest.mark.parametrize("domain", ["scannet", "rscan", "multiscan", "arkitscenes"])
def test_lists_agree_with_the_rules_that_answer_questions(domain):
    room = domain_room(domain, 3)
    world, rng = (
        SceneGraph(room.objects, room.areas, {o.id for o in room.objects}),
        np.random.default_rng(1),
    )
    assert names(room.objects) == {o.id: world.refs[o.id] for o in room.objects if world.refs[o.id]}
    by_name = {name: world.by_id[i] for i, name in names(room.objects).items()}
    for line in filter(None, support_list(room.objects, rng).split("; ")):
        where, held = line.split(": ")
        relation, holder = where.split(" ", 1)
        assert {
            world.host(by_name[h]) == (relation, by_name[holder]) for h in held.split(", ")
        } == {True}
    for line in count_list(room.objects, rng).split("; "):
        category, number = line.rsplit(" ", 1)
        assert len(world.matching(category)) == (0 if number == "no" else int(number))
    told = dict(counting_questions(room.objects, rng))
    for category, number in Counter(o.category for o in room.objects).items():
        assert told.get(plural(category), "1") == str(number)
    compared, alike = distance_questions(room.objects, rng), 0
    assert len(compared) > 5
    for question, answer in compared:
        (triple,) = [t for t in itertools.permutations(by_name, 3) if " ".join(t) == question]
        a, b, anchor = (by_name[name] for name in triple)
        assert nearest(world, anchor, a, b)[0] == answer
        alike += a.category == b.category
    assert alike > len(compared) / 2  # two of a kind


def test_each_list_is_asked_for_and_shorthand():
    rng = np.random.default_rng(0)
    asked = [short_form_questions(ROOM, rng) for _ in range(300)]
    lists = [some[0][0] for some in asked if some[0][0] in LISTS]
    assert set(lists) == set(LISTS) and 0.5 < 1 - len(lists) / 300 < 0.7
    assert (
        all(len(some) == 1 for some in asked if some[0][0] in LISTS)
        and 20 < lists.count(EVERYTHING) < 70
    )
    shorthand = [some for some in asked if some[0][0] not in LISTS]
    assert all(("chairs", "2") in some and "red chair" in dict(some).values() for some in shorthand)
    assert (
        len({some.index(("chairs", "2")) for some in shorthand}) > 3
    )  # tallies among the comparisons

"""Pairs: wrong answers are wrong, right answers false in the wrong scene, by a solver that shares
no code with the package.
"""

import dataclasses
import functools
import json
from collections import Counter

import known_rooms
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from solver import solve

from leovl_mini.data.examples import Example, dumps
from leovl_mini.rooms import edits
from leovl_mini.rooms.dataset import RoomDataset
from leovl_mini.rooms.edits import asked_elsewhere
from leovl_mini.rooms.facts import RULES, SceneGraph, visible_graph
from leovl_mini.rooms.questions import questions
from leovl_mini.scans.scene import InputError
from leovl_mini.train.pairs import (
    CHOICES,
    TYPES,
    Pair,
    answer_negative,
    is_wrong,
    load_pairs,
    make_pairs,
    refuted,
    save_pairs,
    visible_graphs,
)

# -- rooms with questions, and what the solver makes of them ---------------------------------------


def in_sight(room, hidden: float = 0.0, seed: int = 0) -> SceneGraph:
    """A room of which everything is in sight but a share of the objects."""
    shown = np.random.default_rng(seed).random(len(room.objects)) >= hidden
    return SceneGraph(
        room.objects,
        room.areas,
        {o.id for o, clear in zip(room.objects, shown, strict=True) if clear},
    )


@functools.cache
@known_rooms.quickly
def rooms_and_examples() -> tuple[dict[str, SceneGraph], list[Example]]:
    """Rooms of two domains by name, edited copies among them, and questions about them."""
    rooms, examples = {}, []
    for number, room in enumerate(
        [*known_rooms.single_rooms()[:12], *known_rooms.double_rooms()[:6]]
    ):
        name, rng = (
            f"{'there' if number < 4 else 'here'}_{number:05d}",
            np.random.default_rng(number),
        )
        rooms[name] = in_sight(room, hidden=0.1, seed=number)
        asked = [
            dataclasses.replace(e, id=f"{name}/{i}", scene=name)
            for i, e in enumerate(questions(rooms[name], rng))
        ]
        examples += asked
        for example in [asked[i] for i in rng.permutation(len(asked))]:
            told, copies = [example], {}
            for role, change in (("flip", edits.flipped), ("same", edits.unrelated)):
                edited = change(room, example, rng)
                copies[f"{name}-{role}"] = edited and in_sight(edited)
                again = edited and edits.asked_again(in_sight(edited), example)
                if again and (again.answers == example.answers) == (role == "same"):
                    told.append(dataclasses.replace(again, scene=f"{name}-{role}"))
            if len(told) == 3:
                rooms |= copies
                examples += [
                    dataclasses.replace(
                        e,
                        id=f"{example.id}-{r}",
                        derivation={**e.derivation, "pair": example.id, "role": r},
                    )
                    for e, r in zip(told, ("base", "flip", "same"), strict=True)
                ]
                break
    return rooms, examples


@functools.cache
@known_rooms.quickly
def made_pairs() -> list[Pair]:
    rooms, examples = rooms_and_examples()
    return make_pairs(examples, rooms.__getitem__, rooms)


@functools.cache
def as_json(scene: str) -> list[list[dict]]:
    world = rooms_and_examples()[0][scene]
    return [
        [json.loads(json.dumps(dataclasses.asdict(x))) for x in some]
        for some in (world.objects, world.areas)
    ]


def agrees(scene: str, example: Example, answer: str) -> bool:
    """Whether the solver finds the answer right in this scene."""
    answers = next(
        ([a, *rest] for a, *rest in [example.answers] if a == answer), [answer]
    )  # numbers come with their words
    return not solve(
        json.loads(dumps(dataclasses.replace(example, answers=answers))), *as_json(scene)
    )


def fits(name: str, item) -> bool:
    colour, _, category = name.rpartition(item.category)
    return (
        name.endswith(item.category)
        and not category
        and colour.strip() in ("", item.attributes.get("colour"))
    )


# -- the proof -------------------------------------------------------------------------------------


def test_wrong_answers_are_wrong_in_the_right_scene():
    for example, rejected in {p.example.id: (p.example, p.rejected) for p in made_pairs()}.values():
        assert agrees(example.scene, example, example.answers[0])  # the solver follows
        assert not agrees(example.scene, example, rejected), (example, rejected)


def test_right_answers_are_false_in_the_wrong_scene():
    rooms, _ = rooms_and_examples()
    missing = Counter()
    for pair in made_pairs():
        world, example, right = rooms[pair.negative], pair.example, pair.example.answers[0]
        again = (
            edits.asked_again(world, example)
            if pair.type == "edit"
            else asked_elsewhere(world, example)
        )
        if again is None:  # nothing can be asked: what is spoken of must be missing
            assert pair.type == "random" and right != "no" and example.kind != "existence"
            if example.kind == "count":
                names = [example.derivation["about"][0]]
            else:
                names = [right] if example.kind in CHOICES else example.derivation["slots"].values()
            assert any(not any(fits(name, o) for o in world.objects) for name in names), pair
            missing[example.kind] += 1
        else:
            assert agrees(pair.negative, again, again.answers[0]) and not agrees(
                pair.negative, again, right
            ), pair
    assert len(missing) >= 10


def test_every_kind_and_every_type_has_pairs():
    kinds = {t: {p.example.kind for p in made_pairs() if p.type == t} for t in TYPES}
    assert kinds["random"] == set(RULES), set(RULES) - kinds["random"]
    assert kinds["presupposition"] >= {
        "existence",
        "count",
        "colour",
        "pattern",
        "place",
        "nearest",
        "taller",
        "coordinates",
    }
    assert len(kinds["edit"]) >= 4


def test_presuppositions_hold_in_the_wrong_scene():
    rooms, _ = rooms_and_examples()
    checked = 0
    for pair in made_pairs():
        if pair.type == "presupposition" and pair.example.kind not in ("existence", "count"):
            world = rooms[pair.negative]
            for name in pair.example.derivation["slots"].values():
                found = [o for o in world.objects if fits(name, o)]
                assert len(found) == 1 and found[0].id in world.clear
            checked += 1
    assert checked > 100


def test_an_edit_is_the_same_room_and_other_types_are_others():
    for pair in made_pairs():
        own, other = pair.example.scene.split("-")[0], pair.negative.split("-")[0]
        assert (own == other) == (pair.type == "edit") and pair.negative != pair.example.scene
        assert pair.negative.split("_")[0] == own.split("_")[0]  # a domain keeps to itself
        assert pair.type == "edit" or "-" not in pair.negative
    turned = {
        (p.example.derivation["role"], p.negative.partition("-")[2])
        for p in made_pairs()
        if p.type == "edit"
    }
    assert turned == {("base", "flip"), ("flip", ""), ("same", "flip")}


# -- the same words elsewhere ----------------------------------------------------------------------


def test_asked_in_its_own_room_a_question_has_its_own_answer():
    rooms, examples = rooms_and_examples()
    for example in examples:
        again = asked_elsewhere(rooms[example.scene], example)
        assert again is None if example.kind == "situated" else again.answers == example.answers
        assert not refuted(rooms[example.scene], example)


@given(st.data())
def test_what_is_refuted_is_false_whatever_is_hidden(data):
    rooms, examples = rooms_and_examples()
    example = data.draw(st.sampled_from(examples))
    room = data.draw(st.sampled_from(known_rooms.rooms()))
    world = in_sight(
        room, data.draw(st.sampled_from([0.0, 0.5, 1.0])), data.draw(st.integers(0, 99))
    )
    if refuted(world, example):  # then no room in which more is in sight has that answer
        everything = asked_elsewhere(in_sight(room), example)
        assert everything is None or is_wrong(example.answers[0], everything)


def a_world() -> tuple[SceneGraph, SceneGraph, Example]:
    """A choice between two things, its room, and that room without the one that is not chosen."""
    rooms, examples = rooms_and_examples()
    for example in examples:
        world, slots = rooms[example.scene], example.derivation["slots"]
        if example.kind == "taller":
            other = next(name for name in slots.values() if name != example.answers[0])
            left = [o for o in world.objects if not fits(other, o)]
            if all(
                o.attributes.get(r) in (None, *(str(x.id) for x in left))
                for o in left
                for r in ("on", "under", "inside")
            ):
                return world, SceneGraph(left, world.areas, world.clear), example
    raise AssertionError("no such example")


def test_a_choice_is_not_refuted_by_the_absence_of_the_other_candidate():
    _, without, example = a_world()
    assert asked_elsewhere(without, example) is None and not refuted(without, example)
    lost = dataclasses.replace(
        example,
        answers=[n for n in example.derivation["slots"].values() if n != example.answers[0]],
    )
    assert refuted(without, lost)


def test_no_stays_true_where_things_are_missing_and_yes_does_not():
    empty = in_sight(known_rooms.rooms()[0])
    slots = {"a": "golden throne", "b": "anvil"}
    stacked = Example(
        "", "", "qa", "stacked", "", ["no"], derivation={"slots": slots, "objects": [1, 2]}
    )
    assert not refuted(empty, stacked) and refuted(
        empty, dataclasses.replace(stacked, answers=["yes"])
    )


def test_hidden_or_ambiguous_things_refute_nothing():
    world, _, example = a_world()
    assert not refuted(SceneGraph(world.objects, world.areas, set()), example)
    item = next(o for o in world.objects if fits(example.answers[0], o))
    twin = dataclasses.replace(item, id=99)
    assert not refuted(SceneGraph([*world.objects, twin], world.areas, world.clear | {99}), example)


def test_names_fit_categories_with_or_without_their_colour():
    world = in_sight(known_rooms.rooms()[0])
    item = next(o for o in world.objects if "colour" in o.attributes)
    colour = item.attributes["colour"]
    assert (
        world.has(item.category)
        and world.has(f"{colour} {item.category}")
        and not world.has(f"golden {item.category}")
    )


# -- wrong answers ---------------------------------------------------------------------------------


def asked(kind: str, *answers: str, **slots: str) -> Example:
    return Example(
        "", "", "qa", kind, "", list(answers), derivation={"slots": slots, "objects": []}
    )


@pytest.mark.parametrize(
    "answer, example, wrong",
    [
        ("Two.", asked("count", "2", "two"), False),
        ("3", asked("count", "2", "two"), True),
        ("the red chair", asked("nearest", "red chair"), False),
        ("chair", asked("nearest", "red chair"), False),  # EM-R would call it right
        ("", asked("colour", "red"), False),  # so it would here
        ("blue", asked("colour", "red"), True),
        ("140", asked("height", "100"), False),  # off by less than half
        ("160", asked("height", "100"), True),
        ("x 1.0, y 0.5", asked("coordinates", "x 0.5, y 0.5"), False),  # the next cell
        ("x 1.5, y 0.5", asked("coordinates", "x 0.5, y 0.5"), True),
    ],
)
def test_a_paraphrase_or_a_close_number_is_not_wrong(answer, example, wrong):
    assert is_wrong(answer, example) == wrong


def test_the_models_own_wrong_answers_come_first():
    rng, colours = np.random.default_rng(0), Counter(["red", "blue", "green"])
    colour, spot = asked("colour", "red"), asked("coordinates", "x 0.5, y 0.5")
    assert answer_negative(colour, "green", colours, rng) == ("green", "own generation")
    for own in ("red", "table", "on the on the", None):  # right, or no colour
        assert answer_negative(colour, own, colours, rng)[1] == "same kind"
    places = Counter(["x 0.0, y 0.0", "x 3.0, y -1.5"])
    for own, reason in (("x 0.5, y 1.0", "same kind"), ("x -2.5, y 0.5", "own generation")):
        assert answer_negative(spot, own, places, rng)[1] == reason
    assert answer_negative(colour, None, Counter(["red"]), rng) is None


def test_answers_of_the_same_kind_come_as_often_as_they_are_known():
    rng, colours = np.random.default_rng(0), Counter({"red": 50, "blue": 30, "green": 10})
    colour = asked("colour", "red")
    drawn = Counter(answer_negative(colour, None, colours, rng)[0] for _ in range(300))
    assert set(drawn) == {"blue", "green"} and drawn["blue"] / 300 == pytest.approx(0.75, abs=0.07)


def test_of_two_candidates_the_other_is_the_wrong_answer():
    for kind in CHOICES:
        example = asked(kind, "bed", a="bed", b="red lamp")
        found = answer_negative(example, "sofa", Counter(["sofa"]), np.random.default_rng(0))
        assert found == ("red lamp", "same kind")


# -- sets of pairs ---------------------------------------------------------------------------------


def test_pairs_depend_on_the_seed_alone():
    rooms, examples = rooms_and_examples()
    some = [e for e in examples if e.kind == "colour"]
    first, again, other = (make_pairs(some, rooms.__getitem__, rooms, seed=s) for s in (0, 0, 1))
    assert first == again != other


def test_pairs_keep_to_one_domain_and_to_scenes_that_are_there():
    rooms, examples = rooms_and_examples()
    there = set(sorted(rooms)[:12])
    pairs = make_pairs(examples, rooms.__getitem__, there, domain="here")
    assert pairs and all(
        {p.example.scene, p.negative} <= there and p.example.scene.startswith("here_")
        for p in pairs
    )


def test_on_policy_answers_are_taken_by_the_examples_id():
    rooms, examples = rooms_and_examples()
    colours = [e for e in examples if e.kind == "colour" and e.scene.startswith("here_")]
    first, other = colours[0].id, next(e for e in colours if is_wrong(e.answers[0], colours[0]))
    answers = {first: other.answers[0]}
    pairs = make_pairs(colours, rooms.__getitem__, rooms, on_policy=answers)
    found = {(p.rejected, p.reason) for p in pairs if p.example.id == first}
    assert found == {(other.answers[0], "own generation")}
    assert {p.reason for p in pairs if p.example.id != first} == {"same kind"}


def test_missing_pairs_are_named(tmp_path):
    with pytest.raises(InputError, match="none.jsonl does not exist; pairs are made by"):
        load_pairs(tmp_path / "none.jsonl")


def test_pairs_are_read_as_they_were_written(tmp_path):
    save_pairs(made_pairs()[::20], tmp_path / "pairs.jsonl")
    assert load_pairs(tmp_path / "pairs.jsonl") == made_pairs()[::20]

    def breaks_off():
        yield made_pairs()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_pairs(breaks_off(), tmp_path / "half.jsonl")
    assert [f.name for f in tmp_path.iterdir()] == ["pairs.jsonl"]
    with pytest.raises(ValueError, match="unknown reason"):
        dataclasses.replace(made_pairs()[0], reason="bad luck")


def test_graphs_are_of_what_the_frames_show(made):
    rooms = RoomDataset(made / "corpus")
    name, graph = rooms.names()[0], visible_graphs(rooms)
    shown = visible_graph(rooms.scene(name), rooms.graph(name).areas)
    assert graph(name).clear == shown.clear and graph(name).objects == shown.objects
    assert graph(name) is graph(name)

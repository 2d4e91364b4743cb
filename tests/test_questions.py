"""Every answer follows from the room: the independent solver agrees, notices wrong rules, and only
what is seen is asked about.
"""

import math
from collections import Counter, defaultdict

import known_rooms
import numpy as np
import pytest
import solver
from known_rooms import disagreements, recording

from leovl_mini.data.examples import TASKS
from leovl_mini.rooms import facts, plans, questions, teller, texts
from leovl_mini.rooms.facts import RULES, SceneGraph
from leovl_mini.rooms.questions import PER_ROOM, PHRASES
from leovl_mini.scans.geometry import back_project


@pytest.fixture(scope="module")
def recordings():
    return known_rooms.recordings()


@pytest.fixture(scope="module")
def examples(recordings):
    return [(recorded, example) for recorded in recordings for example in recorded.examples]


def boxes(recorded):
    """The objects of a recording by id, as the solver wants them."""
    return {
        o.id: {**vars(o), "center": list(o.center), "size": list(o.size)}
        for o in recorded.room.objects
    }


# Right and wrong answers


def test_the_solver_agrees_with_every_example(recordings):
    found = [p for r in recordings for p in disagreements(r.examples, r.room.objects, r.room.areas)]
    assert not found, found[:10]


def test_the_solver_agrees_with_every_edited_example():
    for pair in known_rooms.pairs():
        for example, scene in zip(
            pair.examples, (pair.base.scene, pair.flip, pair.same), strict=True
        ):
            assert not disagreements([example], scene.objects, pair.base.room.areas)


def exchanged(one, other):
    return lambda rule: lambda *arguments: swapped(rule(*arguments), {one: other, other: one})


def swapped(verdict, words):
    return verdict and (words.get(verdict[0], verdict[0]), verdict[1])


def other_name(rule):
    """The name of the other one of the last two objects."""

    def wrong(world, *objects):
        verdict = rule(world, *objects)
        names = [world.refs[o.id] for o in objects[-2:]]
        return verdict and names[0] and names[1] and (names[verdict[0] == names[0]], verdict[1])

    return wrong


def number_times(factor, plus=0.0, digits=0):
    return lambda rule: (
        lambda *arguments: (
            (v := rule(*arguments)) and (f"{float(v[0]) * factor + plus:.{digits}f}", v[1])
        )
    )


PLANTED = {
    "existence": exchanged("yes", "no"),
    "count": number_times(1, 1),
    "colour": exchanged("red", "blue"),
    "pattern": exchanged("striped", "plain"),
    "state": exchanged("open", "closed"),
    "contents on": lambda rule: (
        lambda world, host: (
            world.held(host, "on") and (world.held(host, "on")[0].category, 1.0) or None
        )
    ),
    "relation": exchanged("on", "under"),
    "situated": exchanged("left", "right"),
    "nearest": other_name,
    "taller": other_name,
    "height": number_times(1, 1),
    "length": number_times(1.1),
    "distance": number_times(1.1, 0, 1),
    "room size": number_times(1, 0.2, 1),
    "coordinates": lambda rule: (
        lambda world, item: (v := rule(world, item)) and (f"x {v[0].split('y ')[1]}, y 0.0", v[1])
    ),
    "stack order": other_name,
    "stacked": exchanged("yes", "no"),
}


@known_rooms.quickly
def again(numbers=(0, 1, 2, 3)):
    """New questions on some rooms, and what the solver holds against them, by kind."""
    found = Counter()
    for recorded in (recording(domain, n) for n in numbers for domain in ("scannet", "multiscan")):
        asked = list(questions.questions(recorded.world, np.random.default_rng(1)))
        found.update(
            p.split(" ", 1)[1].split(":")[0]
            for p in disagreements(asked, recorded.room.objects, recorded.room.areas)
        )
    return found


def test_every_wrong_rule_is_noticed(monkeypatch):
    assert not again()
    for kind, wrong in PLANTED.items():
        monkeypatch.setitem(RULES, kind, wrong(RULES[kind]))
    found = again()
    assert set(found) == set(PLANTED), set(PLANTED) ^ set(found)


def wrong_gap(world, a, b):
    return math.dist(a.center, b.center)


def second_nearest(world, item):
    large = [o for o in world.objects if o.category in facts.LARGE and o is not item]
    near = sorted(large, key=lambda o: world.gap(item, o))
    return near[1], world.gap(item, near[1]), 1.0


WRONG = {
    "gap between centres": (SceneGraph, "gap", wrong_gap, {"distance", "nearest"}),
    "second nearest": (SceneGraph, "nearest_large", second_nearest, {"place"}),
    "the wrong host": (
        SceneGraph,
        "host",
        lambda world, item: ("on", world.objects[-1]),
        {"place", "relation", "stacked"},
    ),
    "bearing to the right": (
        facts,
        "bearing",
        lambda p, h, t, right=facts.bearing: -right(p, h, t),
        {"situated"},
    ),
    "only the colour counts": (
        SceneGraph,
        "matching",
        lambda w, c, k=None: [o for o in w.objects if o.category == c],
        {"existence"},
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_facts_are_noticed(monkeypatch, name):
    where, attribute, wrong, kinds = WRONG[name]
    monkeypatch.setattr(where, attribute, wrong)
    found = again((0, 1))
    assert kinds & set(found), found


WRONG_TEXTS = {
    "taller": lambda tell, a, b: (
        b and tell.about("say taller", *sorted((a, b), key=lambda o: o.size[2]))
    ),
    "nearer": lambda tell, anchor, a, b: a and b and tell.about("say nearer", anchor, a, b),
    "region": lambda tell, item: tell.about("say middle", item),
    "apart": lambda tell, a, b: b and tell.about("say distance", a, b, metres="2.2"),
    "number": lambda tell, category: tell.fact(
        "say count", number="2", things=questions.plural(category)
    ),
    "size": lambda tell, item: tell.about("say size", item, height="77", width="77"),
    "whereabouts": lambda tell, item: tell.about("say on", item, tell.world.nearest_large(item)[0]),
}


@pytest.mark.parametrize("name", WRONG_TEXTS)
def test_wrong_statements_are_noticed(monkeypatch, name):
    monkeypatch.setattr(teller.SentenceWriter, name, WRONG_TEXTS[name])
    assert told_wrong()


@known_rooms.quickly
def told_wrong():
    found = []
    for number in range(3):
        recorded, rng = recording("scannet", number), np.random.default_rng(1)
        told = [
            texts.scene_caption(recorded.world, rng),
            *texts.dialogues(recorded.world, rng, most=9),
        ]
        spots = {o.id: list(o.center) for o in recorded.world.askable}
        told += texts.object_captions(recorded.world, rng, spots)
        found += disagreements(told, recorded.room.objects, recorded.room.areas)
    return found


# What is asked about


def clear_ids(recorded):
    """Ids with at least 60 measured pixels in at least two frames."""
    scene = recorded.scene
    measured = scene.instances.numpy() * (scene.depth.numpy() > 0)
    return {
        o.id for o in scene.objects if sum((frame == o.id).sum() >= 60 for frame in measured) >= 2
    }


def spoken_of(example):
    """Ids of the objects that an example speaks of."""
    derivation = example.derivation
    turns = derivation.get("turns", [])
    parts = [
        derivation,
        *derivation.get("facts", []),
        *(t["question"] for t in turns),
        *(f for t in turns for f in t["facts"]),
    ]
    return {i for part in parts for i in part.get("objects", [])}


def test_only_clearly_visible_objects_are_asked_about(recordings):
    hidden = 0
    for recorded in recordings:
        clear = clear_ids(recorded)
        hidden += len(recorded.room.objects) - len(clear)
        for example in recorded.examples:
            ids = spoken_of(example)
            enough = ids & clear or not ids if example.kind == "existence" else ids <= clear
            assert enough, (example.id, example.question, ids - clear)
    assert hidden > len(recordings)  # there is something not to ask about


def test_no_means_nowhere_in_the_room(recordings):
    """Also what no frame shows keeps a question of existence from being answered with no."""
    for recorded in recordings:
        for example in recorded.examples:
            if example.kind == "existence" and example.answers == ["no"]:
                category, colour = example.derivation["about"]
                alike = [o for o in recorded.room.objects if o.category == category]
                assert not [o for o in alike if colour in (None, o.attributes.get("colour"))], (
                    example.question
                )


def test_margins_are_stored_and_kept(examples):
    seen = Counter()
    for recorded, example in examples:
        d, kind = example.derivation, example.kind
        if example.task != "qa":
            continue
        margin, box = d["margin"], boxes(recorded)
        seen[kind] += 1
        objects = [box[i] for i in d["objects"]]
        if kind == "nearest":
            near, far = sorted(solver.gap(objects[0], o) for o in objects[1:])
            assert (
                margin == pytest.approx(far - near, abs=2e-3)
                and far - near >= 0.299
                and far >= 1.299 * near
            )
        elif kind == "taller":
            assert (
                margin
                == pytest.approx(abs(objects[0]["size"][2] - objects[1]["size"][2]), abs=2e-3)
                and margin >= 0.0999
            )
        elif kind == "situated":
            x, y = np.subtract(objects[2]["center"][:2], example.position[:2])
            angle = math.degrees(math.atan2(y, x) - example.heading)
            border = 45 - abs((angle + 45) % 90 - 45)
            assert (
                margin == pytest.approx(border, abs=0.02)
                and border >= 14.99
                and math.hypot(x, y) >= 0.7
            )
        elif kind == "coordinates":
            off = np.array(objects[0]["center"][:2]) * 2
            assert (
                margin == pytest.approx(0.25 - np.abs(off - np.round(off)).max() / 2, abs=2e-3)
                and margin >= 0.049
            )
        elif kind == "place" and example.answers[0].startswith("beside"):
            large = sorted(
                solver.gap(objects[0], o) for o in box.values() if o["category"] in solver.LARGE
            )
            assert margin == pytest.approx(large[1] - large[0], abs=2e-3) and margin >= 0.249
        elif kind == "distance":
            assert solver.gap(*objects) >= 0.299
    assert (
        min(seen[k] for k in ("nearest", "taller", "situated", "coordinates", "place", "distance"))
        > 30
    )


# Kinds, wordings, lengths


def test_every_kind_of_question_and_every_task_occurs(recordings, examples):
    assert {e.task for _, e in examples} == set(TASKS)
    assert {e.kind for _, e in examples if e.task == "qa"} == set(PER_ROOM)
    all_plans = known_rooms.quickly(
        lambda world: list(plans.plans(world, np.random.default_rng(0), most=8))
    )
    planned = {e.kind for r in recordings for e in all_plans(r.world)}
    assert {e.kind for _, e in examples if e.task == "planning"} <= planned == set(plans.GOALS)
    assert {e.kind for _, e in examples if e.task == "grounding"} == {"zero", "unique", "multiple"}
    for recorded in recordings:
        counts = Counter(e.kind for e in recorded.examples if e.task == "qa")
        assert all(counts[kind] <= most for kind, most in PER_ROOM.items())
        assert [e.id for e in recorded.examples] == [
            f"{recorded.scene.name}/{i:03d}" for i in range(len(recorded.examples))
        ]
        assert {e.scene for e in recorded.examples} == {recorded.scene.name}


def test_closed_questions_have_all_answers(examples):
    answers = defaultdict(Counter)
    for _, example in examples:
        answers[example.kind][example.answers[0]] += 1
    assert set(answers["situated"]) == {"left", "right", "front", "behind"}
    assert set(answers["relation"]) == {"on", "under", "inside", "beside"}
    assert set(answers["existence"]) == set(answers["stacked"]) == {"yes", "no"}
    for kind in ("situated", "existence", "stacked", "state", "pattern"):
        shares = np.array(list(answers[kind].values())) / answers[kind].total()
        assert shares.min() > 0.4 / len(shares), (kind, answers[kind])


def test_questions_are_asked_in_many_wordings(examples):
    assert all(
        len(set(PHRASES[kind])) >= 8
        for kind in (*PER_ROOM, "situation", "ground", "describe object", "describe scene")
    )
    assert all(
        len(set(PHRASES[key])) >= 8
        for key in PHRASES
        if key.startswith(("plan ", "it ", "talk about"))
    )
    asked = defaultdict(list)
    for _, example in examples:
        if "rule" in example.derivation:
            asked[example.derivation["rule"]].append(example.question)
        elif example.task == "object captioning":
            asked["describe object"].append(example.question)
    checked = 0
    for key, sentences in asked.items():
        used = [
            e
            for e in solver.expressions(key)
            if any(e.fullmatch(sentence) for sentence in sentences)
        ]
        assert len(used) >= min(8, len(sentences) / 4), (key, len(used), len(sentences))
        checked += len(used) == len(PHRASES[key])
    assert checked >= 10


def test_answers_have_the_lengths_of_their_tasks(examples):
    words = defaultdict(list)
    for _, example in examples:
        words[example.task].append(len(example.answers[0].split()))
    means = [
        np.mean(words[t])
        for t in ("scene captioning", "planning", "object captioning", "dialogue", "qa")
    ]
    assert means == sorted(means, reverse=True)
    assert (
        80 < means[0] < 130
        and 60 < means[1] < 110
        and 40 < means[2] < 75
        and 10 < means[3] < 30
        and means[4] < 3
    )


def test_counts_are_accepted_as_digits_and_words(examples):
    words = {"1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "6": "six"}
    counts = [e.answers for _, e in examples if e.kind == "count"]
    assert counts and all(answer == [answer[0], words[answer[0]]] for answer in counts)


def test_spots_are_measured_points_on_their_object(recordings):
    checked = 0
    for recorded in recordings[:12]:
        scene, box = recorded.scene, boxes(recorded)
        points = back_project(scene.depth, scene.intrinsics, scene.camera_to_world).numpy()
        for example in (e for e in recorded.examples if e.task == "object captioning"):
            item = box[example.derivation["facts"][0]["objects"][0]]
            local = np.abs(
                [*solver.to_frame(item, *example.spot[:2]), example.spot[2] - item["center"][2]]
            )
            assert (local <= np.array(item["size"]) / 2 + 0.05).all(), example.id
            own = points[((scene.instances == item["id"]) & (scene.depth > 0)).numpy()]
            assert np.linalg.norm(own - example.spot, axis=1).min() < 0.01, example.id
            checked += 1
    assert checked > 30


def test_same_seed_same_examples():
    recorded = recording("scannet", 1)
    from leovl_mini.rooms.facts import visible_graph
    from leovl_mini.rooms.recording import examples_of

    world = visible_graph(recorded.scene, recorded.room.areas)
    assert (
        examples_of(recorded.scene, world, 1)
        == recorded.examples
        != examples_of(recorded.scene, world, 2)
    )

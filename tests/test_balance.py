"""Balanced, skewed and poor question-answer data, and the measures of what can be answered without
looking.
"""

from collections import Counter, defaultdict

import known_rooms
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leovl_mini.data.examples import Example
from leovl_mini.rooms import DOMAINS, balance
from leovl_mini.rooms.texts.phrases import PHRASES

CLOSED = (
    *("existence", "pattern", "state", "relation", "situated"),
    *("nearest", "taller", "stack order", "stacked"),
)


def example(kind, answer, number=0, scene="scannet_00000", **slots):
    proof = {"rule": kind, "slots": slots, "objects": []}
    if kind == "existence":
        proof["about"] = [slots["a_thing"].split(" ", 1)[1], None]
    id = f"{scene}/{number:03d}"
    return Example(id, scene, "qa", kind, f"{kind}?", [answer], derivation=proof)


def numbered(*examples):
    for i, e in enumerate(examples):
        e.id = f"{e.scene}/{i:03d}"
    return list(examples)


@pytest.fixture(scope="module")
def raw():
    return [e for recorded in known_rooms.recordings() for e in recorded.examples]


def answers(examples, kinds):
    """How often each answer is given in every group of questions."""
    counts = defaultdict(Counter)
    for e in examples:
        if e.task == "qa" and e.kind in kinds:
            counts[balance.group(e)][balance.answer_class(e)] += 1
    return counts


# Balance


def test_balanced_answers_are_equally_frequent(raw):
    kept = balance.balance(raw)
    before, after = answers(raw, CLOSED), answers(kept, CLOSED)
    assert any(len(set(counts.values())) > 1 for counts in before.values()) and after
    assert all(len(counts) > 1 and len(set(counts.values())) == 1 for counts in after.values())
    for counts in answers(kept, ("colour", "count")).values():
        first, second = (counts.most_common(2) + [("", 0)])[:2]
        assert first[1] == second[1]
    free = ("height", "length", "distance", "room size", "coordinates")
    ids = {e.id for e in kept}
    assert all(e.id in ids for e in raw if e.task != "qa" or e.kind in free)


def test_whether_a_colour_is_named_tells_nothing_about_existence(raw):
    counts = defaultdict(Counter)
    for e in balance.balance(raw):
        if e.kind == "existence":
            category, colour = e.derivation["about"]
            counts[category, colour is not None][e.answers[0]] += 1
    assert counts and all(c["yes"] == c["no"] for c in counts.values()), counts


def test_a_group_with_one_answer_vanishes():
    some = [example("existence", "yes", a_thing="a chair") for _ in range(3)]
    sofas = ("yes", "yes", "yes", "no", "no")
    some += [example("existence", answer, a_thing="a sofa") for answer in sofas]
    kept = Counter(
        (e.derivation["about"][0], e.answers[0]) for e in balance.balance(numbered(*some))
    )
    assert kept == {("sofa", "yes"): 2, ("sofa", "no"): 2}


def test_balance_keeps_a_choice_between_two_of_a_kind_in_both_orders():
    pair = {"a": "red chair", "b": "blue chair"}
    some = numbered(*(example("taller", pair[slot], **pair) for slot in "aaaab"))
    assert Counter(e.answers[0] for e in balance.balance(some)) == {"red chair": 1, "blue chair": 1}
    always = numbered(*(example("taller", "fridge", a="fridge", b="stool") for _ in range(4)))
    assert balance.balance(always) == []


questions = st.lists(
    st.one_of(
        st.tuples(
            st.just("existence"), st.sampled_from(["yes", "no"]), st.sampled_from(["sofa", "bed"])
        ),
        st.tuples(
            st.just("situated"),
            st.sampled_from(["left", "right", "front", "behind"]),
            st.just("red chair"),
        ),
        st.tuples(
            st.just("state"),
            st.sampled_from(["open", "closed"]),
            st.sampled_from(["door", "fridge"]),
        ),
    ),
    max_size=60,
)


@given(questions, st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_balance_of_any_questions(some, random):
    slot = {"existence": lambda thing: {"a_thing": f"a {thing}"}}
    some = numbered(
        *(example(k, a, **slot.get(k, lambda thing: {"ref": thing})(thing)) for k, a, thing in some)
    )
    kept = balance.balance(some)
    before, after = answers(some, CLOSED), answers(kept, CLOSED)
    assert set(after) == {name for name, counts in before.items() if len(counts) > 1}
    for name, counts in after.items():
        assert set(counts.values()) == {min(before[name].values())}
        assert set(counts) == set(before[name])
    assert [e.id for e in kept] == sorted({e.id for e in kept} & {e.id for e in some})
    random.shuffle(some)
    assert answers(balance.balance(some), CLOSED) == after


# Skewed and poor data


def test_what_is_usual_in_skewed_training_is_not_usual_in_the_reversed_test(raw):
    kinds = balance.CLOSED
    train, test = (answers(balance.skew(raw, reverse=r), kinds) for r in (False, True))
    both = [name for name in train if name in test]
    large = [name for name in both if min(train[name].total(), test[name].total()) >= 6]
    assert len(large) >= 3
    for name in large:
        assert train[name].most_common(1)[0][0] != test[name].most_common(1)[0][0], name


def test_skewed_answers_have_the_named_share():
    states = ("closed", "open")
    some = numbered(*(example("state", states[i % 2], ref="door") for i in range(400)))
    usual = []
    for reverse in (False, True):
        kept = Counter(e.answers[0] for e in balance.skew(some, reverse))
        ((answer, number),) = kept.most_common(1)
        assert number / kept.total() == pytest.approx(balance.STRENGTH, abs=0.01)
        usual.append(answer)
    assert set(usual) == set(states)


def test_simplistic_questions_have_one_wording_and_the_usual_answer(raw):
    poor, usual = balance.simplistic(raw), (("existence", "yes"), ("count", "1"))
    assert {(e.kind, e.answers[0]) for e in poor} == set(usual)
    assert all(e.question == PHRASES[e.kind][0].format(**e.derivation["slots"]) for e in poor)
    assert len({e.id for e in poor}) == sum((e.kind, e.answers[0]) in usual for e in raw)
    assert balance.occupancy(poor) == 1.0


# Measures


def test_templates_leave_out_names_and_numbers():
    same = (
        "The red chair is 74 cm high and stands 1.5 m from the tv stand.",
        "The lamp is 80 cm high and stands 0.9 m from the blue bookshelf.",
    )
    other = "The lamp is 80 cm wide and stands 0.9 m from the blue bookshelf."
    templates = [balance.template(text) for text in (*same, other, "Yes")]
    assert templates[0] == templates[1] != templates[2] and templates[3] == "yes"
    counts = ("There are 2 striped chairs in the room.", "There are 3 bookshelves in the room.")
    assert len({balance.template(text) for text in counts}) == 1


def test_occupancy_and_majority():
    some = [example("colour", f"colour {i}") for i in range(20)]
    assert balance.occupancy(some) == pytest.approx(15 / 20)
    assert balance.occupancy([*some, *some[:1] * 20], top=1) == pytest.approx(21 / 40)
    states = [example("state", a) for a in ("open", "open", "closed", "open")]
    assert balance.majority(states) == 0.75
    assert balance.occupancy([]) == balance.majority([]) == 0


@pytest.fixture
def halves():
    """Two scenes of which one is learned from and the other tried."""
    first, *others = [f"scannet_{i:05d}" for i in range(9)]
    for other in others:
        if balance.blind([example("state", "open", scene=s, ref="door") for s in (first, other)]):
            return first, other


def doors(scene, *states):
    return [example("state", state, scene=scene, ref="red door") for state in states]


def test_blind_learns_on_one_half_of_the_scenes_and_tries_on_the_other(halves):
    """Learned open: 1 of 4 is right; learned closed: 1 of 3."""
    one, other = halves
    some = doors(one, "open", "open", "closed") + doors(other, "open", "closed", "closed", "closed")
    assert balance.blind(some) == pytest.approx(2 / 7)
    assert balance.blind(doors(one, "open", "open", "open")) == 0  # nothing to learn from
    assert balance.blind([]) == 0


def test_blind_knows_the_categories_and_otherwise_the_kind(halves):
    one, other = halves
    fridges = [example("state", "closed", scene=s, ref="fridge") for s in halves]
    assert balance.blind(doors(one, "open", "open") + doors(other, "open", "open") + fridges) == 1.0
    # each is tried with what is usual for the other
    assert balance.blind(doors(one, "open", "open") + fridges[1:]) == 0.0
    assert balance.blind(doors(one, "closed", "closed") + fridges[1:]) == 1.0


def test_groups_do_not_depend_on_colour_or_order():
    refs = ("red door", "blue door", "fridge")
    red, blue, fridge = (balance.group(example("state", "open", ref=ref)) for ref in refs)
    assert red == blue != fridge
    pairs = [("sofa", "bed"), ("bed", "sofa")]
    assert len({balance.group(example("taller", a, a=a, b=b)) for a, b in pairs}) == 1
    assert len({balance.group(example("relation", "on", a=a, b=b)) for a, b in pairs}) == 2


def test_balancing_makes_guessing_harder():
    some = []
    for i in range(400):
        usual, other = ("yes", "no") if i % 2 else ("no", "yes")
        thing = "a sofa" if i % 2 else "a bed"
        answer = other if i % 10 < 2 else usual
        some.append(example("existence", answer, i, f"rscan_{i:05d}", a_thing=thing))
    assert balance.blind(some) == pytest.approx(0.8, abs=0.02)
    assert balance.blind(balance.balance(some)) < 0.6


def test_tables_add_up(raw):
    header, *rows = balance.counts_table(raw)
    assert header == ["task", *DOMAINS, "sum", "words"]
    assert all(sum(row[1:-2]) == row[-2] for row in rows)
    assert sum(row[-2] for row in rows) == len(raw)
    table = {row[0]: row for row in rows}
    here = sum(e.task == "qa" and e.scene.startswith("scannet_") for e in raw)
    assert table["qa"][header.index("scannet")] == here
    words = [len(e.answers[0].split()) for e in raw if e.task == "planning"]
    assert table["planning"][-1] == round(sum(words) / len(words))

    header, *rows = balance.kinds_table(raw)
    asked = [e for e in raw if e.task in ("qa", "grounding")]
    assert len(header) == 6 and sum(row[1] for row in rows) == len(asked)
    assert {row[0] for row in rows} == {e.kind for e in asked if e.task == "qa"} | {"grounding"}
    counts = Counter(e.answers[0] for e in raw if e.kind == "stacked")
    ((usual, number),) = counts.most_common(1)
    row = next(row for row in rows if row[0] == "stacked")
    assert row[2:4] == [usual, f"{number / counts.total():.0%}"]

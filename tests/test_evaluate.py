"""Evaluation with a model whose answers are known."""

import dataclasses
import json
import math

import pytest
import torch
from random_inputs import random_tokens

from leovl_mini.data.examples import Example, load_examples
from leovl_mini.data.samples import sample_room
from leovl_mini.evaluate.answers import TEXTS
from leovl_mini.evaluate.run import (
    CONTROLS,
    as_rows,
    evaluate,
    evaluate_texts,
    majority_baseline,
    predict,
    scenes_for,
    summarise,
    write_results,
)
from leovl_mini.model.leovl import LeoVL
from leovl_mini.rooms.balance import categories
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.rooms.furniture import FIXED, LARGE, SMALL
from leovl_mini.scans.scene import Object
from leovl_mini.tokens.base import SceneInput

NAMES = ("scannet_1", "scannet_2", "scannet_3", "rscan_1", "rscan_2")


def seen(name: str) -> SceneInput:
    tokens = random_tokens(6, 8, seed=NAMES.index(name))
    return SceneInput(tokens, torch.zeros(6, 2, dtype=torch.long), [], name)


def asked(scene: str, kind: str, answer: str, about=("chair",)) -> Example:
    slots = {"about": list(about), "slots": {"a_thing": "a chair"}, "objects": []}
    return Example(
        f"{scene}/{kind}/{answer}", scene, "qa", kind, f"{kind}?", [answer], derivation=slots
    )


class Oracle(LeoVL):
    """Answers with the sum of the features that it is shown: a different number for every scene."""

    def __init__(self):
        torch.nn.Module.__init__(self)

    def answers(self, scene, questions, max_new_tokens=16, use_cache=True):
        return ["nothing" if scene is None else f"{float(scene.features.sum()):.3f}"] * len(
            questions
        )


def total(name: str) -> str:
    return f"{float(seen(name).tokens.features.sum()):.3f}"


EXAMPLES = [asked(name, kind, total(name)) for kind in ("existence", "count") for name in NAMES]


def test_answers_come_in_the_order_of_the_questions():
    shuffled = EXAMPLES[::-1][::3] + EXAMPLES[1::3]
    shown = scenes_for("scene", seen, NAMES)
    assert predict(Oracle(), shown, shuffled) == [e.answers[0] for e in shuffled]


def test_controls_change_what_they_say():
    for control in CONTROLS:
        shown = scenes_for(control, seen, NAMES)
        for name in NAMES:
            true = seen(name).tokens
            if control == "no scene":
                assert shown[name] is None
            elif control == "scene":
                assert torch.equal(shown[name].features, true.features)
            elif control == "wrong scene":
                other = {
                    "scannet_1": "scannet_2",
                    "scannet_2": "scannet_3",
                    "scannet_3": "scannet_1",
                    "rscan_1": "rscan_2",
                    "rscan_2": "rscan_1",
                }
                assert torch.equal(shown[name].features, seen(other[name]).tokens.features)
            else:
                assert torch.equal(shown[name].centers, true.centers)
                assert not torch.equal(shown[name].features, true.features)
                assert torch.allclose(shown[name].features.sum(0), true.features.sum(0), atol=1e-5)
                assert (shown[name].features.std(0).max() < 1e-5) == (control == "positions only")
    with pytest.raises(ValueError, match="unknown control 'nonsense'"):
        scenes_for("nonsense", seen, NAMES)


def test_an_oracle_is_right_with_the_scene_and_wrong_without():
    results = evaluate(
        Oracle(), seen, EXAMPLES, EXAMPLES, controls=("scene", "no scene", "wrong scene")
    )
    assert (
        results["scene"]["mean"]["score"] == 1
        and results["no scene"]["mean"]["score"] == results["wrong scene"]["mean"]["score"] == 0
    )
    domains = ["rscan", "scannet"]
    assert (
        results["scene"]["count"]["questions"] == 5 and results["rscan"]["count"]["questions"] == 2
    )
    columns = [
        "kind",
        "questions",
        "scene",
        *domains,
        "common things",
        "no scene",
        "wrong scene",
        "usual answer",
    ]
    assert as_rows(results)[0] == columns
    assert as_rows(results)[1][:7] == ["count", "5", "100", "100", "100", "100", "0"]


def test_common_things_are_those_that_training_asks_about_most():
    def about(category, answer="red"):
        return dataclasses.replace(
            EXAMPLES[0],
            kind="colour",
            answers=[answer],
            derivation={"slots": {"ref": f"green {category}"}},
        )

    kinds = sorted([*LARGE, *SMALL, *FIXED])[:17]
    learned = [about(c) for i, c in enumerate(kinds) for _ in range(20 - i)]
    assert categories(about("tv stand")) == {"tv stand"} and categories(
        about("sofa", "white mug")
    ) == {"sofa", "mug"}
    some = [about(c) for c in kinds]
    results = evaluate(Oracle(), seen, some, learned, controls=("scene",))
    assert (
        results["common things"]["mean"]["questions"] == 15
        and results["scene"]["mean"]["questions"] == 17
    )
    assert "common things" not in evaluate(Oracle(), seen, some, controls=("scene",))


def test_a_kind_that_a_domain_lacks_is_no_zero():
    one = [asked("rscan_1", "count", total("rscan_1"))]
    assert (
        as_rows(evaluate(Oracle(), seen, [*EXAMPLES[:5], *one], controls=("scene",)))[1][-1] == "–"
    )


def test_the_blind_rival_sees_nothing():
    class Blind(Oracle):
        def answers(self, scene, questions, max_new_tokens=16, use_cache=True):
            assert scene is None
            return [total("scannet_1")] * len(questions)

    results = evaluate(Oracle(), seen, EXAMPLES, controls=("scene",), blind=Blind())
    assert results["trained blind"]["count"]["score"] == 0.2


def test_an_answer_may_be_true_of_the_scene_that_was_shown():
    """Two rooms, told apart by their features; a model that says what stands in the room that it is
    shown.
    """

    def world(name):
        colour = {"scannet_1": "red", "scannet_2": "blue"}[name]
        items = [Object(1, "sofa", (0.0, 0.0, 0.5), (2.0, 1.0, 1.0), 0.0, {"colour": colour})]
        return SceneGraph(items, [], {1})

    class Looks(Oracle):
        def answers(self, scene, questions, max_new_tokens=16, use_cache=True):
            return [
                "red" if torch.equal(scene.features, seen("scannet_1").tokens.features) else "blue"
            ] * len(questions)

    told = [
        dataclasses.replace(
            asked(n, "colour", c), derivation={"objects": [1], "slots": {"ref": "sofa"}}
        )
        for n, c in (("scannet_1", "red"), ("scannet_2", "blue"))
    ]
    results = evaluate(Looks(), seen, told, controls=("scene", "wrong scene"), world=world)
    score = {
        name: result["colour"]["score"] for name, result in results.items() if "colour" in result
    }
    assert (
        score["scene"] == 1 and score["wrong scene"] == 0 and score["wrong scene, its truth"] == 1
    )


def test_texts_are_judged_by_facts_and_elsewhere():
    """References as predictions: everything true and told; in another room much is false."""
    folders = [sample_room(n) for n in ("scannet_0", "scannet_2", "rscan_2")]
    known = [
        dataclasses.replace(e, scene=f.name)
        for f in folders
        for e in load_examples(f / "examples.jsonl")
        if e.task in TEXTS
    ]
    worlds = {
        f.name: SceneGraph.from_json(json.loads((f / "scene.json").read_text())) for f in folders
    }

    class Scribe(Oracle):
        def answers(self, scene, questions, max_new_tokens=16, use_cache=True):
            return [q.answers[0] for q in questions]

    def shown(name):
        return SceneInput(random_tokens(6, 8), torch.zeros(6, 2, dtype=torch.long), [], name)

    results = evaluate_texts(Scribe(), shown, known, worlds)
    assert set(results) == set(TEXTS)
    for row in results.values():
        assert (
            row["fact precision"] == row["fact recall"] == row["BLEU-4"] == 1 and row["unread"] == 0
        )
        assert row["elsewhere"] < 0.7


def test_scores_by_hand():
    examples = [
        asked("scannet_1", "existence", "yes"),
        asked("scannet_2", "existence", "no"),
        asked("scannet_1", "coordinates", "x 1.0, y 0.5"),
        asked("scannet_1", "height", "80"),
    ]
    rows = summarise(["yes", "yes", "x 1.5, y 0.0", "76"], examples)
    assert (
        rows["existence"]["score"] == 0.5
        and rows["existence"]["low"] == 0
        and rows["existence"]["high"] == 1
    )
    assert rows["coordinates"]["score"] == 1 and math.isnan(rows["coordinates"]["low"])
    assert rows["height"]["score"] in (0.9, 1.0)  # 5 % off, at the last threshold
    assert rows["mean"] == {
        "questions": 4,
        "score": round((0.5 + 1 + rows["height"]["score"]) / 3, 4),
    }


def test_the_usual_answer_is_the_most_frequent_or_the_median():
    learned = [asked("a_1", "existence", a) for a in ("yes", "yes", "no")]
    learned += [asked("a_1", "existence", a, ("sofa",)) for a in ("no", "no", "yes")]
    learned += [asked("a_1", "height", a) for a in ("10", "9", "200")]
    usual = majority_baseline(learned)
    assert (
        usual(asked("b_1", "existence", "?")) == "yes"
        and usual(asked("b_1", "existence", "?", ("sofa",))) == "no"
    )
    assert usual(asked("b_1", "height", "?")) == "10"
    assert (
        usual(asked("b_1", "existence", "?", ("lamp",))) in ("yes", "no")
        and usual(asked("b_1", "state", "?")) == ""
    )


def test_a_real_model_goes_through(tmp_path):
    model = LeoVL("nano", channels=8)
    results = evaluate(model, seen, EXAMPLES[:4], EXAMPLES, controls=("scene", "no scene"))
    write_results(tmp_path / "results.json", {"seed": 0}, results)
    assert json.loads((tmp_path / "results.json").read_text())["results"].keys() == results.keys()

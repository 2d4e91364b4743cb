"""What is asked after post-training, and what is measured: sets of questions that nothing was
learned from, and pairs of right and wrong.

Explained in notebook 09 (scenedpo).
"""

from collections.abc import Callable, Sequence

import numpy as np

from leovl_mini.data.examples import Example, SceneSource
from leovl_mini.evaluate.answers import exact_match, exact_match_refined
from leovl_mini.evaluate.controls import scenes_for
from leovl_mini.evaluate.preferences import edit_outcomes, hallucinations
from leovl_mini.evaluate.run import predict
from leovl_mini.model.leovl import LeoVL
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.rooms.room import parse_name
from leovl_mini.tokens.base import SceneInput
from leovl_mini.tokens.cache import FeatureCache
from leovl_mini.train.pairs import TYPES, Pair, make_pairs
from leovl_mini.train.scenedpo import contrast_log_probs

Sets = dict[str, list[Example]]
Values = dict[str, list[tuple[str, float]]]  # {measure: (room, value) of every question or pair}


def spread(items: Sequence, count: int) -> list:
    """At most ``count`` items, evenly from the whole sequence."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)]


def build_test_sets(
    rooms: SceneSource, features: FeatureCache, kinds: set[str], domain: str, questions: int
) -> Sets:
    """At most ``questions`` in every set, about rooms kept for testing: each domain; of the
    ``domain`` that was learned from, reversed priors and colours in new categories; things that
    are not there; minimal edits inside the domain and elsewhere.
    """
    test, reverse, novel, edits = (
        [e for e in rooms.examples(split) if e.kind in kinds and e.scene in features]
        for split in ("test", "reversed-test", "novel", "pairs-test")
    )
    sets = {
        name: [e for e in test if parse_name(e.scene).domain == name]
        for name in sorted({parse_name(e.scene).domain for e in test})
    }
    sets["reversed"] = [e for e in reverse if parse_name(e.scene).domain == domain]
    sets["novel"] = [e for e in novel if parse_name(e.scene).domain == domain]
    sets["absent"] = [e for e in test if e.kind == "existence" and e.answers[0] == "no"]
    sets = {name: spread(examples, questions) for name, examples in sets.items()}
    for name, inside in (("edits", True), ("edits elsewhere", False)):
        examples = [e for e in edits if (parse_name(e.scene).domain == domain) == inside]
        # An edit is three questions, which stay together.
        whole = spread(sorted({e.derivation["pair"] for e in examples}), questions // 3)
        sets[name] = [e for e in examples if e.derivation["pair"] in whole]
    return {name: examples for name, examples in sets.items() if examples}


def build_test_pairs(
    rooms: SceneSource,
    features: FeatureCache,
    graph: Callable[[str], SceneGraph],
    kinds: set[str],
    domain: str,
    pairs: int,
) -> list[Pair]:
    """At most so many ``pairs`` for each type of wrong scene, about the domain's test rooms."""
    questions = [
        e
        for split in ("test", "pairs-test")
        for e in rooms.examples(split)
        if e.kind in kinds and e.scene in features
    ]
    found = make_pairs(questions, graph, features, domain)
    return [p for type in TYPES for p in spread([p for p in found if p.type == type], pairs)]


def measure(
    model: LeoVL,
    scene_input: Callable[[str], SceneInput],
    sets: Sets,
    pairs: Sequence[Pair],
    domain: str,
) -> Values:
    """Everything that the table is made of, not yet averaged. "wrong scene": the domain's
    questions, about another room.
    """
    values: dict[str, list] = {}
    for name, examples in {**sets, "wrong scene": sets[domain]}.items():
        control = name if name == "wrong scene" else "scene"
        scenes = scenes_for(control, scene_input, (e.scene for e in examples))
        predictions = predict(model, scenes, examples)
        for label, score in (("EM", exact_match), ("EM-R", exact_match_refined)):
            values[f"{label}, {name}"] = [
                (e.scene, score(p, e.answers)) for p, e in zip(predictions, examples, strict=True)
            ]
        if name == "absent":
            values["hallucination"] = hallucinations(predictions, examples)
        if name.startswith("edits"):
            outcomes = edit_outcomes(predictions, examples)
            for i, label in enumerate(("pair accuracy", "invariance")):
                values[f"{label}, {name}"] = [
                    (pair.split("/")[0], outcome[i]) for pair, outcome in outcomes.items()
                ]
    right, wrong_answer, wrong_scene = contrast_log_probs(model, pairs, scene_input)
    contrasts = {
        "answer contrast": right > wrong_answer,
        "scene contrast": right > wrong_scene,
        "gap in nats": right - wrong_scene,
    }
    for label, row in contrasts.items():
        for pair, value in zip(pairs, row.tolist(), strict=True):
            values.setdefault(f"{label}, {pair.type}", []).append((pair.example.scene, value))
    return {
        name: [(parse_name(scene).room, round(float(v), 4)) for scene, v in rows]
        for name, rows in values.items()
    }

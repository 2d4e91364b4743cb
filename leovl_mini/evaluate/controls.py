"""Controls: what a model is shown instead of its scene, and what is right without any model.

A control changes one thing and keeps all others; whatever score survives did not need that thing.

Explained in notebook 08 (evaluation).
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable

import torch

from leovl_mini.data.examples import Example
from leovl_mini.evaluate.answers import NUMERIC
from leovl_mini.rooms.balance import group
from leovl_mini.rooms.room import parse_name
from leovl_mini.tokens.base import SceneInput, SceneTokens

CONTROLS = ("scene", "no scene", "wrong scene", "permuted", "positions only")


def scenes_for(
    control: str, scene_input: Callable[[str], SceneInput], names: Iterable[str], seed: int = 0
) -> dict[str, SceneTokens | None]:
    """{name: what the model is shown in place of that scene}.

    "scene": the scene itself; "no scene": nothing; "wrong scene": the next scene of the same
    domain; "permuted": the right features on exchanged places; "positions only": the right places,
    with the mean feature of the scene on all of them.
    """
    if control not in CONTROLS:
        raise ValueError(f"unknown control {control!r}; choose one of: {', '.join(CONTROLS)}")
    following = next_scenes(names)
    if control == "no scene":
        return dict.fromkeys(following)

    generator, scenes = torch.Generator().manual_seed(seed), {}
    for name, other in following.items():
        tokens = scene_input(other if control == "wrong scene" else name).tokens
        features = tokens.features
        if control == "permuted":
            features = features[torch.randperm(len(tokens), generator=generator)]
        elif control == "positions only":
            features = features.mean(0).expand_as(features)
        scenes[name] = dataclasses.replace(tokens, features=features)
    return scenes


def next_scenes(names: Iterable[str]) -> dict[str, str]:
    """For each scene the next one of the same domain; after the last one, the first. Another scan
    of the same room ("scene0011_01") is passed over.
    """
    names = sorted(set(names))
    by_domain = defaultdict(list)
    for name in names:
        by_domain[parse_name(name).domain].append(name)

    following = {}
    for same in by_domain.values():
        for i, name in enumerate(same):
            others = (other for other in same[i + 1 :] + same[:i] if not is_rescan(other, name))
            following[name] = next(others, name)
    return {name: following[name] for name in names}


def is_rescan(scene: str, other: str) -> bool:
    return parse_name(scene).domain == "" and scene.split("_")[0] == other.split("_")[0]


def majority_baseline(train_examples: Iterable[Example]) -> Callable[[Example], str]:
    """The answer without a model: the most frequent one to questions of the same kind about the
    same categories in training, else of the same kind; of numbers the median.
    """
    answers: dict[str, list[str]] = defaultdict(list)
    for example in train_examples:
        for key in keys(example):
            answers[key].append(example.answers[0])

    def majority(example: Example) -> str:
        found = next((answers[key] for key in keys(example) if key in answers), [""])
        if example.kind in NUMERIC and found != [""]:
            return sorted(found, key=float)[len(found) // 2]
        return max(sorted(set(found)), key=found.count)

    return majority


def keys(example: Example) -> tuple[str, str]:
    """What an answer may be frequent for, the narrower first; benchmarks only tell the kind."""
    about = group(example) if "slots" in example.derivation else example.kind
    return about, example.kind

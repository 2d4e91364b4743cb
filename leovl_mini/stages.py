"""The stages of training as commands run them: which examples, which tokens, which loss, how many steps."""

import dataclasses
import functools
import time
from pathlib import Path

import torch

from leovl_mini.checkpoints import restore, save_weights
from leovl_mini.data import FeatureCache, described
from leovl_mini.model import LeoVL
from leovl_mini.report import hardware
from leovl_mini.rooms.corpus import Corpus
from leovl_mini.training import Lessons, alignment_loss, answer_loss, symbolic_loss, train_steps, tuning_loss

UNSEEN_IN_WORDS = ("length", "distance", "room size")  # a symbolic token has a middle and a height, but no width
TASKS = ("object captioning", "scene captioning", "qa", "planning", "dialogue")
WEIGHTS = {"qa": 1.0, "object captioning": 0.3, "scene captioning": 1.0, "planning": 0.5, "dialogue": 0.5}


def symbolic(corpus: Path, out: Path, steps: int = 1200, seed: int = 0, quiet: bool = False) -> dict:
    """Stage 1: rooms made of words, one token per object; short questions."""
    torch.manual_seed(seed)
    model, rooms = LeoVL("nano", seed=seed), Corpus(corpus)
    examples = [e for e in rooms.examples("train") if e.task == "qa" and e.kind not in UNSEEN_IN_WORDS]
    seen = functools.cache(functools.partial(described, rooms))
    lessons = Lessons(model, seen, examples, kind="objects", budget=240, seed=seed, crowd=steps // 4)
    command = f"leovl-mini train symbolic CORPUS --steps {steps} --seed {seed}"
    return timed(model, lessons, steps, symbolic_loss, out, command, rate=6e-4, quiet=quiet)


def tune(
    corpus: Path, cache: Path, out: Path, start: Path | None = None, steps: int = 1200, align: int = 300, blind: bool = False,
    seed: int = 0, quiet: bool = False,
) -> dict:  # fmt: skip
    """Stage 2, ``align`` steps: the projector learns the words of what its tokens show, without the language model. Stage 3: all
    tasks, everything trained. ``blind``: the same steps with an empty scene, the control."""
    torch.manual_seed(seed)
    features = FeatureCache(cache)
    model = LeoVL("nano", features.options["channels"], seed, features.options["tokens"])
    if start:
        restore(start, model)
    examples = [e for e in Corpus(corpus).examples("train") if e.task in TASKS and e.scene in features]
    seen = functools.partial(empty, features) if blind else features.scene
    lessons = Lessons(model, seen, examples, rooms=16, budget=360, seed=seed, weights=WEIGHTS)
    if align and not blind and not out.exists():
        train_steps(model, lessons, align, alignment_loss, rate=3e-3, quiet=quiet)
    command = f"leovl-mini train tune CORPUS --cache CACHE --steps {steps} --align {align} --seed {seed}"
    command += (f" --start {start.name}" if start else "") + (" --blind" if blind else "")
    return timed(model, lessons, steps, answer_loss if blind else tuning_loss, out, command, rate=6e-4, quiet=quiet)


def empty(features: FeatureCache, name: str):
    """A scene of which nothing is seen."""
    seen = features.scene(name)
    tokens = seen.tokens
    tokens = dataclasses.replace(tokens, features=tokens.features[:0], centers=tokens.centers[:0], points=None)
    return dataclasses.replace(seen, tokens=tokens, shows=seen.shows[:0])


def timed(model: LeoVL, lessons: Lessons, steps: int, loss, out: Path, command: str, **options) -> dict:
    """Train, and write the finished weights beside the checkpoint, with a note of how they were made."""
    start = time.perf_counter()
    history = train_steps(model, lessons, steps, loss, checkpoint=out, **options)
    minutes, last = (time.perf_counter() - start) / 60, sum(history[-50:]) / len(history[-50:])
    made = {"command": command, "steps": steps, "minutes": round(minutes, 1), "loss": round(last, 3), "hardware": hardware()}
    save_weights(model, out.with_name(f"{out.stem}.weights.safetensors"), {k: str(v) for k, v in made.items()})
    return {"steps": steps, "loss": last, "minutes": minutes}

"""The curriculum: which stages a model goes through, and what each of them shows, asks and learns.

``STAGES`` is the table; ``symbolic`` and ``tune`` run it, as commands and notebooks do.
Explained in notebook 07 (fine-tuning).
"""

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor
from torch.utils.data import Dataset

from leovl_mini.config import SymbolicConfig, TuneConfig, get_preset
from leovl_mini.data.examples import Example, SceneSource
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.lora import add_lora
from leovl_mini.model.symbols import Symbols, Vocabulary, simulate_grid, tokens_as_symbols
from leovl_mini.rooms.dataset import RoomDataset, is_bundled
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.base import SceneTokens
from leovl_mini.tokens.cache import FeatureCache, check_features_match, open_source
from leovl_mini.train.batches import HARD, UNSEEN_IN_WORDS, WEIGHTS, SceneQADataset
from leovl_mini.train.checkpoints import start_from
from leovl_mini.train.loop import train_steps
from leovl_mini.train.losses import alignment_loss, question_only_loss, symbolic_loss, tuning_loss
from leovl_mini.train.runlog import RunLog, eval_subset, made_by, scorer
from leovl_mini.train.symbolic_batches import SymbolicQADataset

TASKS = ("object captioning", "scene captioning", "qa", "planning", "dialogue")


# -- the table -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """One stage. ``learning_rate`` is the highest one; None: the preset's."""

    name: str
    shows: str
    asks: str
    loss: Callable[..., Tensor]
    steps: int
    learning_rate: float | None
    warmup_steps: int
    source: str

    def pace(self) -> dict[str, float | int]:
        """What ``train_steps`` must know."""
        return {
            "steps": self.steps,
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
        }


SYMBOLIC = Stage(
    "symbolic",
    shows="what objects are, in words: one token each, then as through a grid",
    asks="lists; then short questions, lists, short-form questions; then texts, too",
    loss=symbolic_loss,
    steps=SymbolicConfig.steps,
    learning_rate=2e-3,
    warmup_steps=30,
    source="ours, in the spirit of Proxy3D's stages 1 to 3 on simplified input",
)
ALIGNMENT = Stage(
    "alignment",
    shows="image tokens",
    asks="nothing: the projector learns the words of what its tokens show",
    loss=alignment_loss,
    steps=TuneConfig.align_steps,
    learning_rate=3e-3,
    warmup_steps=50,
    source="ours; the papers train their projectors through the language model",
)
TUNING = Stage(
    "tuning",
    shows="image tokens",
    asks="questions, captions, plans, dialogues; lists and short-form questions (ours)",
    loss=tuning_loss,
    steps=TuneConfig.steps,
    learning_rate=None,
    warmup_steps=50,
    source="LEO-VL's five tasks; Proxy3D's stage 4",
)
QUESTION_ONLY = replace(
    TUNING, name="question-only", shows="nothing", loss=question_only_loss, source="our control"
)
STAGES = [SYMBOLIC, ALIGNMENT, TUNING, QUESTION_ONLY]


# -- running it ------------------------------------------------------------------------------------


def symbolic(config: SymbolicConfig, quiet: bool = False) -> dict:
    """Stage 1, in the folder ``config.out``; returns how the weights were made. Runs on the GPU
    where there is one.
    """
    torch.manual_seed(config.seed)
    rooms = RoomDataset(config.rooms)
    model = LeoVL("nano", seed=config.seed).to(device())
    if config.start:
        start_from(model, config.start)
    examples = [e for e in rooms.examples("train") if e.kind not in UNSEEN_IN_WORDS]
    if config.text_share and all(e.task == "qa" for e in examples):
        raise InputError(
            f"{config.rooms} holds no texts; make new ones with: "
            "leovl-mini rooms symbolic --out FOLDER"
        )
    dataset = SymbolicQADataset(
        model,
        rooms.objects,
        examples,
        batch_size=config.batch_size,
        seed=config.seed,
        weights=WEIGHTS | HARD,
        list_share=0.4,
        text_share=config.text_share,
        warmup_steps=0 if config.start else config.steps // 3,
    )
    candidates = [e for e in rooms.examples("val") if e.kind not in UNSEEN_IN_WORDS]
    questions = eval_subset(candidates, config.eval_scenes)
    vocabulary = Vocabulary(model.tokenizer)

    def simulated(name: str) -> Symbols:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        return tokens_as_symbols(simulate_grid(rooms.objects(name), rng), vocabulary)

    log = RunLog(config.out, made_by("train symbolic", config), scorer(questions, simulated))
    stage = replace(SYMBOLIC, steps=config.steps)
    return run_stage(stage, model, dataset, log, quiet=quiet, reduction="token", muon=True)


def tune(config: TuneConfig, quiet: bool = False) -> dict:
    """Stages 2 and 3, in the folder ``config.out``; returns how the weights were made. Runs on the
    GPU where there is one.
    """
    torch.manual_seed(config.seed)
    preset, features = get_preset(config.preset), FeatureCache(config.cache)
    check_features_match(features, config.preset)
    model = LeoVL(
        config.preset, features.options["channels"], config.seed, features.options["tokens"]
    )
    if config.lora:
        add_lora(model, config.lora, config.seed)
    model.to(device())
    if config.start:
        start_from(model, config.start)
    source = open_source(config.corpus)
    examples = tuning_examples(config, source, features)
    dataset = SceneQADataset(
        model,
        features.scene,
        examples,
        batch_size=preset.batch_size,
        text_budget=preset.text_budget,
        seed=config.seed,
        weights=WEIGHTS,
        list_share=config.list_share,
        short_share=config.short_share,
    )
    candidates = source.examples("val") if config.eval_scenes else ()
    candidates = [e for e in candidates if e.scene.startswith(config.domain)]
    questions = [e for e in eval_subset(candidates, config.eval_scenes) if e.scene in features]

    def shown(name: str) -> SceneTokens | None:
        return None if config.question_only else features.scene(name).tokens

    made = {"corpus": source.command()} if isinstance(source, RoomDataset) else {}
    log = RunLog(config.out, made_by("train tune", config, **made), scorer(questions, shown))
    # Muon is not for adapters, whose factors are no layers of their own, nor for pre-trained
    # weights.
    muon = not (config.lora or model.is_original)
    options = {"quiet": quiet, "bf16": config.bf16, "muon": muon}
    if config.align_steps and not config.question_only and not log.has_begun():
        size = 2 * preset.batch_size  # nothing is asked: a step has room for more scenes
        pictures = replace(dataset, model=model, examples=examples, batch_size=size, ask=False)
        pace = replace(ALIGNMENT, steps=config.align_steps).pace()
        train_steps(model, pictures, ALIGNMENT.loss, **pace, **options)

    loss = functools.partial(tuning_loss, symbolic_share=config.symbolic_share)
    stage = replace(TUNING, loss=loss)
    if config.question_only:
        stage = QUESTION_ONLY
    loss = functools.partial(stage.loss, reduction=config.reduction)
    stage = replace(stage, loss=loss, steps=config.steps, learning_rate=preset.learning_rate)
    options |= {"reduction": config.reduction, "accumulate": config.accumulate}
    return run_stage(stage, model, dataset, log, **options)


def run_stage(stage: Stage, model: LeoVL, dataset: Dataset, log: RunLog, **options) -> dict:
    """Train, with checkpoints and curves, and write the finished weights beside them; returns how
    they were made ({} in helping processes).
    """
    is_main = PartialState().is_main_process
    if is_main:
        log.write()  # from the first checkpoint on, it is known whose it is
    files = {"checkpoint": log.checkpoint, "evaluate": log.evaluate}
    history = train_steps(model, dataset, stage.loss, **files, **stage.pace(), **options)
    return log.finish(model, history) if is_main else {}


def device() -> torch.device:
    """This process's GPU where there is one, else the CPU."""
    return PartialState(cpu=not torch.cuda.is_available()).device


def train_examples(source: SceneSource, split: str) -> list[Example]:
    """The examples of a split; the rooms that travel with the package stay unseen."""
    return [e for e in source.examples(split) if not is_bundled(e.scene)]


def tuning_examples(
    config: TuneConfig, source: SceneSource, features: FeatureCache
) -> list[Example]:
    """What is learned from: the tasks, split and domain of the settings, as far as there are
    features.
    """
    tasks = TASKS if config.texts else ("qa",)
    examples = [
        e
        for e in train_examples(source, config.split)
        if e.task in tasks and e.scene.startswith(config.domain) and e.scene in features
    ]
    if not examples:
        raise InputError(
            f"{config.corpus} has no examples of split {config.split} and domain "
            f"{config.domain or 'any'} whose features are in {config.cache}"
        )
    if config.align_steps and not any(features.objects[e.scene] for e in examples):
        raise InputError(
            f"nothing is known about the objects of the scenes in {config.cache}, so that tokens "
            "cannot be aligned with words; pass --align-steps 0"
        )
    return examples

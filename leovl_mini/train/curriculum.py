"""The stages of training as commands run them: which examples, which tokens, which loss, how many
steps.
"""

import functools
import zlib
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState

from leovl_mini.config import get_preset
from leovl_mini.data.examples import Example
from leovl_mini.data.files import hardware
from leovl_mini.data.samples import is_bundled
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.lora import add_lora
from leovl_mini.model.symbols import Symbols, simulate_grid, tokens_as_symbols
from leovl_mini.rooms.dataset import RoomDataset
from leovl_mini.rooms.symbolic import SymbolicRooms
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.base import without_pictures
from leovl_mini.tokens.cache import FeatureCache
from leovl_mini.train.batches import SceneQADataset
from leovl_mini.train.checkpoints import start_from
from leovl_mini.train.loop import train_steps
from leovl_mini.train.losses import alignment_loss, question_only_loss, symbolic_loss, tuning_loss
from leovl_mini.train.runlog import RunLog, progress_file, scorer, watched

UNSEEN_IN_WORDS = (
    "length",
    "distance",
    "room size",
)  # a symbolic token has a middle and a height, but no width


# To look up a word is learned soon, to select, count and compare late: most questions of the first
# stage ask for that.
HARD = {
    **dict.fromkeys(("contents on", "contents under", "contents inside"), 6.0),
    **{
        "count": 4.0,
        "taller": 2.0,
        "nearest": 2.0,
        "place": 1.5,
        "coordinates": 0.7,
        "existence": 1.0,
        "colour": 0.3,
    },
    **dict.fromkeys(("pattern", "state", "height"), 0.2),
    "situated": 0.3,  # hardly ever learned
}


TASKS = ("object captioning", "scene captioning", "qa", "planning", "dialogue")


LISTED = 0.2  # share of the rooms with lists or shorthand, twice as many on paper


WEIGHTS = {
    "qa": 1.0,
    "object captioning": 0.15,
    "scene captioning": 0.5,
    "planning": 0.25,
    "dialogue": 0.25,
}


WEIGHTS |= {
    kind: weight**0.5 for kind, weight in HARD.items()
}  # less so where there is something to see


def symbolic(
    layouts: Path,
    out: Path,
    steps: int = 1800,
    seed: int = 0,
    quiet: bool = False,
    watch: int = 16,
    rooms: int = 16,
    start: Path | None = None,
    texts: float = 0.0,
) -> dict:
    """Stage 1: rooms made of words; lists, then short questions, lists and shorthand. ``start``: a
    checkpoint or weights that can look up. ``texts``: in that share of the rooms, captions, plans
    and dialogues. ``watch``: validation rooms asked about every 200 steps; ``rooms`` a step, four
    times as many where only tallies are asked for. Runs on the GPU where there is one.
    """
    torch.manual_seed(seed)
    model, paper = (
        LeoVL("nano", seed=seed).to(PartialState(cpu=not torch.cuda.is_available()).device),
        SymbolicRooms(layouts),
    )
    if start:
        start_from(model, start)
    examples = [e for e in paper.examples("train") if e.kind not in UNSEEN_IN_WORDS]
    if texts and all(e.task == "qa" for e in examples):
        raise InputError(
            f"{layouts} holds no texts; make new layouts with: leovl-mini train layouts --out FOLDER"
        )
    lessons = SceneQADataset(
        model,
        lambda name: without_pictures(name, paper.objects[name]),
        examples,
        kind="objects",
        rooms=rooms,
        budget=420,
        seed=seed,
        crowd=0 if start else steps // 3,
        lists=2 * LISTED,
        weights=WEIGHTS | HARD,
        texts=texts,
    )

    def shown(name: str) -> Symbols:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        return tokens_as_symbols(simulate_grid(paper.objects[name], rng), lessons.vocabulary)

    command = f"leovl-mini train symbolic LAYOUTS --steps {steps} --seed {seed}" + (
        f" --rooms {rooms}" if rooms != 16 else ""
    )
    command += (f" --start {start.name}" if start else "") + (f" --texts {texts}" if texts else "")
    asked = watched(paper.examples("val"), watch, kinds_left_out=UNSEEN_IN_WORDS)
    progress = RunLog(progress_file(out), scorer(asked, shown), {"command": command})
    options = {"rate": 2e-3, "warmup": 30, "quiet": quiet, "per": "token", "muon": True}
    return run_stage(model, lessons, steps, symbolic_loss, out, progress, **options)


def tune(
    corpus: Path,
    cache: Path,
    out: Path,
    start: Path | None = None,
    steps: int = 1000,
    align: int = 3000,
    blind: bool = False,
    seed: int = 0,
    quiet: bool = False,
    preset: str = "nano",
    lora: int = 0,
    accumulate: int = 1,
    split: str = "train",
    domain: str = "",
    watch: int = 16,
    per: str = "token",
    everyday: float = 0.0,
    in_words: float = 0.0,
    texts: bool = True,
    lists: float = LISTED,
    bf16: bool = False,
) -> dict:
    """Stage 2, ``align`` steps: the projector learns the words of what its tokens show, without the
    language model. Stage 3: all tasks, everything trained; with ``lora``, of the language model
    only an adapter of that rank. ``blind``: the same questions about empty scenes, the control.
    ``split`` and ``domain`` ("" = all four) choose the examples; rooms, words and rate of a step
    are the preset's; ``per`` and ``in_words``: see ``tuning_loss``; ``everyday``: the share of
    questions in the shortest words; ``lists``: the share of rooms with lists or shorthand; without
    ``texts``, the others have short questions only; ``bf16``: see ``train_steps``. Runs on the GPU
    where there is one.
    """
    torch.manual_seed(seed)
    features, tuning = FeatureCache(cache), get_preset(preset)["tuning"]
    check_features_match(features, preset)
    model = LeoVL(preset, features.options["channels"], seed, features.options["tokens"])
    if lora:
        add_lora(model, lora, seed)
    model.to(PartialState(cpu=not torch.cuda.is_available()).device)
    if start:
        start_from(model, start)
    rooms = RoomDataset(corpus)
    examples = [
        e
        for e in taught(rooms, split)
        if e.task in (TASKS if texts else ("qa",)) and e.scene.startswith(domain)
    ]
    examples = [e for e in examples if e.scene in features]
    if not examples:
        raise InputError(
            f"{corpus} has no examples of split {split} and domain {domain or 'any'} whose features are in {cache}"
        )
    size = {"rooms": tuning["rooms"], "budget": tuning["budget"]}
    lessons = SceneQADataset(
        model,
        features.scene,
        examples,
        **size,
        seed=seed,
        weights=WEIGHTS,
        lists=lists,
        everyday=everyday,
    )
    asked = [e for e in watched(rooms.examples("val"), watch, domain) if e.scene in features]
    command = (
        f"leovl-mini train tune CORPUS --cache CACHE --steps {steps} --align {align} --seed {seed}"
    )
    command += (f" --preset {preset}" if preset != "nano" else "") + (
        f" --lora {lora}" if lora else ""
    )
    command += (f" --split {split}" if split != "train" else "") + (
        f" --domain {domain}" if domain else ""
    )
    command += (f" --start {start.name}" if start else "") + (" --blind" if blind else "")
    command += (f" --per {per}" if per != "token" else "") + (
        f" --everyday {everyday}" if everyday else ""
    )
    command += (f" --in-words {in_words}" if in_words else "") + ("" if texts else " --no-texts")
    command += (f" --lists {lists}" if lists != LISTED else "") + (" --bf16" if bf16 else "")
    made = {"command": command, "corpus": rooms.command()}
    progress = RunLog(
        progress_file(out),
        scorer(asked, lambda name: None if blind else features.scene(name).tokens),
        made,
    )
    muon = not (
        lora or model.is_original
    )  # not for adapters, whose factors are no layers of their own, nor for pre-trained weights
    if align and not blind and not out.exists():
        pictures = SceneQADataset(
            model, features.scene, examples, rooms=2 * tuning["rooms"], budget=1, seed=seed
        )  # nothing is asked
        train_steps(
            model, pictures, align, alignment_loss, rate=3e-3, quiet=quiet, bf16=bf16, muon=muon
        )
    options = {
        "rate": tuning["rate"],
        "accumulate": accumulate,
        "quiet": quiet,
        "per": per,
        "bf16": bf16,
        "muon": muon,
    }
    loss = functools.partial(
        question_only_loss if blind else tuning_loss, per=per, in_words=in_words
    )
    return run_stage(model, lessons, steps, loss, out, progress, **options)


def taught(rooms: RoomDataset, split: str) -> list[Example]:
    """The examples of a split, without the rooms that travel with the package: those stay unseen."""
    return [e for e in rooms.examples(split) if not is_bundled(e.scene)]


def check_features_match(features: FeatureCache, preset: str) -> None:
    """A cache must hold what the preset's encoder sees, in the preset's tokens."""
    settings, kind = get_preset(preset), features.options["tokens"]
    wanted = {
        "encoder": settings["encoder"],
        "longest_side": settings["longest_side"],
        "options": settings["tokens"].get(kind, {}),
    }
    wrong = [
        f"{k.replace('_', ' ')} {features.options[k]}, not {v}"
        for k, v in wanted.items()
        if features.options[k] != v
    ]
    if wrong:
        remedy = f"make another with: leovl-mini train features CORPUS --preset {preset} --tokens {kind} --out FOLDER"
        raise InputError(
            f"the features in {features.folder} do not fit preset {preset} ({'; '.join(wrong)}); {remedy}"
        )


def run_stage(
    model: LeoVL, lessons: SceneQADataset, steps: int, loss, out: Path, progress: RunLog, **options
) -> dict:
    """Train, and write the finished weights beside the checkpoint, with a note of how they were
    made, and the curves.
    """
    if PartialState().is_main_process:
        progress.write({})  # from the first checkpoint on, it is known whose it is
    history = train_steps(
        model, lessons, steps, loss, checkpoint=out, watch=progress.watch, **options
    )
    last = sum(history[-50:]) / len(history[-50:])
    made = {
        **progress.made,
        "steps": steps,
        "loss": round(last, 3),
        "hardware": hardware(),
        "minutes": progress.minutes(),
    }
    if PartialState().is_main_process:
        model.made = made
        model.save_pretrained(out.with_name(f"{out.stem}.weights"))
        progress.write({**made, "losses": [round(v, 4) for v in history]})
    return made

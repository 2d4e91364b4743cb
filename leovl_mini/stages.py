"""The stages of training as commands run them: which examples, which tokens, which loss, how many
steps.
"""

import functools
import json
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState

from leovl_mini.checkpoints import restore, save_weights
from leovl_mini.data import FeatureCache, described
from leovl_mini.evaluate import predict, summarise
from leovl_mini.examples import Example
from leovl_mini.files import finished_files
from leovl_mini.layouts import Layouts
from leovl_mini.lessons import Lessons, moved
from leovl_mini.lora import add_lora
from leovl_mini.model import LeoVL
from leovl_mini.presets import get_preset
from leovl_mini.report import hardware
from leovl_mini.rooms.corpus import Corpus
from leovl_mini.samples import is_bundled
from leovl_mini.scene import CaptureError
from leovl_mini.symbolic import Symbols, on_paper, tokens_as_symbols
from leovl_mini.tokens import SceneTokens
from leovl_mini.training import alignment_loss, blind_loss, symbolic_loss, train_steps, tuning_loss

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
        Layouts(layouts),
    )
    if start:
        restore(start, model)
    examples = [e for e in paper.examples("train") if e.kind not in UNSEEN_IN_WORDS]
    if texts and all(e.task == "qa" for e in examples):
        raise CaptureError(
            f"{layouts} holds no texts; make new layouts with: leovl-mini train layouts --out FOLDER"
        )
    lessons = Lessons(
        model,
        lambda name: described(name, paper.objects[name]),
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
        return tokens_as_symbols(on_paper(paper.objects[name], rng), lessons.vocabulary)

    command = f"leovl-mini train symbolic LAYOUTS --steps {steps} --seed {seed}" + (
        f" --rooms {rooms}" if rooms != 16 else ""
    )
    command += (f" --start {start.name}" if start else "") + (f" --texts {texts}" if texts else "")
    asked = watched(paper.examples("val"), watch, kinds_left_out=UNSEEN_IN_WORDS)
    progress = Progress(progress_file(out), scorer(asked, shown), {"command": command})
    options = {"rate": 2e-3, "warmup": 30, "quiet": quiet, "per": "token", "muon": True}
    return timed(model, lessons, steps, symbolic_loss, out, progress, **options)


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
    refuse_other_features(features, preset)
    model = LeoVL(preset, features.options["channels"], seed, features.options["tokens"])
    if lora:
        add_lora(model, lora, seed)
    model.to(PartialState(cpu=not torch.cuda.is_available()).device)
    if start:
        restore(start, model)
    rooms = Corpus(corpus)
    examples = [
        e
        for e in taught(rooms, split)
        if e.task in (TASKS if texts else ("qa",)) and e.scene.startswith(domain)
    ]
    examples = [e for e in examples if e.scene in features]
    if not examples:
        raise CaptureError(
            f"{corpus} has no examples of split {split} and domain {domain or 'any'} whose features are in {cache}"
        )
    size = {"rooms": tuning["rooms"], "budget": tuning["budget"]}
    lessons = Lessons(
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
    progress = Progress(
        progress_file(out),
        scorer(asked, lambda name: None if blind else features.scene(name).tokens),
        made,
    )
    muon = not (
        lora or model.original
    )  # not for adapters, whose factors are no layers of their own, nor for pre-trained weights
    if align and not blind and not out.exists():
        pictures = Lessons(
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
    loss = functools.partial(blind_loss if blind else tuning_loss, per=per, in_words=in_words)
    return timed(model, lessons, steps, loss, out, progress, **options)


def taught(rooms: Corpus, split: str) -> list[Example]:
    """The examples of a split, without the rooms that travel with the package: those stay unseen."""
    return [e for e in rooms.examples(split) if not is_bundled(e.scene)]


def progress_file(out: Path) -> Path:
    return out.with_name(f"{out.stem}.progress.json")


def refuse_other_features(features: FeatureCache, preset: str) -> None:
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
        raise CaptureError(
            f"the features in {features.folder} do not fit preset {preset} ({'; '.join(wrong)}); {remedy}"
        )


class Progress:
    """The curves of a run, in a JSON file: losses, minutes, and what ``score`` says of the model
    now and then. ``made``: by which command; a run that another command began is not continued
    (files are told apart by name only).
    """

    def __init__(self, file: Path, score: Callable[[LeoVL], dict], made: dict[str, str]):
        before = json.loads(file.read_text()) if file.exists() else {"scores": [], "minutes": 0.0}
        if other := [f"{before[k]}, now {v}" for k, v in made.items() if before.get(k, v) != v]:
            raise CaptureError(
                f"{file} is of another run ({'; '.join(other)}); take another --out, or remove file and checkpoint"
            )
        self.file, self.score, self.made = file, score, made
        self.scores, self.before, self.start = (
            before["scores"],
            before["minutes"],
            time.perf_counter(),
        )

    def minutes(self) -> float:
        """Also those before an interruption."""
        return round(self.before + (time.perf_counter() - self.start) / 60, 1)

    def watch(self, model: LeoVL, step: int) -> None:
        self.scores = [r for r in self.scores if r["step"] < step]
        self.scores.append({"step": step, "minutes": self.minutes(), **self.score(model)})
        self.write({})

    def write(self, note: dict) -> None:
        with finished_files(self.file.parent) as partial:
            text = json.dumps(
                {**self.made, **note, "minutes": self.minutes(), "scores": self.scores}
            )
            (partial / self.file.name).write_text(text + "\n")


def scorer(
    examples: list[Example], shown: Callable[[str], SceneTokens | Symbols | None]
) -> Callable[[LeoVL], dict]:
    """{kind: score} of a model's answers to examples, whatever it is shown of their scenes; {}
    without examples.
    """
    scenes = {name: shown(name) for name in {e.scene for e in examples}}

    def score(model: LeoVL) -> dict:
        here = {name: scene and moved(scene, model.volume.device) for name, scene in scenes.items()}
        result = summarise(predict(model, here, examples), examples) if examples else {}
        return {kind: row["score"] for kind, row in result.items()}

    return score


def watched(
    examples: Iterable[Example], count: int, domain: str = "", kinds_left_out: tuple[str, ...] = ()
) -> list[Example]:
    """The short questions about so many rooms, of all domains."""
    some = [
        e
        for e in examples
        if e.task == "qa" and e.kind not in kinds_left_out and e.scene.startswith(domain)
    ]
    names = sorted(
        {e.scene for e in some}, key=lambda name: (int(name.split("_")[1].split("-")[0]), name)
    )[:count]
    return [e for e in some if e.scene in names]


def timed(
    model: LeoVL, lessons: Lessons, steps: int, loss, out: Path, progress: Progress, **options
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
        save_weights(
            model,
            out.with_name(f"{out.stem}.weights.safetensors"),
            {k: str(v) for k, v in made.items()},
        )
        progress.write({**made, "losses": [round(v, 4) for v in history]})
    return made

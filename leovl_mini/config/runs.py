"""The settings of everything that makes data, learns or scores: saved beside its results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from leovl_mini.config.command import at_least, shares
from leovl_mini.config.presets import Tokens, check_choices, get_preset

# -- data ------------------------------------------------------------------------------------------


@dataclass
class RoomsConfig:
    """Record many rooms, with all their questions, captions, plans and dialogues in balanced
    splits.
    """

    out: Path
    """Folder of the corpus; an interrupted one is continued."""
    rooms: int = 2000
    """Number of rooms, spread over the four domains."""
    views: int = 8
    """Frames of each room."""
    workers: int = 2
    """Processes."""
    pairs: float = 0.2
    """Share of rooms with minimally edited copies."""

    def __post_init__(self):
        at_least(1, self, "rooms", "views", "workers")
        shares(self, "pairs")


@dataclass
class SymbolicRoomsConfig:
    """Furnish rooms without pictures, with questions and texts: what stage 1 learns from."""

    out: Path
    """A new folder."""
    rooms: int = 8000
    """Number of rooms."""
    workers: int = 2
    """Processes."""

    def __post_init__(self):
        at_least(40, self, "rooms")
        at_least(1, self, "workers")


@dataclass
class FeaturesConfig:
    """Run perception once over a corpus and keep its scene tokens."""

    corpus: Positional[Path]
    """Folder written by leovl-mini rooms make."""
    out: Path
    """Folder of the feature cache; an interrupted one is continued."""
    preset: str = "nano"
    """nano, smol or qwen: encoder, token settings and language model."""
    tokens: Tokens = "grid"
    """Scene representation."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def __post_init__(self):
        check_choices(self.preset, self.device)


# -- training --------------------------------------------------------------------------------------


@dataclass
class SymbolicConfig:
    """Stage 1: learn to answer about symbolic scenes, whose tokens are words."""

    rooms: Positional[Path]
    """Folder written by leovl-mini rooms symbolic."""
    out: Path
    """Folder of the run; an interrupted one is continued."""
    start: Path | None = None
    """Run or weights that go on; without, random weights."""
    steps: int = 1800
    """Steps of the optimiser."""
    batch_size: int = 16
    """Scenes a step: more for a GPU."""
    text_share: float = 0.0
    """Share of scenes with captions, plans and dialogues instead of questions."""
    eval_scenes: int = 16
    """Validation scenes asked about every 200 steps, for the curves."""
    seed: int = 0
    """Another seed, other first weights and batches."""

    def __post_init__(self):
        at_least(1, self, "steps", "batch_size")
        at_least(0, self, "eval_scenes")
        shares(self, "text_share")


@dataclass
class TuneConfig:
    """Stages 2 and 3: align image tokens with words, then learn to answer about scenes that are
    seen.
    """

    corpus: Positional[Path]
    """Folder written by leovl-mini rooms make."""
    cache: Path
    """Folder written by leovl-mini train features."""
    out: Path
    """Folder of the run; an interrupted one is continued."""
    start: Path | None = None
    """Run or weights to start from; without, the preset's own."""
    preset: str = "nano"
    """nano, smol or qwen: encoder, token settings and language model."""
    lora: int = 0
    """Of the language model train only an adapter of this rank; 0: all of it."""
    align_steps: int = 3000
    """First so many steps of alignment, without the language model."""
    steps: int = 1000
    """Then so many steps of tuning."""
    question_only: bool = False
    """Train the control: the same questions, and no scene."""
    split: str = "train"
    """Which examples, such as skewed-train."""
    domain: str = ""
    """Only rooms of this domain: scannet, rscan, multiscan or arkitscenes; without, of all."""
    texts: bool = True
    """Also captions, plans and dialogues."""
    list_share: float = 0.2
    """Share of scenes with lists or short-form questions instead."""
    short_share: float = 0.0
    """Share of questions in their shortest phrasing."""
    symbolic_share: float = 0.0
    """Share of steps with symbolic scenes, oracle tokens of the same rooms."""
    reduction: Literal["token", "sequence"] = "token"
    """Average the loss over answer tokens (Proxy3D), or over answers (LEO)."""
    accumulate: int = 1
    """Read the scenes of a step in so many parts, to save memory."""
    bf16: bool = False
    """For GPUs, and CPUs with AMX or AVX512-BF16; slow on others."""
    eval_scenes: int = 16
    """Validation scenes asked about every 200 steps, for the curves."""
    seed: int = 0
    """Another seed, other first weights and batches."""

    def __post_init__(self):
        get_preset(self.preset)
        at_least(1, self, "steps", "accumulate")
        at_least(0, self, "align_steps", "lora", "eval_scenes")
        shares(self, "list_share", "short_share", "symbolic_share")


@dataclass
class PostTrainConfig:
    """Post-train weights so that they prefer right answers to wrong ones, and the right scene to a
    wrong one.
    """

    pairs: Positional[Path]
    """Pairs, such as the pairs.jsonl of leovl-mini reproduce post-training."""
    cache: Path
    """Folder written by leovl-mini train features."""
    start: Path
    """Weights to begin with, such as nano-d1."""
    out: Path
    """Folder of the run; an interrupted one is continued."""
    method: str = "scenedpo"
    """sft, "answer dpo", "no nll", scenedpo or grpo."""
    steps: int = 200
    """Steps of the optimiser."""
    learning_rate: float = 5e-4
    """The highest one."""
    beta: float = 0.5
    """How far from the start one nat counts, in both contrasts."""
    seed: int = 0
    """Another seed, other batches."""

    def __post_init__(self):
        at_least(1, self, "steps")


# -- scores ----------------------------------------------------------------------------------------


@dataclass
class EvaluateConfig:
    """Score short answers per kind, beside controls: no scene, the wrong scene, features on wrong
    places, no features.
    """

    weights: Positional[Path | None] = None
    """Run or weights; without, those of the package."""
    corpus: Path | None = None
    """A corpus; without one, the eight unseen rooms of the package."""
    cache: Path | None = None
    """The corpus's features, made by leovl-mini train features."""
    split: str = "val"
    """Which examples; keep test for the end."""
    scenes: int = 200
    """At most so many scenes."""
    question_only: Path | None = None
    """Weights of leovl-mini train tune --question-only, as another control."""
    text_scenes: int = 0
    """Also score the captions, plans and dialogues of so many scenes."""
    write: Path | None = None
    """Also write all scores with intervals to this JSON file."""

    def __post_init__(self):
        at_least(1, self, "scenes")
        at_least(0, self, "text_scenes")


@dataclass
class ComparisonConfig:
    """Post-train by every method, each with every seed, and compare: in the domain, outside it, and
    whether they look.
    """

    corpus: Positional[Path]
    """Folder written by leovl-mini rooms make."""
    cache: Path
    """Folder written by leovl-mini train features."""
    start: Path
    """Weights to begin with, such as nano-d1."""
    out: Path
    """Folder for pairs, runs and the table; an interrupted experiment is continued."""
    methods: tuple[str, ...] = ("baseline", "sft", "answer dpo", "no nll", "scenedpo", "grpo")
    """What is compared; baseline is the start."""
    seeds: int = 3
    """So many runs of every method."""
    steps: int = 200
    """Steps of the optimiser."""
    learning_rate: float = 5e-4
    """The highest one."""
    beta: float = 0.5
    """How far from the start one nat counts, in both contrasts."""
    questions: int = 200
    """At most so many for each set of questions."""
    domain: str = "scannet"
    """The only domain that is learned from."""
    split: str = "skewed-train"
    """The examples that are learned from."""

    def __post_init__(self):
        at_least(1, self, "seeds", "steps")
        at_least(3, self, "questions")

"""The settings of commands that show, convert or measure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from leovl_mini.config.command import at_least
from leovl_mini.config.presets import Tokens, check_choices

Domain = Literal["scannet", "rscan", "multiscan", "arkitscenes"]


FileFormat = Literal["plain", "scannet", "rscan", "multiscan", "arkitscenes"]


Axis = Literal["x", "y", "z", "-x", "-y", "-z"]


# -- a scene ---------------------------------------------------------------------------------------


@dataclass
class SceneConfig:
    """Turn a capture into points, voxels and scene tokens; print a table and write pictures of
    every stage.
    """

    path: Positional[Path | None] = None
    """Folder of a capture; without, a bundled room."""
    out: Path = Path("output/scene")
    """Folder for points.ply, overview.png and scene.html."""
    questions: int = 0
    """Also ask so many of the room's own questions, as bundled rooms have them."""
    max_frames: int = 40
    """Use at most this many frames."""
    choose: Literal["spread", "overlap"] = "spread"
    """Frames evenly along the path, or by greedy view coverage."""
    up: Axis | None = None
    """The world's up axis; by default read from the files or estimated."""
    preset: str = "nano"
    """nano, smol or qwen: encoder, token settings and language model."""
    tokens: Tokens = "grid"
    """Scene representation."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def __post_init__(self):
        check_choices(self.preset, self.device)
        at_least(1, self, "max_frames")
        at_least(0, self, "questions")


@dataclass
class AskConfig:
    """Put a question to the language model, with the scene's tokens in front of it."""

    path: Positional[Path | None] = None
    """Folder of a capture; without, a bundled room."""
    question: Positional[str] = "Is there a table?"
    """What you want to know about the room."""
    max_frames: int = 40
    """Use at most this many frames."""
    choose: Literal["spread", "overlap"] = "spread"
    """Frames evenly along the path, or by greedy view coverage."""
    up: Axis | None = None
    """The world's up axis; by default read from the files or estimated."""
    preset: str = "nano"
    """nano, smol or qwen: encoder, token settings and language model."""
    tokens: Tokens = "grid"
    """Scene representation."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    weights: Path | None = None
    """Your own run or weights; their preset and representation count."""
    talk: bool = False
    """Then go on, a question a line; an empty line ends."""

    def __post_init__(self):
        check_choices(self.preset, self.device)
        at_least(1, self, "max_frames")


# -- rooms and what is made of them ----------------------------------------------------------------


@dataclass
class RoomTableConfig:
    """Count a split's examples per task and domain, and what can be answered without looking."""

    corpus: Positional[Path]
    """Folder written by leovl-mini rooms make."""
    split: str = "train"
    """Which examples."""
    write: Path | None = None
    """Also write the tables to this Markdown file."""


@dataclass
class ExportConfig:
    """Record one room and write it as a capture, in the plain file format or in that of a real data
    set.
    """

    out: Path
    """New folder for the room."""
    number: int = 1
    """Another number, another room."""
    domain: Domain = "scannet"
    """The capture style."""
    format: FileFormat = "plain"
    """File format; plain also holds instance masks and objects."""
    views: int = 8
    """Frames."""

    def __post_init__(self):
        at_least(0, self, "number")
        at_least(1, self, "views")


@dataclass
class SamplesConfig:
    """Write the rooms that travel with the package: two of every domain, with their examples."""

    out: Path
    """New folder for the rooms."""


@dataclass
class FeatureSampleConfig:
    """Take a few rooms out of a feature cache, with their examples, to train on a laptop."""

    corpus: Positional[Path]
    """Folder written by leovl-mini rooms make."""
    cache: Path
    """The corpus's features, made by leovl-mini train features."""
    out: Path
    """A new folder."""
    train: int = 24
    """So many training rooms."""
    val: int = 8
    """So many validation rooms."""

    def __post_init__(self):
        at_least(1, self, "train", "val")


@dataclass
class TokenizerConfig:
    """Learn nano's tokens from the training texts of a corpus."""

    corpus: Positional[Path]
    """Folder written by leovl-mini rooms make."""
    out: Path
    """The JSON file to write."""


@dataclass
class CardConfig:
    """Export weights under a name, with a model card."""

    weights: Positional[Path]
    """Run or weights written by leovl-mini train."""
    name: Positional[str]
    """The name they shall have."""
    out: Path = Path("data_samples/weights")
    """Folder for the weights and their card."""
    about: str = ""
    """A sentence that says what they are for."""
    scores: Path | None = None
    """Scores written by leovl-mini evaluate --write."""


# -- measurements and the course -------------------------------------------------------------------


@dataclass
class HeightConfig:
    """Which of two stacked parcels is on top, from one pillar token, with height RoPE or not?"""

    write: Path | None = None
    """Also write the table to this Markdown file."""
    stacks: int = 800
    """Pairs of stacks that are rendered."""
    seed: int = 0
    """Another seed, other stacks."""

    def __post_init__(self):
        at_least(1, self, "stacks")


@dataclass
class TokenCountsConfig:
    """Count the patches, voxels and pillars of many rooms."""

    corpus: Positional[Path]
    """Folder written by leovl-mini rooms make."""
    scenes: int = 800
    """How many rooms to count."""
    write: Path | None = None
    """Also write the counts of every room to this JSON file."""

    def __post_init__(self):
        at_least(1, self, "scenes")


@dataclass
class GrowthConfig:
    """Measure how time and memory grow with frames and budgets."""

    write: Path
    """The JSON file to write."""


@dataclass
class BenchConfig:
    """Time the stages on this machine; exit with 1 where an aim is missed."""

    seconds: float = 2.0
    """Time for each row; the median of its calls counts."""

    def __post_init__(self):
        at_least(0.1, self, "seconds")


@dataclass
class CourseConfig:
    """Execute all notebooks in quick mode and write them as HTML pages."""

    out: Path = Path("output/course")
    """Folder for the executed notebooks and HTML pages."""
    refresh: bool = False
    """Instead, renew the outputs inside the notebooks themselves."""
    notebooks: Path = Path("notebooks")
    """The folder of the notebooks."""

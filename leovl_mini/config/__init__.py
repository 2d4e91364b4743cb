"""Every setting, once: presets, and one dataclass for each command.

A command's options are the fields of its dataclass, and what is under a field is the option's help
(tyro). The same object is what the function behind the command takes, and what is saved beside its
results. Nothing here imports anything of the package.
"""

from leovl_mini.config.command import command_of, settings_of
from leovl_mini.config.presets import PRESETS, Preset, get_preset, pick_device
from leovl_mini.config.runs import (
    ComparisonConfig,
    EvaluateConfig,
    FeaturesConfig,
    PostTrainConfig,
    RoomsConfig,
    SymbolicConfig,
    SymbolicRoomsConfig,
    TuneConfig,
)
from leovl_mini.config.tools import (
    AskConfig,
    BenchConfig,
    CardConfig,
    CourseConfig,
    ExportConfig,
    FeatureSampleConfig,
    GrowthConfig,
    HeightConfig,
    RoomTableConfig,
    SamplesConfig,
    SceneConfig,
    TokenCountsConfig,
    TokenizerConfig,
)

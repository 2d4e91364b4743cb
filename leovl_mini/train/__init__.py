"""How does it learn? Batches, losses, the loop, the stages."""

from leovl_mini.train.batches import SceneQADataset, to_device
from leovl_mini.train.curriculum import STAGES, symbolic, tune
from leovl_mini.train.grpo import on_policy_answers
from leovl_mini.train.loop import LoopSettings, rate_at, train_steps
from leovl_mini.train.pairs import TYPES, is_wrong, make_pairs, refuted
from leovl_mini.train.post_train import post_train

__all__ = [
    "STAGES",
    "TYPES",
    "LoopSettings",
    "SceneQADataset",
    "is_wrong",
    "make_pairs",
    "on_policy_answers",
    "post_train",
    "rate_at",
    "refuted",
    "symbolic",
    "to_device",
    "train_steps",
    "tune",
]

"""Ask a model about a scene: from a folder of frames to an answer in one call.

Explained in notebook 00 (overview).
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from leovl_mini.config import PRESETS
from leovl_mini.model.hub import is_shipped
from leovl_mini.model.leovl import LeoVL
from leovl_mini.scans.load import load_scene
from leovl_mini.scans.scene import Scene
from leovl_mini.tokens.base import SceneInput, SceneTokens
from leovl_mini.tokens.pipeline import perceive


@dataclass
class Answer:
    """``trained`` is False as long as the bridge from scene to language has not been trained: the
    words then mean nothing.
    """

    text: str
    trained: bool

    def __str__(self) -> str:
        return self.text if self.trained else f"[untrained] {self.text}"


def load_model(
    name: str = "nano",
    tokens: str = "grid",
    channels: int = 152,
    device: str | torch.device = "cpu",
) -> LeoVL:
    """Trained weights by name or path, see ``from_pretrained``; of a preset and representation for
    which none travel with the package, the untrained model, whose answers say so.
    """
    is_preset = name in PRESETS
    if is_preset and (tokens != "grid" or not is_shipped(name)):
        return LeoVL(name, channels, tokens=tokens).to(device).eval()
    return LeoVL.from_pretrained(name, device)


def ask(
    scene: str | Path | Scene | SceneInput | SceneTokens,
    question: str,
    model: str | LeoVL = "nano",
    max_new_tokens: int = 96,
) -> Answer:
    """The answer to a question about a scene: the folder of a capture, a scene that is loaded, or
    its tokens. ``model``: a model, or a name, see ``load_model``.
    """
    if isinstance(model, str):
        model = load_model(model)
    if isinstance(scene, str | Path):
        scene = load_scene(scene)
    if isinstance(scene, Scene):
        scene = perceive(scene.to(model.device), model.representation, preset=model.preset)
    tokens = scene.tokens if isinstance(scene, SceneInput) else scene
    return Answer(model.generate(tokens, [question], max_new_tokens)[0], model.trained)

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
from leovl_mini.scans.scene import InputError, Scene
from leovl_mini.tokens.base import SceneInput, SceneTokens
from leovl_mini.tokens.pipeline import perceive, preset_encoder


@dataclass
class Answer:
    """``trained`` is False as long as the bridge from scene to language has not been trained: the
    text then says nothing about the scene.
    """

    text: str
    trained: bool

    def __str__(self) -> str:
        return self.text if self.trained else f"[untrained] {self.text}"


def load_model(
    name: str = "nano",
    tokens: str = "grid",
    channels: int | None = None,
    device: str | torch.device = "cpu",
) -> LeoVL:
    """Trained weights by name or path, see ``from_pretrained``. For a preset and representation
    without weights in the package: the untrained model, whose answers say so, for an encoder of
    ``channels`` (None: the preset's).
    """
    is_preset = name in PRESETS
    if is_preset and (tokens != "grid" or not is_shipped(name)):
        channels = channels or preset_encoder(name, device).channels
        return LeoVL(name, channels, tokens=tokens).to(device).eval()
    return LeoVL.from_pretrained(name, device)


def ask(
    scene: str | Path | Scene | SceneInput | SceneTokens,
    question: str,
    model: str | LeoVL = "nano",
    max_new_tokens: int = 96,
) -> Answer:
    """The answer to a question about a scene: the folder of a capture, a scene that is loaded, or
    its tokens. ``model``: a model, or a name, see ``load_model``. ``InputError`` where the tokens
    are of another kind than the model's.
    """
    if isinstance(model, str):
        model = load_model(model)
    if isinstance(scene, str | Path):
        scene = load_scene(scene)
    if isinstance(scene, Scene):
        scene = perceive(scene.to(model.device), model.representation, preset=model.preset)
    if isinstance(scene, SceneInput):
        if scene.kind != model.representation.kind:
            raise InputError(
                f"the scene has {scene.kind} tokens, but the model was made for "
                f"{model.representation.kind} tokens; call perceive with model.representation"
            )
        scene = scene.tokens
    return Answer(model.generate(scene, [question], max_new_tokens)[0], model.trained)

"""LeoVL: scene tokens and a question in, an answer out."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leovl_mini.geometry import Patches
from leovl_mini.language import load_language
from leovl_mini.presets import get_preset
from leovl_mini.prompts import build_prompt
from leovl_mini.tokens import SceneTokens, representation


@dataclass
class Answer:
    """``trained`` is False as long as the bridge from scene to language has not been trained: the words then mean nothing."""

    text: str
    trained: bool

    def __str__(self) -> str:
        return self.text if self.trained else f"[untrained] {self.text}"


class LeoVL(nn.Module):
    """Representation (patches to tokens), projector (C to D), language model. ``channels`` is the encoder's C.

    ``tokens`` is the name of the scene representation: patches, voxels, grid, proxies or objects.
    """

    def __init__(self, preset: str = "nano", channels: int = 152, seed: int = 0, tokens: str = "grid"):
        super().__init__()
        settings = get_preset(preset)
        with torch.random.fork_rng():  # the same seed gives the same weights, whatever was drawn before
            torch.manual_seed(seed)
            language = load_language(settings["language"])
            torch.manual_seed(seed)  # again: loading a language model may or may not have drawn numbers
            cells = {"voxel_size": settings["voxel_size"], "budget": settings["budget"]}
            self.representation = representation(tokens, channels, **(cells if tokens in ("voxels", "grid") else {}))
            width = language.width
            self.projector = nn.Sequential(
                nn.LayerNorm(channels), nn.Linear(channels, width), nn.GELU(), nn.Linear(width, width), nn.RMSNorm(width)
            )
        self.language, self.tokenizer = language.model, language.tokenizer
        self.prompt_style = settings["prompt"]
        self.trained = False
        # Scene tokens start as loud as words; otherwise attention ignores them, or hears nothing else.
        embeddings = self.language.get_input_embeddings().weight
        nn.init.constant_(self.projector[-1].weight, float(embeddings.detach().square().mean().sqrt()))

    def scene_tokens(self, patches: Patches) -> SceneTokens:
        """Lifted patches (P,C) to scene tokens (K,C)."""
        return self.representation(patches)

    def embed(self, tokens: SceneTokens, question: str) -> Float[Tensor, "1 T D"]:
        """The sequence the language model reads: prompt words, projected scene tokens, question words."""
        before, after = (self.embed_text(text) for text in build_prompt(question, self.prompt_style))
        return torch.cat([before, self.projector(tokens.features).to(before.dtype), after])[None]

    def embed_text(self, text: str) -> Float[Tensor, "T D"]:
        embeddings = self.language.get_input_embeddings()
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids[0]
        return embeddings(ids.to(embeddings.weight.device))

    @torch.no_grad()
    def generate(self, tokens: SceneTokens, question: str, max_new_tokens: int = 32, use_cache: bool = True) -> Answer:
        """Greedy answer. ``use_cache`` keeps keys and values of earlier tokens instead of recomputing them at every step."""
        sequence = self.embed(tokens, question)
        ids = self.language.generate(
            inputs_embeds=sequence,
            attention_mask=sequence.new_ones(sequence.shape[:2], dtype=torch.long),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            use_cache=use_cache,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        return Answer(self.tokenizer.decode(ids[0], skip_special_tokens=True).strip(), self.trained)

"""LeoVL: scene tokens and a question in, an answer out (LEO-VL, arXiv 2506.09935).

Explained in notebook 06 (scene to language).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float, Int64
from torch import Tensor, nn

from leovl_mini.config import get_preset
from leovl_mini.data.examples import Example
from leovl_mini.model import hub, nano
from leovl_mini.model.generation import generate_ids
from leovl_mini.model.language import load_language
from leovl_mini.model.packing import pack
from leovl_mini.model.prompts import Turn, before_scene, encode
from leovl_mini.model.symbols import Symbols
from leovl_mini.tokens import representation
from leovl_mini.tokens.base import SceneTokens
from leovl_mini.tokens.positions import position_embedding


class LeoVL(nn.Module, PyTorchModelHubMixin):
    """Scene representation, projector, position embedding, language model.

    ``channels``: the encoder's width C. ``tokens``: the scene representation (patches, voxels,
    grid, proxies or objects), which pools features in width C and has no parameters. The projector
    takes pooled features to the language model's width D, where the position embedding is added.
    ``hidden_dim``: the width of the projector's hidden layers; 0: 512, or D where that is more
    (ours).
    """

    def __init__(
        self,
        preset: str = "nano",
        channels: int = 152,
        seed: int = 0,
        tokens: str = "grid",
        hidden_dim: int = 0,
    ):
        super().__init__()
        settings = get_preset(preset)
        self.preset, self.channels, self.prompt_style = preset, channels, settings.prompt
        self.representation = representation(tokens, **settings.options(tokens))
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # the same seed, the same weights, whatever was drawn before
            language = load_language(settings.language)
            torch.manual_seed(seed)  # again: loading may or may not have drawn numbers
            self.position = position_embedding(tokens, language.width)
            self.projector = projector(
                channels, hidden_dim or max(512, language.width), language.width
            )
        self.language, self.tokenizer = language.model, language.tokenizer
        self.lora = 0  # the rank of the adapter
        self.is_original = language.pretrained  # its weights are those that the preset gives
        self.trained = False
        self.made: dict = {}  # how the weights were made: command, settings, seed, hardware ...
        # Scene tokens start at the root mean square (RMS) of word embeddings. Every layer adds its
        # output to them: of much smaller ones little would remain, much larger ones hardly change.
        words = self.language.get_input_embeddings().weight.detach().float()
        self.scene_scale = nn.Parameter(words.square().mean().sqrt())
        # What is ours for the tiny language model, see nano.py.
        self.is_nano = not language.pretrained
        self.token_shift = nn.Parameter(torch.tensor(0.5)) if self.is_nano else None

    @property
    def device(self) -> torch.device:
        return self.scene_scale.device

    # -- from scenes and words to embeddings -------------------------------------------------------

    def project(self, scenes: Sequence[SceneTokens | Symbols]) -> Float[Tensor, "K D"]:
        """The content of all tokens of all scenes, without position and scale: projected features,
        or sums of word embeddings.
        """
        if isinstance(scenes[0], Symbols):
            words = torch.cat([s.words for s in scenes])
            table = self.language.get_input_embeddings()
            return (table(words.clamp(min=0)) * (words >= 0)[..., None]).sum(1) / self.scene_scale
        return self.projector(torch.cat([s.features for s in scenes]))

    def embed_scenes(self, scenes: Sequence[SceneTokens | Symbols]) -> list[Float[Tensor, "K D"]]:
        """What the language model reads in the place of each scene: content plus position, at the
        scale of words.
        """
        content = self.project(scenes)
        embedded = self.scene_scale * (content + self.position(join(scenes, content)))
        if self.is_nano:
            embedded = nano.swap_halves(embedded)
        return list(embedded.split([len(s) for s in scenes]))

    def embed_points(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N D"]:
        """Points in the room (metres) as the language model reads them: position, no content."""
        source = torch.arange(len(points), device=points.device)
        tokens = SceneTokens(points[:, :0], points, source, points=points)
        return self.scene_scale * self.position(tokens)

    def embed_words(
        self, ids: Int64[Tensor, "N"], places: dict[int, tuple], starts: Sequence[int] = (0,)
    ) -> Float[Tensor, "N D"]:
        """Word embeddings, with a point added to each token that stands for one. ``places`` maps
        the index of a token to its point; texts begin at ``starts``.
        """
        words = self.language.get_input_embeddings()(ids)
        if self.token_shift is not None:
            words = nano.shift_tokens(words, self.token_shift, starts)
        if not places:
            return words
        index = torch.tensor(list(places), device=ids.device)
        points = torch.tensor(list(places.values()), dtype=torch.float32, device=ids.device)
        return words.index_add(0, index, self.embed_points(points).to(words.dtype))

    def position_ids(self, prompt: int, scene: int, words: int = 0) -> Int64[Tensor, "T"]:
        """The positions of the prompt, the scene tokens behind it, and the words behind them.
        Pre-trained models are used to counting on, as in the papers.
        """
        order = torch.arange(prompt + scene + words)
        return nano.share_scene_position(order, prompt, scene) if self.is_nano else order

    def prompt_ids(self) -> list[int]:
        """The tokens in front of the scene."""
        text = before_scene(self.prompt_style)
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def embed_prompt(self, scene: SceneTokens | Symbols | None) -> Float[Tensor, "T D"]:
        """The prompt and the scene behind it, if there is one."""
        words = self.embed_words(torch.tensor(self.prompt_ids(), device=self.device), {})
        if scene is None:
            return words
        return torch.cat([words, self.embed_scenes([scene])[0].to(words.dtype)])

    # -- learning and answering --------------------------------------------------------------------

    def forward(
        self, scenes: Sequence[SceneTokens | Symbols], turns: Sequence[Sequence[Turn]]
    ) -> tuple[Float[Tensor, "N"], Int64[Tensor, "N"]]:
        """Negative log-likelihood (nats) of each of the N answer tokens, and the number of the
        answer that it belongs to, counted over all ``turns`` of all ``scenes``.
        """
        if self.language.config._attn_implementation == "eager":
            raise ValueError(
                "eager attention adds masks of booleans instead of applying them; use sdpa"
            )
        packed = pack(self, scenes, turns)
        hidden = self.language.get_decoder()(
            inputs_embeds=packed.embeddings,
            attention_mask=packed.mask(),
            position_ids=packed.positions,
            use_cache=False,
        ).last_hidden_state
        is_answer = packed.is_answer[:, 1:]  # each position foretells the next token
        logits = self.language.get_output_embeddings()(hidden[:, :-1][is_answer]).float()
        losses = F.cross_entropy(logits, packed.ids[:, 1:][is_answer], reduction="none")
        row = torch.arange(len(is_answer), device=is_answer.device)[:, None].expand_as(is_answer)
        turn = row * (packed.segments.max() + 1) + packed.segments[:, 1:]
        return losses, turn[is_answer].unique(return_inverse=True)[1]

    def open_turn(self, question: str | Example) -> Turn:
        """The tokens of a question whose answer is still to be written."""
        if isinstance(question, str):
            question = Example("", "", "qa", "", question, [])
        return encode(question, self.tokenizer, self.prompt_style, answer=None)

    def generate(
        self,
        scene: SceneTokens | Symbols | None,
        questions: Sequence[str | Example],
        max_new_tokens: int = 32,
        temperature: float = 0.5,
    ) -> list[str]:
        """Answers to questions about one scene (None: about nothing), see ``generate_ids``."""
        if not questions:
            return []
        turns = [self.open_turn(question) for question in questions]
        answers = generate_ids(self, scene, turns, max_new_tokens, temperature)
        return [self.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in answers]

    # -- on disk -----------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, device: str | torch.device = "cpu", **hub_options
    ) -> "LeoVL":
        """Trained weights: the name of those that travel with the package (nano, nano-symbolic,
        nano-d1, nano-scenedpo), a folder or file written by ``save_pretrained`` or by training, or
        the name of a model on the hub (``hub_options``: revision, token, local_files_only ...).
        """
        return hub.load(cls, hub.find(name_or_path, **hub_options)).to(device).eval()

    def _save_pretrained(self, save_directory: Path) -> None:
        """Called by ``save_pretrained`` and ``push_to_hub`` of the mixin."""
        hub.save(self, Path(save_directory))


def projector(channels: int, hidden: int, width: int) -> nn.Sequential:
    """An MLP from features (K,C) to the language model's width (K,D); features of unit scale come
    out at unit scale.
    """
    mlp = nn.Sequential(
        nn.LayerNorm(channels),
        nn.Linear(channels, hidden),
        nn.GELU(),
        nn.Linear(hidden, hidden),
        nn.GELU(),
        nn.Linear(hidden, width),
    )
    for layer in mlp[3::2]:
        nn.init.normal_(layer.weight, std=2.3 / hidden**0.5)
    return mlp


def join(scenes: Sequence[SceneTokens | Symbols], content: Float[Tensor, "K D"]) -> SceneTokens:
    """Several scenes as one, with ``content`` for features: what position embeddings need."""
    sources, points, offset = [], [], 0
    for scene in scenes:
        source, point = torch.arange(len(scene), device=content.device), scene.centers
        if not isinstance(scene, Symbols) and scene.points is not None:  # voxels
            source, point = scene.source, scene.points
        sources.append(torch.where(source >= 0, source + offset, -1))
        points.append(point)
        offset += len(scene)
    centers = torch.cat([scene.centers for scene in scenes])
    return SceneTokens(content, centers, torch.cat(sources), points=torch.cat(points))

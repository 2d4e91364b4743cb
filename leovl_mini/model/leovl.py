"""LeoVL: scene tokens and a question in, an answer out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from leovl_mini.config import get_preset
from leovl_mini.data.examples import Example
from leovl_mini.model.language import load_language
from leovl_mini.model.prompts import Turn, before_scene, encode
from leovl_mini.model.symbols import Symbols
from leovl_mini.perception.lift import Patches
from leovl_mini.tokens import representation
from leovl_mini.tokens.base import SceneTokens

GREEDY_TOKENS = 16  # words of an answer that are never drawn by lot


@dataclass
class Answer:
    """``trained`` is False as long as the bridge from scene to language has not been trained: the
    words then mean nothing.
    """

    text: str
    trained: bool

    def __str__(self) -> str:
        return self.text if self.trained else f"[untrained] {self.text}"


@dataclass
class Packed:
    """B scenes with several turns each, as one batch of sequences of T positions: prompt, scene,
    turns.

    ``segments``: 0 = prompt and scene, n = the n-th turn, -1 = padding. A turn sees the prompt, the
    scene and itself.
    """

    embeddings: Float[Tensor, "B T D"]
    positions: Int64[Tensor, "B T"]
    segments: Int64[Tensor, "B T"]
    ids: Int64[Tensor, "B T"]  # -1 where there is no word
    learned: Bool[Tensor, "B T"]  # the words of answers

    def mask(self) -> Bool[Tensor, "B 1 T T"]:
        """Who sees whom: nothing later, no padding, no other turn."""
        query, key = self.segments[:, :, None], self.segments[:, None]
        causal = torch.ones(
            self.segments.shape[1], self.segments.shape[1], dtype=torch.bool, device=key.device
        ).tril()
        seen = causal & ((key == 0) | (key == query)) & (key >= 0)
        return (seen | torch.eye(len(causal), dtype=torch.bool, device=key.device))[
            :, None
        ]  # padding sees itself: no empty row


class LeoVL(nn.Module):
    """Projector (features C to the language model's width D), positions, language model.
    ``channels`` is the encoder's C.

    ``tokens`` is the name of the scene representation: patches, voxels, grid, proxies or objects.
    Its ``gather`` makes tokens of C channels; they are projected, and its ``place`` adds positions
    in width D. (The papers leave open on which side of the projector positions are added. On this
    side they mean the same in scenes made of words, see symbolic.py.) ``inner``: the width of the
    projector's hidden layers; 0: 512, or more for wider language models (ours).
    """

    def __init__(
        self,
        preset: str = "nano",
        channels: int = 152,
        seed: int = 0,
        tokens: str = "grid",
        inner: int = 0,
    ):
        super().__init__()
        settings = get_preset(preset)
        self.preset, self.kind, self.channels, self.prompt_style = (
            preset,
            tokens,
            channels,
            settings["prompt"],
        )
        with (
            torch.random.fork_rng()
        ):  # the same seed gives the same weights, whatever was drawn before
            torch.manual_seed(seed)
            language = load_language(settings["language"])
            torch.manual_seed(
                seed
            )  # again: loading a language model may or may not have drawn numbers
            width = language.width
            self.representation = representation(
                tokens, width, **settings["tokens"].get(tokens, {})
            )
            inner = inner or max(512, width)
            self.projector = nn.Sequential(
                *(nn.LayerNorm(channels), nn.Linear(channels, inner), nn.GELU()),
                *(nn.Linear(inner, inner), nn.GELU(), nn.Linear(inner, width)),
            )
            for layer in self.projector[3::2]:
                nn.init.normal_(
                    layer.weight, std=2.3 / inner**0.5
                )  # features of unit scale come out at unit scale
        self.language, self.tokenizer = language.model, language.tokenizer
        self.lora, self.original = (
            0,
            language.pretrained,
        )  # the adapter's rank; whether the preset alone gives the language weights
        self.trained = False
        # nano hears of things seen in the same vectors as of things said, halves exchanged: see
        # language.attentive.
        self.dialect = 0 if language.pretrained else width // 2
        # With every word it hears a share of the one before, learned from a half on (token shift of
        # RWKV, Peng et al. 2023): in "red chair", "chair" looks for what is red and a chair, not
        # for chairs.
        self.echo = nn.Parameter(torch.tensor(0.5)) if self.dialect else None
        # Scene tokens start as loud as words. Every layer adds to them: it would drown quieter
        # ones, and never change louder ones.
        embeddings = self.language.get_input_embeddings().weight
        self.volume = nn.Parameter(embeddings.detach().float().square().mean().sqrt())

    # -- from scenes to embeddings -----------------------------------------------------------------

    def scene_tokens(self, patches: Patches) -> SceneTokens:
        """Lifted patches (P,C) to scene tokens (K,C), not yet projected or placed."""
        return self.representation.gather(patches)

    def content(self, scenes: Sequence[SceneTokens | Symbols]) -> Float[Tensor, "K D"]:
        """All tokens of all scenes without position and volume: projected features, or sums of word
        embeddings.
        """
        if isinstance(scenes[0], Symbols):
            words = torch.cat([s.words for s in scenes])
            table = self.language.get_input_embeddings()
            return (table(words.clamp(min=0)) * (words >= 0)[..., None]).sum(1) / self.volume
        return self.projector(torch.cat([s.features for s in scenes]))

    def embed_scenes(self, scenes: Sequence[SceneTokens | Symbols]) -> list[Float[Tensor, "K D"]]:
        """What the language model reads in the place of each scene: content plus position, as loud
        as words.
        """
        placed = self.representation.place(join(scenes, self.content(scenes)))
        seen = (self.volume * placed.features).roll(self.dialect, -1)
        return list(seen.split([len(s) for s in scenes]))

    def positions(self, prompt: int, scene: int, words: int = 0) -> Int64[Tensor, "T"]:
        """The position ids of the prompt, the scene tokens behind it, and the words behind them. In
        nano all scene tokens have the same one: a room is a set, its order is in the places.
        Pre-trained models are used to counting on, as in the papers.
        """
        order = torch.arange(prompt + scene + words)
        return order.clamp(max=prompt).maximum(order - max(scene, 1) + 1) if self.dialect else order

    def embed_places(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N D"]:
        """A point in the room (metres) as the language model reads it: a position without content."""
        nothing = points.new_zeros(len(points), self.projector[-1].out_features)
        source = torch.arange(len(points), device=points.device)
        return (
            self.volume
            * self.representation.place(
                SceneTokens(nothing, points, source, points=points)
            ).features
        )

    def embed_words(
        self, ids: Int64[Tensor, "N"], places: dict[int, tuple], starts: Sequence[int] = (0,)
    ) -> Float[Tensor, "N D"]:
        """Word embeddings, with a point added to each token that stands for one. At ``starts``
        texts begin: no word is before.
        """
        words = self.language.get_input_embeddings()(ids)
        if self.echo is not None:
            words = words + self.echo * words.roll(1, 0).index_fill(
                0, torch.tensor(starts, device=ids.device), 0
            )
        if not places:
            return words
        index = torch.tensor(list(places), device=ids.device)
        points = torch.tensor(list(places.values()), dtype=torch.float32, device=ids.device)
        return words.index_add(0, index, self.embed_places(points).to(words.dtype))

    # -- training ----------------------------------------------------------------------------------

    def pack(
        self, scenes: Sequence[SceneTokens | Symbols], turns: Sequence[Sequence[Turn]]
    ) -> Packed:
        """One sequence per scene: the prompt, the scene, and all its turns behind each other,
        padded to the longest.
        """
        device = self.volume.device
        prompt = self.tokenizer(before_scene(self.prompt_style), add_special_tokens=False).input_ids
        rows = [[i for turn in some for i in turn.ids] for some in turns]
        flat = torch.tensor(prompt + [i for row in rows for i in row], device=device)
        places, starts, offset = {}, [0], len(prompt)
        for turn in (t for some in turns for t in some):
            places |= {offset + i: point for i, point in turn.places.items()}
            starts.append(offset)
            offset += len(turn.ids)
        words = self.embed_words(flat, places, starts)
        texts = words[len(prompt) :].split([len(row) for row in rows])
        embedded = self.embed_scenes(scenes)
        sequences = [
            torch.cat([words[: len(prompt)], e.to(words.dtype), t])
            for e, t in zip(embedded, texts, strict=True)
        ]
        positions, segments, ids, learned = [], [], [], []
        for scene, row, some in zip(scenes, rows, turns, strict=True):
            start, before = len(prompt) + len(scene), self.positions(len(prompt), len(scene))
            positions.append(
                torch.cat([before, *(before[-1] + 1 + torch.arange(len(t.ids)) for t in some)])
            )
            segments.append(
                torch.tensor([0] * start + [n for n, t in enumerate(some, 1) for _ in t.ids])
            )
            ids.append(torch.tensor(prompt + [-1] * len(scene) + row))
            learned.append(torch.tensor([False] * start + [x for t in some for x in t.is_answer]))

        def padded(some: list[Tensor], fill) -> Tensor:
            return nn.utils.rnn.pad_sequence(some, batch_first=True, padding_value=fill).to(device)

        return Packed(
            padded(sequences, 0.0),
            padded(positions, 0),
            padded(segments, -1),
            padded(ids, -1),
            padded(learned, False),
        )

    def token_losses(self, packed: Packed) -> tuple[Float[Tensor, "N"], Int64[Tensor, "N"]]:
        """Negative log-likelihood of every answer token, and the turn (counted over the whole
        batch) that it belongs to.
        """
        if self.language.config._attn_implementation == "eager":
            raise ValueError(
                "eager attention adds masks of booleans instead of applying them; use sdpa"
            )
        hidden = self.language.get_decoder()(
            inputs_embeds=packed.embeddings,
            attention_mask=packed.mask(),
            position_ids=packed.positions,
            use_cache=False,
        ).last_hidden_state
        learned = packed.learned[:, 1:]
        logits = self.language.get_output_embeddings()(hidden[:, :-1][learned]).float()
        row = torch.arange(len(learned), device=learned.device)[:, None].expand_as(learned)
        turn = row * (packed.segments.max() + 1) + packed.segments[:, 1:]
        return F.cross_entropy(logits, packed.ids[:, 1:][learned], reduction="none"), turn[
            learned
        ].unique(return_inverse=True)[1]

    def loss(self, packed: Packed, per: str = "sequence") -> Tensor:
        """Mean over answers of the mean over each answer's tokens (LEO), or with ``per`` "token"
        over all tokens (Proxy3D).
        """
        losses, turn = self.token_losses(packed)
        if per == "token":
            return losses.mean()
        total = losses.new_zeros(int(turn.max()) + 1).index_add(0, turn, losses)
        return (total / torch.bincount(turn)).mean()

    # -- answering ---------------------------------------------------------------------------------

    def embed(
        self, scene: SceneTokens | Symbols, question: str | Example
    ) -> Float[Tensor, "1 T D"]:
        """The sequence that is read before an answer is written: prompt, scene, question."""
        return torch.cat([self.embed_prompt(scene), self.embed_question(question)])[None]

    def embed_prompt(self, scene: SceneTokens | Symbols | None) -> Float[Tensor, "T D"]:
        ids = self.tokenizer(
            before_scene(self.prompt_style), add_special_tokens=False, return_tensors="pt"
        ).input_ids[0]
        words = self.embed_words(ids.to(self.volume.device), {})
        return (
            words
            if scene is None
            else torch.cat([words, self.embed_scenes([scene])[0].to(words.dtype)])
        )

    def open_turn(self, question: str | Example) -> Turn:
        """The token ids of a question whose answer is still to be written."""
        asked = (
            question if isinstance(question, Example) else Example("", "", "qa", "", question, [])
        )
        return encode(asked, self.tokenizer, self.prompt_style, answer=None)

    def embed_question(self, question: str | Example) -> Float[Tensor, "T D"]:
        turn = self.open_turn(question)
        return self.embed_words(torch.tensor(turn.ids, device=self.volume.device), turn.places)

    @torch.no_grad()
    def answers(
        self,
        scene: SceneTokens | Symbols | None,
        questions: Sequence[str | Example],
        max_new_tokens: int = 32,
        use_cache=True,
        temperature: float = 0.5,
    ) -> list[str]:
        """Answers to several questions about one scene, which is read once: its keys and values
        serve all questions; without ``use_cache`` everything is read again for every word. The
        first ``SURE`` words are the most likely ones. Later words are drawn with ``temperature``
        (0: never), always with the same luck: in long texts, most likely words lead in circles.
        """
        prompt = self.embed_prompt(scene)
        turns = [self.open_turn(q) for q in questions]
        asked = [
            self.embed_words(torch.tensor(t.ids, device=prompt.device), t.places) for t in turns
        ]
        longest, count = max(len(q) for q in asked), len(asked)
        new = torch.stack(
            [F.pad(q, (0, 0, longest - len(q), 0)) for q in asked]
        )  # padded in front: all end at the same place
        holes = torch.tensor([longest - len(q) for q in asked], device=new.device)
        real = torch.arange(longest, device=new.device) >= holes[:, None]
        mask = torch.cat([real.new_ones(count, len(prompt)), real], dim=1).long()
        everything, cache = torch.cat([prompt.expand(count, -1, -1), new], dim=1), None
        before = self.positions(len(prompt) - len(scene or ()), len(scene or ())).to(new.device)
        if use_cache:
            cache = self.language(
                inputs_embeds=prompt[None],
                position_ids=before[None],
                use_cache=True,
                logits_to_keep=1,
            ).past_key_values
            cache.batch_repeat_interleave(count)
        last = torch.tensor([t.ids[-1] for t in turns], device=new.device)
        written, done = [], torch.zeros(count, dtype=torch.bool, device=new.device)
        luck = torch.Generator().manual_seed(0)
        for step in range(max_new_tokens):
            after = (before[-1] + mask[:, len(prompt) :].cumsum(1)).clamp(min=0)
            positions = torch.cat([before.expand(count, -1), after], dim=1)
            read = new if use_cache else everything
            logits = self.language(
                inputs_embeds=read,
                attention_mask=mask,
                position_ids=positions[:, -read.shape[1] :],
                past_key_values=cache,
                use_cache=use_cache,
                logits_to_keep=1,
            ).logits[:, -1]
            if step >= GREEDY_TOKENS and temperature:
                # With Gumbel noise the largest is a draw from the softmax. All questions get the
                # same noise.
                noise = -torch.empty(logits.shape[-1]).exponential_(generator=luck).log()
                logits = logits + temperature * noise.to(logits)
            word = torch.where(done, self.tokenizer.pad_token_id, logits.argmax(-1))
            written.append(word)
            done = done | (word == self.tokenizer.eos_token_id)
            if done.all():
                break
            new, last = (
                self.embed_words(torch.stack([last, word], 1).flatten(), {}).view(count, 2, -1)[
                    :, 1:
                ],
                word,
            )
            everything = torch.cat([everything, new], dim=1)
            mask = torch.cat([mask, mask.new_ones(count, 1)], dim=1)
        return [
            self.tokenizer.decode(ids, skip_special_tokens=True).strip()
            for ids in torch.stack(written, dim=1)
        ]

    def generate(
        self,
        scene: SceneTokens | Symbols,
        question: str | Example,
        max_new_tokens: int = 32,
        use_cache: bool = True,
    ) -> Answer:
        """The answer to one question."""
        return Answer(self.answers(scene, [question], max_new_tokens, use_cache)[0], self.trained)


def join(scenes: Sequence[SceneTokens | Symbols], content: Float[Tensor, "K D"]) -> SceneTokens:
    """Several scenes as one, with ``content`` for features."""
    sources, points, offset = [], [], 0
    for scene in scenes:
        if (
            isinstance(scene, Symbols) or scene.points is None
        ):  # only voxels embed their patches' own places
            source, point = torch.arange(len(scene), device=content.device), scene.centers
        else:
            source, point = scene.source, scene.points
        sources.append(torch.where(source >= 0, source + offset, -1))
        points.append(point)
        offset += len(scene)
    centers = torch.cat([s.centers for s in scenes])
    return SceneTokens(content, centers, torch.cat(sources), points=torch.cat(points))

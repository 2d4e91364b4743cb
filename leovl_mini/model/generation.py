"""Decoding: answers token by token; a scene is read once for all questions about it.

``generate`` of transformers gives the same tokens for pre-trained models (tested), but reads the
scene again for every question (2.1 times slower for 16 questions), and it has neither nano's token
shift nor its shared position id.
Explained in notebook 06 (scene to language).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from leovl_mini.model.prompts import Turn
from leovl_mini.model.symbols import Symbols
from leovl_mini.tokens.base import SceneTokens

if TYPE_CHECKING:
    from leovl_mini.model.leovl import LeoVL

GREEDY_TOKENS = 16  # so many tokens of an answer are the most likely ones; later ones are sampled


@torch.no_grad()
def generate_ids(
    model: "LeoVL",
    scene: SceneTokens | Symbols | None,
    turns: Sequence[Turn],
    max_new_tokens: int = 32,
    temperature: float = 0.5,
    greedy_tokens: int = GREEDY_TOKENS,
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """The token ids of an answer to each open turn, up to and including its end.

    After ``greedy_tokens``, tokens are sampled from the softmax of logits / ``temperature`` (0: the
    most likely ones to the end), since greedy decoding of long texts repeats itself. Without a
    ``generator`` all questions share one fixed noise, so that an answer does not depend on the
    other questions; with one, every answer is a sample of its own.
    """
    prompt, device = model.embed_prompt(scene), model.device
    questions = [model.embed_words(torch.tensor(t.ids, device=device), t.places) for t in turns]
    count, longest = len(questions), max(map(len, questions))
    gaps = torch.tensor([longest - len(q) for q in questions], device=device)
    # Padded in front, so that all questions end at the same position.
    new = torch.stack([F.pad(q, (0, 0, longest - len(q), 0)) for q in questions])
    real = torch.arange(longest, device=device) >= gaps[:, None]
    mask = torch.cat([real.new_ones(count, len(prompt)), real], dim=1).long()

    scene_length = len(scene or ())
    prefix = model.position_ids(len(prompt) - scene_length, scene_length).to(device)
    cache = model.language(
        inputs_embeds=prompt[None], position_ids=prefix[None], use_cache=True, logits_to_keep=1
    ).past_key_values
    cache.batch_repeat_interleave(count)

    last = torch.tensor([t.ids[-1] for t in turns], device=device)
    end, pad = model.tokenizer.eos_token_id, model.tokenizer.pad_token_id
    written, done = [], torch.zeros(count, dtype=torch.bool, device=device)
    shared = torch.Generator().manual_seed(0)
    for step in range(max_new_tokens):
        after = (prefix[-1] + mask[:, len(prompt) :].cumsum(1)).clamp(min=0)
        logits = model.language(
            inputs_embeds=new,
            attention_mask=mask,
            position_ids=after[:, -new.shape[1] :],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        if step >= greedy_tokens and temperature:
            # The largest logit plus Gumbel noise is a sample from the softmax.
            shape = logits.shape if generator else logits.shape[-1:]
            noise = -torch.empty(shape).exponential_(generator=generator or shared).log()
            logits = logits + temperature * noise.to(logits)
        token = torch.where(done, pad, logits.argmax(-1))
        written.append(token)
        done = done | (token == end)
        if done.all():
            break
        # Each new token together with the one before it, which the token shift needs.
        pairs = model.embed_words(torch.stack([last, token], 1).flatten(), {})
        new, last = pairs.view(count, 2, -1)[:, 1:], token
        mask = torch.cat([mask, mask.new_ones(count, 1)], dim=1)
    rows = torch.stack(written, dim=1).tolist()
    return [row[: row.index(end) + 1] if end in row else row for row in rows]

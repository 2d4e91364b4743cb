"""Plain sequences: what LeoVL computes in packs and with a cache, written out for one question."""

import torch
from torch import Tensor

from leovl_mini.data.examples import Example, load_examples
from leovl_mini.data.samples import sample_room
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.prompts import Turn, encode
from leovl_mini.tokens import SceneTokens


def turns_of(model: LeoVL, count: int, skip: int = 0) -> list[Turn]:
    """Questions about a bundled room, with their answers."""
    examples = load_examples(sample_room() / "examples.jsonl")
    examples = [e for e in examples if e.task != "grounding"][skip : skip + count]
    return [encode(e, model.tokenizer) for e in examples]


def sequence_of(model: LeoVL, scene: SceneTokens | None, turn: Turn) -> dict[str, Tensor]:
    """What the language model reads of one turn, as arguments: embeddings (1,T,D) and positions."""
    before, count = model.embed_prompt(scene), len(scene or ())
    words = model.embed_words(torch.tensor(turn.ids), turn.places)
    positions = model.position_ids(len(before) - count, count, len(words))
    return {
        "inputs_embeds": torch.cat([before, words])[None],
        "position_ids": positions[None],
    }


def loss_of(model: LeoVL, scene: SceneTokens, turn: Turn) -> Tensor:
    """The mean loss of one answer as transformers computes it."""
    sequence = sequence_of(model, scene, turn)
    labels = torch.full((1, sequence["inputs_embeds"].shape[1]), -100)
    answer = torch.tensor(turn.ids[turn.answer_start :])
    labels[0, -len(answer) :] = answer
    return model.language(**sequence, labels=labels).loss


@torch.no_grad()
def greedy(model: LeoVL, scene: SceneTokens | None, question: str | Example, steps: int) -> str:
    """Greedy decoding without a cache and without any of the helpers of transformers: everything is
    read again for every token.
    """
    turn, written = model.open_turn(question), []
    while len(written) < steps and written[-1:] != [model.tokenizer.eos_token_id]:
        longer = Turn(turn.ids + written, 0, turn.places)
        logits = model.language(**sequence_of(model, scene, longer)).logits[0, -1]
        written.append(int(logits.argmax()))
    return model.tokenizer.decode(written, skip_special_tokens=True).strip()

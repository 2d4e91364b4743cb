"""What is learned: the losses of every stage."""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from leovl_mini.model.leovl import LeoVL
from leovl_mini.train.batches import Batch

# -- what is learned -------------------------------------------------------------------------------


def answer_loss(model: LeoVL, batch: Batch, per: str = "sequence") -> Tensor:
    """Next-token loss on the answers, see ``LeoVL.loss``."""
    losses, answer = model(batch.scenes, batch.turns)
    if per == "token":
        return losses.mean()
    total = losses.new_zeros(int(answer.max()) + 1).index_add(0, answer, losses)
    return (total / torch.bincount(answer)).mean()


def place_loss(model: LeoVL, points: int = 256) -> Tensor:
    """A position must say its own coordinates: ``F(x, y)`` against the embeddings of the words "x
    1.5" and "y -0.5" (ours).

    0 for tokenizers that spell numbers digit by digit, SmolLM2's and Qwen's: there is no word to
    match.
    """
    tokenizer, values = model.tokenizer, [f"{v / 2:.1f}" for v in range(-9, 10)]
    table = model.language.get_input_embeddings().weight
    xyz = torch.empty(points, 3).uniform_(-4.74, 4.74).to(table.device)
    said = model.embed_points(xyz).float() / model.scene_scale
    total = said.new_zeros(())
    for axis, name in enumerate("xy"):
        words = [tokenizer(f" {name} {v}", add_special_tokens=False).input_ids for v in values]
        known = [i for i, w in enumerate(words) if len(w) == 1]
        if not known:
            continue
        ids = torch.tensor([words[i][0] for i in known], device=table.device)
        centers = torch.tensor([float(values[i]) for i in known], device=table.device)
        nearest = (xyz[:, axis, None] - centers).abs().argmin(1)
        total = total + F.cross_entropy(said @ table[ids].T.float(), nearest)
    return total


def alignment_loss(model: LeoVL, batch: Batch, plain: float = 0.25) -> Tensor:
    """Squared distance between projected image tokens and the sums of the words for the objects
    they show (ours).

    Relative to the length of these sums. Every thing counts the same, however many tokens show it.
    Floor and walls should say nothing; such a token counts ``plain`` of a mean one.
    """
    said = model.project(batch.scenes).float()
    with torch.no_grad():
        wanted = model.project(batch.words).float()
    share = torch.cat([w.share for w in batch.words])[:, None]
    weight = torch.where(share > 0, share, plain * share[share > 0].mean())
    return (weight * (said - wanted).square()).sum() / (weight * wanted.square()).sum()


def symbolic_loss(model: LeoVL, batch: Batch) -> Tensor:
    """Every word counts the same: lists, which are long, teach most."""
    return answer_loss(model, batch, per="token") + 0.1 * place_loss(model)


def tuning_loss(
    model: LeoVL, batch: Batch, per: str = "token", align: float = 1.0, in_words: float = 0.0
) -> Tensor:
    """``per``: averaged by "token", captions and lists teach with every word that must be looked
    up; by "sequence", every answer counts the same, and short ones profit. ``in_words``: the share
    of steps in which rooms are shown in words, with perfect eyes: what was learned on paper must
    last.
    """
    shown = dataclasses.replace(batch, scenes=batch.words) if torch.rand(()) < in_words else batch
    return (
        answer_loss(model, shown, per)
        + align * alignment_loss(model, batch)
        + 0.1 * place_loss(model)
    )


def question_only_loss(
    model: LeoVL, batch: Batch, per: str = "token", in_words: float = 0.0
) -> Tensor:
    """The control: the same questions about scenes of which nothing is seen."""
    scenes = [
        dataclasses.replace(s, features=s.features[:0], centers=s.centers[:0], points=None)
        for s in batch.scenes
    ]
    return answer_loss(model, dataclasses.replace(batch, scenes=scenes), per)

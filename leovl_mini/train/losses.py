"""What is learned: the losses of every stage.

Explained in notebook 07 (fine-tuning).
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from leovl_mini.model.leovl import LeoVL
from leovl_mini.train.batches import Batch


def answer_loss(model: LeoVL, batch: Batch, reduction: str = "sequence") -> Tensor:
    """Next-token loss on the answers (nats). ``reduction`` "sequence": the mean over answers of the
    mean over each answer's tokens (LEO); "token": the mean over all answer tokens (Proxy3D).
    """
    losses, answer = model(batch.scenes, batch.turns)
    if reduction == "token":
        return losses.mean()
    total = losses.new_zeros(int(answer.max()) + 1).index_add(0, answer, losses)
    return (total / torch.bincount(answer)).mean()


def coordinate_loss(model: LeoVL, points: int = 256) -> Tensor:
    """A position must say its own coordinates: ``F(x, y)`` of random points (metres) against the
    embeddings of the words "x 1.5" and "y -0.5".

    Proxy3D has a stage that learns coordinates; this is its miniature, and ours in this form: a
    loss without any text. 0 for tokenizers that spell numbers digit by digit, SmolLM2's and Qwen's:
    there is no word to match.
    """
    tokenizer, values = model.tokenizer, [f"{v / 2:.1f}" for v in range(-9, 10)]
    table = model.language.get_input_embeddings().weight
    xyz = torch.empty(points, 3).uniform_(-4.74, 4.74).to(table.device)
    embedded = model.embed_points(xyz).float() / model.scene_scale
    total = embedded.new_zeros(())
    for axis, name in enumerate("xy"):
        words = [tokenizer(f" {name} {v}", add_special_tokens=False).input_ids for v in values]
        single = [i for i, ids in enumerate(words) if len(ids) == 1]
        if not single:
            continue
        ids = torch.tensor([words[i][0] for i in single], device=table.device)
        centers = torch.tensor([float(values[i]) for i in single], device=table.device)
        nearest = (xyz[:, axis, None] - centers).abs().argmin(1)
        total = total + F.cross_entropy(embedded @ table[ids].T.float(), nearest)
    return total


def alignment_loss(model: LeoVL, batch: Batch, background: float = 0.25) -> Tensor:
    """Squared distance between projected image tokens and the sums of the words for the objects
    they show, relative to the length of these sums (ours).

    Every object counts the same, however many tokens show it. Floor and walls should say nothing;
    such a token counts ``background`` of a mean one. 0 where nothing is known about any token, as
    in scans without object masks.
    """
    projected = model.project(batch.scenes).float()
    with torch.no_grad():
        words = model.project(batch.symbols).float()
    share = torch.cat([s.share for s in batch.symbols])[:, None]
    if not share.any():
        return projected.sum() * 0
    weight = torch.where(share > 0, share, background * share[share > 0].mean())
    return (weight * (projected - words).square()).sum() / (weight * words.square()).sum()


def symbolic_loss(model: LeoVL, batch: Batch) -> Tensor:
    """Every word counts the same: lists, which are long, teach most."""
    return answer_loss(model, batch, "token") + 0.1 * coordinate_loss(model)


def tuning_loss(
    model: LeoVL, batch: Batch, reduction: str = "token", symbolic_share: float = 0.0
) -> Tensor:
    """Answers, with alignment and coordinates as further teachers.

    ``reduction`` "token": captions and lists teach with every word that must be looked up;
    "sequence": every answer counts the same, and short ones profit. ``symbolic_share``: the share
    of steps in which scenes are oracle tokens in words, so that what was learned about words lasts.
    """
    shown = batch
    if torch.rand(()) < symbolic_share:
        shown = dataclasses.replace(batch, scenes=batch.symbols)
    answers = answer_loss(model, shown, reduction)
    return answers + alignment_loss(model, batch) + 0.1 * coordinate_loss(model)


def question_only_loss(model: LeoVL, batch: Batch, reduction: str = "token") -> Tensor:
    """The control: the same questions about scenes of which nothing is seen."""
    scenes = [
        dataclasses.replace(s, features=s.features[:0], centers=s.centers[:0], points=None)
        for s in batch.scenes
    ]
    return answer_loss(model, dataclasses.replace(batch, scenes=scenes), reduction)

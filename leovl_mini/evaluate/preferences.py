"""What post-training should change: does the right answer win over a wrong one, and lose its
likelihood in a wrong scene?
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from leovl_mini.data.examples import Example
from leovl_mini.evaluate.answers import normalise
from leovl_mini.evaluate.run import Seen, main_score
from leovl_mini.model.leovl import LeoVL
from leovl_mini.train.pairs import Pair
from leovl_mini.train.scenedpo import PairDataset, pair_log_probs


@torch.no_grad()
def contrast_log_probs(
    model: LeoVL, pairs: Sequence[Pair], seen: Seen, size: int = 8
) -> Float[Tensor, "3 N"]:
    """``pair_log_probs`` of N pairs on whole scenes, ``size`` pairs at once."""
    model.eval()
    lessons, found = PairDataset(model, seen, pairs, turn=False, plain=1.0), []
    for some in (pairs[start : start + size] for start in range(0, len(pairs), size)):
        batch = lessons.collect(some, [np.random.default_rng(0)] * len(some))
        found.append(pair_log_probs(model, batch.to(model.device)).cpu())
    return torch.cat(found, dim=1)


def preference_metrics(
    model: LeoVL, pairs: Sequence[Pair], seen: Seen, size: int = 8
) -> dict[str, dict[str, int | float]]:
    """{type of wrong scene: {"pairs", "answer", "scene", "gap"}} on whole scenes.

    "answer": share of pairs with π(a✓|s✓) > π(a✗|s✓); "scene": with π(a✓|s✓) > π(a✓|s✗); "gap": the
    mean of log π(a✓|s✓) - log π(a✓|s✗), in nats, 0 for a model that does not look.
    """
    found = defaultdict(list)
    for pair, column in zip(
        pairs, contrast_log_probs(model, pairs, seen, size).T.tolist(), strict=True
    ):
        found[pair.type].append(column)
    rows = {}
    for type, columns in sorted(found.items()):
        right, wrong_answer, wrong_scene = np.array(columns).T
        rates = {
            "answer": right > wrong_answer,
            "scene": right > wrong_scene,
            "gap": right - wrong_scene,
        }
        rows[type] = {
            "pairs": len(columns),
            **{k: round(float(v.mean()), 4) for k, v in rates.items()},
        }
    return rows


def edit_outcomes(
    predictions: Sequence[str], examples: Sequence[Example]
) -> dict[str, tuple[bool, bool]]:
    """{minimal edit: (right both before and after the edit that matters, same answer before and
    after the one that does not)}; an answer that merely changes scores in the first only.
    ``examples`` are those of a split ``pairs-*``.
    """
    found: dict[str, dict[str, tuple[str, bool]]] = defaultdict(dict)
    for prediction, example in zip(predictions, examples, strict=True):
        right = main_score(prediction, example) == 1
        found[example.derivation["pair"]][example.derivation["role"]] = normalise(prediction), right
    return {
        k: (p["base"][1] and p["flip"][1], p["base"][0] == p["same"][0]) for k, p in found.items()
    }


def hallucination(predictions: Sequence[str], examples: Sequence[Example]) -> float:
    """How often "yes" is said of what is not there: the share of the questions of existence whose
    answer is no. NaN without any.
    """
    absent = [
        p
        for p, e in zip(predictions, examples, strict=True)
        if e.kind == "existence" and e.answers[0] == "no"
    ]
    return sum(normalise(p) == "yes" for p in absent) / len(absent) if absent else float("nan")

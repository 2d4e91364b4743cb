"""What post-training should change: does the right answer win over a wrong one, and lose its
likelihood in a wrong scene?
"""

from collections import defaultdict
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from leovl_mini.data.examples import Example
from leovl_mini.evaluate.answers import normalise
from leovl_mini.evaluate.run import main_score


def preference_metrics(
    log_probs: Float[Tensor, "3 N"], types: Sequence[str]
) -> dict[str, dict[str, int | float]]:
    """{type of wrong scene: {"pairs", "answer", "scene", "gap"}} of N pairs.

    ``log_probs`` (nats) are log π(a✓|s✓), log π(a✗|s✓) and log π(a✓|s✗). "answer": share of pairs
    with π(a✓|s✓) > π(a✗|s✓); "scene": with π(a✓|s✓) > π(a✓|s✗); "gap": the mean of
    log π(a✓|s✓) - log π(a✓|s✗), 0 for a model that does not look.
    """
    rows = {}
    for type in sorted(set(types)):
        columns = [i for i, t in enumerate(types) if t == type]
        right, wrong_answer, wrong_scene = log_probs[:, columns].double()
        rates = {
            "answer": (right > wrong_answer).double(),
            "scene": (right > wrong_scene).double(),
            "gap": right - wrong_scene,
        }
        means = {name: round(float(rate.mean()), 4) for name, rate in rates.items()}
        rows[type] = {"pairs": len(columns), **means}
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

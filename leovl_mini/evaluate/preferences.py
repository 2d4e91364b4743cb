"""What post-training should change: does the right answer win over a wrong one, does it lose its
likelihood in a wrong scene, and do answers follow a change of the room?

Explained in notebook 09 (scenedpo).
"""

from collections import defaultdict
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from leovl_mini.data.examples import Example
from leovl_mini.evaluate.answers import main_score, normalise


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
    edits: dict[str, dict[str, tuple[str, bool]]] = defaultdict(dict)
    for prediction, example in zip(predictions, examples, strict=True):
        right = main_score(prediction, example) == 1
        edits[example.derivation["pair"]][example.derivation["role"]] = normalise(prediction), right
    return {
        name: (
            roles["base"][1] and roles["flip"][1],
            roles["base"][0] == roles["same"][0],
        )
        for name, roles in edits.items()
    }


def hallucinations(
    predictions: Sequence[str], examples: Sequence[Example]
) -> list[tuple[str, bool]]:
    """(scene, whether "yes" is said of what is not there) for every question of existence whose
    answer is no.
    """
    return [
        (example.scene, normalise(prediction) == "yes")
        for prediction, example in zip(predictions, examples, strict=True)
        if example.kind == "existence" and example.answers[0] == "no"
    ]

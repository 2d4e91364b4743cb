"""How sure a mean is: 95 % intervals that know that questions about one room are not independent.

Explained in notebook 08 (evaluation).
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np


def clustered_bootstrap(
    values: Sequence[float | int] | np.ndarray,
    clusters: Sequence[Hashable] | np.ndarray,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Mean of the values with a 95 % percentile interval (mean, low, high) from drawing whole
    clusters, such as rooms, again and again.

    Questions about one room succeed and fail together, so drawing single questions would give too
    narrow an interval. With fewer than about 20 clusters the interval is too narrow all the same;
    with one there is none (NaN).
    """
    names, cluster = np.unique(np.array([str(c) for c in clusters]), return_inverse=True)
    sums, sizes = np.bincount(cluster, np.asarray(values, dtype=float)), np.bincount(cluster)
    mean = float(sums.sum() / sizes.sum())
    if len(names) < 2:
        return mean, math.nan, math.nan

    random = np.random.default_rng(seed)
    times = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    low, high = np.percentile(times @ sums / (times @ sizes), [2.5, 97.5])
    return mean, float(low), float(high)

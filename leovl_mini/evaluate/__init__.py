"""Is it right, and did it look? Scores, controls, intervals."""

from leovl_mini.evaluate.answers import exact_match, main_score
from leovl_mini.evaluate.captions import caption_scores, tokenise
from leovl_mini.evaluate.controls import CONTROLS, majority_baseline, scenes_for
from leovl_mini.evaluate.data import EvalData, load_bundled_rooms, load_eval_data
from leovl_mini.evaluate.facts import fact_scores, holds, read
from leovl_mini.evaluate.intervals import clustered_bootstrap
from leovl_mini.evaluate.preferences import preference_metrics
from leovl_mini.evaluate.run import as_rows, evaluate, predict, summarise

__all__ = [
    "CONTROLS",
    "EvalData",
    "as_rows",
    "caption_scores",
    "clustered_bootstrap",
    "evaluate",
    "exact_match",
    "fact_scores",
    "holds",
    "load_bundled_rooms",
    "load_eval_data",
    "main_score",
    "majority_baseline",
    "predict",
    "preference_metrics",
    "read",
    "scenes_for",
    "summarise",
    "tokenise",
]

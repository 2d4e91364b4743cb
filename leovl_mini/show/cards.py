"""Weights that travel: a copy under a name, with a model card that holds everything needed to judge
them and to make them again.
"""

import json

from leovl_mini.config import CardConfig
from leovl_mini.data.files import atomic_write
from leovl_mini.evaluate.run import as_rows
from leovl_mini.model import hub
from leovl_mini.model.leovl import LeoVL
from leovl_mini.rooms.cameras import DOMAINS
from leovl_mini.show.report import markdown

CONTROLS = (
    "scene",
    "question-only",
    "wrong scene",
    "wrong scene, its truth",
    "no scene",
    "majority",
)


def make_card(config: CardConfig) -> str:
    """Copy weights to the new folder ``out/name`` with their card; ``scores`` were written by
    leovl-mini evaluate.
    """
    model = LeoVL.from_pretrained(config.weights)  # refuses what does not belong to this version
    folder = config.out / config.name
    model.save_pretrained(folder)
    tables = score_tables(json.loads(config.scores.read_text())) if config.scores else ()
    with atomic_write(folder) as partial:
        text = hub.card(hub.config_of(model), config.name, config.about, tables)
        (partial / hub.CARD).write_text(text, encoding="utf-8")
    return str(folder)


def score_tables(scores: dict) -> tuple[str, ...]:
    """The tables of a model card, in Markdown."""
    results = scores["results"]
    title = f"Short answers about {scores['rooms']} rooms of {scores['split']}, percent right"
    return (
        markdown(title, as_rows({k: results[k] for k in CONTROLS if k in results})),
        markdown(
            "The same by domain",
            as_rows({k: results[k] for k in ("scene", *DOMAINS) if k in results}),
        ),
        f'Measured on {scores["hardware"]}, with `leovl-mini evaluate`; "mean" is over kinds.',
    )

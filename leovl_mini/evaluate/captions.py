"""Scores of texts by words in common with a reference: CIDEr, BLEU-4 and ROUGE-L.

They are those of COCO caption, computed by its Python port pycocoevalcap; only the way that texts
are cut into words is ours.

Explained in notebook 08 (evaluation).
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge


def tokenise(text: str) -> str:
    """Words separated by single spaces: lower case, without punctuation except inside a word or
    number ("o'clock", "0.4").

    Ours: published caption scores use the Penn Treebank tokeniser, which needs Java and splits a
    few words otherwise.
    """
    return " ".join(re.findall(r"\d+\.\d+|\w+(?:['’-]\w+)*", text.lower()))


def caption_scores(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, float]:
    """{"CIDEr" (0 to 10), "BLEU-4", "ROUGE-L"} of n predictions, each with one or more references.

    Texts are tokenised here. CIDEr is CIDEr-D, with document frequencies from these references: a
    phrase that occurs in all of them weighs nothing, so one prediction alone scores 0.
    """
    predicted = {i: [tokenise(text)] for i, text in enumerate(predictions)}
    wanted = {i: [tokenise(text) for text in group] for i, group in enumerate(references)}
    return {
        "CIDEr": float(Cider().compute_score(wanted, predicted)[0]),
        "BLEU-4": float(Bleu(4).compute_score(wanted, predicted, verbose=0)[0][3]),
        "ROUGE-L": float(Rouge().compute_score(wanted, predicted)[0]),
    }


def scan2cap(
    predictions: Sequence[str | None],
    references: Sequence[Sequence[str]],
    iou: Float[np.ndarray, "n"],
    k: float,
) -> dict[str, float]:
    """Scan2Cap's m@k: a caption counts if its box reaches IoU >= k, else the empty caption does;
    None for an object that was not found.

    Every text stands between "sos" and "eos", as in the public script, so that even the empty
    caption shares two words. (That script also cuts references after 30 tokens, which is left to
    the reader of the file.)
    """
    counted = [
        text if text is not None and overlap >= k else ""
        for text, overlap in zip(predictions, iou, strict=True)
    ]
    return caption_scores(
        [f"sos {text} eos" for text in counted],
        [[f"sos {text} eos" for text in group] for group in references],
    )

"""Scores of captions, as in COCO caption: BLEU, CIDEr, ROUGE-L.

All take texts as ``tokenise`` gives them: words separated by single spaces; n predictions, and n
lists of references.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def tokenise(text: str) -> str:
    """Lower case, without punctuation except inside a word or number ("o'clock", "0.4").

    Ours: published caption scores use the Penn Treebank tokeniser, which needs Java and splits a
    few words otherwise.
    """
    return " ".join(re.findall(r"\d+\.\d+|\w+(?:['’-]\w+)*", text.lower()))


def ngrams(text: str) -> list[Counter]:
    """How often each sequence of 1, 2, 3 and 4 words occurs."""
    tokens = text.split()
    return [Counter(zip(*(tokens[i:] for i in range(n)), strict=False)) for n in (1, 2, 3, 4)]


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Float[np.ndarray, "4"]:
    """BLEU-1 to BLEU-4 of a whole corpus, with the closest reference length, as in coco-caption.

    Its small constants keep a score above 0 where no 4-gram matches: 1e-15 above and 1e-9 below
    each fraction bar.
    """
    matched, guessed, length, wanted = np.zeros(4), np.zeros(4), 0, 0
    for prediction, known in zip(predictions, references, strict=True):
        said, size = ngrams(prediction), len(prediction.split())
        most = [Counter() for _ in said]
        for reference in known:
            most = [a | b for a, b in zip(most, ngrams(reference), strict=True)]
        matched += [(a & b).total() for a, b in zip(said, most, strict=True)]
        guessed += [a.total() for a in said]
        length += size
        wanted += min((len(r.split()) for r in known), key=lambda n: (abs(n - size), n))
    precisions = np.cumprod((matched + 1e-15) / (guessed + 1e-9)) ** (1 / np.arange(1, 5))
    ratio = (length + 1e-15) / (wanted + 1e-9)
    return precisions * math.exp(min(0.0, 1 - 1 / ratio))


def cider(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> Float[np.ndarray, "n"]:
    """CIDEr-D of each prediction, as coco-caption's "CIDEr": n = 1 to 4, sigma 6, document
    frequencies from these references.

    The corpus's score is the mean. A single item scores 0, because a phrase that occurs in all
    items weighs nothing.
    """
    known = [[ngrams(reference) for reference in group] for group in references]
    items = Counter(
        gram
        for group in known
        for gram in {gram for grams in group for counts in grams for gram in counts}
    )

    def weights(counts: Counter) -> dict[tuple, float]:
        return {
            gram: count * (math.log(len(known)) - math.log(max(1, items[gram])))
            for gram, count in counts.items()
        }

    def similarity(a: dict[tuple, float], b: dict[tuple, float]) -> float:
        norm = math.sqrt(sum(w * w for w in a.values()) * sum(w * w for w in b.values()))
        return (
            sum(min(w, b[gram]) * b[gram] for gram, w in a.items() if gram in b) / norm
            if norm
            else 0.0
        )

    scores = []
    for prediction, group in zip(predictions, known, strict=True):
        said, total = ngrams(prediction), 0.0
        for grams in group:
            alike = np.mean(
                [similarity(weights(a), weights(b)) for a, b in zip(said, grams, strict=True)]
            )
            total += alike * math.exp(-((said[0].total() - grams[0].total()) ** 2) / (2 * 6.0**2))
        scores.append(10 * total / len(group))
    return np.array(scores, dtype=float)


def rouge_l(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> Float[np.ndarray, "n"]:
    """ROUGE-L of each prediction, beta 1.2, as in coco-caption: best precision and best recall may
    be of different references.
    """
    scores = []
    for prediction, known in zip(predictions, references, strict=True):
        said, wanted = (
            prediction.split() or [""],
            [reference.split() or [""] for reference in known],
        )
        common = [longest_common(said, reference) for reference in wanted]
        precision = max(common) / len(said)
        recall = max(c / len(reference) for c, reference in zip(common, wanted, strict=True))
        scores.append(
            (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision) if precision else 0.0
        )
    return np.array(scores, dtype=float)


def longest_common(a: list[str], b: list[str]) -> int:
    """How many words the longest sequence has that occurs in both in this order, with gaps."""
    best, other = np.zeros(len(b) + 1, dtype=int), np.array(b)
    for word in a:  # best[j]: for the words so far and the first j of b
        best[1:] = np.maximum.accumulate(np.maximum(best[1:], best[:-1] + (other == word)))
    return int(best[-1])


def caption_scores(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Corpus scores of texts as they are written; they are tokenised here."""
    said, known = (
        [tokenise(p) for p in predictions],
        [[tokenise(r) for r in group] for group in references],
    )
    means = {
        "CIDEr": cider(said, known).mean(),
        "BLEU-4": bleu(said, known)[3],
        "ROUGE-L": rouge_l(said, known).mean(),
    }
    return {name: float(mean) for name, mean in means.items()}


def scan2cap(
    predictions: Sequence[str | None],
    references: Sequence[Sequence[str]],
    iou: Float[np.ndarray, "n"],
    k: float,
) -> dict[str, float]:
    """Scan2Cap's m@k: a caption counts if its box reaches IoU >= k, else the empty caption does;
    None for an object not found.

    Every text stands between "sos" and "eos", as in the public script, so that even the empty
    caption shares two words. (That script also cuts references after 30 tokens, which is left to
    the reader of the file.)
    """
    counted = [
        p if p is not None and overlap >= k else ""
        for p, overlap in zip(predictions, iou, strict=True)
    ]
    return caption_scores(
        [f"sos {p} eos" for p in counted], [[f"sos {r} eos" for r in group] for group in references]
    )

"""Weights that travel: a copy under a name, beside it a model card with everything needed to judge
them and to make them again.
"""

import json
import shutil
from pathlib import Path

from safetensors import safe_open

from leovl_mini.data.files import atomic_write, file_sha256
from leovl_mini.evaluate.run import as_rows
from leovl_mini.model.hub import load_weights
from leovl_mini.rooms.cameras import DOMAINS
from leovl_mini.show.report import markdown

SHOWN = (
    "scene",
    "trained blind",
    "wrong scene",
    "wrong scene, its truth",
    "no scene",
    "usual answer",
)


def export_weights(
    weights: Path, name: str, folder: Path, about: str = "", scores: Path | None = None
) -> Path:
    """Copy ``weights`` to ``folder/name.safetensors`` and write ``name.md``; ``scores`` were
    written by leovl-mini evaluate.
    """
    load_weights(weights)  # refuses what does not belong to this version
    folder.mkdir(parents=True, exist_ok=True)
    results = json.loads(scores.read_text()) if scores else {}
    with atomic_write(folder) as partial:
        shutil.copyfile(weights, partial / f"{name}.safetensors")
        (partial / f"{name}.md").write_text(card(weights, name, about, results))
    return folder / f"{name}.md"


def card(weights: Path, name: str, about: str, results: dict) -> str:
    with safe_open(weights, "pt") as opened:
        notes = opened.metadata()
        count = sum(opened.get_tensor(key).numel() for key in opened.keys())
    rows = [
        ["what", "value"],
        *([key.removeprefix("note "), f"`{value}`"] for key, value in sorted(notes.items())),
    ]
    rows += [["numbers", f"{count:,} in bfloat16"], ["SHA-256", f"`{file_sha256(weights)}`"]]
    parts = [f"# {name}", about, markdown("How it was made, what it belongs to", rows)]
    corpus = notes.get("note corpus", "leovl-mini rooms make --rooms 2000 --out CORPUS")
    explained = {
        "CACHE": f"CORPUS: `{corpus}`. CACHE: `leovl-mini train features CORPUS --out CACHE`.",
        "LAYOUTS": "LAYOUTS: `leovl-mini train layouts --out LAYOUTS`, 8,000 rooms.",
        "PAIRS": "PAIRS: `pairs.jsonl` in the folder of `leovl-mini train rivals CORPUS --cache CACHE --start ... --out FOLDER`.",
    }
    parts += [text for name, text in explained.items() if name in notes.get("note command", "")]
    if results:
        scores, title = (
            results["results"],
            f"Short answers about {results['rooms']} rooms of {results['split']}, percent right",
        )
        parts.append(markdown(title, as_rows({k: scores[k] for k in SHOWN if k in scores})))
        parts.append(
            markdown(
                "The same by domain",
                as_rows({k: scores[k] for k in ("scene", *DOMAINS) if k in scores}),
            )
        )
        parts.append(
            f'Measured on {results["hardware"]}, with `leovl-mini evaluate`; "mean" is over kinds.'
        )
    return "\n\n".join(part.strip() for part in parts if part) + "\n"

"""The commands ``leovl-mini train prefer`` and ``leovl-mini train rivals``: post-training with
SceneDPO, and the comparison.
"""

from pathlib import Path
from typing import Annotated

import typer

from leovl_mini.cli_train import CorpusPath, Steps, console, train_app

Cache = Annotated[Path, typer.Option(help="Folder written by leovl-mini train features.")]


Start = Annotated[Path, typer.Option(help="Weights to begin with, such as nano-d1's.")]


Rate = Annotated[float, typer.Option(help="Highest learning rate.")]


Beta = Annotated[
    float, typer.Option(help="How far from the start one nat counts, in both contrasts.")
]


@train_app.command("prefer")
def train_prefer(
    pairs: Annotated[
        Path, typer.Argument(help="Pairs, such as the pairs.jsonl of leovl-mini train rivals.")
    ],
    cache: Cache,
    start: Start,
    out: Annotated[
        Path, typer.Option(help="The file of weights to write; an interrupted run is continued.")
    ],
    method: Annotated[
        str, typer.Option(help='"sft", "answer dpo", "no nll", "scenedpo" or "grpo".')
    ] = "scenedpo",
    steps: Steps = 200,
    rate: Rate = 5e-4,
    beta: Beta = 0.5,
    seed: Annotated[int, typer.Option(help="Another seed, other batches.")] = 0,
) -> None:
    """Post-train weights so that they prefer right answers to wrong ones, and the right scene to a
    wrong one.
    """
    from leovl_mini.tokens.cache import FeatureCache
    from leovl_mini.train.pairs import load_pairs
    from leovl_mini.train.post_train import run_post_training

    _, made = run_post_training(
        start, load_pairs(pairs), FeatureCache(cache).scene, out, method, steps, seed, rate, beta
    )
    console.print(f"{out}: {steps} steps, {made['minutes']:.1f} minutes", soft_wrap=True)


@train_app.command("rivals")
def train_rivals(
    corpus: CorpusPath,
    cache: Cache,
    start: Start,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for pairs, runs and the table; an interrupted experiment is continued."
        ),
    ],
    methods: Annotated[str, typer.Option(help="Separated by commas; empty: all.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="So many runs of every method.")] = 3,
    steps: Steps = 200,
    rate: Rate = 5e-4,
    beta: Beta = 0.5,
    questions: Annotated[
        int, typer.Option(min=3, help="At most so many for each set of questions.")
    ] = 200,
    domain: Annotated[str, typer.Option(help="The only domain that is learned from.")] = "scannet",
    split: Annotated[
        str, typer.Option(help="The examples that are learned from.")
    ] = "skewed-train",
) -> None:
    """Post-train by every method, each with every seed, and compare: in the domain, outside it, and
    whether they look.
    """
    from leovl_mini.experiments.post_training import COMPARED, compare_methods
    from leovl_mini.show.report import table

    names = [m.strip() for m in methods.split(",")] if methods else COMPARED
    found = compare_methods(
        corpus, cache, start, out, names, seeds, steps, rate, beta, questions, domain, split
    )["results"]
    measures = next(iter(found.values()))["measures"]
    rows = [
        [name, *(f"{row['measures'][name]['mean']:.3f}" for row in found.values())]
        for name in measures
    ]
    console.print(table("means over seeds", [["measure", *found], *rows]))
    console.print(f"{out / 'rivals.json'}", soft_wrap=True)

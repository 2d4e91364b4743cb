"""Ask the independent solver about every example of a folder of rooms: python tests/check_corpus.py
FOLDER
"""

import dataclasses
import json
import sys
from collections import Counter
from functools import lru_cache
from pathlib import Path

from solver import solve

from leovl_mini.data.examples import dumps
from leovl_mini.rooms.dataset import RoomDataset

SPLITS = ("train", "val", "test", "pairs-train", "pairs-val", "pairs-test", "novel")


def check(folder: Path, splits: tuple[str, ...] = SPLITS) -> tuple[Counter, list[str]]:
    """The number of examples of each task, and everything that the solver does not agree with."""
    rooms, counts, problems = RoomDataset(folder), Counter(), []

    @lru_cache
    def boxes(name: str) -> tuple[list[dict], list[dict]]:
        graph = rooms.graph(name)
        found = (graph.objects, graph.areas)
        return tuple(json.loads(json.dumps([dataclasses.asdict(x) for x in xs])) for xs in found)

    for split in splits:
        for example in rooms.examples(split):
            counts[example.task] += 1
            found = solve(json.loads(dumps(example)), *boxes(example.scene))
            problems += [f"{example.id} {example.kind}: {problem}" for problem in found]
    return counts, problems


if __name__ == "__main__":
    counts, problems = check(Path(sys.argv[1]))
    print(*problems, *(f"{task}: {number}" for task, number in counts.items()), sep="\n")
    print(f"{counts.total()} examples, {len(problems)} disagreements")
    sys.exit(bool(problems) or not counts)

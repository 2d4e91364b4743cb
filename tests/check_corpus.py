"""Ask the independent solver about every raw example of a corpus: python tests/check_corpus.py
CORPUS
"""

import dataclasses
import json
import sys
from collections import Counter
from pathlib import Path

from solver import solve

from leovl_mini.rooms.dataset import RoomDataset


def check(folder: Path) -> tuple[Counter, list[str]]:
    """The number of examples of each task, and everything that the solver does not agree with."""
    corpus, counts, problems, rooms = RoomDataset(folder), Counter(), [], {}
    for file in sorted(folder.glob("shard-*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            example = json.loads(line)
            name = example["scene"]
            if name not in rooms:
                boxes = [
                    json.loads(json.dumps(dataclasses.asdict(o)))
                    for o in corpus.scene(name).objects
                ]
                rooms[name] = boxes, [dataclasses.asdict(a) for a in corpus.areas(name)]
            counts[example["task"]] += 1
            problems += [
                f"{example['id']} {example['kind']}: {problem}"
                for problem in solve(example, *rooms[name])
            ]
    return counts, problems


if __name__ == "__main__":
    counts, problems = check(Path(sys.argv[1]))
    print(*problems, *(f"{task}: {number}" for task, number in counts.items()), sep="\n")
    print(f"{counts.total()} examples, {len(problems)} disagreements")
    sys.exit(bool(problems) or not counts)

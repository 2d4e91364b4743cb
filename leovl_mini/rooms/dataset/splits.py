"""Which room is for what: training, validation, testing; and the balanced examples of each.

Explained in notebook 01 (RGB-D frames and cameras).
"""

from collections.abc import Callable, Iterable

from leovl_mini.data.examples import Example
from leovl_mini.rooms.balance import balance, simplistic, skew
from leovl_mini.rooms.cameras import DOMAINS
from leovl_mini.rooms.room import parse_name
from leovl_mini.rooms.texts.tasks import about_held_out

SPLITS = ("train", "val", "test")
NOVEL, SYMBOLIC = 500_000, 1_000_000  # first numbers of novel rooms, and of rooms without pictures
VALIDATION = 40  # of the rooms without pictures, one in so many is kept for the curves


def split_of(number: int) -> str:
    """Eight of ten rooms train; both scans of a 3RScan-like room fall into the same split."""
    return {8: "val", 9: "test"}.get(number // 2 % 10, "train")


def scenes_to_make(rooms: int, pictures: bool) -> list[str]:
    """Their names; the domains take turns, the novel rooms come last."""
    if not pictures:
        turns = (divmod(i, len(DOMAINS)) for i in range(rooms))
        return [f"{list(DOMAINS)[d]}_{SYMBOLIC + number}" for number, d in turns]
    each = -(-rooms // len(DOMAINS))
    usual = [f"{d}_{number:05d}" for number in range(each) for d in DOMAINS][:rooms]
    return usual + [f"{d}_n{number:05d}" for number in range(max(each // 20, 1)) for d in DOMAINS]


def splits_of(examples: Iterable[Example]) -> dict[str, list[Example]]:
    """The splits of rooms with pictures, by name; no room is in two of train, val and test."""
    raw, pairs, novel = ({split: [] for split in SPLITS} for _ in range(3))
    for example in examples:
        name = parse_name(example.scene)
        to = novel if name.novel else pairs if "pair" in example.derivation else raw
        to[split_of(name.number)].append(example)
    asked = (e for split in SPLITS for e in novel[split] if e.task == "qa")
    return {
        **{split: by_domain(raw[split], balance) for split in SPLITS},
        **{f"pairs-{split}": pairs[split] for split in SPLITS},
        "novel": [e for e in asked if about_held_out(e)],
        "skewed-train": by_domain(raw["train"], skew),
        "reversed-test": by_domain(raw["test"], lambda some: skew(some, reverse=True)),
        "simplistic-train": simplistic(raw["train"]),
    }


def symbolic_splits(examples: Iterable[Example]) -> dict[str, list[Example]]:
    splits = {"train": [], "val": []}
    for example in examples:
        kept = (parse_name(example.scene).number - SYMBOLIC) % VALIDATION == 0
        splits["val" if kept else "train"].append(example)
    return {split: by_domain(some, balance) for split, some in splits.items()}


def by_domain(
    examples: list[Example], change: Callable[[list[Example]], list[Example]]
) -> list[Example]:
    domains = {d: [e for e in examples if parse_name(e.scene).domain == d] for d in DOMAINS}
    return [e for some in domains.values() for e in change(some)]

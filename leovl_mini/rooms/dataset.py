"""Thousands of recorded rooms with all their text, in checksummed shards, made by several processes
and loaded lazily.

A corpus folder holds ``shard-0000.zip`` ... (pictures and objects), a ``.jsonl`` of raw examples
beside each, the balanced examples of every split (``train.jsonl``, ``val.jsonl``, ``test.jsonl``
...), ``corpus.json`` (how it was made) and ``SHA256SUMS``.
"""

import dataclasses
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from leovl_mini.data.examples import Example, load_examples, save_examples
from leovl_mini.data.files import atomic_write
from leovl_mini.data.samples import samples_folder
from leovl_mini.rooms import balance as quality
from leovl_mini.rooms import edits
from leovl_mini.rooms.cameras import DOMAINS, cameras, domain_room, expose
from leovl_mini.rooms.facts import SceneGraph, visible_graph
from leovl_mini.rooms.recording import about_held_out, examples_of
from leovl_mini.rooms.room import Area
from leovl_mini.scans.scene import InputError, Object, Scene

SHARD = 40  # rooms


FORMAT = 1  # changes when old corpora can no longer be read or continued


SPLITS = ("train", "val", "test")


def split_of(number: int) -> str:
    """Eight of ten rooms train; both scans of a 3RScan-like room fall into the same split."""
    return {8: "val", 9: "test"}.get(number // 2 % 10, "train")


# -- writing ---------------------------------------------------------------------------------------


def make_rooms(
    folder: Path,
    rooms: int,
    views: int = 8,
    workers: int = 2,
    pairs: float = 0.2,
    quiet: bool = False,
) -> None:
    """Write a corpus of ``rooms`` rooms, an equal number from every domain, or go on with one that
    was interrupted.

    ``pairs`` is the share of rooms (four times as many outside training) that get a minimally
    edited copy and one with an unrelated edit. One room in twenty more shows the held-out pairs of
    colour and category (split "novel").
    """
    each = -(-rooms // len(DOMAINS))
    options = {"format": FORMAT, "rooms": rooms, "views": views, "pairs": pairs}
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "corpus.json"
    if note.exists() and json.loads(note.read_text()) != options:
        raise FileExistsError(
            f"{folder} holds a corpus made with other options ({note.read_text().strip()}); choose another place"
        )
    if not note.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} exists already; remove it or choose another place")
    note.write_text(json.dumps(options) + "\n")
    for left_over in folder.glob(".partial-*"):  # of a run that was killed
        shutil.rmtree(left_over)
    wanted = [(d, n, False) for n in range(each) for d in DOMAINS][:rooms]
    wanted += [(d, n, True) for n in range(max(each // 20, 1)) for d in DOMAINS]
    jobs = [
        (folder, i, wanted[k : k + SHARD], views, pairs)
        for i, k in enumerate(range(0, len(wanted), SHARD))
    ]
    todo = [job for job in jobs if not (folder / f"shard-{job[1]:04d}.zip").exists()]
    with tqdm(
        total=len(wanted),
        initial=len(wanted) - sum(len(j[2]) for j in todo),
        unit="room",
        disable=quiet,
    ) as bar:
        if workers == 1:
            for job in todo:
                bar.update(write_shard(job))
        else:
            with ProcessPoolExecutor(workers) as pool:
                for done in pool.map(write_shard, todo):
                    bar.update(done)
    write_splits(folder)


def write_shard(job: tuple[Path, int, list[tuple[str, int, bool]], int, float]) -> int:
    """Record, question and pack up to ``SHARD`` rooms; the two files appear when both are complete."""
    folder, index, wanted, views, pairs = job
    torch.set_num_threads(1)  # the processes share the cores
    told = []
    with atomic_write(folder) as partial:
        with zipfile.ZipFile(partial / f"shard-{index:04d}.zip", "w") as shard:
            for domain, number, novel in wanted:
                offset = 500_000 if novel else 0
                room = domain_room(domain, number + offset, novel)
                K, poses = cameras(room, domain, views)
                scene = expose(
                    room, domain, K, poses, f"{domain}_{'n' if novel else ''}{number:05d}"
                )
                found = examples_of(scene, visible_graph(scene, room.areas), number + offset, novel)
                others, extra = [], []
                share = (
                    pairs if split_of(number) == "train" else min(4 * pairs, 1.0)
                )  # more where they are for testing
                if np.random.default_rng((number, novel, 7)).random() < share:
                    others, extra = edits.edit_pairs(room, domain, scene, found, number)
                for each in (scene, *others):
                    pack(shard, each, room.areas)
                told += [*found, *extra]
        save_examples(told, partial / f"shard-{index:04d}.jsonl")
    return len(wanted)


def pack(shard: zipfile.ZipFile, scene: Scene, areas: list[Area]) -> None:
    """Frames below each other in one picture per kind: JPEG colour, 16-bit millimetres, 8-bit
    instance ids.
    """
    V, H, W = scene.depth.shape
    millimetres = (scene.depth.numpy() * 1000).round().clip(0, 65534).astype(np.uint16)
    for kind, pixels, options in (
        (
            "rgb.jpg",
            scene.rgb.numpy().reshape(V * H, W, 3),
            {"format": "JPEG", "quality": 92, "subsampling": 0},
        ),
        ("depth.png", millimetres.reshape(V * H, W), {"format": "PNG", "compress_level": 4}),
        (
            "instances.png",
            scene.instances.numpy().astype(np.uint8).reshape(V * H, W),
            {"format": "PNG", "compress_level": 4},
        ),
    ):
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, **options)
        shard.writestr(zipfile.ZipInfo(f"{scene.name}/{kind}"), data.getvalue())
    facts = {
        "views": V,
        "intrinsics": scene.intrinsics[0].tolist(),
        "camera_to_world": scene.camera_to_world.tolist(),
        "areas": [dataclasses.asdict(a) for a in areas],
        "objects": [dataclasses.asdict(o) for o in scene.objects],
    }
    shard.writestr(zipfile.ZipInfo(f"{scene.name}/scene.json"), json.dumps(facts))


def write_splits(folder: Path) -> None:
    """Sort the raw examples into balanced splits, and list the checksum of every file."""
    raw, pairs, novel = ({s: [] for s in SPLITS} for _ in range(3))
    for file in sorted(folder.glob("shard-*.jsonl")):
        for example in load_examples(file):
            number = example.scene.split("_")[1].split("-")[0]
            split = split_of(int(number.lstrip("n")))
            to = novel if number.startswith("n") else pairs if "pair" in example.derivation else raw
            to[split].append(example)
    splits = {split: by_domain(raw[split], quality.balance) for split in SPLITS}
    splits |= {f"pairs-{split}": pairs[split] for split in SPLITS}
    splits["novel"] = [e for s in SPLITS for e in novel[s] if e.task == "qa" and about_held_out(e)]
    splits["skewed-train"] = by_domain(raw["train"], quality.skew)
    splits["reversed-test"] = by_domain(raw["test"], lambda some: quality.skew(some, reverse=True))
    splits["simplistic-train"] = quality.simplistic(raw["train"])
    with atomic_write(folder) as partial:
        for name, some in splits.items():
            save_examples(some, partial / f"{name}.jsonl")
    sums = "".join(
        f"{sha256(f)}  {f.name}\n"
        for f in sorted(folder.iterdir())
        if f.suffix in (".zip", ".jsonl")
    )
    with atomic_write(folder) as partial:
        (partial / "SHA256SUMS").write_text(sums)


def by_domain(examples: list[Example], change) -> list[Example]:
    return [e for d in DOMAINS for e in change([x for x in examples if quality.domain(x) == d])]


def sha256(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def has_published_test_sets(folder: Path) -> bool | None:
    """Whether the corpus has the very test sets that are published with the package; None if it was
    made with other options.
    """
    published = json.loads((samples_folder() / "test_sets.json").read_text())
    if json.loads((folder / "corpus.json").read_text()) != published["options"]:
        return None
    return all(sha256(folder / name) == digest for name, digest in published["sha256"].items())


# -- reading ---------------------------------------------------------------------------------------


class RoomDataset:
    """A corpus folder; scenes and examples are read when asked for."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "SHA256SUMS").is_file():
            raise InputError(
                f"{folder} is no finished corpus; make or continue it with: leovl-mini rooms make --out {folder}"
            )
        self.shard_of: dict[str, Path] = {}
        for file in sorted(self.folder.glob("shard-*.zip")):
            with zipfile.ZipFile(file) as shard:
                self.shard_of.update(
                    {n.split("/")[0]: file for n in shard.namelist() if n.endswith("scene.json")}
                )

    def __len__(self) -> int:
        return len(self.shard_of)

    def names(self, split: str = "") -> list[str]:
        """The scenes of a split in the order in which they were made; without a split, all."""
        if not split:
            return list(self.shard_of)
        asked = {e.scene for e in self.examples(split)}
        return [name for name in self.shard_of if name in asked]

    def examples(
        self, split: str, domains: Collection[str] = tuple(DOMAINS), simplistic: bool = False
    ) -> Iterator[Example]:
        """The balanced examples of a split, such as train, val, test, pairs-train, novel,
        skewed-train, reversed-test.

        Leave a domain out of ``domains`` to keep it for testing. ``simplistic`` adds the poor
        questions of ``simplistic-train``.
        """
        file = self.folder / f"{split}.jsonl"
        if not file.is_file():
            have = ", ".join(
                sorted(
                    f.stem for f in self.folder.glob("*.jsonl") if not f.stem.startswith("shard")
                )
            )
            raise InputError(f"{self.folder} has no split {split!r}; there are: {have}")
        files = [file, *([self.folder / "simplistic-train.jsonl"] if simplistic else [])]
        return (e for each in files for e in load_examples(each) if quality.domain(e) in domains)

    def scene(self, name: str) -> Scene:
        if name not in self.shard_of:
            raise InputError(f"{self.folder} has no scene {name!r}")
        with zipfile.ZipFile(
            self.shard_of[name]
        ) as shard:  # a damaged entry fails its CRC check here
            facts = json.loads(shard.read(f"{name}/scene.json"))
            rgb, depth, instances = (
                np.array(Image.open(io.BytesIO(shard.read(f"{name}/{kind}"))))
                for kind in ("rgb.jpg", "depth.png", "instances.png")
            )
        V = facts["views"]
        H = len(depth) // V
        return Scene(
            rgb=torch.from_numpy(rgb.reshape(V, H, -1, 3)),
            depth=torch.from_numpy(depth.reshape(V, H, -1).astype(np.float32) / 1000),
            intrinsics=torch.tensor(facts["intrinsics"]).repeat(V, 1, 1),
            camera_to_world=torch.tensor(facts["camera_to_world"]),
            instances=torch.from_numpy(instances.reshape(V, H, -1).astype(np.int32)),
            objects=[Object.from_dict(o) for o in facts["objects"]],
            name=name,
            frame_names=[f"{i:03d}" for i in range(V)],
        )

    def command(self) -> str:
        """The command that makes this corpus."""
        made = json.loads((self.folder / "corpus.json").read_text())
        return "leovl-mini rooms make --rooms {rooms} --views {views} --pairs {pairs} --out CORPUS".format(
            **made
        )

    def facts(self, name: str) -> dict:
        """What ``scene.json`` holds."""
        with zipfile.ZipFile(self.shard_of[name]) as shard:
            return json.loads(shard.read(f"{name}/scene.json"))

    def objects(self, name: str) -> list[Object]:
        return [Object.from_dict(o) for o in self.facts(name)["objects"]]

    def areas(self, name: str) -> list[Area]:
        return [as_area(a) for a in self.facts(name)["areas"]]

    def world(self, name: str) -> SceneGraph:
        """What is true in a scene."""
        return world_of(self.facts(name))

    def damaged(self) -> list[str]:
        """Names of the files that no longer have their checksum."""
        lines = (line.split("  ") for line in (self.folder / "SHA256SUMS").read_text().splitlines())
        return [
            name
            for digest, name in lines
            if not (self.folder / name).is_file() or sha256(self.folder / name) != digest
        ]


def as_area(fields: dict) -> Area:
    return Area(fields["kind"], tuple(fields["center"]), tuple(fields["size"]))


def world_of(facts: dict) -> SceneGraph:
    """What is true in a room, from its ``scene.json``."""
    objects = [Object.from_dict(o) for o in facts["objects"]]
    return SceneGraph(objects, [as_area(a) for a in facts["areas"]], {o.id for o in objects})

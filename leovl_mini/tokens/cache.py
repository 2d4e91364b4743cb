"""The feature cache: perception runs once over a corpus, training then reads what it saw.

A cache folder holds one ``features-0000.safetensors`` for each shard of the corpus (read lazily,
straight from the disk), and ``cache.json``: how it was made, and the SHA-256 of every file.
"""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from leovl_mini.config import get_preset
from leovl_mini.data.examples import save_examples
from leovl_mini.data.files import atomic_folder, atomic_write, file_sha256
from leovl_mini.data.samples import is_bundled
from leovl_mini.perception.encoders import load_encoder
from leovl_mini.rooms.dataset import RoomDataset
from leovl_mini.scans.scene import InputError, Object
from leovl_mini.tokens import representation
from leovl_mini.tokens.base import SceneInput, SceneTokens
from leovl_mini.tokens.pipeline import perceive


def make_cache(
    folder: Path,
    corpus: RoomDataset,
    preset: str = "nano",
    tokens: str = "grid",
    quiet: bool = False,
    device="cpu",
) -> None:
    """Perceive every scene of a corpus, shard by shard; an interrupted run goes on where it
    stopped.
    """
    settings = get_preset(preset)
    encoder = load_encoder(settings["encoder"], settings["longest_side"], device)
    module = representation(tokens, encoder.channels, **settings["tokens"].get(tokens, {})).to(
        device
    )
    options = {
        "encoder": settings["encoder"],
        "longest_side": settings["longest_side"],
        "tokens": tokens,
        "options": settings["tokens"].get(tokens, {}),
        "channels": encoder.channels,
    }
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "cache.json"
    before = json.loads(note.read_text()) if note.exists() else {"options": options, "sha256": {}}
    if before["options"] != options:
        raise FileExistsError(
            f"{folder} holds features made with other options ({before['options']}); choose another place"
        )
    by_shard: dict[Path, list[str]] = {}
    for name, shard in corpus.shard_of.items():
        by_shard.setdefault(shard, []).append(name)
    todo = {
        shard: names
        for shard, names in by_shard.items()
        if features_file(shard) not in before["sha256"]
    }
    with tqdm(
        total=len(corpus),
        initial=len(corpus) - sum(map(len, todo.values())),
        unit="scene",
        disable=quiet,
    ) as bar:
        for shard, names in todo.items():
            tensors, objects = {}, {}
            for name in names:
                scene = corpus.scene(name)
                seen = perceive(scene.to(device), encoder, module)
                tensors |= {
                    f"{name}/{k}": v.contiguous().cpu() for k, v in as_tensors(seen).items()
                }
                objects[name] = [asdict(o) for o in scene.objects]
                bar.update()
            file = features_file(shard)
            with atomic_write(folder) as partial:
                save_file(tensors, partial / file, {"objects": json.dumps(objects)})
                before["sha256"][file] = file_sha256(partial / file)
            with atomic_write(folder) as partial:
                (partial / "cache.json").write_text(json.dumps(before, indent=1) + "\n")


def features_file(shard: Path) -> str:
    return shard.name.replace("shard", "features").replace(".zip", ".safetensors")


def as_tensors(seen: SceneInput) -> dict[str, Tensor]:
    """Half precision for features, which have unit scale; exact places."""
    tokens = seen.tokens
    kept = {
        "features": tokens.features.half(),
        "centers": tokens.centers,
        "shows": seen.shows.to(torch.int16),
    }
    return (
        kept
        if tokens.points is None
        else kept | {"points": tokens.points, "source": tokens.source.to(torch.int32)}
    )


def make_sample(
    folder: Path, corpus: RoomDataset, cache: "FeatureCache", learned: int = 24, unseen: int = 8
) -> None:
    """A small cache to travel with the package: so many training and validation rooms, evenly over
    the domains, in one file, and their examples in ``train.jsonl`` and ``val.jsonl``. None is one
    of the bundled rooms. ``folder`` must be new.
    """
    tensors, objects, areas = {}, {}, {}
    with atomic_folder(folder) as partial:
        for split, count in (("train", learned), ("val", unseen)):
            examples = [
                e for e in corpus.examples(split) if e.scene in cache and not is_bundled(e.scene)
            ]
            names = sorted(
                {e.scene for e in examples}, key=lambda name: (int(name.split("_")[-1]), name)
            )[:count]
            for name in names:
                seen = cache.scene(name)
                tensors |= {f"{name}/{k}": v.contiguous() for k, v in as_tensors(seen).items()}
                objects[name], areas[name] = (
                    [asdict(o) for o in seen.objects],
                    [asdict(a) for a in corpus.areas(name)],
                )
            save_examples([e for e in examples if e.scene in names], partial / f"{split}.jsonl")
        file = "features-0000.safetensors"
        save_file(
            tensors, partial / file, {"objects": json.dumps(objects), "areas": json.dumps(areas)}
        )
        note = {"options": cache.options, "sha256": {file: file_sha256(partial / file)}}
        (partial / "cache.json").write_text(json.dumps(note, indent=1) + "\n")


class FeatureCache:
    """Scenes of a cache by name. Tensors come straight from the memory-mapped files."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "cache.json").is_file():
            raise InputError(
                f"{folder} is no feature cache; make one with: leovl-mini train features CORPUS --out {folder}"
            )
        note = json.loads((self.folder / "cache.json").read_text())
        self.options, self.sha256 = note["options"], note["sha256"]
        self.files = {name: safe_open(self.folder / name, "pt") for name in sorted(self.sha256)}
        self.objects, self.file_of = {}, {}
        for name, file in self.files.items():
            for scene, objects in json.loads(file.metadata()["objects"]).items():
                self.objects[scene], self.file_of[scene] = objects, name

    def __len__(self) -> int:
        return len(self.file_of)

    def __contains__(self, name: str) -> bool:
        return name in self.file_of

    def scene(self, name: str) -> SceneInput:
        if name not in self.file_of:
            raise InputError(f"{self.folder} has no scene {name!r}")
        file = self.files[self.file_of[name]]
        features, centers, shows = (
            file.get_tensor(f"{name}/{k}") for k in ("features", "centers", "shows")
        )
        source, points = (
            torch.zeros(0, dtype=torch.long),
            None,
        )  # patches are not kept, unless voxels need them
        if f"{name}/points" in file.keys():
            source, points = (
                file.get_tensor(f"{name}/source").long(),
                file.get_tensor(f"{name}/points"),
            )
        objects = [
            Object(**{**o, "center": tuple(o["center"]), "size": tuple(o["size"])})
            for o in self.objects[name]
        ]
        return SceneInput(
            SceneTokens(features.float(), centers, source, points=points),
            shows.long(),
            objects,
            name,
        )

    def damaged(self) -> list[str]:
        """Names of the files that no longer have their checksum."""
        return [
            n
            for n, digest in self.sha256.items()
            if not (self.folder / n).is_file() or file_sha256(self.folder / n) != digest
        ]

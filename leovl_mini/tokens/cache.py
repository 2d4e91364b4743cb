"""The feature cache: perception runs once over all scenes, and training then reads its tokens.

A cache folder holds files ``features-0000.safetensors`` ... of up to 40 scenes each, which are read
lazily, straight from the disk, and ``cache.json``: how it was made, and the SHA-256 of every file.
Explained in notebook 07 (fine-tuning).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from leovl_mini.config import get_preset
from leovl_mini.data.benchmarks import Benchmark, annotation_files
from leovl_mini.data.examples import SceneSource, save_examples
from leovl_mini.data.files import atomic_folder, atomic_write, file_sha256, write_json
from leovl_mini.perception.encoders import load_encoder
from leovl_mini.rooms.dataset import RoomDataset, is_bundled
from leovl_mini.rooms.room import parse_name
from leovl_mini.scans.scene import InputError, Object
from leovl_mini.tokens import representation
from leovl_mini.tokens.base import SceneInput, SceneTokens
from leovl_mini.tokens.pipeline import perceive

SCENES_PER_FILE = 40


def open_source(folder: str | Path) -> SceneSource:
    """The scenes and questions of a folder, whatever fills it: made rooms (``RoomDataset``) or
    scans with the questions of benchmarks (``data.benchmarks``).
    """
    folder = Path(folder)
    if any((folder / name).is_file() for name in ("rooms.json", "corpus.json")):
        return RoomDataset(folder)
    if annotation_files(folder):
        return Benchmark(folder)
    raise InputError(
        f"{folder} holds neither made rooms nor annotation files of a benchmark under their "
        "published names, such as ScanQA_v1.0_val.json."
    )


def make_features(
    folder: Path,
    source: SceneSource,
    preset: str = "nano",
    tokens: str = "grid",
    quiet: bool = False,
    device: str | torch.device = "cpu",
) -> None:
    """Perceive every scene of a source and keep its tokens; an interrupted run goes on where it
    stopped. FileExistsError where ``folder`` holds features made with other options.
    """
    settings = get_preset(preset)
    encoder = load_encoder(settings.encoder, settings.longest_side, device)
    token_options = settings.options(tokens)
    module = representation(tokens, **token_options)
    options = {
        "encoder": settings.encoder,
        "longest_side": settings.longest_side,
        "tokens": tokens,
        "options": token_options,
        "channels": encoder.channels,
    }
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "cache.json"
    made = json.loads(note.read_text()) if note.exists() else {"options": options, "sha256": {}}
    if made["options"] != options:
        raise FileExistsError(
            f"{folder} holds features made with other options ({made['options']}); "
            "choose another place"
        )
    names = source.names()
    chunks = [names[i : i + SCENES_PER_FILE] for i in range(0, len(names), SCENES_PER_FILE)]
    files = {f"features-{i:04d}.safetensors": chunk for i, chunk in enumerate(chunks)}
    with tqdm(total=len(names), unit="scene", disable=quiet) as bar:
        for file, chunk in files.items():
            if file not in made["sha256"]:
                inputs = (perceive(source.scene(n).to(device), module, encoder) for n in chunk)
                made["sha256"][file] = save_inputs(folder / file, list(inputs))
                write_json(note, made)
            bar.update(len(chunk))


def save_inputs(file: Path, inputs: Sequence[SceneInput], **metadata: str) -> str:
    """Write scenes to one file and return its SHA-256: half precision for features, which have unit
    scale, and exact places.
    """
    tensors, objects = {}, {}
    for scene in inputs:
        tensors |= {f"{scene.name}/{k}": v.cpu().contiguous() for k, v in as_tensors(scene).items()}
        objects[scene.name] = [asdict(o) for o in scene.objects]
    with atomic_write(file.parent) as partial:
        save_file(tensors, partial / file.name, {"objects": json.dumps(objects), **metadata})
        return file_sha256(partial / file.name)


def as_tensors(scene: SceneInput) -> dict[str, Tensor]:
    """What is kept of a scene; patches only where their places will be embedded (voxels)."""
    tokens = scene.tokens
    kept = {
        "features": tokens.features.half(),
        "centers": tokens.centers,
        "object_ids": scene.object_ids.to(torch.int16),
    }
    if tokens.points is not None:
        kept |= {"points": tokens.points, "source": tokens.source.to(torch.int32)}
    return kept


class FeatureCache:
    """Scenes of a cache by name. Tensors come straight from the memory-mapped files."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "cache.json").is_file():
            raise InputError(
                f"{folder} is no feature cache; make one with: "
                f"leovl-mini train features ROOMS --out {folder}"
            )
        made = json.loads((self.folder / "cache.json").read_text())
        self.options, self.sha256 = made["options"], made["sha256"]
        self.files = {name: safe_open(self.folder / name, "pt") for name in sorted(self.sha256)}
        self.objects, self.file_of = {}, {}
        for name, file in self.files.items():
            for scene, objects in json.loads(file.metadata()["objects"]).items():
                self.objects[scene], self.file_of[scene] = objects, name

    def __len__(self) -> int:
        return len(self.file_of)

    def __contains__(self, name: str) -> bool:
        return name in self.file_of

    def names(self) -> list[str]:
        """The scenes that it holds, in the order in which they were perceived."""
        return list(self.file_of)

    def scene(self, name: str) -> SceneInput:
        """A scene's tokens, their object ids, and all objects of the scene."""
        if name not in self.file_of:
            raise InputError(f"{self.folder} has no scene {name!r}")
        file = self.files[self.file_of[name]]
        features, centers, object_ids = (
            file.get_tensor(f"{name}/{key}") for key in ("features", "centers", "object_ids")
        )
        source, points = torch.zeros(0, dtype=torch.long), None
        if f"{name}/points" in file.keys():
            source = file.get_tensor(f"{name}/source").long()
            points = file.get_tensor(f"{name}/points")
        tokens = SceneTokens(features.float(), centers, source, points=points)
        objects = [Object.from_dict(o) for o in self.objects[name]]
        return SceneInput(tokens, object_ids.long(), objects, name, self.options["tokens"])

    def damaged(self) -> list[str]:
        """Names of the files that no longer have their checksum."""
        return [
            name
            for name, digest in self.sha256.items()
            if not (self.folder / name).is_file() or file_sha256(self.folder / name) != digest
        ]


def check_features_match(features: FeatureCache, preset: str) -> None:
    """A cache must hold what the preset's encoder sees, in the preset's tokens."""
    settings, tokens = get_preset(preset), features.options["tokens"]
    wanted = {
        "encoder": settings.encoder,
        "longest_side": settings.longest_side,
        "options": settings.options(tokens),
    }
    wrong = [
        f"{k.replace('_', ' ')} {features.options[k]}, not {v}"
        for k, v in wanted.items()
        if features.options[k] != v
    ]
    if wrong:
        raise InputError(
            f"the features in {features.folder} do not fit preset {preset} ({'; '.join(wrong)}); "
            f"make others with: leovl-mini train features CORPUS --preset {preset} "
            f"--tokens {tokens} --out FOLDER"
        )


def export_sample(
    folder: Path, rooms: SceneSource, cache: FeatureCache, train: int = 24, val: int = 8
) -> None:
    """A small cache to travel with the package: so many training and validation rooms, evenly over
    the domains, in one file, and their examples in ``train.jsonl`` and ``val.jsonl``. None is one
    of the bundled rooms. ``folder`` must be new.
    """
    inputs, areas = [], {}
    with atomic_folder(folder) as partial:
        for split, count in (("train", train), ("val", val)):
            examples = [
                e for e in rooms.examples(split) if e.scene in cache and not is_bundled(e.scene)
            ]
            names = {e.scene for e in examples}
            names = sorted(names, key=lambda n: (parse_name(n).number, n))[:count]
            inputs += [cache.scene(name) for name in names]
            areas |= {name: [asdict(a) for a in rooms.graph(name).areas] for name in names}
            save_examples([e for e in examples if e.scene in names], partial / f"{split}.jsonl")
        file = partial / "features-0000.safetensors"
        made = {
            "options": cache.options,
            "sha256": {file.name: save_inputs(file, inputs, areas=json.dumps(areas))},
        }
        write_json(partial / "cache.json", made)

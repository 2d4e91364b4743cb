"""Scans of ScanNet with the questions of a benchmark, as a ``SceneSource``.

A folder holds annotation files under their published names (the table ``PUBLISHED``), and the scans
as ScanNet's SensReader exports them, in ``scans/`` inside it or beside it:

    scannet/scans/scene0011_00/    color/ depth/ pose/ intrinsic/, and scene0011_00_vh_clean_2.ply
    scannet/SQA3D/                 v1_balanced_questions_test_scannetv2.json, ..._annotations_...
    scannet/ScanQA/                ScanQA_v1.0_train.json, ScanQA_v1.0_val.json

Splits are the published ones. A folder with files of several benchmarks gives the questions of all.
"""

import dataclasses
import warnings
from pathlib import Path

from leovl_mini.data.annotations import (
    read_beacon3d_grounding,
    read_beacon3d_qa,
    read_scanqa,
    read_sqa3d,
)
from leovl_mini.data.examples import Example
from leovl_mini.data.vsibench import read_vsibench_meta
from leovl_mini.scans.load import load_scene
from leovl_mini.scans.scene import InputError, Scene

SPLITS = ("train", "val", "test", "test_w_obj", "test_wo_obj")

# The reader of each benchmark and the names of its files for a split (those of Beacon3D are ours).
PUBLISHED = (
    (
        read_sqa3d,
        "v1_balanced_questions_{split}_scannetv2.json",
        "v1_balanced_sqa_annotations_{split}_scannetv2.json",
    ),
    (read_scanqa, "ScanQA_v1.0_{split}.json"),
    (read_beacon3d_qa, "beacon3d_qa_{split}.json"),
    (read_beacon3d_grounding, "beacon3d_grounding_{split}.json"),
    (read_vsibench_meta, "scannet_meta_info_{split}.json"),
)


def annotation_files(folder: Path) -> dict[str, list[tuple]]:
    """What a folder holds of ``PUBLISHED``, by split: readers with the paths they take."""
    found: dict[str, list[tuple]] = {}
    for split in SPLITS:
        for reader, *names in PUBLISHED:
            files = [folder / name.format(split=split) for name in names]
            if files[0].is_file():
                found.setdefault(split, []).append((reader, files))
    return found


class Benchmark:
    """The questions of a folder (see above) about those of its scans that are there."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.files = annotation_files(self.folder)
        if not self.files:
            raise InputError(
                f"{folder} holds no annotation files under their published names, such as "
                "ScanQA_v1.0_val.json."
            )
        inside, beside = self.folder / "scans", self.folder.resolve().parent / "scans"
        self.scans = inside if inside.is_dir() else beside
        if not self.scans.is_dir():
            raise InputError(
                f"{folder} has no folder scans/ in it or beside it; put the scans there, "
                "one folder per scene as ScanNet's SensReader exports it."
            )
        self.loaded: dict[str, list[Example]] = {}  # by split

    def names(self, split: str = "") -> list[str]:
        """The scenes that a split asks about, as far as their scans are there; without a split,
        those of all splits.
        """
        some = self.examples(split) if split else [e for s in self.files for e in self.load(s)]
        return sorted({example.scene for example in some})

    def scene(self, name: str) -> Scene:
        """The scan, by ``load_scene`` with its usual frames."""
        if not (self.scans / name).is_dir():
            raise InputError(f"{self.scans} has no scan {name!r}.")
        return load_scene(self.scans / name)

    def examples(self, split: str) -> list[Example]:
        """The questions of a split; a warning counts those whose scans are not there."""
        if split not in self.files:
            have = ", ".join(self.files)
            raise InputError(f"{self.folder} has no split {split!r}; there are: {have}.")
        if not self.load(split):
            raise InputError(
                f"{self.scans} holds none of the scans that split {split!r} of {self.folder} "
                "asks about."
            )
        return self.load(split)

    def load(self, split: str) -> list[Example]:
        """The questions about scans that are there, read once."""
        if split not in self.loaded:
            examples = [e for reader, files in self.files[split] for e in reader(*files)]
            scenes = {example.scene for example in examples}
            there = {name for name in scenes if (self.scans / name).is_dir()}
            kept = [example for example in examples if example.scene in there]
            if there != scenes:
                warnings.warn(
                    f"{self.scans} lacks {len(scenes - there)} of the {len(scenes)} scans of split "
                    f"{split!r}: {len(examples) - len(kept)} of {len(examples)} questions are "
                    "left out",
                    stacklevel=3,
                )
            self.loaded[split] = self.move_into_scans(kept, split)
        return self.loaded[split]

    def move_into_scans(self, examples: list[Example], split: str) -> list[Example]:
        """Situations with their positions in the scan's world instead of around its middle, as
        SQA3D has them; on the floor. Without the mesh whose middle it is, positions are left out.
        """
        scenes = {e.scene for e in examples if e.position is not None}
        middles = {scene: self.middle(scene) for scene in scenes}
        lacking = [scene for scene, middle in middles.items() if middle is None]
        if lacking:
            warnings.warn(
                f"{len(lacking)} scans of split {split!r} lack their mesh, such as "
                f"{self.mesh(min(lacking))}: where the agent stands is left out of the questions",
                stacklevel=3,
            )
        return [self.moved(e, middles.get(e.scene)) for e in examples]

    def moved(self, example: Example, middle: tuple[float, float] | None) -> Example:
        if example.position is None:
            return example
        if middle is None:
            return dataclasses.replace(example, position=None, heading=None)
        x, y = (a + b for a, b in zip(example.position[:2], middle, strict=True))
        return dataclasses.replace(example, position=[x, y, 0.0])

    def mesh(self, scene: str) -> Path:
        return self.scans / scene / f"{scene}_vh_clean_2.ply"

    def middle(self, scene: str) -> tuple[float, float] | None:
        """The middle (x, y) of the bounding box of a scan's mesh, if the mesh is there."""
        file = self.mesh(scene)
        if not file.is_file():
            return None
        # imported here: it loads slowly, and only SQA3D needs it
        from leovl_mini.data.open3d_headless import open3d

        mesh = open3d.io.read_point_cloud(str(file))
        if not mesh.has_points():
            raise InputError(f"{file} is not a complete mesh; copy it again.")
        x, y, _ = mesh.get_axis_aligned_bounding_box().get_center()
        return float(x), float(y)

"""The rooms and weights that travel with the package."""

import dataclasses
from pathlib import Path

from leovl_mini.files import new_folder

PACKAGE = Path(__file__).parent
DEFAULT_ROOM = "scannet_2"
SAMPLES = {
    "scannet": (0, 2),
    "rscan": (2, 3),
    "multiscan": (1, 4),
    "arkitscenes": (0, 4),
}  # rscan 3 is a later scan of rscan 2


def samples_folder() -> Path:
    """``data_samples``: inside an installed package, or beside it in a checkout."""
    places = (PACKAGE / "data_samples", PACKAGE.parent / "data_samples")
    return next((place for place in places if place.is_dir()), places[-1])


def sample_room(name: str = DEFAULT_ROOM) -> Path:
    """The folder of a bundled room, to be read by ``load_scene``."""
    rooms = samples_folder() / "rooms"
    if not (rooms / name).is_dir():
        have = (
            ", ".join(sorted(p.name for p in rooms.iterdir()))
            if rooms.is_dir()
            else "none found: reinstall the package"
        )
        raise FileNotFoundError(f"no bundled room {name!r}; there are: {have}")
    return rooms / name


def is_bundled(scene: str) -> bool:
    """Whether a scene of a corpus ("scannet_00002") is one of the bundled rooms ("scannet_2"), or
    an edited copy of one.
    """
    domain, number = scene.split("-")[0].split("_")
    return number.isdigit() and int(number) in SAMPLES.get(domain, ())


def export_samples(folder: Path, views: int = 8) -> None:
    """Record the bundled rooms and write each with its examples; ``folder`` must be new."""
    from leovl_mini.examples import save_examples
    from leovl_mini.rooms import domain_room, export, record
    from leovl_mini.rooms.recording import examples_of, look

    with new_folder(folder) as partial:
        for domain, numbers in SAMPLES.items():
            for number in numbers:
                room = domain_room(domain, number)
                scene = record(room, domain, views, f"{domain}_{number}")
                export(
                    scene,
                    partial / scene.name,
                    extras={"areas": [dataclasses.asdict(a) for a in room.areas]},
                )
                save_examples(
                    examples_of(scene, look(scene, room.areas), number),
                    partial / scene.name / "examples.jsonl",
                )

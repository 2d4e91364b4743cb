"""The rooms and weights that travel with the package."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]


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

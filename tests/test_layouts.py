"""Rooms on paper: as many as one likes, none of them a room of a corpus, with answers that follow
from their objects.
"""

import pytest

from leovl_mini.rooms import balance as quality
from leovl_mini.rooms.cameras import DOMAINS, domain_room
from leovl_mini.rooms.dataset import by_domain
from leovl_mini.rooms.layout import HELD_OUT
from leovl_mini.rooms.recording import about_held_out
from leovl_mini.rooms.symbolic import FIRST, SymbolicRooms, layout, make_symbolic_rooms
from leovl_mini.scans.scene import InputError


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> SymbolicRooms:
    folder = tmp_path_factory.mktemp("paper") / "layouts"
    make_symbolic_rooms(folder, rooms=164, workers=2, quiet=True)
    return SymbolicRooms(folder)


def test_every_domain_has_its_share_and_validation_rooms_are_apart(made):
    assert len(made.objects) == 164
    assert all(sum(n.startswith(d) for n in made.objects) == 41 for d in DOMAINS)
    rooms = {split: {e.scene for e in made.examples(split)} for split in ("train", "val")}
    assert rooms["train"].isdisjoint(rooms["val"]) and rooms["train"] | rooms["val"] <= set(
        made.objects
    )
    assert len(rooms["val"]) == 8 and len({n.split("_")[0] for n in rooms["val"]}) == 4


def test_a_layout_is_the_room_of_its_number(made):
    name, objects, asked = layout(6)
    domain, number = name.split("_")
    assert (
        int(number) == FIRST + 1
        and objects == domain_room(domain, int(number)).objects == made.objects[name]
    )
    assert {e.scene for e in asked} == {name} and len({e.id for e in asked}) == len(asked)


def test_answers_follow_from_the_objects(made):
    """Counts, colours and contents worked out again from the written objects."""
    checked = set()
    for split in ("train", "val"):
        for e in made.examples(split):
            objects = made.objects[e.scene]
            by_id = {o.id: o for o in objects}
            if e.kind == "count":
                (category, *_) = e.derivation["about"]
                assert e.answers[0] == str(sum(o.category == category for o in objects))
            elif e.kind == "colour":
                assert by_id[e.derivation["objects"][0]].attributes["colour"] == e.answers[0]
            elif e.kind == "contents on":
                (held,) = (
                    o for o in objects if o.attributes.get("on") == str(e.derivation["objects"][0])
                )
                assert held.category == e.answers[0]
            else:
                continue
            checked.add(e.kind)
    assert checked == {"count", "colour", "contents on"}


def test_rooms_are_also_told_about(made):
    told = [e for split in ("train", "val") for e in made.examples(split) if e.task != "qa"]
    assert {e.task for e in told} == {
        "object captioning",
        "scene captioning",
        "planning",
        "dialogue",
    }
    assert {e.scene for e in told if e.task == "scene captioning"} == set(made.objects)
    for e in (e for e in told if e.task == "object captioning"):
        top = [
            (*o.center[:2], o.center[2] + o.size[2] / 2)
            for o in made.objects[e.scene]
            if o.category == e.kind
        ]
        assert (
            any(tuple(e.spot) == pytest.approx(point) for point in top) and e.kind in e.answers[0]
        )


def test_answers_are_balanced_and_held_out_pairs_absent(made):
    train = list(made.examples("train"))
    assert by_domain(train, quality.balance) == train  # nothing left to drop
    assert not any(map(about_held_out, train))
    for objects in made.objects.values():
        assert all(HELD_OUT.get(o.category) != o.attributes.get("colour", "none") for o in objects)


def test_a_folder_is_never_overwritten_and_a_missing_one_is_named(made, tmp_path):
    with pytest.raises(FileExistsError, match="exists already"):
        make_symbolic_rooms(made.folder, rooms=4, workers=1, quiet=True)
    with pytest.raises(
        InputError,
        match="holds no layouts; make some with: leovl-mini train layouts --out FOLDER",
    ):
        SymbolicRooms(tmp_path)

"""Files are written whole or not at all, and tables of JSON can be read line by line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leovl_mini.data.files import atomic_folder, atomic_write, json_text, write_json

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(scalars, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=20)


@given(values)
def test_json_says_the_same_on_more_lines(value):
    assert json.loads(json_text(value)) == value


def test_a_row_of_a_table_is_a_line(tmp_path):
    rows = [{"step": 1, "score": 0.5}, {"step": 2, "score": 0.75}]
    write_json(tmp_path / "new" / "table.json", {"command": "x", "places": [1, 2], "rows": rows})
    assert (tmp_path / "new" / "table.json").read_text() == (
        '{\n "command": "x",\n "places": [1, 2],\n "rows": [\n  {"step": 1, "score": 0.5},\n'
        '  {"step": 2, "score": 0.75}\n ]\n}\n'
    )


@pytest.mark.parametrize("write", [atomic_write, atomic_folder])
def test_what_fails_half_way_leaves_nothing(tmp_path, write):
    with pytest.raises(RuntimeError), write(tmp_path / "out") as partial:
        (partial / "a").write_text("half")
        raise RuntimeError
    assert not any(tmp_path.iterdir())
    with write(tmp_path / "out") as partial:
        (partial / "a").write_text("whole")
    assert [f.read_text() for f in (tmp_path / "out").iterdir()] == ["whole"]


def test_a_used_folder_is_not_replaced_and_other_files_stay(tmp_path):
    (tmp_path / "b").write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"), atomic_folder(tmp_path):
        pass
    with atomic_write(tmp_path) as partial:
        (partial / "a").write_text("new")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a", "b"]

"""What a user gets who does not install in editable mode."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_a_built_wheel_finds_rooms_and_weights(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("leovl_mini-*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        "import leovl_mini, leovl_mini.data.samples as s;"
        "import leovl_mini.rooms.questions;"  # reads phrases.json
        f"assert leovl_mini.__file__.startswith({str(site)!r});"
        "model = leovl_mini.LeoVL.from_pretrained('nano');"
        "print(s.samples_folder(), len(leovl_mini.load_scene(s.sample_room())), model.trained)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": ""},
    )
    folder = site / "leovl_mini" / "data_samples"
    assert done.stdout.split() == [str(folder), "8", "True"], done.stderr


def test_the_package_imports_no_network_client_of_its_own():
    text = "\n".join(p.read_text() for p in (ROOT / "leovl_mini").rglob("*.py"))
    for name in ("import requests", "urllib", "http.client", "import pickle"):
        assert name not in text
    assert "weights_only=False" not in text and "allow_pickle=True" not in text

"""The house stays small: short files, few entries in a folder, imports that run downwards."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "leovl_mini"
FILES = sorted(PACKAGE.rglob("*.py"))
# a folder imports from the ones before it; the commands from all
FLOORS = [
    *("config", "scans", "data", "perception", "rooms", "tokens"),
    *("model", "evaluate", "train", "show", "experiments", "cli", "__init__"),
]


def module_name(file: Path) -> str:
    """leovl_mini/scans/scene.py -> leovl_mini.scans.scene; __init__.py -> its folder."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(file): file for file in FILES}


def imported(tree: ast.AST) -> set[str]:
    """The modules of this package that a file imports, also inside functions; what stands under
    ``if TYPE_CHECKING`` is for readers and checkers only.
    """
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
        found |= imported(node)
    return {name for name in found if name.split(".")[0] == "leovl_mini" and name in MODULES}


IMPORTS = {name: imported(ast.parse(file.read_text())) for name, file in MODULES.items()}


def floor(name: str) -> int:
    return FLOORS.index(name.split(".")[1] if "." in name else "__init__")


def test_files_are_short_and_narrow_and_folders_hold_few_entries():
    for file in FILES:
        lines = file.read_text().splitlines()
        assert len(lines) <= 250, f"{file}: {len(lines)} lines"
        wide = [i for i, line in enumerate(lines, 1) if len(line) > 100]
        assert not wide, f"{file}: lines {wide} are wider than 100 columns"
    for folder in {file.parent for file in FILES}:
        entries = {e.name for e in folder.iterdir()} - {"__init__.py", "__pycache__"}
        assert len(entries) <= 12, f"{folder} holds {len(entries)} entries"


def test_imports_run_downwards():
    pairs = [(name, other) for name, others in IMPORTS.items() for other in others]
    assert not [pair for pair in pairs if floor(pair[1]) > floor(pair[0])]


def test_imports_have_no_circles():
    left = {name: others - {name} for name, others in IMPORTS.items()}
    while outside := [
        name
        for name, others in left.items()
        if not others & set(left) or not any(name in others for others in left.values())
    ]:
        left = {name: others for name, others in left.items() if name not in outside}
    assert not left, f"these import each other: {sorted(left)}"


def test_a_circle_and_an_import_upwards_would_be_found():
    tree = ast.parse("def f():\n    from leovl_mini.cli import main")
    assert imported(tree) == {"leovl_mini.cli"} and floor("leovl_mini.cli") > floor(
        "leovl_mini.show"
    )
    tree = ast.parse("if TYPE_CHECKING:\n    from leovl_mini import cli")
    assert imported(tree) == set()


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    assert len((ROOT / "CHANGELOG.md").read_text().splitlines()) <= 40

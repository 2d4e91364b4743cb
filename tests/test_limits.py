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
    lines = {file: file.read_text().splitlines() for file in FILES}
    assert not {str(file): len(rows) for file, rows in lines.items() if len(rows) > 250}
    assert not [f"{file}: {row}" for file, rows in lines.items() for row in rows if len(row) > 100]
    entries = {
        folder: len({e.name for e in folder.iterdir()} - {"__init__.py", "__pycache__"})
        for folder in {file.parent for file in FILES}
    }
    assert not {str(folder): count for folder, count in entries.items() if count > 12}


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

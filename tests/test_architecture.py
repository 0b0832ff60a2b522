"""The rules of docs/architecture.md, read off the source: which room may import which, and how large rooms may grow."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ORDER = [
    "errors",
    "foundation",
    "types",
    "processes",
    "configuration",
    "hub",
    "claims",
    "tasks",
    "store",
    "metrics",
    "engine",
    "judging",
    "checking",
    "sweeping",
    "report",
    "api",
    "cli",
]
"""A room imports those before it, and none after it."""

AT_THE_TOP = {"__init__.py", "__main__.py", "errors.py", "py.typed", "types.py"}
LINES, ENTRIES = 400, 25


def modules() -> dict[str, Path]:
    found = {}
    for file in sorted((ROOT / "verify").rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of this package that a file imports anywhere in it, inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relative to itself"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield from [name] if name in known else [node.module or ""] if node.module in known else []
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imports(file, known)) - {name} for name, file in known.items()}


def room(module: str) -> str | None:
    """The room of a module; None for the package itself and for ``python -m verify``, which stand above all."""
    _, _, rest = module.partition(".")
    return rest.split(".")[0] if rest and rest != "__main__" else None


def test_rooms_import_in_one_direction():
    against = [
        f"{module} imports {other}"
        for module, others in graph().items()
        for other in others
        if (a := room(module)) and (b := room(other)) and ORDER.index(b) > ORDER.index(a)
    ]
    assert not against


def test_no_modules_import_each_other_in_a_circle():
    found = {name: {other for other in others if other != "verify"} for name, others in graph().items()}
    try:
        TopologicalSorter(found).prepare()
    except CycleError as error:
        raise AssertionError(" imports ".join(error.args[1])) from None


def test_only_what_reports_knows_a_terminal():
    """What users must be told travels as data; the command line says itself why a run of several failed."""
    below = ORDER[: ORDER.index("report")]
    shown = {}
    for name, file in modules().items():
        if room(name) in (*below, "api") and name != "verify.configuration.compose":
            tree = ast.parse(file.read_text())
            named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
            named |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
            called = {
                node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and hasattr(node.func, "id")
            }
            if "print" in called or any(str(one).split(".")[0] == "rich" for one in named):
                shown[name] = file
    assert not shown


def test_every_room_has_its_place_in_the_order():
    assert {entry.name for entry in (ROOT / "verify").iterdir() if entry.is_dir()} - {"__pycache__"} <= set(ORDER)


def test_nothing_else_stands_at_the_top():
    assert {entry.name for entry in (ROOT / "verify").iterdir() if entry.is_file()} <= AT_THE_TOP


def test_no_module_is_too_long():
    files = [file for folder in ("verify", "scripts") for file in (ROOT / folder).rglob("*.py")]
    assert not [file for file in files if len(file.read_text().splitlines()) > LINES]


def test_no_folder_is_crowded():
    crowded = []
    for top in ("verify", "scripts", "tests", "conf"):
        for folder in [ROOT / top, *(ROOT / top).rglob("*")]:
            is_data = "golden" in folder.parts or "demo" in folder.parts
            if folder.is_dir() and not is_data and folder.name != "__pycache__":
                entries = [entry for entry in folder.iterdir() if entry.name != "__pycache__"]
                crowded += [folder] if len(entries) > ENTRIES else []
    assert not crowded


def test_the_page_on_architecture_lists_the_rooms_in_their_order():
    page = (ROOT / "docs/architecture.md").read_text()
    assert re.findall(r"(?m)^\| `(\w+)` \|", page) == ORDER


def test_the_places_that_the_documentation_names_are_there():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        text = page.read_text()
        named = re.findall(r"`((?:verify|tests|scripts|docs|conf|tasks)/[\w./-]*)`", text)
        linked = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
        gone = [name for name in named if "NAME" not in name and not (ROOT / name).exists()]
        gone += [name for name in linked if not (page.parent / name).exists()]
        assert not gone, f"{page.name} names what is not there"

"""Imports go one way: each part of the package imports only from parts below it."""

import ast

import pytest

from deepvalues.core import paths

PACKAGE = paths.ROOT / "src" / "deepvalues"
#: The level of each part, from the bottom. A module with its own entry does not have its folder's level:
#: what studies use must not import the paper.
LEVELS = {
    "core": 0,
    "paper.sentences": 1,
    "paper.tables": 1,
    "stats": 1,
    "ask": 2,
    "survey": 2,
    "paper.theme": 3,
    "studies": 4,
    "browser": 5,
    "paper": 5,
    "card": 6,
    "export": 6,
    "cli": 7,
    "__main__": 8,
}


def part(name):
    """The longest matching entry of `LEVELS` for a module's name below the package, or None."""
    words = name.split(".")
    heads = (".".join(words[:length]) for length in range(len(words), 0, -1))
    return next((head for head in heads if head in LEVELS), None)


def imported(tree):
    """Names below the package that a module imports at run time, including within functions."""
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in set(ast.walk(tree)) - for_types:
        if isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("deepvalues.") for name in names if name.startswith("deepvalues."))


def upward(name, source):
    """Imports of a module that are not from a lower level."""
    own = part(name)
    found = {other: part(other) for other in imported(ast.parse(source))}
    return [
        f"{name} imports {other}"
        for other, to in found.items()
        if to and to != own and LEVELS[to] >= LEVELS[own]
    ]


@pytest.mark.parametrize("folder", sorted({path.name for path in PACKAGE.iterdir() if path.suffix != ".pyc"}))
def test_imports_follow_the_levels(folder):
    place = PACKAGE / folder
    for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if name != "__init__":
            assert part(name), f"{name} has no level"
            assert upward(name, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    ["from deepvalues.studies import dvb", "import deepvalues.paper.site", "from deepvalues import survey"],
)
def test_an_import_from_a_higher_or_the_same_level_is_found(line):
    assert upward("ask.engine", f"def later():\n    {line}") != []
    assert upward("cli", line) == []

"""From a call in a notebook back through its variables: the statements that it rests on, and no others."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: What notebooks keep numbers and tables with: no result rests on it.
KEEPER = "results"


class Lineage(NamedTuple):
    """What a call rests on: statements in their order, and the tables that were kept of their variables."""

    statements: list[str]
    tables: list[str]


class _Statement(NamedTuple):
    text: str
    stored: frozenset[str]
    #: Those of ``stored`` that are made anew, so that what they were before does not matter.
    renewed: frozenset[str]
    loaded: frozenset[str]
    node: ast.stmt


def lineage(sources: Sequence[str], call: str) -> Lineage:
    """The statements that a call rests on.

    A variable that is changed by a method or in a function is not followed; the project's notebooks hand
    values on by names.

    Parameters
    ----------
    sources
        The code cells up to the one with the call, in order.
    call
        The call, as it stands in the last cell but for white space.
    """
    statements = [statement for source in sources for statement in _statements(source)]
    wanted = set(_names(ast.parse(call), ast.Load))
    known: set[str] = set()
    kept: list[_Statement] = []
    for statement in reversed(statements):
        if statement.stored & wanted:
            kept.append(statement)
            known |= statement.stored & wanted
            wanted = (wanted - statement.renewed) | statement.loaded
    tables = [name for statement in statements for name in _tables(statement.node, known)]
    return Lineage([statement.text for statement in reversed(kept)], list(dict.fromkeys(tables)))


def _statements(source: str) -> Iterator[_Statement]:
    for node in ast.parse(source).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        # `frame["a"] = …` changes what `frame` is, and rests on what it was.
        changed = {
            name
            for inner in ast.walk(node)
            if isinstance(inner, (ast.Subscript, ast.Attribute)) and isinstance(inner.ctx, ast.Store)
            for name in _names(inner.value, ast.Load)
        }
        stored = frozenset(_names(node, ast.Store)) | changed
        simple = isinstance(node, (ast.Assign, ast.AnnAssign))
        text = " ".join((ast.get_source_segment(source, node) or "").split())
        renewed = (stored - changed) if simple else frozenset()
        yield _Statement(text, stored, renewed, frozenset(_names(node, ast.Load)), node)


def _names(node: ast.AST, context: type[ast.expr_context]) -> Iterator[str]:
    """Names of the notebook that are stored or loaded; those of a comprehension live in it alone."""
    own = {
        inner.id
        for comprehension in ast.walk(node)
        if isinstance(comprehension, ast.comprehension)
        for inner in ast.walk(comprehension.target)
        if isinstance(inner, ast.Name)
    }
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, context) and inner.id not in own | {KEEPER}:
            yield inner.id


def _tables(node: ast.stmt, known: set[str]) -> Iterator[str]:
    """Names under which a statement keeps tables of known variables.

    That is ``results.table(variable, "name")``, or ``publish`` likewise, which may be given more.
    """
    for call in ast.walk(node):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        keeps = call.func.attr in ("table", "publish") and ast.unparse(call.func.value) == KEEPER
        if keeps and len(call.args) > 1:
            variable, name, *_ = call.args
            named = isinstance(name, ast.Constant) and isinstance(name.value, str)
            if named and known & set(_names(variable, ast.Load)):
                yield str(name.value)  # type: ignore[attr-defined]

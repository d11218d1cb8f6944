"""Read ``_quarto.yml``: article, notebooks, links, output folder."""

from __future__ import annotations

import calendar
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.core.paths import shown
from deepvalues.paper.notebooks import notebook_header


class Link(NamedTuple):
    """A link in the sidebar."""

    text: str
    href: str


class Notebook(NamedTuple):
    """An executed notebook, with its path in the article and its title."""

    file: Path
    path: str
    title: str

    @property
    def page(self) -> str:
        """The path of the notebook's page in the site."""
        return self.path.removesuffix(".ipynb") + "-preview.html"


@dataclass(frozen=True)
class Project:
    """The parts of a Quarto manuscript project that both renderings need."""

    paper: Path
    article: Path
    site: Path
    notebooks: tuple[Notebook, ...]
    links: tuple[Link, ...]
    #: Address of the published site; empty if not given.
    address: str = ""


def read_project(paper: Path) -> Project:
    """Read ``_quarto.yml``.

    Raises
    ------
    UserError
        If the file is missing, is not YAML, or lists a notebook that does not exist.
    """
    file = paper / "_quarto.yml"
    if not file.is_file():
        raise UserError(f"{shown(file)}: missing; it says what the paper consists of.")
    settings = read_yaml(file)
    manuscript: Mapping[str, Any] = settings.get("manuscript") or {}
    return Project(
        paper=paper,
        article=paper / str(manuscript.get("article", "index.qmd")),
        site=paper / str((settings.get("project") or {}).get("output-dir", "_manuscript")),
        notebooks=tuple(_notebook(paper, entry) for entry in manuscript.get("notebooks") or []),
        links=tuple(Link(entry["text"], entry["href"]) for entry in manuscript.get("code-links") or []),
        address=str(manuscript.get("manuscript-url", "")),
    )


def _notebook(paper: Path, entry: str | Mapping[str, str]) -> Notebook:
    path = entry if isinstance(entry, str) else entry["notebook"]
    file = paper / path
    if not file.is_file():
        raise UserError(f"{shown(file)}: missing; run: deepvalues notebook {file.stem}")
    title = None if isinstance(entry, str) else entry.get("title")
    return Notebook(file, path, title or str(notebook_header(file).get("title") or file.stem))


def article_date(header: Mapping[str, Any]) -> datetime.date | None:
    """The article's ``date:``, if written as year-month-day, else None."""
    value = header.get("date")
    if isinstance(value, datetime.date):
        return value
    try:
        return datetime.date.fromisoformat(str(value))
    except ValueError:
        return None


def source_date_epoch(header: Mapping[str, Any]) -> int:
    """The article's date in seconds since 1970, for programs that date their output; 0 without a date."""
    date = article_date(header)
    return calendar.timegm(date.timetuple()) if date else 0

"""The plain rendering: renders the sources with pandoc and typst if Quarto is not installed."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pypandoc

from deepvalues.core.errors import UserError
from deepvalues.core.files import replace_folder, write_text
from deepvalues.core.paths import shown
from deepvalues.paper.article import Article, as_words, document, read_article, typeset
from deepvalues.paper.check import unresolved
from deepvalues.paper.notebooks import Cell, figure, figures, read_cells, table
from deepvalues.paper.numbers import read_variables
from deepvalues.paper.project import Link, Notebook, Project, article_date, read_project
from deepvalues.paper.sentences import Sentences
from deepvalues.paper.site import caption_numbers, finish_site

TEMPLATES = "plain"
IMAGES = "index_files"
_PDF = Link("PDF", "index.pdf")


def render_plain(paper: Path) -> Path:
    """Render the paper without Quarto; return the folder of the site.

    The site is built in a temporary folder and replaces the old one only when it is complete.

    Raises
    ------
    UserError
        If something in the sources does not resolve (names file and line), pandoc or typst reject the text,
        a link is broken, or the site can't be written.
    """
    project = read_project(paper)
    article = read_article(project.article)
    if faults := unresolved(article):
        raise UserError("\n".join(map(str, faults)))
    with tempfile.TemporaryDirectory(prefix="deepvalues-") as folder:
        site = Path(folder) / "site"
        sources = _write_sources(project, article, site)
        numbers = caption_numbers(project, article)
        # pandoc and typst run outside the interpreter lock, so threads keep all processors busy.
        with ThreadPoolExecutor() as pool:
            parts = {"index.pdf": pool.submit(_write_pdf, project, article, sources, site)}
            parts["index.html"] = pool.submit(_write_html, project, article, sources, site)
            for notebook in project.notebooks:
                parts[notebook.page] = pool.submit(
                    _write_notebook, project, notebook, numbers[notebook.path], site
                )
            for name, part in parts.items():
                part.result()
                print(f"plain rendering: {name}", flush=True)
        finish_site(project, numbers, site)
        replace_folder(site, project.site)
    return project.site


def _write_sources(project: Project, article: Article, site: Path) -> Path:
    """Write the article's images and the input of ``article.lua``: variables, cells, address of the site."""
    folder = project.paper
    (site / IMAGES).mkdir(parents=True)
    cells = {place: _source(cell, site) for place, cell in article.cells.items() if not isinstance(cell, str)}
    for image in article.contents.images:
        (site / image.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / image.path, site / image.path)
    variables = read_variables(folder / "_variables.yml")
    file = site.parent / "sources.json"
    content = {"variables": variables, "cells": cells, "address": project.address}
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def _source(cell: Cell, site: Path) -> dict[str, str]:
    if cell.label.startswith("tbl-"):
        return {"caption": cell.caption, "table": table(cell)}
    suffix, content = figure(cell)
    path = f"{IMAGES}/{cell.label}.{suffix}"
    (site / path).write_bytes(content)
    return {"caption": cell.caption, "image": path, "alternative": cell.alternative}


def _write_html(project: Project, article: Article, sources: Path, site: Path) -> None:
    notebooks = [Link(notebook.title, notebook.page) for notebook in project.notebooks]
    sidebar = {"Notebooks": notebooks, "Other formats": [_PDF], "Code and data": project.links}
    options = [
        *_article_options(project, article, sources),
        *["--number-sections", "--toc", "--toc-depth=3"],
        f"--variable=sidebar={''.join(link_list(title, links) for title, links in sidebar.items())}",
        f"--variable=head={link_list('', [_PDF, *project.links])}",
    ]
    page = _page(article.file, as_words(article.text), options)
    for label, line in article.contents.labels:
        if f'id="{label}"' not in page:
            raise UserError(
                f"{shown(article.file)}:{line}: {label} is lost in rendering; "
                "is its caption or attribute block written as pandoc expects?"
            )
    (site / "index.html").write_text(page, encoding="utf-8")


def _write_pdf(project: Project, article: Article, sources: Path, site: Path) -> None:
    templates = project.paper / TEMPLATES
    options = [
        *["--to=typst-citations-smart", "--syntax-highlighting=idiomatic"],
        *_article_options(project, article, sources),
        *[f"--template={templates / 'paper.typ'}", f"--lua-filter={templates / 'links.lua'}"],
    ]
    source = site / "index.typ"
    source.write_text(document(as_words(article.text), options, article.file), encoding="utf-8")
    (site / "index.pdf").write_bytes(typeset(str(source), article.file, root=str(site)))
    source.unlink()


def _article_options(project: Project, article: Article, sources: Path) -> list[str]:
    filters = [f"--lua-filter={project.paper / TEMPLATES / 'article.lua'}", "--citeproc"]
    options = [*filters, f"--metadata=sources:{sources}", "--metadata=link-citations"]
    if date := article_date(article.header):
        day = f"--variable=day=datetime(year: {date.year}, month: {date.month}, day: {date.day})"
        options += [day, f"--metadata=date:{date.day} {date:%B %Y}"]
    return options


def _write_notebook(project: Project, notebook: Notebook, numbers: Mapping[str, str], site: Path) -> None:
    page = notebook_page(notebook, numbers, project.paper / TEMPLATES)
    target = site / notebook.page
    target.parent.mkdir(parents=True, exist_ok=True)
    for path, content in page.images.items():
        (target.parent / path).parent.mkdir(exist_ok=True)
        (target.parent / path).write_bytes(content)
    shutil.copyfile(notebook.file, target.parent / notebook.file.name)
    links = [Link("Back to the article", "../index.html"), Link("Download the notebook", notebook.file.name)]
    others = [Link(other.title, Path(other.page).name) for other in project.notebooks if other != notebook]
    options = [
        *["--from=markdown-citations", "--toc", "--toc-depth=2", f"--metadata=title:{notebook.title}"],
        *[
            f"--variable=head={link_list('', links)}",
            f"--variable=sidebar={link_list('Other notebooks', others)}",
        ],
    ]
    _write_cached(target, project.article, page.markdown, options)


def _write_cached(target: Path, article: Path, text: str, options: Sequence[str]) -> None:
    """Write a page, reusing that of an earlier rendering from the same text, options and templates.

    Pandoc takes seconds for a notebook's page, and most edits concern the article alone.
    """
    templates = [file.read_bytes() for file in sorted((article.parent / TEMPLATES).iterdir())]
    parts = [pypandoc.get_pandoc_version().encode(), text.encode(), repr(options).encode(), *templates]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()
    page = article.parent.parent / "build" / "pages" / f"{target.stem}.{key[:16]}.html"
    if not page.is_file():
        for old in page.parent.glob(f"{target.stem}.*.html"):
            old.unlink()
        # Renamed when it is whole, so that a rendering that is killed leaves no half page to reuse.
        write_text(page.with_suffix(".part"), _page(article, text, options)).rename(page)
    shutil.copyfile(page, target)


def link_list(title: str, links: Sequence[Link]) -> str:
    """Links as an HTML list, with a heading if there is a title; empty without links."""
    if not links:
        return ""
    items = [f'<li><a href="{html.escape(link.href)}">{html.escape(link.text)}</a></li>' for link in links]
    heading = f"<h2>{html.escape(title)}</h2>" if title else ""
    return f"{heading}<ul>{''.join(items)}</ul>"


def _page(article: Path, text: str, options: Sequence[str]) -> str:
    """A standalone page with the project's template and style sheet."""
    folder = article.parent / TEMPLATES
    style = (folder / "style.css").read_text(encoding="utf-8")
    settings = ["--to=html5", "--mathml", f"--template={folder / 'page.html'}", f"--variable=style={style}"]
    return document(text, [*settings, *options, f"--lua-filter={folder / 'tables.lua'}"], article)


# ---- executed notebooks as Markdown, for their pages ----

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_TAGS = {"parameters": "Parameters", "injected-parameters": "Parameters of this run"}


class Page(NamedTuple):
    """A notebook's Markdown, and its images by path below the notebook's folder."""

    markdown: str
    images: dict[str, bytes]


def notebook_page(notebook: Notebook, numbers: Mapping[str, str], templates: Path) -> Page:
    """Render an executed notebook as Markdown with the template ``notebook.md``.

    Parameters
    ----------
    notebook
        The executed notebook.
    numbers
        Prefixes for the captions of its labelled cells, by label.
    templates
        The folder of the template.
    """
    cells, images = [], dict[str, bytes]()
    for cell in read_cells(notebook.file):
        stem = f"{notebook.file.stem}_files/{cell.anchor}"
        own = {f"{stem}-{i}.{suffix}": data for i, (suffix, data) in enumerate(figures(cell), 1)}
        if own and cell.options.get("include", True) and cell.options.get("output", True):
            images |= own
        cells.append((cell, list(own), numbers.get(cell.label, "")))
    facts = {"cells": cells, "tags": _TAGS, "escape": html.escape, "images": _images}
    writers = {"fenced": fenced, "raw": partial(fenced, attributes="=html"), "text": _text}
    return Page(Sentences("notebook", templates).whole({**facts, **writers}), images)


def fenced(text: str, attributes: str) -> str:
    """A code block with attributes, whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence} {{{attributes}}}\n{text}\n{fence}"


def _images(cell: Cell, paths: Sequence[str]) -> str:
    alternative = html.escape(cell.alternative or cell.caption or "Figure")
    return "\n".join(f'<img src="{html.escape(path)}" alt="{alternative}" />' for path in paths)


def _text(text: str) -> str:
    return fenced(_ANSI.sub("", text).rstrip("\n"), ".output")

"""The plain rendering: the same sources by pandoc and typst, where Quarto is not installed."""

from __future__ import annotations

import datetime
import html
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pypandoc
import typst
import yaml

from deepvalues.core.errors import UserError
from deepvalues.core.files import replace_folder
from deepvalues.core.paths import shown
from deepvalues.paper.cells import labelled_cells
from deepvalues.paper.check import unresolved
from deepvalues.paper.divs import Target, resolve_divs
from deepvalues.paper.markup import Article, embeds, headings, numbering, read_article
from deepvalues.paper.numbers import read_variables
from deepvalues.paper.pages import notebook_page
from deepvalues.paper.project import Link, Notebook, Project, article_date, read_project
from deepvalues.paper.resolve import (
    IMAGES,
    Sources,
    images,
    marked,
    own_images,
    resolve,
    resolve_value,
    typst_string,
)
from deepvalues.paper.site import check_links, copy_resources, mend_links, name_commit
from deepvalues.paper.trace import show_traces

NOTICE = (
    "This is the plain rendering, made by pandoc and typst without Quarto. "
    "For the Quarto edition, install Quarto from <https://quarto.org/docs/get-started/> "
    "and run `make paper` again."
)
TEMPLATES = "plain"
KEPT = ("title", "subtitle", "abstract", "keywords", "bibliography", "csl", "lang", "nocite")


def render_plain(paper: Path) -> Path:
    """Render the paper without Quarto; give the folder of the site.

    The site is built in a temporary folder and replaces the old one only when it is whole.

    Raises
    ------
    UserError
        If anything in the sources does not resolve (file and line are named), pandoc or typst
        refuse the text, a link leads nowhere, or the site can't be written.
    """
    project = read_project(paper)
    article = read_article(project.article)
    if faults := unresolved(article):
        raise UserError("\n".join(map(str, faults)))
    sources = _sources(article)
    with tempfile.TemporaryDirectory(prefix="deepvalues-") as folder:
        site = Path(folder) / "site"
        _write_images(article, sources, site)
        _write_html(project, article, sources, site)
        _write_pdf(project, article, sources, site)
        for notebook in project.notebooks:
            _write_notebook(project, notebook, site)
        copy_resources(paper.parent, site)
        name_commit(paper.parent, site)
        mend_links(site)
        show_traces(paper.parent, site)
        check_links(site)
        replace_folder(site, project.site)
    return project.site


def _sources(article: Article) -> Sources:
    """The variables and the embedded cells of an article."""
    folder = article.file.parent
    used = list(embeds(article.text))
    notebooks = {path: labelled_cells(folder / path) for path in {embed.notebook for embed in used}}
    cells = {(embed.notebook, embed.label): notebooks[embed.notebook][embed.label] for embed in used}
    return Sources(read_variables(folder / "_variables.yml"), cells)


def _write_images(article: Article, sources: Sources, site: Path) -> None:
    (site / IMAGES).mkdir(parents=True)
    for path, content in images(sources.cells).items():
        (site / path).write_bytes(content)
    for path in own_images(article.body):
        shutil.copyfile(article.file.parent / path, site / IMAGES / Path(path).name)


def _write_html(project: Project, article: Article, sources: Sources, site: Path) -> None:
    print("plain rendering: index.html", flush=True)
    text = _document(article, sources, "html")
    options = [
        *["--to=html5", "--mathml", "--citeproc", "--number-sections", "--toc", "--toc-depth=3"],
        f"--shift-heading-level-by={2 - _top_level(article)}",
        f"--variable=sidebar={_sidebar(project)}",
    ]
    page = _page(project.paper, text, options)
    for label, number in numbering(resolve_divs(article.body, "html")).items():
        if f'id="{label}"' not in page and number:
            raise UserError(
                f"{shown(article.file)}: {label} is lost in rendering; "
                "is its caption or attribute block written as pandoc expects?"
            )
    (site / "index.html").write_text(page, encoding="utf-8")


def _write_pdf(project: Project, article: Article, sources: Sources, site: Path) -> None:
    print("plain rendering: index.pdf", flush=True)
    header = resolve_value(dict(article.header), sources.variables)
    names = ", ".join(typst_string(author["name"]) for author in _authors(header))
    date = article_date(header)
    options = [
        *["--to=typst-citations-smart", "--citeproc", "--syntax-highlighting=idiomatic"],
        f"--template={project.paper / TEMPLATES / 'paper.typ'}",
        f"--lua-filter={project.paper / TEMPLATES / 'links.lua'}",
        f"--variable=names=({names},)",
        *(
            [f"--variable=day=datetime(year: {date.year}, month: {date.month}, day: {date.day})"]
            if date
            else []
        ),
        f"--shift-heading-level-by={1 - _top_level(article)}",
    ]
    published = {"manuscript": {"manuscript-url": project.address}} if project.address else {}
    written = _pandoc(project.paper, _document(article, sources, "typst", published), options)
    source = site / "index.typ"
    source.write_text(written, encoding="utf-8")
    try:
        # Only typst's own fonts, so that every machine sets the same pages.
        pdf = typst.compile(str(source), root=str(site), ignore_system_fonts=True)
    except typst.TypstError as error:
        raise UserError(f"{shown(article.file)}: typst refuses the text: {error}") from error
    (site / "index.pdf").write_bytes(pdf)
    source.unlink()


def _write_notebook(project: Project, notebook: Notebook, site: Path) -> None:
    print(f"plain rendering: {notebook.page}", flush=True)
    page = notebook_page(notebook)
    target = site / notebook.page
    target.parent.mkdir(parents=True, exist_ok=True)
    for path, content in page.images.items():
        (target.parent / path).parent.mkdir(exist_ok=True)
        (target.parent / path).write_bytes(content)
    shutil.copyfile(notebook.file, target.parent / notebook.file.name)
    links = [Link("Back to the article", "../index.html"), Link("Download the notebook", notebook.file.name)]
    text = _front_matter({"title": notebook.title, "lang": "en"}) + page.markdown
    options = ["--to=html5", "--mathml", "--toc", "--toc-depth=2", "--from=markdown-citations"]
    options.append(f"--variable=sidebar={_link_list('', links)}")
    target.write_text(_page(project.paper, text, options), encoding="utf-8")


def _document(article: Article, sources: Sources, target: Target, more: Mapping[str, Any] = {}) -> str:
    """The whole article, header (with entries more than its own) and body, as pandoc reads it."""
    header = resolve_value(dict(article.header), sources.variables)
    kept = {key: header[key] for key in KEPT if key in header}
    kept |= {"author": _authors(header), "date": _shown_date(header), "link-citations": True}
    if target == "html" and "abstract" in kept:
        kept["abstract"] = marked(str(article.header["abstract"]), sources.variables)
    kept.setdefault("bibliography", "references.bib")
    return _front_matter(kept | dict(more)) + resolve(article.body, sources, target)


def _top_level(article: Article) -> int:
    """The level of the article's main headings: a page's title stands above them, a PDF's does not."""
    return min((heading.level for heading in headings(article.body)), default=2)


def _front_matter(header: Mapping[str, Any]) -> str:
    defaults = {"lang": "en", "notice": NOTICE}
    written = yaml.safe_dump(defaults | dict(header), allow_unicode=True, sort_keys=True, width=10_000)
    return f"---\n{written}---\n\n"


def _authors(header: Mapping[str, Any]) -> list[dict[str, str]]:
    """The authors, each with name and affiliation, from the forms that Quarto allows."""
    listed = header.get("author", header.get("authors", []))
    entries = listed if isinstance(listed, list) else [listed]
    authors = []
    for entry in entries:
        fields = entry if isinstance(entry, Mapping) else {"name": entry}
        places = fields.get("affiliations", fields.get("affiliation", []))
        affiliations = [_name(place) for place in (places if isinstance(places, list) else [places])]
        authors.append({"name": _name(fields["name"]), "affiliation": ", ".join(affiliations)})
    return authors


def _name(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    given_and_family = f"{value.get('given', '')} {value.get('family', '')}".strip()
    return str(value.get("name") or value.get("literal") or given_and_family)


def _shown_date(header: Mapping[str, Any]) -> str:
    date = article_date(header)
    if isinstance(date, datetime.date):
        return f"{date.day} {date:%B %Y}"
    return str(header.get("date", ""))


def _sidebar(project: Project) -> str:
    """The links beside the article: other format, notebooks, code."""
    notebooks = [Link(notebook.title, notebook.page) for notebook in project.notebooks]
    return (
        _link_list("Other formats", [Link("PDF", "index.pdf")])
        + _link_list("Notebooks", notebooks)
        + _link_list("Code links", project.links)
    )


def _link_list(title: str, links: Sequence[Link]) -> str:
    if not links:
        return ""
    items = [f'<li><a href="{html.escape(link.href)}">{html.escape(link.text)}</a></li>' for link in links]
    heading = f"<h2>{html.escape(title)}</h2>" if title else ""
    return f"{heading}<ul>{''.join(items)}</ul>"


def _page(paper: Path, text: str, options: Sequence[str]) -> str:
    """A standalone page with the project's own template and style sheet."""
    folder = paper / TEMPLATES
    style = (folder / "style.css").read_text(encoding="utf-8")
    settings = [f"--template={folder / 'page.html'}", f"--variable=style={style}"]
    settings.append(f"--lua-filter={folder / 'tables.lua'}")
    return _pandoc(paper, text, [*settings, *options])


def _pandoc(paper: Path, text: str, options: Sequence[str]) -> str:
    """Run the pandoc that the environment brings along; a warning counts as an error."""
    # Tables keep the widths of their content instead of the widths of the source's columns.
    fixed = ["--standalone", "--wrap=none", "--columns=100000", "--fail-if-warnings"]
    command = [pypandoc.get_pandoc_path(), *fixed, *options]
    result = subprocess.run(
        command, input=text, capture_output=True, text=True, encoding="utf-8", cwd=paper, check=False
    )
    if result.returncode:
        raise UserError(f"{shown(paper)}: pandoc refuses the text: {result.stderr.strip()}")
    return result.stdout

"""Render the paper, with Quarto if it is installed, else with pandoc and typst."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from deepvalues.core.errors import UserError
from deepvalues.core.files import kept
from deepvalues.core.paths import PAPER, shown
from deepvalues.paper.article import read_article
from deepvalues.paper.numbers import read_variables
from deepvalues.paper.plain import render_plain
from deepvalues.paper.project import Project, read_project, source_date_epoch
from deepvalues.paper.site import caption_numbers, finish_site, rewrite

#: The version of Quarto that continuous integration installs.
VERSION = "1.9.38"

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_FAULTS = (
    re.compile(r"Unable to resolve crossref.*"),
    re.compile(r"Unknown (?:var|meta|env|variable)\b.*"),
    re.compile(r"[Cc]itation\s+\S+\s+not found.*"),
    re.compile(r"WARN.*not found.*"),
)
_IN_META = re.compile(r"\{\{(?:<|&(?:amp;)*lt;)\s*var\s+([\w.]+)\s*(?:>|&(?:amp;)*gt;)\}\}")
#: Scripts for widgets that Quarto would load from the network; the notebooks contain no widgets.
_FOR_WIDGETS = re.compile(
    r'<script src="https://[^"]*/(?:requirejs|jquery)@[^>]*></script>'
    r"|<script[^>]*>define\('jquery'.*?</script>",
    re.DOTALL,
)
_MARKED_IN_META = re.compile(r"\[([^\[\]]*)\]\{\.number[^{}]*\}")
_ESCAPED_TWICE = re.compile(r"&(?:amp;)+(#\d+|quot|lt|gt|amp);")
_UNKNOWN = re.compile(r"\?(?:var|meta):[\w.-]+")


def render(paper: Path = PAPER) -> Path:
    """Render the article and the notebook pages; return the folder of the site.

    Both renderings give ``index.html``, ``index.pdf``, ``notebooks/NAME-preview.html``, and the data and
    figures that the pages link to.

    Parameters
    ----------
    paper
        The folder of the manuscript.

    Raises
    ------
    UserError
        If something in the sources does not resolve.
    """
    quarto = find_quarto()
    site = render_with_quarto(quarto, paper) if quarto else render_plain(paper)
    print(f"The paper is in {shown(site / 'index.html')} and {shown(site / 'index.pdf')}.", flush=True)
    return site


def find_quarto() -> Path | None:
    """A working Quarto on the path or next to the running Python; None if there is none."""
    candidates = (shutil.which("quarto"), str(Path(sys.executable).parent / "quarto"))
    return next((Path(found) for found in candidates if found and _works(found)), None)


def _works(program: str) -> bool:
    """Whether the program runs; the PyPI package also installs a launcher that lacks its binaries."""
    if not Path(program).is_file():
        return False
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def render_with_quarto(quarto: Path, paper: Path) -> Path:
    """Render the paper with Quarto; return the folder of the site, unchanged after a failure.

    Raises
    ------
    UserError
        If Quarto fails, or its log or pages show anything unresolved, which Quarto itself only warns
        about.
    """
    project = read_project(paper)
    try:
        with kept(project.site):
            _make_site(quarto, project)
    finally:
        # Files that a failed run leaves among the notebooks would be taken for notebooks in the next.
        for left in paper.glob("notebooks/*.out.ipynb"):
            left.unlink()
    return project.site


def _make_site(quarto: Path, project: Project) -> None:
    log = _run(quarto, project)
    faults = log_faults(log) + page_faults(project.site)
    if faults:
        raise UserError("Quarto left something unresolved:\n" + "\n".join(f"  {line}" for line in faults))
    for name in ("index.html", "index.pdf"):
        if not (project.site / name).is_file():
            raise UserError(f"Quarto ended well but {project.site / name} is missing; see its log above.")
    variables = read_variables(project.paper / "_variables.yml")
    rewrite(project.site / "index.html", partial(mend_head, variables=variables))
    for page in sorted(project.site.rglob("*.html")):
        rewrite(page, without_widget_scripts)
    finish_site(project, caption_numbers(project, read_article(project.article)), project.site)


def _run(quarto: Path, project: Project) -> str:
    """Run Quarto, print its log as it comes, and return it."""
    date = str(source_date_epoch(read_article(project.article).header))
    settings = {"SOURCE_DATE_EPOCH": date, "QUARTO_PYTHON": sys.executable}
    process = subprocess.Popen(
        [str(quarto), "render", "."],
        cwd=project.paper,
        env={**settings, **os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    if process.wait():
        raise UserError(f"Quarto failed with status {process.returncode}; see its log above.")
    return "".join(lines)


def mend_head(page: str, variables: Mapping[str, str]) -> str:
    """Replace the shortcodes and markup that Quarto leaves in a page's meta tags by plain text."""
    head, body, rest = page.partition("<body")
    mended = _IN_META.sub(lambda match: html.escape(variables.get(match[1]) or match[0]), head)
    return _ESCAPED_TWICE.sub(r"&\1;", _MARKED_IN_META.sub(r"\1", mended)) + body + rest


def without_widget_scripts(page: str) -> str:
    """The page without scripts loaded from the network."""
    return _FOR_WIDGETS.sub("", page)


def log_faults(log: str) -> list[str]:
    """The lines of Quarto's log that report something unresolved."""
    lines = _ANSI.sub("", log).splitlines()
    return [line.strip() for line in lines if any(fault.search(line) for fault in _FAULTS)]


def page_faults(site: Path) -> list[str]:
    """Places on the rendered pages where Quarto reports an unknown variable."""
    return [
        f"{page.relative_to(site)}: {found}"
        for page in sorted(site.rglob("*.html"))
        for found in sorted(set(_UNKNOWN.findall(page.read_text(encoding="utf-8", errors="replace"))))
    ]

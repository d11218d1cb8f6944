"""Quarto where it is installed: finding it, rendering, reading its log."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepvalues.core.errors import UserError
from deepvalues.core.files import kept
from deepvalues.paper.article import read_article
from deepvalues.paper.finish import caption_numbers, finish_pages
from deepvalues.paper.numbers import lookup, read_variables
from deepvalues.paper.project import Project, read_project, source_date_epoch
from deepvalues.paper.site import check_links, copy_resources, mend_links, name_commit
from deepvalues.paper.trace import show_traces

VERSION = "1.9.38"

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_FAULTS = (
    re.compile(r"Unable to resolve crossref.*"),
    re.compile(r"Unknown (?:var|meta|env|variable)\b.*"),
    re.compile(r"[Cc]itation\s+\S+\s+not found.*"),
    re.compile(r"WARN.*not found.*"),
)
_IN_META = re.compile(r"\{\{(?:<|&(?:amp;)*lt;)\s*var\s+([\w.]+)\s*(?:>|&(?:amp;)*gt;)\}\}")
#: What Quarto loads from the network for widgets in outputs of HTML; the notebooks have tables, no widgets.
_FOR_WIDGETS = re.compile(
    r'<script src="https://[^"]*/(?:requirejs|jquery)@[^>]*></script>'
    r"|<script[^>]*>define\('jquery'.*?</script>",
    re.DOTALL,
)
_MARKED_IN_META = re.compile(r"\[([^\[\]]*)\]\{\.number[^{}]*\}")
_ESCAPED_TWICE = re.compile(r"&(?:amp;)+(#\d+|quot|lt|gt|amp);")
_UNKNOWN = re.compile(r"\?(?:var|meta):[\w.-]+")


def find_quarto() -> Path | None:
    """The Quarto on the path or beside the running Python; None where there is none that works."""
    candidates = (shutil.which("quarto"), str(Path(sys.executable).parent / "quarto"))
    return next((Path(found) for found in candidates if found and _works(found)), None)


def _works(program: str) -> bool:
    """Whether the program answers; the one of the PyPI package is there without its binaries, too."""
    if not Path(program).is_file():
        return False
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def render_with_quarto(quarto: Path, paper: Path) -> Path:
    """Render the paper with Quarto; give the folder of the site, which after a failure is as it was.

    Raises
    ------
    UserError
        If Quarto fails, or its log or pages show anything that it could not resolve: Quarto
        itself takes such faults for warnings.
    """
    project = read_project(paper)
    try:
        with kept(project.site):
            _make_site(quarto, project)
    finally:
        # What a Quarto that fails leaves among the notebooks, the next one takes for a notebook.
        for left in paper.glob("notebooks/*.out.ipynb"):
            left.unlink()
    return project.site


def _make_site(quarto: Path, project: Project) -> None:
    paper = project.paper
    log = _run(quarto, project)
    faults = log_faults(log) + page_faults(project.site)
    if faults:
        raise UserError("Quarto left something unresolved:\n" + "\n".join(f"  {line}" for line in faults))
    for name in ("index.html", "index.pdf"):
        if not (project.site / name).is_file():
            raise UserError(f"Quarto ended well but {project.site / name} is missing; see its log above.")
    finish_pages(project, caption_numbers(project, read_article(project.article)), project.site)
    copy_resources(paper.parent, project.site)
    name_commit(paper.parent, project.site)
    mend_links(project.site)
    mend_head(project.site / "index.html", read_variables(paper / "_variables.yml"))
    drop_widget_scripts(project.site)
    show_traces(paper.parent, project.site)
    check_links(project.site)


def _run(quarto: Path, project: Project) -> str:
    """Run Quarto, show its log as it comes, and give it back."""
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


def mend_head(page: Path, variables: Mapping[str, Any]) -> None:
    """Put plain text into what a page tells search engines, where Quarto leaves shortcodes and markup."""
    head, body, rest = page.read_text(encoding="utf-8").partition("<body")
    mended = _IN_META.sub(lambda match: html.escape(lookup(variables, match[1]) or match[0]), head)
    mended = _ESCAPED_TWICE.sub(r"&\1;", _MARKED_IN_META.sub(r"\1", mended))
    page.write_text(mended + body + rest, encoding="utf-8")


def drop_widget_scripts(site: Path) -> None:
    """Leave no page that loads anything from the network."""
    for page in sorted(site.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        without = _FOR_WIDGETS.sub("", text)
        if without != text:
            page.write_text(without, encoding="utf-8")


def log_faults(log: str) -> list[str]:
    """The lines of Quarto's log that tell of something unresolved."""
    lines = _ANSI.sub("", log).splitlines()
    return [line.strip() for line in lines if any(fault.search(line) for fault in _FAULTS)]


def page_faults(site: Path) -> list[str]:
    """Places on the rendered pages where Quarto wrote that it knows no such variable."""
    return [
        f"{page.relative_to(site)}: {found}"
        for page in sorted(site.rglob("*.html"))
        for found in sorted(set(_UNKNOWN.findall(page.read_text(encoding="utf-8", errors="replace"))))
    ]

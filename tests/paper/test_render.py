"""Quarto where it is installed: a script stands in for it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys

import pytest

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper import render

FIXTURE = paths.ROOT / "tests" / "support" / "fixtures" / "manuscript"
TEMPLATES = paths.PAPER / "plain"

SCRIPT = """#!/bin/sh
[ "$1" = --version ] && echo 1.9.38 && exit {version_status}
mkdir -p _site/notebooks
echo '<p>{page}</p><a href="../data/results/dvb/models.csv">d</a>' > _site/index.html
echo '<a href="data/results/dvb/models.csv">d</a>' > _site/notebooks/n-preview.html
{pdf}
echo "epoch $SOURCE_DATE_EPOCH, arguments $*"
printf '%b\\n' '{log}' >&2
exit {status}
"""


@pytest.fixture
def paper(tmp_path):
    shutil.copytree(FIXTURE, tmp_path / "project")
    shutil.copytree(TEMPLATES, tmp_path / "project" / "paper" / "plain")
    return tmp_path / "project" / "paper"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put a script called quarto on the path; nothing else is found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)

    def write(log="Output created: _site/index.html", page="fine", status=0, pdf=True, works=True):
        make_pdf = "echo pdf > _site/index.pdf" if pdf else ""
        text = SCRIPT.format(
            log=log, page=page, status=status, pdf=make_pdf, version_status=0 if works else 1
        )
        (folder / "quarto").write_text(text)
        (folder / "quarto").chmod(0o755)

    return write


def test_quarto_on_the_path_is_used(fake, paper, capfd):
    fake()
    site = render.render(paper=paper)
    assert (site / "index.pdf").read_text() == "pdf\n"
    assert (site / "data/results/dvb/models.csv").is_file()
    assert (site / "figures/dvgr.svg").is_file()
    assert 'href="data/results/' in (site / "index.html").read_text()
    assert 'href="../data/results/' in (site / "notebooks/n-preview.html").read_text()
    shown = capfd.readouterr().out
    assert "epoch 1768435200, arguments render ." in shown  # the article's date; its log is shown
    assert "The paper is in" in shown


@pytest.mark.parametrize(
    "line",
    [
        "\\033[33mWARNING (/opt/quarto/refs.lua:128) Unable to resolve crossref @fig-none\\033[39m",
        "WARNING (shortcodes.lua:302) Unknown var no.such specified in a var shortcode.",
        "[WARNING] Citeproc: citation nobody not found",
        "WARNING: File /x/y.png was not found.",
    ],
)
def test_warnings_that_are_faults(fake, paper, line):
    fake(log=line)
    with pytest.raises(UserError, match="left something unresolved") as error:
        render.render(paper=paper)
    assert "\033" not in str(error.value)


def test_a_variable_that_quarto_marks_on_the_page(fake, paper):
    fake(page="<strong>?var:dvb.none</strong>")
    with pytest.raises(UserError, match=r"index\.html: \?var:dvb\.none"):
        render.render(paper=paper)


def test_a_quarto_that_fails_leaves_the_site_that_was_there(fake, paper):
    fake()
    site = render.render(paper=paper)
    before = {file: file.read_bytes() for file in site.rglob("*") if file.is_file()}
    for wrong in ({"status": 3}, {"page": "half ?var:dvb.none"}, {"pdf": False}):
        fake(**wrong)
        with pytest.raises(UserError, match="Quarto"):
            render.render(paper=paper)
        assert {file: file.read_bytes() for file in site.rglob("*") if file.is_file()} == before


def test_a_quarto_that_fails(fake, paper):
    fake(status=3)
    with pytest.raises(UserError, match="Quarto failed with status 3"):
        render.render(paper=paper)


@pytest.mark.parametrize("status", [0, 3])
def test_no_quarto_leaves_a_notebook_to_the_next_one(fake, paper, status):
    (paper / "notebooks" / "03_deep_values.out.ipynb").write_text("{}")
    fake(status=status)
    with contextlib.suppress(UserError):
        render.render(paper=paper)
    assert list(paper.glob("notebooks/*.out.ipynb")) == []
    assert (paper / "notebooks" / "03_deep_values.ipynb").is_file()


def test_a_quarto_that_makes_no_pdf(fake, paper):
    fake(pdf=False)
    with pytest.raises(UserError, match=r"index\.pdf is missing"):
        render.render(paper=paper)


def test_a_quarto_without_its_binaries_is_passed_over(fake, paper, monkeypatch):
    fake(works=False)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert render.find_quarto() is None
    site = render.render(paper=paper)
    assert "This is the plain rendering" in (site / "index.html").read_text()


def test_ordinary_log_lines_are_no_faults():
    log = "pandoc --citeproc\nOutput created: _site/index.html\nmissing.css not found in cache\n"
    assert render.log_faults(log) == []


def test_nothing_is_installed_unasked(fake, paper, monkeypatch):
    """Without Quarto the paper is rendered plainly at once; programs are only asked for their version."""
    fake(works=False)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was tried"))
    monkeypatch.setattr(render, "render_plain", lambda folder: folder / "_site")
    called = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda words, **named: called.append(words) or run(words, **named))
    assert render.render(paper=paper) == paper / "_site"
    assert {tuple(words[1:]) for words in called} == {("--version",)}


def test_search_engines_are_told_values_and_code_in_the_text_stays():
    left = (
        '<meta content="{{&amp;amp;lt; var a.title &amp;gt;}} of {{< var a.n >}} {{< var a.none >}}">'
        '<meta content="It&amp;amp;#039;s [{{< var a.n >}}]{.number data-key=&quot;a.n&quot;} [x]">'
    )
    page = f"<head>{left}</head><body><code>{{{{< var a.n >}}}}</code></body>"
    text = render.mend_head(page, {"a.title": 'He said "no" & left', "a.n": "four"})
    assert '<meta content="He said &quot;no&quot; &amp; left of four {{&lt; var a.none &gt;}}">' in text
    assert '<meta content="It&#039;s four [x]">' in text
    assert text.endswith("<body><code>{{< var a.n >}}</code></body>")


def test_no_page_loads_anything_from_the_network():
    kept = '<script src="site_libs/jquery@3/x.js"></script>\n<a href="https://example.org/jquery@1">text</a>'
    widgets = (
        '<script src="https://cdn.example/npm/requirejs@2.3.6/require.min.js" integrity="sha"></script>\n'
        '<script src="https://cdn.example/npm/jquery@3.5.1/dist/jquery.min.js"></script>'
        "<script type=\"application/javascript\">define('jquery', [],function() {return 1;})</script>"
    )
    page = f"<head>{widgets}{kept}</head><body></body>"
    assert render.without_widget_scripts(page) == f"<head>\n{kept}</head><body></body>"

"""The plain rendering, end to end, on a small project."""

from __future__ import annotations

import base64
import errno
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import numpy as np
import pypandoc
import pytest
import yaml
from matplotlib.image import imread
from nbformat.v4 import new_code_cell, new_notebook

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper import article, plain
from deepvalues.paper.manifest import PARTS
from deepvalues.paper.plain import render_plain
from deepvalues.paper.project import Notebook, read_project
from deepvalues.paper.site import check_links, mend_links, name_commit
from headless import open_page

FIXTURE = paths.ROOT / "tests" / "support" / "fixtures" / "manuscript"
PAPER = paths.PAPER
TEMPLATES = PAPER / "plain"


def copy_project(folder):
    shutil.copytree(FIXTURE, folder)
    for part in ("plain", "fonts"):
        shutil.copytree(PAPER / part, folder / "paper" / part)
    return folder / "paper"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return render_plain(copy_project(tmp_path_factory.mktemp("plain") / "project"))


@pytest.fixture
def paper(tmp_path):
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="module")
def page(site):
    return (site / "index.html").read_text()


def test_the_page_says_what_it_is(page):
    assert "This is the plain rendering" in page
    assert "https://quarto.org/docs/get-started/" in page


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_scrolls_sideways_and_figures_take_the_colour_of_the_page(site, dark):
    pages = sorted(path for path in site.rglob("*.html") if "answers" not in path.parts)
    with open_page() as browser:
        for path in pages:
            browser.load(path.as_uri(), width=390, height=844, dark=dark)
            assert browser.evaluate("document.documentElement.scrollWidth") <= 390, path
        browser.load((site / "index.html").as_uri(), width=390, height=844, dark=dark)
        box = browser.evaluate(
            """(() => { const box = document.querySelector('figure img').getBoundingClientRect();
                return {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height} })()"""
        )
        shot = browser.call("Page.captureScreenshot", captureBeyondViewport=True, clip={**box, "scale": 1})
    pixels = imread(io.BytesIO(base64.b64decode(shot["data"])), format="png")[..., :3]
    ground = np.median(pixels.reshape(-1, 3), axis=0)
    assert (ground < 0.2).all() if dark else (ground > 0.9).all()


def test_variables_reach_title_abstract_and_text(page):
    assert "<title>The surface of four choosers: a sample article</title>" in page
    assert "the value was .302" in " ".join(re.sub("<[^>]+>", "", page).split())
    marked = '<span class="number" data-key="dvb.pooled.dvgr">.302</span>'
    assert f'<span class="number" title="dvb.pooled.dvgr" data-key="dvb.pooled.dvgr">{marked}</span>' in page
    assert "{{&lt; var dvb.pooled.dvgr &gt;}}" in page  # the one in code


def test_references_lead_to_what_they_name(page):
    for label in ("fig-dvgr", "tbl-models", "tbl-arms", "sec-methods", "eq-rate"):
        assert f'href="#{label}"' in page
        assert page.count(f'id="{label}"') == 1
    assert re.search(r'<a\s+href="#sec-table">Section\s3.1</a>', page)
    assert re.search(r'<h3 [^>]*id="sec-table"[^>]*><span\s+class="header-section-number">3.1<', page)


def test_mathematics_needs_no_network(page):
    assert "<math" in page
    assert "<script" not in page
    assert not re.search(r"<(?:link|img)[^>]*https?:", page)


def test_formulas_have_the_font_that_lies_beside_every_page(site, tmp_path):
    quarto = tmp_path / "page.html"
    quarto.write_text(f"<style>{(PAPER / 'quarto.css').read_text()}</style>")
    shutil.copytree(PAPER / "fonts", tmp_path / "fonts")
    with open_page() as browser:
        for file in (site / "index.html", site / "notebooks" / "03_deep_values-preview.html", quarto):
            browser.load(file.as_uri())
            loaded = "document.fonts.load('12px \"STIX Two Math\"').then((found) => found.length)"
            assert browser.evaluate(loaded) == 1
        (tmp_path / "fonts" / "stix-two-math.woff2").unlink()
        browser.load(quarto.as_uri())
        assert browser.evaluate(loaded.replace("=> found.length)", "=> 1, () => 0)")) == 0


def test_bibliography_lists_what_is_cited(page):
    assert 'id="ref-smith2020"' in page
    assert 'id="ref-doe2021"' in page


def test_conditional_content(page):
    assert "Only on the page." in page
    assert "Only in print." not in page


def test_sidebar_links_the_other_pages(page):
    assert '<a href="index.pdf">PDF</a>' in page
    assert '<a href="notebooks/01_load_data-preview.html">1 · Loading the data</a>' in page
    assert '<a href="notebooks/03_deep_values-preview.html">Deep values</a>' in page
    assert "Data behind every figure" in page


def test_data_and_figures_lie_beside_the_pages(site, page):
    assert (site / "data/results/dvb/models.csv").is_file()
    assert (site / "figures/dvgr.svg").is_file()
    assert (site / "index_files/fig-dvgr.svg").read_text().startswith("<?xml")
    assert 'href="data/results/dvb/models.csv"' in page


def test_notebook_page(site):
    page = (site / "notebooks/03_deep_values-preview.html").read_text()
    assert 'id="cell-fig-dvgr"' in page
    assert "#|" not in page
    assert "forest" in page
    assert 'href="../data/results/dvb/models.csv"' in page
    assert 'href="../notebooks/03_deep_values-preview.html#cell-fig-dvgr"' in page
    assert 'class="dataframe"' in page
    assert ">red" in page
    assert "100%|" not in page
    assert (site / "notebooks/03_deep_values_files/cell-fig-dvgr-1.svg").is_file()


def test_a_notebook_s_page_has_the_numbers_of_the_article_and_folds_what_sets_it_up(site, page):
    notebook = (site / "notebooks/03_deep_values-preview.html").read_text()
    captions = re.compile(r"<strong>((?:Figure|Table) S?[\d.]+)\.</strong>")
    here, there = captions.findall(notebook), captions.findall(page)
    assert here and set(there) & set(here)
    assert all(name in there or " S2." in name for name in here)
    names = re.findall(r'<div class="scroll" tabindex="0" role="region" aria-label="([^"]*)"', notebook)
    assert names and len(set(names)) == len(names)


def test_code_is_folded_where_its_cell_says_so(tmp_path):
    def written(**options):
        cell = new_code_cell("".join(f"#| {name}: {value}\n" for name, value in options.items()) + "x = 1")
        nbformat.write(new_notebook(cells=[cell]), tmp_path / "n.ipynb")
        notebook = Notebook(tmp_path / "n.ipynb", "notebooks/n.ipynb", "A notebook")
        return plain.notebook_page(notebook, {}, TEMPLATES).markdown

    folded = written(**{"code-fold": "true", "code-summary": "Para<meters"})
    assert (
        folded.index("<summary>Para&lt;meters</summary>") < folded.index("x = 1") < folded.index("</details>")
    )
    assert "x = 1" in written() and "<details>" not in written()


def test_captions_in_the_pdf_end_before_the_links_to_their_source():
    command = [pypandoc.get_pandoc_path(), "--to=typst", f"--lua-filter={TEMPLATES / 'links.lua'}"]
    text = "What it shows. [Source](notebooks/n-preview.html#cell-x), data: [a](a.csv), [b](b.csv)."
    written = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    assert written.strip() == "What it shows."
    kept = subprocess.run(command, input="A [Source](x.html).", capture_output=True, text=True, check=True)
    assert "x.html" in kept.stdout


def test_pdf(site):
    content = (site / "index.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"The surface of four choosers" in content or len(content) > 20_000
    assert not (site / "index.typ").exists()


def test_links_in_the_pdf_lead_to_the_published_site(paper, monkeypatch):
    set_type, sources = article.typst.compile, []

    def keep(file, **settings):
        sources.append(Path(file).read_text())
        return set_type(file, **settings)

    monkeypatch.setattr(article.typst, "compile", keep)
    settings = paper / "_quarto.yml"
    for address in ("https://x.example/site", "https://x.example/site/"):
        text = re.sub(r"  manuscript-url: .*\n", "", settings.read_text())
        settings.write_text(text.replace("manuscript:\n", f"manuscript:\n  manuscript-url: {address}\n"))
        page = (render_plain(paper) / "index.html").read_text()
        assert 'href="data/results/dvb/models.csv"' in page
        assert address not in page
        links = re.findall(r'link\("([^"]*)"\)', sources.pop())
        assert "https://x.example/site/data/results/dvb/models.csv" in links
        assert "https://x.example/site/notebooks/03_deep_values-preview.html#cell-fig-dvgr" in links
        assert [link for link in links if ":" not in link] == []


def test_the_site_is_published_from_the_repository():
    """The address that links in a PDF lead to is that of the repository's pages."""
    citation = yaml.safe_load((PAPER.parent / "CITATION.cff").read_text())
    owner, name = citation["repository-code"].removeprefix("https://github.com/").split("/")
    assert read_project(PAPER).address == f"https://{owner}.github.io/{name}/"


def cues(browser):
    """Of each figure, whether it scrolls, and whether a line says so."""
    return browser.evaluate(
        """[...document.querySelectorAll('figure')].filter((figure) => figure.querySelector('img'))
            .map((figure) => [
                [figure, ...figure.querySelectorAll('div')].some((box) => box.scrollWidth > box.clientWidth),
                getComputedStyle(figure.querySelector('figcaption'), '::before').content.includes('scrolls'),
            ])"""
    )


#: A figure as Quarto writes it, in a theme's box that shrinks to its content.
QUARTO = """<!DOCTYPE html><meta name="viewport" content="width=device-width"><style>{style}</style>
<main><div id="fig-x" class="quarto-float"><figure class="quarto-float quarto-float-fig figure"
style="display: inline-block; max-width: 100%; margin: 0"><div aria-describedby="caption">
<img src="data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='468' height='90'/>" alt="A"></div>
<figcaption id="caption">Figure 1: what it shows.</figcaption></figure></div></main>"""


@pytest.mark.parametrize("edition", ["plain", "quarto"])
def test_figures_that_scroll_say_so_to_the_eye_alone(site, tmp_path, edition):
    page = site / "index.html"
    if edition == "quarto":
        page = tmp_path / "page.html"
        page.write_text(QUARTO.format(style=(PAPER / "quarto.css").read_text()))
    with open_page() as browser:
        for width, scrolls in ((390, True), (700, False), (1200, False)):
            browser.load(page.as_uri(), width=width, height=844)
            found = cues(browser)
            assert found == [[scrolls, scrolls]] * len(found)
            assert found
            assert not any("figure scrolls" in name for _, name in browser.accessible())


#: A table as Quarto writes it, with columns as wide as the dashes of its source.
QUARTO_TABLE = """<!DOCTYPE html><meta name="viewport" content="width=device-width"><style>{style}</style>
<style>:root {{ --bs-body-bg: white }}</style>
<main><figure class="quarto-float-tbl"><figcaption>Table 1: What it holds.</figcaption><div>
<div class="cell-output-display"><table><colgroup><col style="width: 12%"><col style="width: 88%"></colgroup>
<tbody><tr><td>{name}</td><td>{words}</td></tr></tbody></table></div></div></figure></main>"""
PLAIN_TABLE = "\n\n| name | of |\n|:--|:--|\n| {name} | {words} |\n\n: What it holds. {{#tbl-wide}}\n"


@pytest.mark.parametrize("edition", ["plain", "quarto"])
def test_words_of_a_table_have_room_on_a_phone_and_the_table_scrolls_below_its_caption(
    paper, tmp_path, edition
):
    filled = {"name": "clustered by preferred value and dimension, crossed", "words": "some words " * 16}
    if edition == "quarto":
        page = tmp_path / "page.html"
        page.write_text(QUARTO_TABLE.format(style=(PAPER / "quarto.css").read_text(), **filled))
    else:
        with (paper / "index.qmd").open("a") as text:
            text.write(PLAIN_TABLE.format(**filled) + "\nSee @tbl-wide.\n")
        page = render_plain(paper) / "index.html"
    with open_page() as browser:
        browser.load(page.as_uri(), width=390, height=844)
        found = browser.evaluate(
            """(() => {
                const cells = [...document.querySelectorAll('td')];
                const name = cells.find((cell) => cell.textContent.startsWith('clustered by'));
                const words = name.nextElementSibling, box = name.closest('div');
                return {
                    words: words.clientWidth > 150 && words.clientHeight > 60,
                    apart: name.scrollWidth <= name.clientWidth,
                    scrolls: box.scrollWidth > box.clientWidth,
                    shadows: getComputedStyle(box).backgroundImage.split('linear-gradient').length - 1,
                    caption: box.closest('figure').querySelector('figcaption').textContent,
                    inside: box.querySelector('figcaption, caption') !== null,
                };
            })()"""
        )
    assert found.pop("caption").strip().endswith("What it holds.")
    assert found == dict.fromkeys(["words", "apart", "scrolls"], True) | {"shadows": 4, "inside": False}


@pytest.mark.slow
def test_a_notebook_s_page_is_rendered_again_only_if_something_in_it_has_changed(paper, monkeypatch):
    rendered = []
    whole = plain.document
    monkeypatch.setattr(plain, "document", lambda *given: rendered.append(given) or whole(*given))
    render_plain(paper)
    first, notebooks = len(rendered), read_project(paper).notebooks
    file = paper / "index.qmd"
    file.write_text(file.read_text() + "\nOne sentence more.\n")
    render_plain(paper)
    assert len(rendered) == 2 * first - len(notebooks)
    with (paper / "plain" / "style.css").open("a") as style:
        style.write("main { color: red }\n")
    site = render_plain(paper)
    assert len(rendered) == 3 * first - len(notebooks)
    assert all("main { color: red }" in (site / each.page).read_text() for each in notebooks)
    assert len(list((paper.parent / "build" / "pages").iterdir())) == len(notebooks)


def test_rendering_twice_gives_the_same_bytes(site, paper):
    again = render_plain(paper)
    files = sorted(file.relative_to(site) for file in site.rglob("*") if file.is_file())
    assert files == sorted(file.relative_to(again) for file in again.rglob("*") if file.is_file())
    for file in files:
        assert (site / file).read_bytes() == (again / file).read_bytes(), file


def edit(paper, old, new):
    file = paper / "index.qmd"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{{< var dvb.pooled.dvgr >}}]", "{{< var no.such >}}]", r"index\.qmd:\d+: .*no\.such"),
        ("#fig-dvgr >", "#fig-none >", r"index\.qmd:\d+: embed .*fig-none"),
        ("@eq-rate", "@eq-none", r"index\.qmd:\d+: @eq-none points to nothing"),
        ("@doe2021", "@nobody", r"index\.qmd:\d+: @nobody is not in references\.bib"),
    ],
)
def test_what_does_not_resolve_is_an_error_and_the_old_site_stays(paper, old, new, message):
    (paper / "_site").mkdir()
    (paper / "_site" / "index.html").write_text("old")
    edit(paper, old, new)
    with pytest.raises(UserError, match=message):
        render_plain(paper)
    assert (paper / "_site" / "index.html").read_text() == "old"


def test_a_site_that_can_not_be_written_leaves_the_old_one_whole(paper, monkeypatch):
    (paper / "_site").mkdir()
    (paper / "_site" / "index.html").write_text("old")

    rename = Path.rename

    def refuse(path, target):
        if path.suffix != ".part":
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(
        UserError, match="_site: can't be written: Permission denied; the previous copy remains"
    ):
        render_plain(paper)
    assert (paper / "_site" / "index.html").read_text() == "old"
    assert sorted(path.name for path in paper.glob("_site*")) == ["_site"]


def test_a_link_to_nothing_is_an_error(paper):
    edit(paper, "(figures/dvgr.svg)", "(figures/none.svg)")
    with pytest.raises(UserError, match=r"index\.html: the link to figures/none\.svg leads nowhere"):
        render_plain(paper)


def test_formulas_that_pandoc_refuses_are_an_error(paper):
    edit(paper, r"\frac{k}{n}", r"\frac{k}{")
    with pytest.raises(UserError, match="pandoc rejects the text"):
        render_plain(paper)


def test_first_level_headings_are_numbered_alike(paper):
    file = paper / "index.qmd"
    text = re.sub(r"^#(#+ )", r"\1", file.read_text(), flags=re.MULTILINE)
    file.write_text(text.replace("# What a callout", "## What a callout"))
    page = (render_plain(paper) / "index.html").read_text()
    assert re.search(r'<h3 [^>]*id="sec-table"[^>]*><span\s+class="header-section-number">3.1<', page)


def test_two_images_in_a_figure_cell(paper):
    file = paper / "notebooks" / "03_deep_values.ipynb"
    notebook = nbformat.read(file, as_version=4)
    for cell in notebook.cells:
        if "fig-dvgr" in cell.source:
            cell.outputs = cell.outputs * 2
    nbformat.write(notebook, file)
    with pytest.raises(UserError, match=r"cell 5 \(fig-dvgr\): shows 2 outputs of kind image"):
        render_plain(paper)


def test_project_faults(paper):
    (paper / "notebooks" / "01_load_data.ipynb").unlink()
    with pytest.raises(UserError, match=r"01_load_data\.ipynb: missing; run: deepvalues notebook 01"):
        read_project(paper)
    (paper / "_quarto.yml").unlink()
    with pytest.raises(UserError, match=r"_quarto\.yml: missing"):
        read_project(paper)


def test_links_are_mended_from_any_depth(tmp_path):
    (tmp_path / "notebooks").mkdir()
    link = '<a href="{}data/results/x.csv">x</a> <a href="https://x.org/data/results/">y</a>'
    for place in ("index.html", "notebooks/n.html"):
        (tmp_path / place).write_text(link.format("../" if place == "index.html" else ""))
    mend_links(tmp_path)
    mend_links(tmp_path)
    assert (tmp_path / "index.html").read_text() == link.format("")
    assert (tmp_path / "notebooks/n.html").read_text() == link.format("../")
    with pytest.raises(UserError, match=r"notebooks/n\.html: the link to \.\./data/results/x\.csv"):
        check_links(tmp_path)


def test_the_site_names_the_commit_that_made_it(tmp_path):
    root, site = tmp_path / "project", tmp_path / "site"
    for folder in (root, site / "data" / "results"):
        folder.mkdir(parents=True)
    (root / "data/results").mkdir(parents=True)
    original, listing = (folder / "data/results/manifest.json" for folder in (root, site))
    content = json.dumps({part: {} for part in PARTS})
    for file in (original, listing):
        file.write_text(content)
    (site / "index.html").write_text("<main><p>Text.</p></main>")
    name_commit(root, site)
    assert (listing.read_text(), (site / "index.html").read_text().count("commit")) == (content, 0)

    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    (root / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    name_commit(root, site)
    head = git("rev-parse", "HEAD")
    named = json.loads(listing.read_text())
    assert named == json.loads(content) | {"commit": {"id": head, "clean": True}}
    assert f"Built from commit <code>{head}</code>. " in (site / "index.html").read_text()
    (root / "file").write_text("two")
    name_commit(root, site)
    assert json.loads(listing.read_text())["commit"] == {"id": head, "clean": False}
    assert f"<code>{head}</code>, with changes that are not committed" in (site / "index.html").read_text()

"""What the pages of both renderings get in the end, on pieces of markup as Quarto writes it."""

from __future__ import annotations

import re

import pytest

from deepvalues.paper import site
from deepvalues.paper.project import Notebook

QUARTO = """<body class="quarto-light">
<div id="quarto-embed-header" class="headroom fixed-top bg-primary"></div>
<main id="quarto-document-content">
<div class="abstract"><div class="block-title">Abstract</div>Words.</div>
<div id="fig-a" class="quarto-float"><figure class="quarto-float quarto-float-fig figure">
<div aria-describedby="fig-a-caption-0c" class="">
<a href="a.svg" class="lightbox" title="Figure&nbsp;1: What it shows."
><img src="a.svg" class="img-fluid" alt="A &quot;b&quot;"></a></div>
<figcaption class="x" id="fig-a-caption-0c">Figure&nbsp;1: What it shows.</figcaption></figure></div>
<div id="tbl-b"><figure><figcaption id="tbl-b-caption-0c">
Table&nbsp;1: What it holds.</figcaption><div class="cell-output-display"><table></table></div></figure></div>
<div class="cell-output cell-output-display"><img src="b.svg" alt="B" /></div>
</main>
<script>
      a.classList.add('quarto-color-scheme-toggle');
      window.document.body.appendChild(a);
</script></body>"""
PLAIN = """<main>
<section class="abstract">Words.</section><figure id="fig-a">
<img src="a.svg" alt="A" /></figure></main>"""


def test_a_page_by_quarto_can_be_reached_by_keyboard():
    page = site.reachable(QUARTO)
    assert page.index('<a class="skip" href="#quarto-document-content">') < page.index("quarto-embed-header")
    assert '<div id="quarto-embed-header" role="navigation" aria-label="This notebook" class="' in page
    switch = re.search(r"quarto-color-scheme-toggle'\);\s*(.*)", page)[1]
    assert switch.startswith("a.ariaLabel = 'Light or dark'; ")
    assert switch.endswith("('#quarto-embed-header, #title-block-header').appendChild(a);")
    boxes = re.findall(
        r'<div tabindex="0" role="region" aria-label="([^"]*)" class="[^"]*cell-output-display', page
    )
    assert boxes == ["Output 1 of this page", "Output 2 of this page"]
    assert site.reachable(PLAIN) == PLAIN


def test_captions_on_a_notebook_s_page_have_the_numbers_given():
    page = site.with_numbers(QUARTO, {"tbl-b": "Table 4"})
    assert "Table&nbsp;4: What it holds." in page
    assert page.count("Figure&nbsp;1: What it shows.") == 2
    page = site.with_numbers(QUARTO, {"fig-a": "Figure S3.1"})
    assert page.count("Figure&nbsp;S3.1: What it shows.") == 2


@pytest.mark.parametrize("page", [QUARTO, PLAIN])
def test_the_first_figure_stands_above_the_abstract_as_a_link(page):
    found = site.with_teaser(page)
    teaser = '<a class="teaser" href="#fig-a"><img src="a.svg" alt="Figure 1, in the text below"></a>'
    assert found.index(teaser) < found.index('class="abstract"')
    assert found.replace(teaser + "\n", "") == page
    assert site.with_teaser("<p>No figure.</p>") == "<p>No figure.</p>"


def test_images_keep_their_place_and_all_but_the_first_come_late(tmp_path):
    for name, width in (("a.svg", 72), ("b.svg", 36)):
        (tmp_path / name).write_text(
            f'<?xml?><svg version="1.1" width="{width}pt" height="36pt" viewBox="0">'
        )
    page = site.with_light_images(QUARTO, tmp_path)
    first, second = re.findall("<img[^>]*>", page)
    assert first == '<img src="a.svg" class="img-fluid" alt="A &quot;b&quot;" width="96" height="48">'
    assert second == '<img src="b.svg" alt="B" width="48" height="48" loading="lazy">'
    assert 'class="picture"' not in page
    alone = site.with_light_images(PLAIN, tmp_path)
    assert '<a class="picture" href="a.svg"><img src="a.svg" alt="A" width="96" height="48"></a>' in alone
    assert "width=" not in site.with_light_images(PLAIN, tmp_path / "elsewhere")


def test_a_notebook_leads_to_those_beside_it(tmp_path):
    notebooks = [Notebook(tmp_path / name, f"notebooks/{name}.ipynb", f"{name} & co") for name in "abc"]
    found = [site.with_navigation("<main>x</main>", notebooks, place) for place in range(3)]
    links = [re.findall(r'<a href="([^"]*)">([^<]*)</a>', page) for page in found]
    assert links[0] == [("b-preview.html", "Next: b &amp; co")]
    assert links[1] == [("a-preview.html", "Before: a &amp; co"), ("c-preview.html", "Next: c &amp; co")]
    assert links[2] == [("b-preview.html", "Before: b &amp; co")]
    assert all(page.endswith("</nav>\n</main>") for page in found)

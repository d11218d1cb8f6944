"""What ``article.lua`` makes of Quarto's Markdown, on a page and in print."""

from __future__ import annotations

import json
import re

import pytest

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper.article import as_words, pandoc

FILTER = paths.PAPER / "plain" / "article.lua"
FIGURE = {"image": "index_files/fig-a.svg", "alternative": 'Say "hi" & <go>', "caption": "A *caption*."}
TABLE = {"table": "| a |\n|--:|\n| 1 |", "caption": "Rates."}
SOURCES = {
    "variables": {"dvb.dvgr": ".302", "dvb.n": "four", "dvb.list": "2. *more* (@tbl-a)"},
    "cells": {"n.ipynb#fig-a": FIGURE, "n.ipynb#tbl-a": TABLE},
    "address": "",
}
EMBEDDED = "{{< embed n.ipynb#tbl-a >}}\n\n{{< embed n.ipynb#fig-a >}}\n\n"


@pytest.fixture
def written(tmp_path):
    """Write a text in a format, as one line a paragraph."""
    file = tmp_path / "sources.json"
    file.write_text(json.dumps(SOURCES))

    def write(text, target="html"):
        options = [f"--to={target}", "--wrap=none", f"--lua-filter={FILTER}", f"--metadata=sources:{file}"]
        return pandoc(as_words(text), options, tmp_path / "index.qmd").strip()

    return write


def test_variables_in_text_and_in_spans_with_their_keys_on_a_page(written):
    text = 'It was {{< var dvb.dvgr >}}, ([{{<var dvb.n>}}]{.number data-key="dvb.n"}).'
    marked = '<span class="number" data-key="{}">{}</span>'
    four = marked.format("dvb.n", marked.format("dvb.n", "four"))
    assert written(text) == f"<p>It was {marked.format('dvb.dvgr', '.302')}, ({four}).</p>"
    assert written(text, "typst") == "It was .302, (four)."


def test_a_value_is_markdown(written):
    page = written(f"{{{{< var dvb.list >}}}}, it says.\n\n{EMBEDDED}", "typst")
    assert page.startswith("\\2. #emph[more] (#link(<tbl-a>)[Table~1]), it says.")


@pytest.mark.parametrize(
    "text",
    [
        "## Of {{< var dvb.n >}} models",
        '[all]{.claim title="{{< var dvb.n >}}"}',
        "[there](data/{{< var dvb.n >}}.csv)",
        "${{< var dvb.n >}}$",
    ],
)
def test_where_no_html_may_stand_a_number_is_plain(written, text):
    assert "four" in re.sub("</?em>", "", written(text))
    assert "data-key" not in written(text)


def test_code_stays_and_comments_vanish(written):
    assert written("`{{< var dvb.dvgr >}}`", "typst") == "`{{< var dvb.dvgr >}}`"
    assert "secret" not in written("a <!-- secret --> b\n\n<!-- secret -->")


def test_a_figure_has_anchor_number_and_alternative_text(written):
    page = written("{{< embed n.ipynb#fig-a >}}\n\nSee @fig-a.")
    assert '<figure id="fig-a">' in page
    assert 'src="index_files/fig-a.svg" alt="Say &quot;hi&quot; &amp; &lt;go&gt;"' in page
    assert "<strong>Figure 1.</strong> A <em>caption</em>." in page
    assert 'See <a href="#fig-a">Figure\u00a01</a>.' in page
    page = written("{{< embed n.ipynb#fig-a >}}", "typst")
    assert 'image("index_files/fig-a.svg", alt: "Say \\"hi\\" & <go>")' in page
    assert page.endswith("<fig-a>")


def test_tables_and_images_of_the_article_are_numbered_with_those_of_notebooks(written):
    own = '| a |\n|---|\n| 1 |\n\n: Arms. {#tbl-b}\n\n![A map](img/map.png){#fig-m fig-alt="Map"}\n'
    page = written(f"{EMBEDDED}{own}")
    assert '<table id="tbl-a">' in page
    assert "<strong>Table 1.</strong> Rates." in page
    assert "<strong>Table 2.</strong> Arms." in page
    assert 'src="img/map.png" alt="Map"' in page
    assert "<strong>Figure 2.</strong> A map" in page


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("@tbl-a", "[Table 1]"),
        ("@Tbl-a", "[Table 1]"),
        ("[@tbl-a]", "[Table 1]"),
        ("[-@tbl-a]", "[1]"),
        ("-@tbl-a", "[1]"),
        ("[Tab. @tbl-a]", "[Tab. 1]"),
        ("[@tbl-a; @fig-a]", "[Table 1], [Figure 1]"),
        ("[@tbl-a, left]", "[Table 1], left"),
        ("`@tbl-a`", "<code>@tbl-a</code>"),
    ],
)
def test_references(written, reference, shown):
    links = shown.replace("[Figure", '<a href="#fig-a">Figure').replace("[", '<a href="#tbl-a">')
    links = links.replace("]", "</a>").replace(" 1<", "\u00a01<")
    assert written(f"{EMBEDDED}X {reference}").endswith(f"<p>X {links}</p>")


def test_citations_stay(written):
    assert "@doe2021" in written("[see @doe2021]", "markdown")


def test_section_references_follow_the_numbers_of_headings(written):
    text = "## One\n\n## Aside {.unnumbered}\n\n## Two\n\n### Two {#sec-two}\n\nSee @sec-two.\n"
    assert 'See <a href="#sec-two">Section\u00a02.1</a>.' in written(text)


def test_equations_are_numbered_also_amid_a_paragraph(written):
    text = "Rate\n$$\nx = {{< var dvb.dvgr >}}\n$$ {#eq-r}, and\n$$y$$ {#eq-s}\n\nSee @eq-r and @eq-s."
    page = written(text, "typst")
    assert '#numbered("(1)")[$ x = .302 $] <eq-r>' in page
    assert "\n\n, and\n\n" in page
    assert "See #link(<eq-r>)[Equation~1] and #link(<eq-s>)[Equation~2]." in page
    page = written(text)
    assert '<div id="eq-r" class="equation">' in page
    assert '<span class="equation-number">(1)</span>' in page


def test_content_for_one_format_only(written):
    text = (
        '::: {.content-visible when-format="html"}\nweb\n:::\n\n'
        '::: {.content-hidden when-format="html"}\nprint\n\n:::: {.x}\nin\n::::\n:::\n\n'
        '::: {.content-visible unless-format="typst"}\nno typst\n:::\n'
    )
    assert written(text) == "<p>web</p>\n<p>no typst</p>"
    assert written(text, "typst").split() == ["print", "#block[", "in", "]"]


def test_conditions_that_only_quarto_knows_are_an_error(written):
    with pytest.raises(UserError, match="when-format"):
        written('::: {.content-visible when-profile="x"}\na\n:::')


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("::: {.callout-note}\n## The *title*\nBody\n:::\n", "The <em>title</em>"),
        ('::: {.callout-tip title="Two words"}\nBody\n:::\n', "Two words"),
        ("::: {.callout-warning}\nBody\n:::\n", "Warning"),
    ],
)
def test_callouts_take_their_title_from_heading_attribute_or_kind(written, source, title):
    assert f'<span class="callout-title">{title}</span>' in written(source)
    title = title.replace("<em>", "#emph[").replace("</em>", "]")
    assert written(source, "typst").startswith(f"#quote(block: true)[\n#strong[{title}]\n\nBody\n]")


def test_a_callout_title_is_not_numbered_as_a_section(written):
    text = "## One\n\n::: {.callout-note}\n## Aside\nBody\n:::\n\n## Two {#sec-two}\n\n@sec-two"
    assert "Section\u00a02</a>" in written(text)


def test_links_are_written_from_the_root_of_the_site(written):
    assert 'href="data/results/x.csv"' in written("[d](../data/results/x.csv)")
    assert 'href="../README.md"' in written("[d](../README.md)")

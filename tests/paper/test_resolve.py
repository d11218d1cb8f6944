"""The source filter: Quarto's Markdown in, pandoc's Markdown out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deepvalues.core.errors import UserError
from deepvalues.paper.cells import Cell
from deepvalues.paper.divs import raw, resolve_divs
from deepvalues.paper.resolve import Sources, resolve, resolve_value, typst_string

FIGURE = Cell(
    notebook=Path("n.ipynb"),
    position=2,
    kind="code",
    source="plot()",
    options={"label": "fig-a", "fig-cap": "A *caption*.", "fig-alt": 'Say "hi" & <go>'},
    outputs=[{"output_type": "display_data", "data": {"image/svg+xml": "<svg/>"}}],
)
TABLE = Cell(
    notebook=Path("n.ipynb"),
    position=3,
    kind="code",
    source="table()",
    options={"label": "tbl-a", "tbl-cap": "Rates."},
    outputs=[{"output_type": "display_data", "data": {"text/markdown": "| a |\n|--:|\n| 1 |\n"}}],
)
SOURCES = Sources(
    variables={"dvb": {"dvgr": ".302", "n": "four"}},
    cells={("n.ipynb", "fig-a"): FIGURE, ("n.ipynb", "tbl-a"): TABLE},
)


def html(text):
    return resolve(text, SOURCES, "html")


def typst(text):
    return resolve(text, SOURCES, "typst")


def test_variable_in_text_and_in_a_span():
    text = 'It was {{< var dvb.dvgr >}}, [{{<var dvb.n>}}]{.number data-key="dvb.n"}.'
    assert typst(text) == 'It was .302, [four]{.number data-key="dvb.n"}.'
    assert re.sub("`<[^`]*>`{=html}", "", html(text)) == typst(text)


def test_a_page_gets_the_key_around_each_number_of_the_text():
    expected = '`<span class="number" data-key="dvb.dvgr">`{=html}.302`</span>`{=html}'
    assert html("It was {{< var dvb.dvgr >}}.") == f"It was {expected}."


@pytest.mark.parametrize(
    "text",
    [
        "## Of {{< var dvb.n >}} models",
        '[all]{.claim title="{{< var dvb.n >}}"}',
        "[there](data/{{< var dvb.n >}}.csv)",
        "$x = {{< var dvb.n >}}$",
    ],
)
def test_where_no_html_may_stand_a_number_is_plain(text):
    assert html(text) == text.replace("{{< var dvb.n >}}", "four")


def test_variable_in_code_stays():
    assert html("`{{< var dvb.dvgr >}}`") == "`{{< var dvb.dvgr >}}`"


def test_variables_in_every_text_of_the_header():
    header = {"title": "Of {{< var dvb.n >}}", "author": [{"name": "{{< var dvb.n >}}"}], "n": 1}
    resolved = resolve_value(header, SOURCES.variables)
    assert resolved == {"title": "Of four", "author": [{"name": "four"}], "n": 1}


def test_figure_in_html_has_anchor_number_and_alternative_text():
    text = html("See @fig-a.\n\n{{< embed n.ipynb#fig-a >}}\n")
    assert "See [Figure\u00a01](#fig-a)." in text
    assert '<figure id="fig-a">' in text
    assert 'src="index_files/fig-a.svg" alt="Say &quot;hi&quot; &amp; &lt;go&gt;"' in text
    assert "**Figure 1.** A *caption*." in text


def test_figure_in_typst_has_label_and_alternative_text():
    text = typst("{{< embed n.ipynb#fig-a >}}")
    assert 'image("index_files/fig-a.svg", alt: "Say \\"hi\\" & <go>")' in text
    assert "`]) <fig-a>`{=typst}" in text


def test_table_becomes_a_captioned_table():
    text = html("{{< embed n.ipynb#tbl-a >}}")
    assert "| a |\n|--:|\n| 1 |\n\n: **Table 1.** Rates. {#tbl-a}" in text


def test_own_table_and_own_image_are_numbered():
    text = html('| a |\n|---|\n| 1 |\n\n: Arms. {#tbl-b}\n\n![A map](img/map.png){#fig-m fig-alt="Map"}\n')
    assert ": **Table 1.** Arms. {#tbl-b}" in text
    assert 'src="index_files/map.png" alt="Map"' in text
    assert "**Figure 1.** A map" in text


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("@tbl-a", "[Table\u00a01](#tbl-a)"),
        ("@Tbl-a", "[Table\u00a01](#tbl-a)"),
        ("[@tbl-a]", "[Table\u00a01](#tbl-a)"),
        ("[-@tbl-a]", "[1](#tbl-a)"),
        ("-@tbl-a", "[1](#tbl-a)"),
        ("[Tab. @tbl-a]", "[Tab.\u00a01](#tbl-a)"),
        ("[@tbl-a; @fig-a]", "[Table\u00a01](#tbl-a), [Figure\u00a01](#fig-a)"),
        ("[@tbl-a, left]", "[Table\u00a01](#tbl-a), left"),
        ("[see @doe2021]", "[see @doe2021]"),
        ("`@tbl-a`", "`@tbl-a`"),
    ],
)
def test_references(reference, shown):
    body = "{{< embed n.ipynb#tbl-a >}}\n\n{{< embed n.ipynb#fig-a >}}\n\nX "
    assert html(body + reference).endswith(f"X {shown}")


def test_section_references_follow_the_numbers_of_headings():
    text = html("## One\n\n### Two {#sec-two}\n\nSee @sec-two.\n")
    assert "See [Section\u00a01.1](#sec-two)." in text


def test_equation_is_numbered_on_both_targets():
    source = "Rate\n\n$$\nx = {{< var dvb.dvgr >}}\n$$ {#eq-r}\n\nSee @eq-r."
    page = html(source)
    assert "::: {#eq-r .equation}\n$$\nx = .302\n$$\n\n[(1)]{.equation-number}\n:::" in page
    assert "See [Equation\u00a01](#eq-r)." in page
    assert '`#numbered("(1)")[`{=typst}$$\nx = .302\n$$`] <eq-r>`{=typst}' in typst(source)


def test_content_for_one_format_only():
    text = (
        '::: {.content-visible when-format="html"}\nweb\n:::\n'
        '::: {.content-hidden when-format="html"}\nprint\n:::\n'
        '::: {.content-visible unless-format="typst"}\nno typst\n:::\n'
    )
    assert [word in html(text) for word in ("web", "print", "no typst")] == [True, False, True]
    assert [word in typst(text) for word in ("web", "print", "no typst")] == [False, True, False]


def test_hidden_content_hides_the_divs_within():
    text = '::: {.content-visible when-format="typst"}\n:::: {.x}\nin\n::::\n:::\nout'
    assert "in" not in html(text)
    assert "out" in html(text)
    assert ":::" not in html(text)


def test_callouts_take_their_title_from_attribute_heading_or_kind():
    by_heading = "::: {.callout-note}\n## The *title*\nBody\n:::\n"
    assert "::: {.callout .callout-note}\n[The *title*]{.callout-title}" in html(by_heading)
    assert "`#callout[`{=typst}The *title*`][`{=typst}" in typst(by_heading)
    assert "[T]{.callout-title}" in html('::: {.callout-tip title="T"}\nBody\n:::\n')
    assert "[Warning]{.callout-title}" in html("::: {.callout-warning}\nBody\n:::\n")


def test_a_callout_title_is_not_numbered_as_a_section():
    text = "## One\n\n::: {.callout-note}\n## Aside\nBody\n:::\n\n## Two {#sec-two}\n\n@sec-two"
    assert "[Section\u00a02](#sec-two)" in html(text)


def test_divs_in_code_are_left_alone():
    text = "```\n::: {.callout-note}\n```\n"
    assert resolve_divs(text, "html") == text


@pytest.mark.parametrize("text", ["::: {.x}\nopen", "closed\n:::\n"])
def test_unbalanced_divs_are_an_error(text):
    with pytest.raises(UserError, match="div"):
        resolve_divs(text, "html")


def test_conditions_that_only_quarto_knows_are_an_error():
    with pytest.raises(UserError, match="when-format"):
        resolve_divs('::: {.content-visible when-profile="x"}\na\n:::', "html")


def test_comments_vanish_and_other_divs_stay():
    assert "secret" not in html("a <!-- secret --> b")
    assert "::: {#refs}" in html("::: {#refs}\n:::")


def test_links_are_written_from_the_root_of_the_site():
    assert html("[d](../data/results/x.csv)") == "[d](data/results/x.csv)"
    assert html("[d](../README.md)") == "[d](../README.md)"


def test_other_shortcodes_are_an_error():
    with pytest.raises(UserError, match="pagebreak"):
        html("{{< pagebreak >}}")


def test_literals():
    assert typst_string('a "b" \\') == '"a \\"b\\" \\\\"'
    assert raw("a `b` c", "typst") == "``a `b` c``{=typst}"

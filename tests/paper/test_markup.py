"""Reading the article's Markdown: what is found, and where."""

from __future__ import annotations

import pytest

from deepvalues.core.errors import UserError
from deepvalues.paper.markup import (
    CODE,
    blank,
    citations,
    embeds,
    headings,
    labels,
    numbering,
    parse_attributes,
    read_article,
    references,
    shortcodes,
)

TEXT = """## One {#sec-one}

Text @fig-a, [@doe2021, p. 3; -@smith], see @Sec-two and `@fig-code`. Mail a@b.org, $x@fig-m$.

{{< embed notebooks/n.ipynb#fig-a >}}

### Two {#sec-two .results}

```python
# ## no heading, {{< var no >}}, @fig-fenced
```

## Aside {.unnumbered}

$$ x $$ {#eq-x}

{{< embed notebooks/n.ipynb#fig-b >}} {{< var a.b >}} <!-- {{< var hidden >}} -->

## Three {#sec-three}
"""


def test_blanking_keeps_every_offset():
    masked = blank(TEXT, CODE)
    assert len(masked) == len(TEXT)
    assert masked.count("\n") == TEXT.count("\n")
    assert "no heading" not in masked
    assert masked.index("## Three") == TEXT.index("## Three")


def test_shortcodes_in_code_and_comments_are_not_found():
    assert [found.name for found in shortcodes(TEXT, "var")] == ["a.b"]
    assert [(e.notebook, e.label) for e in embeds(TEXT)] == [
        ("notebooks/n.ipynb", "fig-a"),
        ("notebooks/n.ipynb", "fig-b"),
    ]


def test_embed_with_options_has_no_label():
    assert next(embeds("{{< embed n.ipynb#fig-a echo=true >}}")).label == ""


def test_references_and_citations_are_told_apart():
    assert [found.name for found in references(TEXT)] == ["fig-a", "sec-two"]
    assert [found.name for found in citations(TEXT)] == ["doe2021", "smith"]


def test_citation_keys_end_before_punctuation():
    found = [key.name for key in citations("As @doe2021. Or @{odd/key}; https://x.org/@me")]
    assert found == ["doe2021", "odd/key"]


def test_numbers_count_each_kind_and_skip_unnumbered_headings():
    assert numbering(TEXT) == {
        "sec-one": "1",
        "fig-a": "1",
        "sec-two": "1.1",
        "eq-x": "1",
        "fig-b": "2",
        "sec-three": "2",
    }


def test_sections_extend_over_their_subsections():
    one, two, aside, _three = headings(TEXT)
    assert TEXT[one.end :].startswith("## Aside")
    assert (two.start, two.end) == (TEXT.index("### Two"), aside.start)


def test_labels_come_in_the_order_of_the_text():
    assert [found.name for found in labels(TEXT)][:3] == ["sec-one", "fig-a", "sec-two"]


def test_attributes():
    attributes = '{#sec-x .results .wide key="a b" n=2}'
    assert parse_attributes(attributes) == (
        "sec-x",
        ("results", "wide"),
        {"key": "a b", "n": "2"},
    )
    assert parse_attributes("warning") == ("", ("warning",), {})


def test_article_reports_lines(tmp_path):
    file = tmp_path / "index.qmd"
    file.write_text("---\ntitle: T\n---\n\nBody\n")
    article = read_article(file)
    assert article.header == {"title": "T"}
    assert article.line(article.text.index("Body")) == 5


def test_broken_header_names_the_line(tmp_path):
    file = tmp_path / "index.qmd"
    file.write_text("---\ntitle: T\nabstract: 'open\n---\n\nBody\n")
    with pytest.raises(UserError, match=r"index\.qmd:\d+: the header is not YAML"):
        read_article(file)


def test_missing_article():
    from pathlib import Path

    with pytest.raises(UserError, match="the article is missing"):
        read_article(Path("/nowhere/index.qmd"))

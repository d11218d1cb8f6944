"""Reading the article: what the walk through pandoc's tree finds, and in which line."""

from __future__ import annotations

import pytest

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper.article import as_words, read_article

TEXT = """---
title: "Of {{< var a.n >}}"
abstract: |
  An abstract with
  {{< var a.b >}}.
---

## One {#sec-one}

Text @fig-a, [@doe2021, p. 3;
-@smith], see @Sec-two and `@fig-code`. Mail a@b.org, $x@fig-m$. {{<var a.c>}}{{< var
a.d >}}[^1]

{{< embed notebooks/n.ipynb#fig-a >}}

### Two {#sec-two .results}

```python
# ## no heading, {{< var no >}}, @fig-fenced
```

[What [{{< var a.b >}}]{.number} says]{.claim
key="a.yes"}, [there](data/{{< var a.e >}}.csv), $x = {{< var a.f >}}$.

## Aside {.unnumbered}

$$ x $$ {#eq-x}

{{< embed notebooks/n.ipynb#fig-b >}} <!-- {{< var hidden >}} -->

{{< embed n.ipynb#fig-c echo=true >}}

[^1]: A note of @doe2021. Or @{odd/key}; <https://x.org/@me>

| a |
|---|
| 1 |

: Rates. {#tbl-a}
"""


def read(folder, text):
    file = folder / "index.qmd"
    file.write_text(text)
    return read_article(file)


def test_everything_is_found_with_its_line(tmp_path):
    found = read(tmp_path, TEXT).contents
    assert sorted(found.variables, key=lambda use: use.line) == [
        *[("a.n", 2), ("a.b", 5), ("a.c", 11), ("a.d", 11), ("a.b", 22), ("a.e", 23), ("a.f", 23)]
    ]
    assert found.references == [("fig-a", 10), ("sec-two", 11)]
    assert found.citations == [("doe2021", 10), ("smith", 11), ("doe2021", 33), ("odd/key", 33)]
    assert found.claims == [("a.yes", 22)]
    assert found.embeds == [("notebooks/n.ipynb#fig-a", 14), ("n.ipynb#fig-c echo=true", 31)]
    assert found.faults == [("embed notebooks/n.ipynb#fig-b: it must be a paragraph of its own.", 29)]
    assert found.labels == [("sec-one", 8), ("fig-a", 14), ("sec-two", 16), ("eq-x", 27), ("tbl-a", 39)]


def test_results_are_the_abstract_and_the_marked_sections(tmp_path):
    pieces = read(tmp_path, TEXT).contents.results
    words = "".join(piece.text for piece in pieces)
    assert " ".join(words.split()) == "An abstract with . Two What says, there, ."
    assert "".join(piece.text for piece in pieces if piece.claimed).split() == ["What", "says"]


def result_lines(text):
    """Lines of text in the abstract and below headings that are marked, formulas left out."""
    inside = formula = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#"):
            inside = ".results}" in line
        elif line.startswith(("abstract:", "keywords:")):
            inside = line.startswith("abstract:")
        elif line.startswith("$$"):
            formula = not formula
        elif inside and not formula and line.strip()[:1].isalpha():
            yield number


def test_words_of_the_article_of_this_paper_stand_in_their_lines():
    article = read_article(paths.PAPER / "index.qmd")
    lines = as_words(article.text).splitlines()
    pieces = [piece for piece in article.contents.results if piece.text.strip() and "( " not in piece.text]
    assert set(result_lines(article.text)) <= {piece.line for piece in pieces}
    assert [piece for piece in pieces if piece.text.strip() not in lines[piece.line - 1]] == []


@pytest.mark.parametrize("marks", [":::", "::::"])
def test_a_div_that_was_never_opened(tmp_path, marks):
    found = read(tmp_path, f"closed\n\n{marks}\n").contents
    assert found.faults == [(f"the {marks} closes a div that was never opened.", 3)]


def test_a_shortcode_is_one_word_and_moves_no_line():
    assert as_words("a {{<var  x.y>}}.\n{{< embed\nn#l o=1 >}} b") == (
        "a \ue000var\ue001x.y\ue002.\n\ue000embed\ue001n#l\xa0o=1\ue002\n b"
    )


def test_broken_header_names_the_line(tmp_path):
    with pytest.raises(UserError, match=r"index\.qmd:\d+: the header is not YAML"):
        read(tmp_path, "---\ntitle: T\nabstract: 'open\n---\n\nBody\n")


def test_missing_article(tmp_path):
    with pytest.raises(UserError, match="the article is missing"):
        read_article(tmp_path / "index.qmd")

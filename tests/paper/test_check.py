"""The guard of the paper's sources: each rule broken once."""

from __future__ import annotations

import shutil
import subprocess
import sys

import nbformat
import pytest

from deepvalues.core import paths
from deepvalues.paper.check import problems, summary

FIXTURE = paths.ROOT / "tests" / "support" / "fixtures" / "manuscript"


@pytest.fixture
def paper(tmp_path):
    shutil.copytree(FIXTURE, tmp_path / "project")
    return tmp_path / "project" / "paper"


def replace(paper, old, new):
    file = paper / "index.qmd"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def messages(paper, **options):
    return [str(problem) for problem in problems(paper, **options)]


def line_of(paper, words):
    lines = (paper / "index.qmd").read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if words in line)


def expect(paper, words, message):
    """One problem, at the line that holds the words, with the message."""
    (found,) = problems(paper)
    assert found.line == line_of(paper, words)
    assert message in found.message


def test_the_sample_has_no_problem_and_a_summary(paper):
    assert messages(paper) == []
    assert "4 variables, 2 embedded" in summary(paper)
    assert "1 further variables are read in the notebooks" in summary(paper)


@pytest.mark.parametrize(
    "typed",
    ["It was .30 here.", "All 9 models.", "Nearly 3,600 answers.", "N10 was best.", "(n = 40)"],
)
def test_a_typed_number_in_results(paper, typed):
    replace(paper, "### In a table", f"{typed}\n\n### In a table")
    expect(paper, typed, "is typed")


def test_a_typed_number_in_the_abstract(paper):
    replace(paper, "A sample of what the paper holds.", "A sample of 9 models.")
    expect(paper, "A sample of 9", "the number 9 is typed")


@pytest.mark.parametrize(
    "allowed",
    [
        "In Study 1 and Studies 2 and 3, gpt-4.1 and MiniLM-L6 differ.",
        "See `x = 3` and $p = .5$ and [a page](https://example.org/2020).",
        "As said before [@smith2020, p. 12].",
        'A [{{< var dvb.pooled.dvgr >}}]{.number title="n2"} follows.',
        "1. A list",
        "<!-- 17 -->",
    ],
)
def test_digits_that_are_no_results(paper, allowed):
    replace(paper, "### In a table", f"{allowed}\n\n### In a table")
    assert messages(paper) == []


def test_names_may_be_added(paper):
    replace(paper, "### In a table", "The learner LSA50 differs.\n\n### In a table")
    assert len(messages(paper)) == 1
    assert messages(paper, names=["LSA50"]) == []


def test_numbers_outside_results_are_free(paper):
    replace(paper, "Everything is in", "All 400 cells, more or less, are in")
    assert messages(paper) == []


@pytest.mark.parametrize("word", ["higher", "Most", "below", "increased", "fell", "exceeds"])
def test_a_direction_outside_a_claim(paper, word):
    replace(paper, "### In a table", f"{word} of this.\n\n### In a table")
    expect(paper, f"{word} of this", f"“{word}” states a direction")


def test_a_claim_that_the_results_deny(paper):
    file = paper / "_variables.yml"
    file.write_text(file.read_text().replace('below_chance: "true"', 'below_chance: "false"'))
    expect(paper, "[the models fall", "dvb.claims.below_chance is false for the present results")


def test_a_claim_without_a_key(paper):
    replace(paper, ' key="dvb.claims.below_chance"', "")
    expect(paper, "[the models fall", "key (none) is not in _variables.yml")


def test_a_claim_may_hold_a_number_span(paper):
    replace(
        paper,
        "[the models fall below chance]",
        "[the [{{< var dvb.models >}}]{.number} models fall below chance]",
    )
    assert messages(paper) == []


def test_a_variable_without_a_producer(paper):
    replace(paper, "({{< var dvb.pooled.interval >}})", "({{< var dvb.pooled.gone >}})")
    expect(paper, "dvb.pooled.gone", "no notebook makes the variable dvb.pooled.gone")


def test_a_missing_variables_file_is_said_once(paper):
    (paper / "_variables.yml").unlink()
    replace(paper, ".claim ", ".plain ")
    found = [message for message in messages(paper) if "_variables.yml" in message]
    assert len(found) == 1
    assert "_variables.yml is missing; `make paper` makes it" in found[0]


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("notebooks/04_none.ipynb#fig-dvgr", "the notebook is missing"),
        ("notebooks/03_deep_values.ipynb#fig-none", "no cell with that label"),
        ("notebooks/03_deep_values.ipynb", "expected notebooks/NAME.ipynb#LABEL"),
    ],
)
def test_an_embed_of_nothing(paper, new, message):
    replace(paper, "notebooks/03_deep_values.ipynb#fig-dvgr", new)
    assert any(message in found for found in messages(paper))


@pytest.mark.parametrize("content", [None, '{"cells": [', '{"nbformat": 4, "nbformat_minor": 5}'])
def test_a_notebook_that_is_missing_or_damaged_is_said_once(paper, content):
    file = paper / "notebooks" / "03_deep_values.ipynb"
    file.unlink()
    if content is not None:
        file.write_text(content)
    (found,) = [message for message in messages(paper) if "03_deep_values" in message]
    assert ": the notebook is missing; run: deep" in found or ": not a notebook: " in found
    assert found.endswith("; run: deepvalues notebook 03_deep_values")
    assert "\n" not in found


@pytest.mark.parametrize("label", ["fig-none", "tbl-none", "sec-none", "eq-none"])
def test_a_reference_to_nothing(paper, label):
    replace(paper, "See @sec-methods", f"See @{label}")
    expect(paper, f"See @{label}", f"@{label} points to nothing")


def test_a_label_used_twice(paper):
    replace(paper, "{#sec-rate}", "{#sec-methods}")
    assert any("sec-methods is used more than once" in found for found in messages(paper))


def test_a_citation_of_nothing(paper):
    replace(paper, "@doe2021, chap. 3", "@doe1999, chap. 3")
    expect(paper, "@doe1999", "@doe1999 is not in references.bib")


def test_a_missing_bibliography(paper):
    (paper / "references.bib").unlink()
    assert any("the bibliography references.bib is missing" in found for found in messages(paper))


def test_other_shortcodes(paper):
    replace(paper, "### In a table", "{{< include other.qmd >}}\n\n### In a table")
    expect(paper, "include other.qmd", "the shortcode {{< include other.qmd >}} is not known")


@pytest.mark.parametrize(
    ("option", "embed"),
    [("fig-cap", "#fig-dvgr >"), ("fig-alt", "#fig-dvgr >"), ("tbl-cap", "#tbl-models >")],
)
def test_embeds_without_caption_or_alternative_text(paper, option, embed):
    file = paper / "notebooks" / "03_deep_values.ipynb"
    notebook = nbformat.read(file, as_version=4)
    for cell in notebook.cells:
        kept = [line for line in cell.source.split("\n") if not line.startswith(f"#| {option}")]
        cell.source = "\n".join(kept)
    nbformat.write(notebook, file)
    expect(paper, embed, f"no `#| {option}:`")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-preview.html#cell-fig-dvgr)", "-preview.html)", "03_deep_values-preview.html#cell-fig-dvgr."),
        ("(data/results/dvb/models.csv)", "(data/results/dvb/)", "its CSV below data/."),
    ],
)
def test_a_caption_that_leads_to_no_cell_or_no_data(paper, old, new, message):
    file = paper / "notebooks" / "03_deep_values.ipynb"
    notebook = nbformat.read(file, as_version=4)
    (cell,) = [cell for cell in notebook.cells if "label: fig-dvgr" in cell.source]
    assert old in cell.source
    cell.source = cell.source.replace(old, new)
    nbformat.write(notebook, file)
    expect(paper, "#fig-dvgr >", "the caption lacks a link to")
    assert message in messages(paper)[0]


def test_a_figure_cell_without_a_figure(paper):
    file = paper / "notebooks" / "03_deep_values.ipynb"
    notebook = nbformat.read(file, as_version=4)
    for cell in notebook.cells:
        if "fig-dvgr" in cell.source:
            cell.outputs = []
    nbformat.write(notebook, file)
    expect(paper, "#fig-dvgr >", "shows 0 outputs of kind image, not one")


def test_an_image_without_alternative_text(paper):
    replace(paper, "### In a table", "![A map](map.png)\n\n### In a table")
    expect(paper, "![A map]", "an image needs a caption")


def test_artefacts_that_no_rule_makes(paper):
    root = paper.parent
    kept = {root / "data/results/dvb/numbers.json", *(paper / "notebooks").glob("*.ipynb")}
    found = problems(paper, declared=kept)
    names = [str(problem.file.relative_to(root)) for problem in found]
    assert names == ["data/results/dvb/models.csv", "figures/dvgr.svg"]
    assert "no rule makes this file" in found[0].message


def test_reading_notebooks_compiles_no_grammar():
    code = "import sys, deepvalues.paper.check; print('lark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n", "it takes seconds in every command that reads a notebook"

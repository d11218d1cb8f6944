"""The templates of both PDFs: where pictures stand, and the rules of tables."""

from __future__ import annotations

import io
import json
import subprocess

import numpy as np
import pypandoc
import pytest
import typst
from matplotlib.image import imread

from deepvalues.core import paths

PAPER = paths.PAPER
#: What Quarto's own template sets beforehand.
QUARTO = """
#set page(paper: "a4", margin: (x: 26mm, top: 24mm, bottom: 25mm))
#set table(stroke: none)
#set heading(numbering: "1.1")
#show figure.where(kind: "quarto-float-tbl"): set figure.caption(position: top)
"""
KINDS = {"plain": ("image", "table"), "quarto": ('"quarto-float-fig"', '"quarto-float-tbl"')}
TALL = (
    "#figure([#metadata(none) <inside>#rect(height: 120mm)], "
    'kind: {}, supplement: "Figure", caption: [A picture.])\n\n'
)
PAGES = """
#context [#metadata((
  pictures: query(<inside>).map(it => it.location().page()),
  headings: query(heading.where(level: 1)).map(it => it.location().page()),
)) <pages>]
"""


def written(edition, body):
    """A document in typst with the template of an edition."""
    if edition == "quarto":
        return QUARTO + (PAPER / "quarto.typ").read_text() + body
    template = PAPER / "plain" / "paper.typ"
    command = [pypandoc.get_pandoc_path(), "--to=typst", f"--template={template}", "--variable=names=()"]
    text = f"---\ntitle: A title\nlang: en\n---\n\n```{{=typst}}\n{body}\n```\n"
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("edition", KINDS)
@pytest.mark.parametrize("flush", [True, False])
def test_pictures_wait_for_room_after_their_mention_and_before_the_end_matter(tmp_path, edition, flush):
    picture = TALL.format(KINDS[edition][0])
    end = "#heading(level: 1, numbering: none)[References]\n\nWords.\n"
    text = written(edition, f"= One\n\nWords.\n\n{picture * 3}= Two\n\nWords.\n{picture}{end}{PAGES}")
    file = tmp_path / "document.typ"
    file.write_text(text if flush else text.replace("place.flush()", ""))
    found = json.loads(typst.query(str(file), "<pages>", field="value", one=True))
    one, two, references = found["headings"]
    # The next section begins beside pictures that wait, and none comes before its own section.
    assert one == two < found["pictures"][2]
    assert two <= found["pictures"][3]
    # Without the flush the last ones come among the references: the test can tell.
    assert (max(found["pictures"]) <= references) == flush


def rules(page):
    """The rows of pixels at which lines of 90 mm or more begin, and all rows that hold anything."""
    dark = imread(io.BytesIO(page), format="png")[..., 0] < 0.5
    column = dark[: int(0.92 * len(dark))]
    rows = np.flatnonzero(column.sum(axis=1) > 90 / 210 * dark.shape[1])
    return rows[np.diff(rows, prepend=-9) > 1], np.flatnonzero(column.any(axis=1))


@pytest.mark.parametrize("edition", KINDS)
@pytest.mark.parametrize("count", [3, 90])
def test_tables_have_rules_above_below_and_under_the_head(tmp_path, edition, count):
    cells = "[1], [2], " * count
    head = "table.header([#box(width: 50mm)[a]], [#box(width: 50mm)[b]]), table.hline(), "
    file = tmp_path / "document.typ"
    settings = f'kind: {KINDS[edition][1]}, supplement: "Table", caption: [T.]'
    body = f"#pagebreak()\n#figure([#table(columns: 2, {head}{cells})], {settings})\n"
    file.write_text(written(edition, body))
    pages = typst.compile(str(file), format="png", ppi=220)
    assert isinstance(pages, list)
    tables = [page for page in pages if len(rules(page)[0])]
    assert (len(tables) > 1) == (count > 3)
    for page in tables:
        found, dark = rules(page)
        assert len(found) == 3
        # Below the last there is nothing of the table.
        assert dark[-1] - found[-1] < 6


@pytest.mark.parametrize("edition", KINDS)
def test_cells_of_a_row_begin_on_one_line_in_a_table_at_the_foot_of_a_page(tmp_path, edition):
    low, high = (f"[#rect(width: 10mm, height: {height}mm, fill: black)]" for height in (4, 30))
    table = f"#table(columns: (20mm, 30mm), align: (left, left), {low}, {high})"
    settings = f'kind: {KINDS[edition][1]}, supplement: "Table", caption: [T.]'
    file = tmp_path / "document.typ"
    file.write_text(written(edition, f"Words.\n\n#figure([{table}], {settings})\n"))
    dark = imread(io.BytesIO(typst.compile(str(file), format="png")), format="png")[..., 0] < 0.5
    drawn = dark.sum(axis=1) * 210 / dark.shape[1]
    both, alone = (np.flatnonzero(np.abs(drawn - width) < 1) for width in (20, 10))
    assert np.median(both) < np.median(alone)


@pytest.mark.parametrize("edition", KINDS)
def test_the_name_of_a_model_is_not_broken_at_its_hyphens(tmp_path, edition):
    def rows(name):
        file = tmp_path / "document.typ"
        body = f"#pagebreak()\n#block(width: 9mm, table(columns: 1, [{name}]))\n"
        file.write_text(written(edition, body))
        return rules(typst.compile(str(file), format="png")[1])[1].size

    assert rows(r"head\-qwen2.5\-mean") == rows("head1qwen2.51mean") < rows("head qwen2.5 mean")


@pytest.mark.parametrize("edition", KINDS)
def test_a_table_of_many_columns_is_set_smaller(tmp_path, edition):
    def rows(columns):
        file = tmp_path / "document.typ"
        cells = "[name], " * columns
        body = f"#pagebreak()\n#table(columns: (auto,) * {columns}, {cells})\n"
        file.write_text(written(edition, body))
        page = typst.compile(str(file), format="png", ppi=300)[1]
        return rules(page)[1].size

    assert rows(6) < rows(5)

"""From a number in the text to the answers; and what a page shows of that way."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pypandoc
import pytest

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper import manifest
from deepvalues.paper.notebooks import read_cells
from deepvalues.paper.plain import render_plain
from deepvalues.paper.site import linked
from deepvalues.paper.trace import numbers, trace
from headless import open_page

TEMPLATES = paths.PAPER / "plain"
EXECUTED = "paper/notebooks/03_demo.ipynb"


def steps(lines):
    """The lines of each step of a printed chain."""
    found = {}
    width = (
        lines[1].index("  paper/index.qmd")
        if "  paper/index.qmd" in lines[1]
        else lines[1].index("  nowhere")
    )
    for line in lines[1:]:
        name, shown = line[2:width].strip(), line[width:].strip()
        step = name or step  # noqa: F821 -- the first line has a name
        found.setdefault(step, []).append(shown)
    return found


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("data/results/demo/numbers.json", "run: deepvalues notebook 03_demo"),
        ("data/results/demo/artefacts.json", "run: deepvalues notebook 03_demo"),
        ("data/results/manifest.json", "`deepvalues manifest` writes it"),
    ],
)
def test_results_cut_short_are_named_with_what_to_do(project, file, remedy):
    (project / file).write_bytes((project / file).read_bytes()[:50])
    with pytest.raises(UserError, match=rf"{file}:\d+: not JSON: .*; {remedy}$"):
        trace(project, "demo.pooled.rate")


def test_the_whole_chain(built):
    lines = trace(built, "demo.pooled.rate")
    assert lines[0] == "demo.pooled.rate"
    chain = steps(lines)
    assert [shown.split(": …")[0] for shown in chain["in the text"]] == [
        "paper/index.qmd:5",
        "paper/index.qmd:12",
    ]
    assert "The rate was {{< var demo.pooled.rate >}}" in chain["in the text"][1]
    assert chain["written"] == [".500  (paper/_variables.yml)"]
    assert chain["value"] == ["0.5  (data/results/demo/numbers.json)"]
    assert chain["made by"] == [
        "notebooks/03_demo.ipynb, cell 6; make build/03_demo",
        *map(str.strip, numbers(built)["demo.pooled.rate"].cell.source.splitlines()),
    ]
    assert chain["parameters"] == ["draws_seed = 7", "models = ['agent']"]
    (record,) = chain["records read in that notebook"]
    assert record == (
        "data/responses/demo/agent.jsonl  2 answers  sha256 "
        + manifest.sha256(built / "data/responses/demo/agent.jsonl")[:16]
    )
    assert chain["items read there"][0].startswith("data/derived/demo.parquet  4 items  sha256 ")
    assert chain["other files read there"][0].startswith("data/stimuli/design.yml  sha256 ")
    assert chain["source"][-1] == "commit unknown: this is no git repository"


def test_the_cell_is_the_one_whose_source_gives_the_number(built):
    cell = numbers(built)["demo.pooled.rate"].cell
    assert 'results.number("pooled.rate"' in cell.source
    assert cell == read_cells(built / EXECUTED)[cell.position - 1]


@pytest.mark.parametrize("key", ["demo.focus.lowest", "demo.interval", "demo.claims.half"])
def test_numbers_of_loops_texts_and_claims_are_found_in_the_text(built, key):
    assert steps(trace(built, key))["in the text"][0].startswith("paper/index.qmd:1")


@pytest.mark.parametrize(
    ("value", "table", "expected"),
    [
        (0.302392, "a,b\n1,0.5\n2,0.302392\n", "rates.csv, line 3, b"),
        (1.5e-7, "a,b\n1.50e-07,1.5e-07\n", "none holds"),  # two digits would be there by chance
        (1.52e-7, "a,b\n0.302,1.52e-07\n", "rates.csv, line 2, b"),
        (0.5, "a\n0.5\n", "none holds"),
        (302392, "a\n302392\n", "none holds"),
        ("0.302392", "a\n0.302392\n", "none holds"),
    ],
)
def test_a_value_is_found_in_the_tables_of_its_notebook(project, value, table, expected):
    (project / "data/results/demo/rates.csv").write_text(table)
    file = project / "data/results/demo/numbers.json"
    content = json.loads(file.read_text())
    content["demo"]["pooled"]["rate"]["value"] = value
    file.write_text(json.dumps(content))
    (found,) = steps(trace(project, "demo.pooled.rate"))["tables"]
    assert found.removeprefix("data/results/demo/").startswith(expected)


def test_what_no_table_holds_comes_with_the_tables_of_its_own_cell(project):
    file = project / "data/results/manifest.json"
    content = json.loads(file.read_text())
    for number in range(7):
        entry = content["artefacts"]["data/results/demo/rates.csv"] | {"cell": {"label": None, "position": 6}}
        content["artefacts"][f"data/results/demo/{number}.csv"] = entry
        shutil.copy(project / "data/results/demo/rates.csv", project / f"data/results/demo/{number}.csv")
    file.write_text(json.dumps(content))
    found = steps(trace(project, "demo.interval"))["tables"]
    assert found[0].startswith("data/results/demo/0.csv, made in this cell  sha256 ")
    assert (len(found), found[-1]) == (6, "… 2 more")


def test_a_shortcode_may_be_pasted(built):
    assert trace(built, " {{< var demo.title >}}") == trace(built, "demo.title")
    assert "paper/index.qmd:2" in steps(trace(built, "demo.title"))["in the text"][0]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("demo.poled.rate", "did you mean demo.pooled.rate"),
        ("rate", "did you mean demo.pooled.rate"),
        ("xyzzy", "the keys are in paper/_variables.yml"),
    ],
)
def test_an_unknown_key_names_near_ones(built, key, hint):
    with pytest.raises(UserError, match=f"no results have the key '{key}'; {hint}"):
        trace(built, key)


def test_a_number_that_the_text_does_not_use(project):
    article = project / "paper/index.qmd"
    article.write_text(article.read_text().replace("{{< var demo.interval >}}", ""))
    assert steps(trace(project, "demo.interval"))["in the text"] == ["nowhere in paper/index.qmd"]


def test_an_altered_record_is_told(project):
    assert "not fit" not in "\n".join(trace(project, "demo.pooled.rate"))
    with (project / "data/responses/demo/agent.jsonl").open("a") as file:
        file.write("{}\n")
    told = "The manifest does not fit the files in 2 places; `make check` names them."
    assert trace(project, "demo.pooled.rate")[-1].strip() == told


def test_the_commit_is_the_one_checked_out(project):
    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    assert steps(trace(project, "demo.title"))["source"][-1] == f"commit {git('rev-parse', 'HEAD')}"
    (project / "paper/references.bib").write_text("% changed\n")
    assert steps(trace(project, "demo.title"))["source"][-1].endswith(" with changes")


def test_results_made_outside_a_notebook_have_no_cell(project):
    listing = project / "data/results/demo/artefacts.json"
    content = json.loads(listing.read_text())
    content["numbers"] = dict.fromkeys(content["numbers"])
    listing.write_text(json.dumps(content))
    number = numbers(project)["demo.pooled.rate"]
    assert number.cell is None
    assert number.shown == "demo.pooled.rate = 0.5 · notebook 03_demo, cell unknown"
    page = linked('<span class="number" data-key="demo.pooled.rate">.500</span>', {number.key: number}, {})
    assert 'href="notebooks/03_demo-preview.html"' in page


class Links(HTMLParser):
    """The links of a page with their attributes and text."""

    def __init__(self):
        super().__init__()
        self.found, self.open = [], None

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.open = dict(attrs) | {"text": ""}
            self.found.append(self.open)

    def handle_endtag(self, tag):
        if tag == "a":
            self.open = None

    def handle_data(self, data):
        if self.open is not None:
            self.open["text"] += data


@pytest.fixture(scope="module")
def site(built, tmp_path_factory):
    root = shutil.copytree(built, tmp_path_factory.mktemp("site") / "copy")
    shutil.copytree(TEMPLATES, root / "paper/plain")
    return render_plain(root / "paper")


def numbers_on(page):
    parser = Links()
    parser.feed(page.read_text(encoding="utf-8"))
    return [link for link in parser.found if "number" in link.get("class", "").split()]


def test_each_number_of_the_page_leads_to_its_cell(site):
    found = numbers_on(site / "index.html")
    assert [(link["data-key"], link["text"]) for link in found] == [
        ("demo.pooled.rate", ".500"),
        ("demo.pooled.rate", ".500"),
        ("demo.interval", "[.40, .60]"),
        ("demo.focus.lowest", ".50"),
        ("demo.focus.highest", ".50"),
    ]
    assert {link["href"] for link in found} == {"notebooks/03_demo-preview.html#cell-06"}
    assert found[0]["aria-description"] == "demo.pooled.rate = 0.5 · notebook 03_demo, cell 6"
    assert found[2]["aria-description"] == "demo.interval · notebook 03_demo, cell 6"
    target = (site / "notebooks/03_demo-preview.html").read_text()
    cell = re.search(r'id="cell-06".*?</div>', target, re.DOTALL)[0]
    assert "pooled.rate" in cell


def test_title_and_print_stay_plain(site):
    page = (site / "index.html").read_text()
    assert "<title>A traced paper</title>" in page
    assert "<h1>A traced paper</h1>" in page
    assert (site / "index.pdf").read_bytes().startswith(b"%PDF")
    assert "<script" not in page


def test_every_rule_of_the_style_sheets_keeps_the_description_out_of_the_name():
    for style in (TEMPLATES / "style.css", TEMPLATES.parent / "quarto.css"):
        rule = re.search(r"a\.number:focus-visible::after \{(.*?)\}", style.read_text(), re.DOTALL)[1]
        assert 'content: attr(aria-description) / "";' in rule


def number_span(key="demo.pooled.rate", more=""):
    return f'<span class="number"{more} data-key="{key}">.500</span>'


def test_unknown_keys_and_numbers_inside_links_stay(built):
    found = numbers(built)
    for page in (number_span("demo.none"), f'<p><a href="x">see {number_span()}</a></p>'):
        assert linked(page, found, {}) == page
    page = f'<a href="x">y</a> {number_span()}'
    assert linked(page, found, {}).count("<a ") == 2


def test_a_number_that_the_author_marked_is_one_link(built):
    page = f'<span class="number" title="t" data-key="demo.pooled.rate">{number_span()}</span>'
    assert linked(page, numbers(built), {}).count("<a ") == 1
    assert linked(number_span(more=' title="t"'), numbers(built), {}).startswith('<a class="number"')


def test_long_texts_are_phrases_and_everything_is_escaped(built):
    number = numbers(built)["demo.title"]._replace(text="x" * 25, key='a"b', notebook="n")
    page = linked(number_span("k"), {"k": number}, {})
    assert 'class="number phrase"' in page
    assert "a&quot;b" in page


@pytest.mark.parametrize("width", [1280, 360])
def test_in_a_browser_hover_and_focus_show_the_trace_and_the_name_stays_the_number(site, width):
    with open_page() as page:
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
        )
        page.call("Page.navigate", url=(site / "index.html").as_uri())
        page.until("document.readyState === 'complete' && document.querySelector('main a.number')")
        number = "document.querySelectorAll('a.number')[1]"
        slip = f"getComputedStyle({number}, '::after').content"
        expected = '"demo.pooled.rate = 0.5 · notebook 03_demo, cell 6" / ""'
        assert page.evaluate(slip) == "none"

        x, y = page.evaluate(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])({number}.getBoundingClientRect())"
        )
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        assert page.evaluate(slip) == expected
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
        assert page.evaluate(slip) == "none"

        page.evaluate("document.querySelectorAll('a.number')[0].focus()")
        page.press("Tab")
        assert page.evaluate(f"document.activeElement === {number}")
        assert page.evaluate(slip) == expected
        (focused,) = [
            node
            for node in page.call("Accessibility.getFullAXTree")["nodes"]
            if any(p["name"] == "focused" and p["value"]["value"] for p in node.get("properties", []))
            and node["role"]["value"] == "link"
        ]
        assert focused["name"]["value"] == ".500"
        assert focused["description"]["value"].startswith("demo.pooled.rate = 0.5")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_filter_for_quarto_marks_the_numbers_of_the_text_and_for_pages_alone():
    """Quarto hands shortcodes to a filter as such spans (seen in 1.9); pandoc runs the same filter."""
    shortcode = '[x]{.quarto-shortcode__ data-raw="{{< %s >}}"}'
    text = (
        f"# Of {shortcode % 'var a.b'}\n\nIt was {shortcode % 'var  dvb.pooled.dvgr '} [y]{{.other}}"
        f" {shortcode % 'embed n.ipynb#fig-a'}.\n"
    )

    def converted(target):
        command = [
            pypandoc.get_pandoc_path(),
            f"--to={target}",
            f"--lua-filter={TEMPLATES.parent / 'number.lua'}",
        ]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout

    page = converted("html")
    assert page.count('class="number"') == 1
    assert re.search(r'It was <span class="number"\s+data-key="dvb.pooled.dvgr"><span\s', page)
    assert "number" not in converted("typst")

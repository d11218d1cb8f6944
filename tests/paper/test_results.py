"""What a notebook hands on: rounded tables, figures, numbers, and a list that leaves nothing stale."""

import json
import math
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper.results import DIGITS, Results, Table
from deepvalues.paper.sentences import Sentences
from deepvalues.paper.theme import new_figure
from markdown_cells import head, rows


@pytest.fixture
def results(tmp_path):
    return Results("dvb", tmp_path)


def numbers(tmp_path, study="dvb"):
    return json.loads((tmp_path / "data/results" / study / "numbers.json").read_text(encoding="utf-8"))


def small_figure(height=1.0):
    figure, axes = new_figure(height)
    axes.plot([0, 1], [0, 1])
    return figure


@pytest.mark.parametrize("name", ["data/results/dvb/a.csv", "figures/dvb_a.svg", "figures/dvb_a.png"])
def test_a_result_that_can_not_be_written_is_named(results, tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=rf"{name}: can't be written: Is a directory$"):
        results.table(pd.DataFrame({"a": [1]}), "a")
        results.figure(small_figure(), "a")


@pytest.mark.parametrize("name", ["numbers.json", "artefacts.json"])
def test_a_list_of_results_that_can_not_be_written_is_named(results, name):
    (results.folder / name).mkdir()
    with pytest.raises(UserError, match=rf"data/results/dvb/{name}: can't be written: Is a directory$"):
        results.close()


def test_a_folder_of_results_that_can_not_be_made_is_named(tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(UserError, match="data/results/dvb: can't be written: Not a directory"):
        Results("dvb", tmp_path)


@pytest.mark.parametrize(("setting", "place"), [("", "by hand"), ("1", "paper")])
def test_a_notebook_run_by_hand_leaves_the_papers_results_alone(
    tmp_path, monkeypatch, capsys, setting, place
):
    monkeypatch.setattr(paths, "ROOT", tmp_path / "paper")
    monkeypatch.setattr(paths, "BY_HAND", tmp_path / "by hand")
    monkeypatch.setenv(paths.KEEP, setting)
    results = Results("dvb")
    results.count("n", 1)
    results.close()
    assert [path.name for path in tmp_path.iterdir()] == [place]
    assert (tmp_path / place / "data/results/dvb/numbers.json").is_file()
    told = capsys.readouterr().err
    assert ("Results go to" in told and f"{paths.KEEP}=1" in told) == (not setting)


def test_a_published_table_is_written_and_shown_under_the_heads_of_the_dictionary(results, tmp_path):
    frame = pd.DataFrame(
        {"adjusted": ["marginal"], "difference": [0.00334455667], "low": 0.0029, "high": 0.0038}
    )
    shown = results.publish(frame, "published_adjustment")._repr_mimebundle_()["text/markdown"]
    assert head(shown) == ["adjusted rate", "mean difference from the raw rate", "middle 95% of runs"]
    assert rows(shown) == [["marginal", ".0033", "[.0029,\u00a0.0038]"]]
    written = (tmp_path / "data/results/dvb/published_adjustment.csv").read_text(encoding="utf-8")
    assert written == "adjusted,difference,low,high\nmarginal,0.00334456,0.0029,0.0038\n"


def test_what_is_shown_may_be_another_frame_or_a_sentence(results, tmp_path):
    frame = pd.DataFrame({"adjusted": ["a", "b"], "difference": [1e-15, 0.1], "low": 0.1, "high": 0.2})
    shown = results.publish(frame, "published_adjustment", frame.tail(1), noise=0)
    assert len(rows(shown._repr_mimebundle_()["text/markdown"])) == 1
    assert "a,1e-15" in (tmp_path / "data/results/dvb/published_adjustment.csv").read_text(encoding="utf-8")
    nothing = results.publish(frame.head(0), "published_adjustment", nobody="Nobody was asked.")
    assert rows(nothing._repr_mimebundle_()["text/markdown"]) == [["Nobody was asked."]]


def test_tables_are_rounded_to_six_significant_digits(results, tmp_path):
    frame = pd.DataFrame(
        {
            "model": ["a", "b", "c"],
            "n": [31_668, 104_725, 1_234_567],
            "rate": [0.302391979, math.nan, 1234.56789],
            "p": [1.23456789e-30, 1.0, 0.0],
        }
    )
    results.table(frame, "by_model")
    assert (tmp_path / "data/results/dvb/by_model.csv").read_bytes().decode() == (
        "model,n,rate,p\n"
        "a,31668,0.302392,1.23457e-30\n"
        "b,104725,,1\n"
        "c,1234567,1234.57,0\n"
    )  # fmt: skip


def test_roundings_of_zero_are_zero_but_small_probabilities_stay(results, tmp_path):
    frame = pd.DataFrame({"sd": [7.4e-15, -1e-16], "p_holm": [7.4e-15, 1e-300], "gap_p": [1e-20, 1]})
    results.table(frame, "a")
    results.table(frame, "b", noise=0)
    assert [(tmp_path / f"data/results/dvb/{name}.csv").read_text() for name in "ab"] == [
        "sd,p_holm,gap_p\n0,7.4e-15,1e-20\n0,1e-300,1\n",
        "sd,p_holm,gap_p\n7.4e-15,7.4e-15,1e-20\n-1e-16,1e-300,1\n",
    ]
    assert frame["sd"][0] == 7.4e-15


@given(st.integers(1, 10**7).map(lambda n: (2 * n + 1) / 2e7), st.integers(-3, 3))
def test_ties_are_rounded_alike_whatever_the_last_bits(tie, bits):
    """Seven digits that end in five, and what a sum in another order makes of them."""
    near = tie
    for _ in range(abs(bits)):
        near = math.nextafter(near, math.inf if bits > 0 else -math.inf)
    results = Results.__new__(Results)
    results.study, results.numbers, results.cells = "dvb", {}, {}
    results.number("a", tie, "")
    results.number("b", near, "")
    assert results.numbers["a"] == results.numbers["b"]


@given(st.floats(-1, 1))
def test_numbers_are_rounded(value):
    """Rates, p-values and correlations to six digits after the point at least."""
    results = Results.__new__(Results)
    results.study, results.numbers, results.cells = "dvb", {}, {}
    results.number("x", value, "text")
    kept = results.numbers["x"]["value"]
    assert abs(kept - value) <= 0.51e-6
    assert float(f"{kept:.{DIGITS}g}") == kept


def test_counts_stay_whole_and_what_is_no_number_is_null(results, tmp_path):
    results.number("n", 31_668_104_725, "31,668,104,725")
    results.number("none", math.nan, "–")
    results.close()
    raw = (tmp_path / "data/results/dvb/numbers.json").read_text(encoding="utf-8")
    assert '"value": 31668104725\n' in raw
    assert numbers(tmp_path)["dvb"]["none"] == {"text": "–", "value": None}


def test_kinds_of_numbers(results, tmp_path):
    results.count("n", 3600.0)
    results.share("rate", 0.30239198)
    results.decimals("angle", 29.48123, 1)
    results.interval("interval", -0.25, 1.5, 2, bounded=False)
    results.close()
    assert numbers(tmp_path)["dvb"] == {
        "n": {"text": "3,600", "value": 3600},
        "rate": {"text": ".302", "value": 0.302392},
        "angle": {"text": "29.5", "value": 29.4812},
        "interval": {"text": "[−0.25,\u00a01.50]", "value": "[−0.25,\u00a01.50]"},
    }


def test_numbers_texts_and_claims_are_nested_by_their_keys(results, tmp_path):
    results.number("pooled.dvgr", 0.30239198, ".302")
    results.number("pooled.n", 104_725, "104,725")
    results.text("text.title", "Deep values – or not")
    results.claim("below_chance", True)
    results.claim("above_chance", False)
    results.close()
    assert numbers(tmp_path) == {
        "dvb": {
            "claims": {
                "above_chance": {"text": "false", "value": False},
                "below_chance": {"text": "true", "value": True},
            },
            "pooled": {
                "dvgr": {"text": ".302", "value": 0.302392},
                "n": {"text": "104,725", "value": 104_725.0},
            },
            "text": {"title": {"text": "Deep values – or not", "value": "Deep values – or not"}},
        }
    }
    raw = (tmp_path / "data/results/dvb/numbers.json").read_text(encoding="utf-8")
    assert "Deep values – or not" in raw
    assert raw.endswith("}\n")


@pytest.mark.parametrize("give", ["number", "text", "claim"])
def test_a_key_given_twice_is_an_error(results, give):
    def put():
        if give == "number":
            results.number("a.b", 1, "1")
        elif give == "text":
            results.text("a.b", "one")
        else:
            results.claim("a.b", True)

    put()
    with pytest.raises(KeyError, match=r"dvb\.(claims\.)?a\.b was given twice"):
        put()


def test_a_number_may_not_take_the_place_of_a_branch(results):
    results.number("a.b", 1, "1")
    with pytest.raises(KeyError, match=r"dvb\.a was given twice"):
        results.number("a", 1, "1")


def test_a_figure_is_shown_as_the_bytes_that_were_saved(results, tmp_path):
    shown = results.figure(small_figure(), "line")._repr_mimebundle_()
    assert shown["image/svg+xml"].encode() == (tmp_path / "figures/dvb_line.svg").read_bytes()
    assert shown["image/png"] == (tmp_path / "figures/dvb_line.png").read_bytes()
    assert set(shown) == {"image/svg+xml", "image/png"}


def test_a_table_is_shown_as_markdown():
    assert Table("| a |")._repr_mimebundle_(include=None) == {
        "text/markdown": "| a |",
        "text/plain": "| a |",
    }


def test_artefacts_are_listed_sorted_and_relative(results, tmp_path):
    results.table(pd.DataFrame({"a": [1]}), "second")
    results.table(pd.DataFrame({"a": [1]}), "first")
    results.figure(small_figure(), "line")
    results.close()
    listed = json.loads((tmp_path / "data/results/dvb/artefacts.json").read_text(encoding="utf-8"))
    assert list(listed["artefacts"]) == [
        "data/results/dvb/artefacts.json",
        "data/results/dvb/first.csv",
        "data/results/dvb/numbers.json",
        "data/results/dvb/second.csv",
        "figures/dvb_line.png",
        "figures/dvb_line.svg",
    ]
    assert all((tmp_path / path).is_file() for path in listed["artefacts"])


def test_outside_a_notebook_no_cell_is_named(results, tmp_path):
    (tmp_path / "data/models.yml").write_text("models: []\n")
    (tmp_path / "data/models.yml").read_text()
    results.number("pooled.dvgr", 0.5, ".50")
    results.close()
    listed = json.loads((tmp_path / "data/results/dvb/artefacts.json").read_text(encoding="utf-8"))
    assert set(listed["artefacts"].values()) == {None}
    assert listed["numbers"] == {"dvb.pooled.dvgr": None}
    assert listed["inputs"] == ["data/models.yml"]


def test_what_a_study_writes_and_reads_back_is_no_input(results, tmp_path):
    results.table(pd.DataFrame({"a": [1]}), "kept")
    pd.read_csv(tmp_path / "data/results/dvb/kept.csv")
    results.close()
    listed = json.loads((tmp_path / "data/results/dvb/artefacts.json").read_text(encoding="utf-8"))
    assert listed["inputs"] == []


def test_what_an_earlier_run_left_is_deleted_and_other_studies_are_not(results, tmp_path):
    results.table(pd.DataFrame({"a": [1]}), "old")
    results.table(pd.DataFrame({"a": [1]}), "kept")
    results.figure(small_figure(), "old")
    results.close()
    other = Results("svo", tmp_path)
    other.table(pd.DataFrame({"a": [1]}), "old")
    other.figure(small_figure(), "old")
    other.close()

    again = Results("dvb", tmp_path)
    again.table(pd.DataFrame({"a": [2]}), "kept")
    # Nothing goes before the end: a run that fails leaves the earlier results.
    assert (tmp_path / "data/results/dvb/old.csv").exists()
    again.close()
    left = sorted(path.name for path in (tmp_path / "data/results/dvb").iterdir())
    assert left == ["artefacts.json", "kept.csv", "numbers.json"]
    assert (tmp_path / "data/results/dvb/kept.csv").read_text() == "a\n2\n"
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["svo_old.png", "svo_old.svg"]
    assert (tmp_path / "data/results/svo/old.csv").exists()


def test_parts_of_a_study_leave_each_others_files_and_tell_of_each_others_numbers(tmp_path, monkeypatch):
    folder = tmp_path / "sentences"
    folder.mkdir()
    (folder / "dvb_two.md").write_text("{% macro both(n) %}{{ n.a.x }} and {{ n.a.y }}{% endmacro %}")
    one = Results("dvb", tmp_path, part="one")
    one.table(pd.DataFrame({"a": [1]}), "of_one")
    one.text("a.x", "first")
    one.close()
    monkeypatch.setattr("deepvalues.paper.results.Sentences", lambda name: Sentences(name, folder))
    two = Results("dvb", tmp_path, part="two", known="one")
    two.text("a.y", "second")
    assert two.paragraph("both").data == "first and second"
    two.close()
    files = {path.relative_to(tmp_path / "data/results/dvb").as_posix() for path in tmp_path.rglob("*.*[nv]")}
    lists = {f"{part}/{name}.json" for part in ("one", "two") for name in ("artefacts", "numbers")}
    assert files == {"of_one.csv", *lists}
    assert numbers(tmp_path, "dvb/two") == {"dvb": {"a": {"y": {"value": "second", "text": "second"}}}}
    with pytest.raises(
        UserError, match=r"dvb/three/numbers\.json: missing; run the notebook whose results are"
    ):
        Results("dvb", tmp_path, part="four", known="three")


def test_an_opening_tells_of_numbers_that_come_later(tmp_path, monkeypatch):
    (tmp_path / "dvb.md").write_text("{% macro short(n) %}It is {{ n.x }}.{% endmacro %}")
    monkeypatch.setattr("deepvalues.paper.results.Sentences", lambda name: Sentences(name, tmp_path))
    shown = []
    monkeypatch.setattr(
        "deepvalues.paper.results.display", lambda *_, **__: SimpleNamespace(update=shown.append)
    )
    results = Results("dvb", tmp_path)
    results.opening("short")
    results.text("x", "later")
    results.close()
    assert [each.data for each in shown] == ["It is later."]


def test_the_same_results_are_the_same_bytes(tmp_path):
    written = []
    for name, keys in (("one", ["b", "a"]), ("two", ["a", "b"])):
        results = Results("dvb", tmp_path / name)
        for key in keys:
            results.number(key, 1 / 3, ".333")
        results.figure(small_figure(), "line")
        results.close()
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        written.append([(path.relative_to(tmp_path / name), path.read_bytes()) for path in files])
    assert written[0] == written[1]
    assert len(written[0]) == 4

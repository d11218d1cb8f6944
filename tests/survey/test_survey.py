import csv
import json
import re
import shutil
import subprocess
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues import survey as survey_package
from deepvalues.cli.stimuli import surveys
from deepvalues.core.errors import UserError
from deepvalues.survey import results
from deepvalues.survey.form import (
    ALPHABET,
    COLUMNS,
    LENGTH,
    Block,
    Option,
    Question,
    Scale,
    Survey,
    check_character,
    codebook,
    codes,
    form,
    is_code,
    write_survey,
    write_tables,
)
from deepvalues.survey.results import read_answers, results_of
from filled_forms import Page, completed, saved

SCRIPT = Path(survey_package.__file__).parent / "form.js"
AB = (Option("a", "Option A"), Option("b", "Option <B>", "with & detail"), Option("unsure", "I cannot tell"))
THINGS = (Option("x", "Ex", "first"), Option("y", "Why"), Option("z", "Zed"))
FIVE = Scale(-2, 2, "deep", "shallow")


def choice(number, stratum):
    return Question(f"choice.{number}", "choice", "Which?", AB, None, "ab"[number % 2], "pick", stratum, "v")


def rating(number, stratum):
    side = "above" if stratum == "shallow" else "below"
    return Question(
        f"rating.{number}", "rating", "How <much> & why?", (), FIVE, side, "depth", stratum, f"d{number}"
    )


@pytest.fixture(scope="module")
def survey():
    """All five types: 6 choices, 6 ratings in blocks of two, a ranking, an allocation, a text."""
    strata = ["training", "test"]
    blocks = [Block(f"b{n}", (f"Passage {n}", "A < B"), (choice(n, strata[n % 2]),)) for n in range(6)]
    blocks += [
        Block(f"r{n}", (), (rating(2 * n, "shallow"), rating(2 * n + 1, "deep")), shuffled=True)
        for n in range(3)
    ]
    blocks += [
        Block("rank", (), (Question("rank", "ranking", "Rank", THINGS, measure="rank"),), shuffled=True),
        Block("points", (), (Question("points", "allocation", "Share", THINGS, measure="points"),)),
        Block("open", (), (Question("open", "text", "Write", measure="open"),), fixed=True),
    ]
    checks = (Question("check.1", "choice", "Sure?", AB, correct="b", measure="check"),)
    return Survey("trial", "A <trial>", "v1", "Why & how", ("Do this.",), "I agree.", checks, tuple(blocks))


@pytest.fixture(scope="module")
def people():
    return codes("trial", 1, 12)


@pytest.fixture(scope="module")
def page(survey):
    return Page(form(survey))


@pytest.fixture
def forms(survey, people, tmp_path):
    """Twelve forms; one failed the check, one left too much open, one left one question open."""
    rng = np.random.default_rng(5)
    special = {
        people[0]: {"wrong": ["check.1"]},
        people[1]: {"open_questions": [f"choice.{n}" for n in range(6)]},
        people[2]: {"open_questions": ["rank"]},
    }
    return [
        saved(completed(survey, code, rng, skill=0.8, **special.get(code, {})), tmp_path / f"{code}.csv")
        for code in people
    ]


# The form


def test_the_page_is_well_formed_and_ids_are_unique(page):
    assert page.open == []
    ids = Counter(attrs["id"] for _, attrs, _ in page.elements if "id" in attrs)
    assert max(ids.values()) == 1
    referred = [attrs["for"] for attrs in page.all("label") if "for" in attrs]
    referred += [
        id
        for _, attrs, _ in page.elements
        for name in ("aria-describedby", "aria-labelledby")
        for id in attrs.get(name, "").split()
    ]
    assert set(referred) <= set(ids)


def test_every_box_has_a_label_and_every_question_a_legend(page, survey):
    labelled = {attrs.get("for") for attrs in page.all("label")}
    boxes = page.all("input", "select", "textarea", "progress")
    assert boxes and all(box["id"] in labelled for box in boxes)
    fieldsets = [attrs["data-question"] for attrs in page.all("fieldset")]
    assert sorted(fieldsets) == sorted(question.id for question in survey.questions)
    assert len(page.all("legend")) == len(fieldsets)


def test_the_page_knows_its_language_and_width(page):
    assert page.all("html")[0]["lang"] == "en"
    assert any(attrs.get("name") == "viewport" for attrs in page.all("meta"))


def test_nothing_comes_from_or_goes_to_the_network(page, survey):
    text = form(survey)
    assert not re.search(r"(?:https?:)?//[\w-]+\.", text)
    assert not any("src" in attrs or "href" in attrs or "action" in attrs for _, attrs, _ in page.elements)
    policy = next(attrs["content"] for attrs in page.all("meta") if "http-equiv" in attrs)
    assert "default-src 'none'" in policy and "form-action 'none'" in policy and "unsafe" not in policy
    assert not re.search(r"fetch\(|XMLHttpRequest|sendBeacon|WebSocket", text)


def test_the_page_does_not_give_the_right_answers_away(survey):
    flipped = Survey(
        **{
            **vars(survey),
            "blocks": tuple(
                Block(b.id, b.passage, tuple(flip(q) for q in b.questions), b.shuffled, b.fixed)
                for b in survey.blocks
            ),
        }
    )
    assert form(flipped).replace(flipped.checksum, survey.checksum) == form(survey)
    assert flipped.checksum != survey.checksum


def flip(question):
    other = {"a": "b", "b": "a", "above": "below", "below": "above", "": ""}[question.correct]
    return Question(**{**vars(question), "correct": other})


def test_texts_are_escaped(survey):
    text = form(survey)
    assert "<title>A &lt;trial&gt;</title>" in text and "How &lt;much&gt; &amp; why?" in text


def test_a_fixed_block_stands_first(page):
    blocks = [attrs["data-block"] for attrs in page.all("div") if "data-block" in attrs]
    assert blocks[0] == "open"


def test_form_and_codebook_ask_the_same(survey, page):
    book = codebook(survey)
    shown = {attrs["data-question"]: attrs["data-type"] for attrs in page.all("fieldset")}
    assert dict(zip(book["id"], book["type"], strict=True)) == shown
    assert (book["form"] == survey.checksum).all()
    assert book.set_index("id").loc["check.1", "correct"] == "b"
    assert book["check"].sum() == 1


def test_the_same_survey_gives_the_same_bytes(survey):
    assert form(survey) == form(survey)


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Another"},
        {"instructions": ("Do that.",)},
        {"version": "v2"},
    ],
)
def test_every_word_counts_in_the_checksum(survey, change):
    assert Survey(**{**vars(survey), **change}).checksum != survey.checksum


# The script's own functions, where there is a program to run them


@pytest.fixture(scope="module")
def node():
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed; the form's script was not run")

    def run(expression):
        source = f"const s = require({json.dumps(str(SCRIPT))}); console.log(JSON.stringify({expression}))"
        done = subprocess.run([found, "-e", source], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return run


def test_script_knows_codes_as_python_does(node, people):
    texts = [*people, "22222", "23456", people[0][::-1], people[0][:4], ""]
    found = node(f"{json.dumps(texts)}.map((t) => s.isCode(t, {json.dumps(ALPHABET)}, {LENGTH}))")
    assert found == [is_code(text) for text in texts]


def test_script_orders_are_permutations_that_differ_and_leave_no_place_preferred(node):
    names = [f"c{n:03}.task.test" for n in range(8)]
    keys = [f"form:{code}" for code in codes("orders", 3, 600)]
    orders = node(f"{json.dumps(keys)}.map((k) => s.shuffled({json.dumps(names)}, k))")
    assert all(sorted(order) == names for order in orders)
    first = Counter(order[0] for order in orders)
    # Chi-squared of 8 places on 7 degrees of freedom: 24.3 at p = .001.
    assert sum((first[name] - 75) ** 2 / 75 for name in names) < 24.3
    followed = Counter(pair for order in orders for pair in pairwise(order))
    assert len(followed) == 56


def test_script_hash_is_fixed(node):
    """Orders are data: a form opened twice, in any browser, must show the same one."""
    texts = ["", "a", "é", "form:AB2CD:c001.embodies_value.test"]
    assert node(f"{json.dumps(texts)}.map(s.hash)") == [mixed(text.encode()) for text in texts]


def mixed(data):
    """FNV-1a (Fowler, Noll and Vo) and the finaliser of MurmurHash3 (Appleby), from their definitions."""
    h = 0x811C9DC5
    for byte in data:
        h = (h ^ byte) * 0x01000193 % 2**32
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h = (h ^ (h >> shift)) * factor % 2**32
    return h ^ (h >> 16)


SCRIPT_FAULTS = [
    ("choice", [""], 0, "choose one"),
    ("choice", ["a"], 0, ""),
    ("rating", ["-2"], 0, ""),
    ("text", [""], 0, "write"),
    ("ranking", ["1", "", "2"], 0, "a rank"),
    ("ranking", ["1", "2", "2"], 0, "rank 2"),
    ("ranking", ["3", "1", "2"], 0, ""),
    ("allocation", ["50", "", "50"], 100, "number of points"),
    ("allocation", ["50", "-1", "51"], 100, "whole numbers"),
    ("allocation", ["50", "1.5", "48.5"], 100, "whole numbers"),
    ("allocation", ["50", "20", "20"], 100, "add up to 90"),
    ("allocation", ["50", "0", "50"], 100, ""),
]


def test_script_faults(node):
    asked = json.dumps([case[:3] for case in SCRIPT_FAULTS])
    found = node(f"{asked}.map(([type, values, total]) => s.fault(type, values, total))")
    for (*case, says), text in zip(SCRIPT_FAULTS, found, strict=True):
        assert says in text and bool(says) == bool(text), case


def test_script_writes_csv_that_python_reads(node):
    rows = [["a", "b"], ['say "hi", you', "line\none"], ["ümläut", "=1"]]
    text = node(f"s.csv({json.dumps(rows)})")
    assert list(csv.reader(text.splitlines(keepends=True))) == rows


# Codes


def test_codes_are_different_and_more_respondents_only_add():
    many = codes("trial", 1, 500)
    assert len(set(many)) == 500
    assert many[:20] == codes("trial", 1, 20)
    assert codes("trial", 2, 20) != many[:20] != codes("other", 1, 20)


@given(st.text(ALPHABET, min_size=4, max_size=4), st.data())
def test_codes_find_slips(body, data):
    code = body + check_character(body)
    assert is_code(code)
    place = data.draw(st.integers(0, 4))
    other = data.draw(st.sampled_from([c for c in ALPHABET if c != code[place]]))
    assert not is_code(code[:place] + other + code[place + 1 :])
    start = data.draw(st.integers(0, 2))
    if code[start] != code[start + 1]:
        swapped = code[:start] + code[start + 1] + code[start] + code[start + 2 :]
        assert not is_code(swapped)


# Reading


def test_round_trip(survey, forms, people):
    answers = read_answers(survey, forms)
    parts = sum(len(question.parts) for question in survey.questions)
    assert len(answers) == parts * len(people)
    assert set(answers["question"]) == set(codebook(survey)["id"])
    assert answers["respondent"].is_monotonic_increasing
    text = answers[answers["type"] == "text"]["answer"]
    assert (text == 'Well, "yes",\nand no; = 1').all()
    ranked = answers[(answers["question"] == "rank") & (answers["answer"] != "")]
    assert (ranked.groupby("respondent")["number"].sum() == 6).all()
    assert set(ranked["subject"]) == {"x", "y", "z"}


def test_the_order_of_files_does_not_matter(survey, forms):
    pd.testing.assert_frame_equal(read_answers(survey, forms), read_answers(survey, forms[::-1]))


def test_the_middle_of_a_scale_is_neither_right_nor_wrong(survey, people, tmp_path):
    rows = completed(survey, people[0], np.random.default_rng(1))
    for row in rows:
        if row[4] == "rating.0":
            row[6] = "0"
    answers = read_answers(survey, [saved(rows, tmp_path / "a.csv")]).set_index("question")
    assert answers.loc["rating.0", "number"] == 0
    assert np.isnan(answers.loc["rating.0", "right"])
    assert answers.loc["rating.1", "right"] == 1


def changed(column, value, where=lambda row: row[4] == "choice.0"):
    def change(rows):
        for row in rows[1:]:
            if where(row):
                row[COLUMNS.index(column)] = value
        return rows

    return change


FAULTS = {
    "another survey": (changed("survey", "other"), r"this answers the survey 'other'.*--read"),
    "another version": (
        changed("form", "0" * 12),
        r"line \d+: the form 0{12} is from another.*--seed",
    ),
    "not a code": (changed("respondent", "AAAAA", lambda row: True), r"'AAAAA' is not a respondent code"),
    "unknown question": (changed("question", "choice.99"), r"no question 'choice.99'; see its codebook"),
    "unknown part": (changed("part", "q"), r"no question 'choice.0 q'"),
    "unknown option": (changed("answer", "c"), r"line \d+: choice.0: 'c' is not one of a, b, unsure; cor"),
    "not a number": (changed("answer", "two", lambda r: r[4] == "rating.1"), r"'two' is not a whole number"),
    "off the scale": (changed("answer", "3", lambda r: r[4] == "rating.1"), r"3 is not between -2 and 2"),
    "no ranking": (changed("answer", "2", lambda r: r[4] == "rank"), r"rank: a rank is used more than once"),
    "points": (changed("answer", "30", lambda r: r[4] == "points"), r"the points add up to 90, not 100"),
    "half a ranking": (
        changed("answer", "", lambda r: r[4] == "rank" and r[5] == "x"),
        r"rank: some parts are empty; correct it, or leave all",
    ),
    "position": (changed("position", "0"), r"the position '0' is not a positive whole number"),
    "twice": (lambda rows: [*rows, rows[3]], r"is also answered in .*line 4; delete one line"),
    "cut short": (lambda rows: rows[:-1], r"no line for .*, so the file is incomplete; request it again"),
    "a column short": (lambda rows: [row[:-1] for row in rows], r"line 1: the columns are .*spreadsheet"),
    "a cell short": (lambda rows: [*rows[:4], rows[4][:-1], *rows[5:]], r"line 5: 6 cells, not 7"),
    "header only": (lambda rows: rows[:1], r"no line for check.1, so the file is incomplete"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_files(survey, people, tmp_path, name):
    change, message = FAULTS[name]
    rows = change(completed(survey, people[0], np.random.default_rng(1)))
    path = saved(rows, tmp_path / "faulty.csv")
    with pytest.raises(UserError, match=message) as raised:
        read_answers(survey, [path])
    assert "faulty.csv" in str(raised.value)


def test_another_respondents_line_in_a_file(survey, people, tmp_path):
    rows = completed(survey, people[0], np.random.default_rng(1))
    rows[-1][2] = people[1]
    with pytest.raises(UserError, match=f"respondent {people[1]} is in the file of {people[0]}"):
        read_answers(survey, [saved(rows, tmp_path / "a.csv")])


def test_two_files_of_one_respondent(survey, people, tmp_path):
    rows = completed(survey, people[0], np.random.default_rng(1))
    files = [saved(rows, tmp_path / name) for name in ("a.csv", "b.csv")]
    with pytest.raises(UserError, match=rf"b\.csv: respondent {people[0]} is also in .*a\.csv; leave one"):
        read_answers(survey, files)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "file not found"),
        (b"\xff\xfe\x00", "cannot be read as UTF-8 text"),
        (b"", "line 1: the columns are ''"),
        (b'"survey', "line 1: not CSV"),
        (b"survey;form\r\n", "line 1: the columns are 'survey;form'"),
    ],
)
def test_what_is_no_form(survey, tmp_path, content, message):
    path = tmp_path / "no.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_answers(survey, [path])


def test_no_files(survey):
    with pytest.raises(UserError, match="no completed forms"):
        read_answers(survey, [])


def test_a_byte_order_mark_does_no_harm(survey, people, tmp_path):
    path = saved(completed(survey, people[0], np.random.default_rng(1)), tmp_path / "a.csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_answers(survey, [path]))


# Results


def test_exclusions_are_counted_with_their_reason(survey, forms, people):
    table = results.respondents(read_answers(survey, forms)).set_index("respondent")
    assert table.loc[people[0], "excluded"] == "failed checks"
    assert table.loc[people[1], ["missing", "excluded"]].tolist() == [6, "too many missing"]
    assert table.loc[people[2], ["missing", "excluded"]].tolist() == [1, ""]
    counted = results.exclusions(table.reset_index()).set_index("rule")["respondents"]
    assert counted.to_dict() == {
        "failed checks": 1,
        "too many missing": 1,
        "included": 10,
        "included, with open questions": 1,
    }


def test_the_limits_are_what_leaves_people_out(survey, forms, monkeypatch):
    monkeypatch.setattr(results, "MOST_FAILED", 1)
    monkeypatch.setattr(results, "MOST_MISSING", 0.5)
    table = results.respondents(read_answers(survey, forms))
    assert (table["excluded"] == "").all()
    assert results.exclusions(table)["limit"].tolist()[:2] == [
        "more than 1 failed",
        "more than 50% open",
    ]


def test_an_open_check_is_a_failed_check(survey, people, tmp_path):
    rows = completed(survey, people[0], np.random.default_rng(1), open_questions=["check.1"])
    answers = read_answers(survey, [saved(rows, tmp_path / "a.csv")])
    assert results.respondents(answers)["excluded"].tolist() == ["failed checks"]


def test_files_out_and_back(survey, forms, tmp_path):
    written = write_survey(survey, tmp_path / "out", seed=1, respondents=12)
    assert [path.name for path in written] == ["trial.html", "trial_codebook.csv", "trial_codes.csv"]
    assert written[0].read_text(encoding="utf-8") == form(survey)
    assert pd.read_csv(written[2])["respondent"].tolist() == codes("trial", 1, 12)
    back = write_tables(survey, results_of(survey, forms), tmp_path / "back")
    names = ["answers", "respondents", "exclusions"]
    assert [path.name for path in back] == [f"trial_{name}.csv" for name in names]
    assert len(pd.read_csv(back[0])) > 12 * 10


def test_files_that_cannot_be_written(survey, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match=r"can't be written: .*; name another folder"):
        write_survey(survey, tmp_path / "taken", seed=1, respondents=2)
    with pytest.raises(UserError, match="there can be 1 to"):
        write_survey(survey, tmp_path / "out", seed=1, respondents=0)


# Questions


@pytest.mark.slow
@pytest.mark.parametrize("name", list(surveys()))
def test_questions_of_every_survey_fit_their_type(name):
    survey = surveys()[name](1)
    ids = [block.id for block in survey.blocks] + [question.id for question in survey.questions]
    assert len(set(ids)) == len(ids) and all(check.correct for check in survey.checks)
    for question in survey.questions:
        codes = [option.code for option in question.options]
        assert all(re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name) for name in (question.id, *codes))
        assert len(set(codes)) == len(codes)
        assert (len(codes) > 1) == (question.type in ("choice", "ranking", "allocation"))
        assert (question.scale is not None) == (question.type == "rating")
        possible = {"choice": codes, "rating": ["below", "above"]}.get(question.type, [])
        assert question.correct in ("", *possible)

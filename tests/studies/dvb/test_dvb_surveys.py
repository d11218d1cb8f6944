from collections import Counter

import numpy as np
import pandas as pd
import pytest

from deepvalues import cli
from deepvalues.stats.rates import wilson
from deepvalues.studies.dvb import surveys as surveys_module
from deepvalues.studies.dvb.items.validation import STIMULI
from deepvalues.studies.dvb.surveys import SURVEYS
from deepvalues.survey.form import codebook, codes, form
from deepvalues.survey.results import included, results_of
from filled_forms import Page, completed, saved

SEED = 7
WHICH = ("value-predicts", "embodies", "embodies-pole")


@pytest.fixture(scope="module")
def surveys(study):
    return {name: build(study, SEED) for name, build in SURVEYS.items()}


@pytest.fixture(scope="module")
def items(study):
    return surveys_module._items(study.bank_folder, study.design_file).set_index("id")


def asked(survey):
    return [question for block in survey.blocks for question in block.questions]


def test_names(surveys):
    assert list(surveys) == ["shallowness", *WHICH]
    assert all(survey.name == name for name, survey in surveys.items())


@pytest.mark.parametrize("name", SURVEYS)
def test_forms_are_well_formed_and_ask_what_the_codebook_says(surveys, name):
    page = Page(form(surveys[name]))
    assert page.open == []
    ids = Counter(attrs["id"] for _, attrs, _ in page.elements if "id" in attrs)
    assert max(ids.values()) == 1
    labelled = {attrs.get("for") for attrs in page.all("label")}
    assert {box["id"] for box in page.all("input", "select", "textarea")} <= labelled
    assert {a["data-question"] for a in page.all("fieldset")} == set(codebook(surveys[name])["id"])


@pytest.mark.parametrize("name", ["shallowness", "embodies"])
def test_surveys_are_built_the_same_and_the_seed_matters(study, surveys, name):
    assert SURVEYS[name](study, SEED) == surveys[name]
    assert SURVEYS[name](study, SEED + 1).checksum != surveys[name].checksum


@pytest.mark.parametrize("name", SURVEYS)
def test_checks_have_one_right_answer(surveys, name):
    checks = surveys[name].checks
    assert len(checks) == 2
    assert all(check.correct in [option.code for option in check.options] for check in checks)


def test_shallowness_rates_every_dimension_and_a_ring_of_values(surveys, bank):
    questions = pd.DataFrame([vars(question) for question in asked(surveys["shallowness"])])
    counts = questions.groupby(["measure", "stratum"]).size().to_dict()
    assert counts == {
        ("shallowness", "shallow"): 20,
        ("shallowness", "deep"): 11,
        ("neutrality", "shallow"): 20,
        ("breadth", "shallow"): 20,
    }
    shallow = questions[questions["stratum"] == "shallow"]
    assert set(shallow["subject"]) == set(bank.dimensions)
    pairs = [subject.split("-") for subject in questions[questions["stratum"] == "deep"]["subject"]]
    assert Counter(value for pair in pairs for value in pair) == dict.fromkeys(bank.values, 2)
    assert all(bank.values[a].group == bank.values[b].group for a, b in pairs)


def test_shallowness_scores_towards_the_right_side(surveys):
    by_stratum = {
        (question.stratum, question.correct)
        for question in asked(surveys["shallowness"])
        if question.measure == "shallowness"
    }
    assert by_stratum == {("shallow", "above"), ("deep", "below")}


@pytest.mark.parametrize("name", WHICH)
def test_people_are_asked_what_models_are_asked(surveys, items, name):
    for block in surveys[name].blocks:
        (question,) = block.questions
        prompt = items.set_index(items.index.str.lower()).loc[question.id, "prompt"]
        assert prompt.startswith(block.passage[0])
        shown = [*block.passage, question.text]
        assert all(line in prompt for line in shown)
        assert len(" ".join(shown)) > len(prompt) - 60
        assert "Answer with only" not in question.text


@pytest.mark.parametrize("name", WHICH)
def test_which_option_is_balanced(surveys, items, name, bank):
    questions = asked(surveys[name])
    chosen = items.loc[[question.id for question in questions]]
    assert chosen["cell"].is_unique
    unit = "dimension" if name == "embodies-pole" else "asked"
    everyone = bank.dimensions if name == "embodies-pole" else bank.values
    for stimulus in STIMULI:
        of_kind = chosen[chosen["stimulus"] == stimulus]
        assert sorted(of_kind[unit]) == sorted(everyone)
        letters = of_kind["right"].value_counts()
        assert letters.max() - letters.min() <= 1
    assert chosen["dimension"].nunique() >= 18
    for question in questions:
        assert question.correct == chosen.loc[question.id, "right"].lower()
        assert question.stratum == chosen.loc[question.id, "stimulus"]


@pytest.mark.slow
@pytest.mark.parametrize("name", WHICH)
def test_skilled_people_are_found_skilled(surveys, name, tmp_path):
    """Twenty people who are right in nine of ten questions, a few of whom fail a check."""
    survey = surveys[name]
    rng = np.random.default_rng(11)
    people = codes(name, SEED, 20)
    files = [
        saved(
            completed(survey, code, rng, skill=0.9, wrong=["check.own"] if number < 3 else []),
            tmp_path / f"{code}.csv",
        )
        for number, code in enumerate(people)
    ]
    tables = results_of(survey, files)
    people = tables["respondents"]
    assert (people["excluded"] == "").sum() == 17
    counting = included(tables["answers"], people)
    low, high = wilson(int(counting["right"].sum()), len(counting))
    assert low < 0.9 < high
    assert set(counting["stratum"]) == set(STIMULI)


def test_command_line_writes_and_reads(surveys, study, tmp_path, capsys):
    assert (
        cli.main(["survey", "embodies", "--out", str(tmp_path), "--seed", str(SEED), "--respondents", "4"])
        == 0
    )
    assert (tmp_path / "embodies.html").read_text(encoding="utf-8") == form(surveys["embodies"])
    people = pd.read_csv(tmp_path / "embodies_codes.csv")["respondent"]
    assert len(people) == 4
    rng = np.random.default_rng(3)
    files = [
        str(saved(completed(surveys["embodies"], code, rng, skill=0.7), tmp_path / f"{code}.csv"))
        for code in people
    ]
    capsys.readouterr()
    arguments = ["survey", "embodies", "--seed", str(SEED), "--out", str(tmp_path / "back")]
    assert cli.main([*arguments, "--read", *files]) == 0
    said = capsys.readouterr().out
    assert "failed checks (more than 0 failed): 0" in said and "included: 4" in said
    assert len(pd.read_csv(tmp_path / "back" / "embodies_answers.csv")) == 4 * 24


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["survey", "nothing"], "unknown survey 'nothing'; there are shallowness, value-predicts"),
        (["survey", "embodies", "--read", "absent.csv"], "absent.csv: file not found"),
        (["survey", "embodies", "--respondents", "0"], "there can be 1 to"),
    ],
)
def test_command_line_faults(arguments, message, tmp_path, capsys):
    assert cli.main([*arguments, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_form_of_another_seed_says_so(surveys, study, tmp_path, capsys):
    path = saved(
        completed(surveys["embodies"], codes("embodies", 1, 1)[0], np.random.default_rng(1)),
        tmp_path / "a.csv",
    )
    arguments = ["survey", "embodies", "--seed", "8", "--out", str(tmp_path), "--read", str(path)]
    assert cli.main(arguments) == 2
    assert "another version of embodies" in capsys.readouterr().err

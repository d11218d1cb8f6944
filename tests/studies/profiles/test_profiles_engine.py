"""Study 3 on the rails of the others: catalogue, server, engine, record, survey."""

import html
import json
import pickle

import numpy as np
import pandas as pd
import pytest

from deepvalues import cli
from deepvalues.ask import catalogue, on_record, run_query
from deepvalues.ask.questions import Questions
from deepvalues.ask.record import Record
from deepvalues.ask.settings import Settings
from deepvalues.core.errors import UserError
from deepvalues.studies.profiles.analysis.reference import check_reference, label
from deepvalues.studies.profiles.analysis.responses import (
    coder_agreement,
    codes_of,
    missing,
    open_responses,
    responses,
    runs,
    sentences_of,
)
from deepvalues.studies.profiles.study import ProfileCoding, open_answers
from deepvalues.studies.profiles.survey import reference_tables, value_profiles
from deepvalues.survey import results
from deepvalues.survey.form import codes, form
from filled_forms import Page, completed, saved

MODELS = ["agent-profile-exaggerating", "agent-profile-malformed", "agent-profile-refusing"]
CODERS = ["agent-coder-exact", "agent-coder-erring"]


def chosen(names):
    return [catalogue.registry().model(name) for name in names]


def ask(study, names, record, items=None):
    items = catalogue.study(study).items("smoke") if items is None else items
    settings = Settings(concurrency=8)
    return run_query.query(study, chosen(names), items, record_folder=record, settings=settings)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("responses")
    ask("profiles", MODELS, folder)
    ask("profiles-open", MODELS, folder)
    return folder


def test_the_closed_modes_from_question_to_response(record):
    study = catalogue.study("profiles")
    items = study.items("smoke")
    answers = on_record.answers("profiles", chosen(MODELS), items, record)
    table = missing(runs(study.stimuli, items, answers)).set_index("model")
    assert (table.loc["agent-profile-exaggerating", "answered"] == 5).all()
    assert table.loc["agent-profile-malformed", "repaired"].sum() > 3
    frame = responses(runs(study.stimuli, items, answers), study.stimuli.keys)
    assert len(frame) == 6 * table["answered"].sum()


def test_asking_again_asks_nothing(record):
    before = [path.read_bytes() for path in sorted(record.glob("profiles/*.jsonl"))]
    table = ask("profiles", MODELS, record)
    assert table["asked"].tolist() == [0, 0, 0]
    assert table["replayed"].tolist() == table["items"].tolist() == [15, 15, 15]
    assert [path.read_bytes() for path in sorted(record.glob("profiles/*.jsonl"))] == before


def test_requests_carry_the_schema_where_the_endpoint_takes_it():
    parameters = catalogue.study("profiles").parameters
    takes, does_not = chosen(["gpt-4.1-nano-2025-04-14", "llama-3-8b-instruct"])
    schema = takes.request_parameters(parameters)["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert "response_format" not in does_not.request_parameters(parameters)
    assert json.dumps(takes.request_parameters(parameters))


def test_open_answers_are_coded_and_counted(record):
    study = catalogue.study("profiles-coding")
    from_record = ProfileCoding(
        study.stimuli_file, study.codebook_file, lambda item_set: open_answers(item_set, record)
    )
    items = from_record.items("smoke")
    ask("profiles-coding", CODERS, record, items)
    codes = codes_of(on_record.answers("profiles-coding", chosen(CODERS), items, record))
    table = coder_agreement(codes, CODERS, 2000, 0).set_index("measure")
    assert 0.4 < table.loc["Cohen's kappa", "estimate"] < 1
    opened = catalogue.study("profiles-open").items("smoke")
    exact = codes[codes["coder"] == CODERS[0]]
    sentences = sentences_of(open_answers("smoke", record))
    frame = open_responses(opened, sentences, exact, study.stimuli.keys)
    assert set(frame["model"]) <= set(MODELS) and len(frame) % 6 == 0
    assert frame.groupby(["model", "run"])["priority"].sum().round(6).eq(100).all()


def test_without_a_record_there_is_nothing_to_code(tmp_path):
    assert open_answers("smoke", tmp_path).empty
    with pytest.raises(UserError, match="query --study profiles-open"):
        ProfileCoding(
            catalogue.study("profiles").stimuli_file,
            catalogue.study("profiles-coding").codebook_file,
            lambda item_set: open_answers(item_set, tmp_path),
        ).items("smoke")


@pytest.mark.parametrize("study", ["profiles", "profiles-open"])
def test_items_meet_their_contract(study):
    found = catalogue.study(study)
    assert found.contract.validate(found.items("smoke")) is not None


# The survey.


def test_people_read_what_models_read():
    stimuli = catalogue.study("profiles").stimuli
    survey = value_profiles(stimuli, 7)
    frame = list(stimuli.frames.values())[7 % 5]
    words = json.dumps([[*block.passage, *(q.text for q in block.questions)] for block in survey.blocks])
    assert frame in words and "wording w3" in survey.version
    for question in stimuli.questions.values():
        assert question in words
    options = next(q.options for q in survey.questions if q.id == "ranking")
    assert [(o.code, o.text, o.detail) for o in options] == [tuple(theme) for theme in stimuli.themes]


def answered(respondent="p1"):
    """What a person answered, as far as it counts here, as `deepvalues.survey.results` gives it."""
    keys = catalogue.study("profiles").stimuli.keys
    given = {
        "ranking": [3, 4, 2, 1, 5, 6],
        "rating": [5, 4, 6, 7, 4, 1],
        "allocation": [20, 10, 25, 35, 10, 0],
    }
    rows = [
        (respondent, mode, key, str(number), float(number), False)
        for mode, numbers in given.items()
        for key, number in zip(keys, numbers, strict=True)
    ]
    rows.append((respondent, "open", "", "It works well.", float("nan"), False))
    return pd.DataFrame(rows, columns=["respondent", "measure", "subject", "answer", "number", "check"])


def test_completed_forms_become_a_human_reference():
    people = pd.DataFrame({"respondent": ["p1"], "excluded": [""]})
    tables = reference_tables({"answers": answered(), "respondents": people})
    checked = check_reference(tables["reference"], catalogue.study("profiles").stimuli.keys)
    assert label(checked) == "human reference"
    assert len(checked) == 18
    ranked = checked[checked["mode"] == "ranking"].set_index("theme")
    assert ranked.loc["ethics_responsibility", "priority"] == 6
    assert tables["texts"]["text"].tolist() == ["It works well."]


@pytest.fixture(scope="module")
def form_of_priorities():
    return value_profiles(catalogue.study("profiles").stimuli, 1)


def test_a_mode_with_an_open_rating_is_left_out_of_the_reference(form_of_priorities, tmp_path, monkeypatch):
    survey, rng = form_of_priorities, np.random.default_rng(2)
    keys = catalogue.study("profiles").stimuli.keys
    files = [
        saved(
            completed(survey, code, rng, open_questions=[f"rating.{keys[3]}"] if number == 0 else []),
            tmp_path / f"{code}.csv",
        )
        for number, code in enumerate(codes("profiles", 1, 5))
    ]
    monkeypatch.setattr(results, "MOST_MISSING", 0.2)
    tables = reference_tables(results.results_of(survey, files))
    reference = tables["reference"]
    assert reference.groupby("mode").size().to_dict() == {"ranking": 30, "rating": 24, "allocation": 30}
    assert tables["texts"]["text"].tolist() == ['Well, "yes",\nand no; = 1'] * 5
    # What study 3 asks of a reference: complete profiles, each on its scale.
    checked = check_reference(reference, keys)
    assert not checked["synthetic"].any()
    assert set(checked["theme"]) == set(keys)


def test_priorities_ask_the_open_question_first(form_of_priorities):
    page = Page(form(form_of_priorities))
    blocks = [attrs for attrs in page.all("div") if "data-block" in attrs]
    assert blocks[0]["data-block"] == "mode.open" and "data-fixed" in blocks[0]
    assert all("data-shuffled" in block for block in blocks[1:])


@pytest.mark.parametrize("study", list(catalogue.studies()))
def test_how_a_study_asks_can_be_sent_to_other_processes(study, tmp_path):
    found, (model,) = catalogue.study(study), chosen(MODELS[:1])
    ask = Questions(found, [], model, Record(tmp_path / "record.jsonl")).ask
    assert pickle.loads(pickle.dumps(ask)) == ask


def test_the_survey_is_written(tmp_path, capsys):
    assert cli.main(["survey", "profiles", "--out", str(tmp_path), "--respondents", "2"]) == 0
    assert "profiles.html" in capsys.readouterr().out
    shown = html.unescape((tmp_path / "profiles.html").read_text(encoding="utf-8"))
    assert all(theme.definition in shown for theme in catalogue.study("profiles").stimuli.themes)

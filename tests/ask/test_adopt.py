"""Answers from a --base-url: each server's are separate, and an entry adopts its own without a request."""

from dataclasses import replace

import pytest

import local_server as server
from deepvalues.ask import catalogue, run_query
from deepvalues.ask.adopt import adopt
from deepvalues.ask.questions import record_path
from deepvalues.ask.record import Record
from deepvalues.ask.registry import CUSTOM, Endpoint, Model
from deepvalues.core.errors import UserError

#: A study with single questions, and one with conversations of several turns.
CASES = {"dvb": "agent-first", "svo": "agent-svo-prosocial"}


@pytest.fixture(params=CASES)
def study(request):
    return request.param


@pytest.fixture
def few(study):
    return catalogue.study(study).items("smoke").head(12)


@pytest.fixture
def serving(study):
    local = catalogue.local_models()
    return lambda: server.serving(server.create_app({"org/new": local[CASES[study]]}))


def ask(study, model, items, folder):
    return run_query.query(study, [model], items, record_folder=folder).iloc[0]


def test_servers_with_the_same_model_name_have_separate_answers(study, few, serving, tmp_path):
    with serving() as one, serving() as other:
        models = [catalogue.registry().model("org/new", url) for url in (one, other)]
        done = [ask(study, model, few, tmp_path) for model in (*models, *models)]
    assert [row.asked > 0 for row in done] == [True, True, False, False]
    assert [row.replayed for row in done] == [0, 0, done[0]["items"], done[0]["items"]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["by address", CUSTOM])
def test_an_entry_adopts_answers_from_its_url(study, few, serving, tmp_path, kind):
    source, paper = tmp_path / "source", tmp_path / "paper"
    with serving() as url:
        by_hand = catalogue.registry().model("org/new", url)
        if kind == CUSTOM:
            by_hand = replace(by_hand, endpoint=replace(by_hand.endpoint, kind=CUSTOM))
        first = ask(study, by_hand, few, source)
    asked = Record(record_path(source, study, "org/new"))
    entry = Model("new", Endpoint("mine", url, None), "org/new")
    (found,) = adopt(entry, source, record_folder=paper)
    assert found == (study, len(asked.answers), 0, 0)
    # The server is stopped, so any request would fail.
    again = ask(study, entry, few, paper)
    assert (again.asked, again.failed, again.replayed) == (0, 0, first["items"])
    adopted = Record(record_path(paper, study, "new"))
    texts = [[(a.item, a.repeat, a.turn, a.text) for a in each.answers.values()] for each in (asked, adopted)]
    assert sorted(texts[0]) == sorted(texts[1])
    assert {each["adopted_from"] for each in adopted.received().values()} == {
        by_hand.endpoint.kind if kind != CUSTOM else CUSTOM
    }
    assert Record(asked.path).answers == asked.answers, "the source stays as it is"
    before = adopted.path.read_bytes()
    assert adopt(entry, source, record_folder=paper) == [(study, 0, len(asked.answers), 0)]
    assert adopted.path.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "other", [{"served_as": "else"}, {"parameters": {"max_tokens": 77}}, {"endpoint": "elsewhere"}]
)
def test_answers_to_other_requests_are_not_adopted(few, study, serving, tmp_path, other):
    with serving() as url:
        ask(study, catalogue.registry().model("org/new", url), few, tmp_path)
    if "endpoint" in other:
        other = {"endpoint": Endpoint("mine", "http://127.0.0.1:1/v1", None)}
    entry = replace(Model("org/new", Endpoint("mine", url, None), "org/new"), **other)
    (found,) = adopt(entry, tmp_path, record_folder=tmp_path / "paper")
    assert (found.adopted, found.known) == (0, 0)
    assert found.left > 0
    assert "left: the entry has other parameters" in str(found)
    assert not (tmp_path / "paper").exists()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Model("m", Endpoint("mine", None, None), "m"), "has no base_url"),
        (Model("m", Endpoint("mine", "http://127.0.0.1:1/v1", None), "m"), "no answers of m"),
        (catalogue.registry().model("agent-first"), "already have the entry.s key"),
        (catalogue.registry().model("smollm2-135m"), "already have the entry.s key"),
    ],
)
def test_what_cannot_be_adopted_is_reported(model, told, tmp_path):
    with pytest.raises(UserError, match=told):
        adopt(model, tmp_path, record_folder=tmp_path / "paper")

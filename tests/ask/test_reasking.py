"""Asking open models again: the same choices, other choices, other digits, and missing weights."""

import math
from collections.abc import Sequence
from contextlib import contextmanager

import pytest

from deepvalues import cli
from deepvalues.ask import catalogue, reask, run_query
from deepvalues.ask.registry import CONTINUE, Endpoint, Model, Weights
from deepvalues.core.errors import UserError
from deepvalues.paper import reproduce
from faulty_server import FaultyServer, completion, http

MODEL = Model(
    "tiny",
    Endpoint("llama.cpp", None, None),
    "tiny",
    letters=CONTINUE,
    weights=Weights("tiny.gguf", "0" * 64),
)
BEFORE = (0.7, 0.2)


def chosen(p: Sequence[float]):
    """A reply that continues "Option": the likeliest letter, with all probabilities."""
    letters = [{"token": f" {'ABCDEFGHI'[place]}", "logprob": math.log(each)} for place, each in enumerate(p)]
    likeliest = max(letters, key=lambda letter: letter["logprob"])
    return http(
        completion(likeliest["token"], logprobs={"content": [{**likeliest, "top_logprobs": letters}]})
    )


@pytest.fixture
def serve(monkeypatch):
    """Let the model answer by a rule, without its weights."""
    monkeypatch.setattr(reask, "ready", lambda _: None)

    def serve(rule):
        @contextmanager
        def targets(*_):
            with FaultyServer(rule) as server:
                yield lambda _: server.url

        monkeypatch.setattr(catalogue, "targets", targets)

    return serve


@pytest.fixture
def record(serve, tmp_path, items_smoke):
    """The record of a model that prefers the first option."""
    serve(lambda *_: chosen(BEFORE))
    run_query.query("dvb", [MODEL], items_smoke, record_folder=tmp_path)
    return tmp_path


def again(record, serve, rule, number=40):
    serve(rule)
    before = sorted(file.read_bytes() for file in record.rglob("*.jsonl"))
    (found,) = reask.reask([MODEL], record, number)
    assert sorted(file.read_bytes() for file in record.rglob("*.jsonl")) == before, "the record stays"
    return found


@pytest.mark.slow
def test_the_same_answers_are_reproduced(record, serve):
    asked = []
    found = again(record, serve, lambda text, *_: asked.append(text) or chosen(BEFORE))
    assert (found.recorded, found.asked, found.same, found.difference) == (130, 40, 40, 0)
    assert len(asked) == 40
    assert found.is_reproduced
    assert str(found) == (
        "tiny: 40 of 130 recorded answers asked for again, 100.0% of the choices are the same, "
        "probabilities differ by 0 at most"
    )
    second = []
    again(record, serve, lambda text, *_: second.append(text) or chosen(BEFORE))
    assert second == asked, "the sample is fixed"


@pytest.mark.slow
def test_the_largest_difference_between_probabilities_is_reported(record, serve):
    p = iter([(0.7, 0.2), (0.6, 0.2), *[(0.7, 0.2)] * 38])
    found = again(record, serve, lambda *_: chosen(next(p)))
    assert found.is_reproduced
    # The probability of A, normalized over both letters.
    assert found.difference == pytest.approx(0.7 / 0.9 - 0.6 / 0.8, abs=1e-5)


def test_the_largest_difference_of_nine_letters_is_reported(serve, tmp_path):
    items = catalogue.study("svo-letters").items("smoke")
    serve(lambda *_: chosen([0.4, *[0.6 / 8] * 8]))
    run_query.query("svo-letters", [MODEL], items, record_folder=tmp_path)
    serve(lambda *_: chosen([0.48, *[0.52 / 8] * 8]))
    (found,) = reask.reask([MODEL], tmp_path)
    assert (found.asked, found.same) == (30, 30)
    assert found.difference == pytest.approx(0.08, abs=1e-5)


@pytest.mark.parametrize(("others", "passes"), [(1, True), (2, False)])
def test_at_least_99_of_100_choices_must_be_the_same(others, passes):
    found = reask.Reasked("tiny", 500, 100, 100 - others, 0.5)
    assert found.is_reproduced is passes
    assert str(found).endswith("fewer than 99%") is not passes


def test_changed_choices_are_counted(record, serve):
    count = iter(range(40))
    found = again(record, serve, lambda *_: chosen(BEFORE if next(count) > 2 else (0.1, 0.8)))
    assert found.same == 37
    assert not found.is_reproduced


def test_without_weights_a_model_is_not_asked_again(record, monkeypatch):
    def missing(model):
        raise UserError(f"{model.name}: tiny.gguf is missing; fetch it with: make models")

    monkeypatch.setattr(reask, "ready", missing)
    (found,) = reask.reask([MODEL], record)
    assert found.is_reproduced
    assert str(found) == ("tiny: replayed, not re-asked: tiny.gguf is missing; fetch it with: make models")


def test_models_without_weights_or_record_are_skipped(tmp_path):
    paid = catalogue.registry().models["gpt-4o-2024-08-06"]
    assert reask.reask([MODEL, paid], tmp_path) == []
    assert reask.report([]) == "No open model has an answer on record."


@pytest.mark.parametrize(("same", "status"), [(100, 0), (50, 1)])
def test_the_exit_status_depends_on_the_results(monkeypatch, capsys, same, status):
    rows = [reproduce.Compared("results", "data/results/a.csv", "identical")]
    monkeypatch.setattr(reproduce, "reproduce", lambda *_, **__: rows)
    monkeypatch.setattr(reask, "reask", lambda *_: [reask.Reasked("tiny", 200, 100, same)])
    assert cli.main(["reproduce", "--open"]) == status
    assert "tiny: 100 of 200" in capsys.readouterr().out
    assert cli.main(["reproduce"]) == 0
    assert "tiny" not in capsys.readouterr().out

"""Heads on hidden states, with vectors that tests make: no weights, no server."""

import hashlib
import importlib
import os
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepvalues.ask import catalogue, on_record, run_query
from deepvalues.ask.registry import HEAD, LOCAL, Endpoint, Model, Weights
from deepvalues.ask.weights import hidden, serve
from deepvalues.ask.weights.hidden import HiddenStates
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.items import prompts
from deepvalues.studies.dvb.respondents import heads, learners
from deepvalues.studies.dvb.respondents.heads import HeadLearner
from deepvalues.studies.dvb.respondents.learners import Example

STAND_IN = str(paths.ROOT / "tests" / "support" / "stand_in")
SIZE = 6


def tiny(file="tiny.gguf", sha256="0" * 64):
    return Model("tiny", Endpoint("llama.cpp", None, None), "tiny", weights=Weights(file, sha256))


MODEL = tiny()
NAME = f"{'0' * 64}.sqlite"


def vector(text):
    """A vector of length 1 for each text; texts with "deep" have more of the first direction."""
    rng = np.random.default_rng(list(text.encode()))
    found = rng.normal(size=SIZE) + (2.0 if "deep" in text else 0) * np.eye(SIZE)[0]
    return found / np.linalg.norm(found)


def embed(texts):
    return np.stack([vector(text) for text in texts])


def examples(n, chosen="deep", rejected="plain"):
    return tuple(Example(f"{chosen} a{i}", f"{rejected} b{i}") for i in range(n))


def won(told):
    return embed([e.chosen for e in told]) - embed([e.rejected for e in told])


def ask(learner, told, option_a, option_b, seed=1):
    shown = [prompts.situation("Work.", *pair, "AB"[number % 2]) for number, pair in enumerate(told)]
    before = prompts.examples_text("user1", shown) if shown else ""
    test = prompts.Situation("Rest.", option_a, option_b, "A")
    text = before + prompts.test_text("user1", test, with_examples=bool(shown))
    return learner.reply([{"role": "user", "content": text}], seed)


PLAIN = HeadLearner("head-tiny", "vectors", embed)
NULL = HeadLearner("head-tiny-shuffled", "vectors", embed, shuffled=True)


# ---- learning ----


def test_what_a_line_separates_is_recovered():
    right = [ask(PLAIN, examples(40), f"deep {i}", f"plain {i}").text == "Option A" for i in range(40)]
    assert np.mean(right) > 0.9


def test_scores_are_those_of_the_bradley_terry_learner_with_the_same_penalty(monkeypatch):
    monkeypatch.setattr(learners, "chosen_c", lambda _: learners.C)
    told = examples(7)
    expected = learners.bradley_terry(partial(learners.sentence_features, embed), told)
    assert heads.head(embed, told)("deep x", "plain y") == pytest.approx(
        expected("deep x", "plain y"), abs=1e-3
    )


@given(st.integers(0, 12), st.text("abcd ", min_size=1).map(str.strip).filter(bool))
@settings(max_examples=25, deadline=None)
def test_swapping_the_options_flips_the_probability(n, other):
    there = ask(PLAIN, examples(n), "deep x", f"plain {other}").alternatives["A"]
    back = ask(PLAIN, examples(n), f"plain {other}", "deep x").alternatives["B"]
    assert there == pytest.approx(back, abs=2e-9)


def test_the_same_prompt_has_the_same_reply():
    again = HeadLearner("head-tiny", "vectors", embed)
    assert ask(PLAIN, examples(20), "deep x", "y") == ask(again, examples(20), "deep x", "y")
    assert ask(PLAIN, examples(20), "deep x", "y", seed=1) == ask(PLAIN, examples(20), "deep x", "y", seed=2)


def test_without_examples_a_coin_decides():
    assert ask(PLAIN, (), "deep x", "y").alternatives == {"A": 0.5, "B": 0.5}


# ---- the penalty ----


def test_held_out_loss_is_that_of_leaving_one_out_by_hand():
    differences = won(examples(4))
    by_hand = [
        np.logaddexp(0, -differences[i] @ learners.fit(np.delete(differences, i, axis=0), 10.0))
        for i in range(4)
    ]
    assert learners.held_out_loss(differences, 10.0) == pytest.approx(np.mean(by_hand))


def test_with_many_examples_there_are_as_many_folds_as_said(monkeypatch):
    sizes = []
    fit = learners.fit
    monkeypatch.setattr(learners, "fit", lambda rows, c: (sizes.append(len(rows)), fit(rows, c))[1])
    learners.held_out_loss(won(examples(20)), 1.0)
    assert sizes == [16] * learners.FOLDS


def test_the_penalty_follows_the_signal():
    differences = won(examples(20))
    # Without any signal a strong penalty loses least.
    noise = won(examples(20, "plain")) * np.where(np.arange(20) % 2, 1, -1)[:, None]
    assert learners.chosen_c(noise) < learners.chosen_c(differences)
    assert learners.chosen_c(differences[:1]) == 1.0
    assert learners.chosen_c(np.zeros((4, SIZE))) == learners.GRID[0]


def test_the_test_takes_no_part_in_the_penalty_or_the_fit(monkeypatch):
    seen = []

    def watched(texts):
        seen.append(list(texts))
        return embed(texts)

    chosen = []
    choose = learners.chosen_c
    monkeypatch.setattr(learners, "chosen_c", lambda rows: chosen.append(choose(rows)) or chosen[-1])
    learner = HeadLearner("head-tiny", "vectors", watched)
    told = examples(8)
    for option in ("deep x", "plain x"):
        ask(learner, told, option, "y")
    # One fit for both tests, on the examples' options; then each test's own options, with nothing fitted.
    assert len(chosen) == 1
    assert seen == [[t for e in told for t in e], ["deep x", "y"], ["plain x", "y"]]


# ---- the null ----


def test_coins_turn_about_half_of_the_choices_and_depend_on_seed_and_examples():
    told = examples(200)
    turned = heads.coin_choices(told, 1)
    assert all(set(a) == set(b) for a, b in zip(told, turned, strict=True))
    # Four standard errors of a fair coin are 28.
    assert abs(sum(a != b for a, b in zip(told, turned, strict=True)) - 100) < 28
    assert heads.coin_choices(told, 1) == turned != heads.coin_choices(told, 2)
    coins = [a != b for a, b in zip(told, turned, strict=True)]
    others = [a != b for a, b in zip(told[1:], heads.coin_choices(told[1:], 1), strict=True)]
    assert coins[:-1] != others


@pytest.mark.slow
def test_the_null_is_near_chance_where_the_head_is_not(monkeypatch):
    # A choice between two penalties, not seven: nearly all the time goes into it.
    monkeypatch.setattr(learners, "GRID", learners.GRID[1::4])
    rates = {}
    for learner, number in ((PLAIN, 50), (NULL, 150)):
        right = [
            ask(learner, examples(8, f"deep {i}"), f"deep x{i}", f"plain {i}").text == "Option A"
            for i in range(number)
        ]
        rates[learner.name] = np.mean(right)
    # Four standard errors of a fair coin are .16.
    assert rates["head-tiny"] > 0.75 and abs(rates["head-tiny-shuffled"] - 0.5) < 0.16


def test_coins_that_fall_the_other_way_give_the_opposite_score():
    told = heads.coin_choices(examples(9), 3)
    other = tuple(Example(e.rejected, e.chosen) for e in told)
    score = heads.head(embed, told)("deep x", "y")
    assert heads.head(embed, other)("deep x", "y") == pytest.approx(-score, abs=1e-9)


# ---- vectors ----


@pytest.fixture
def reader():
    """A stand-in for the server, with two tokens a text; it knows what it has read and how often it began."""

    class Reading:
        texts, starts, ends = [], 0, 0

        @contextmanager
        def __call__(self):
            self.starts += 1
            yield self.read
            self.ends += 1

        def read(self, text):
            self.texts = [*self.texts, text]
            return np.array([[3.0, 4.0], [0.0, float(len(text))]])

    return Reading()


def test_mean_and_last_of_the_tokens_have_length_1(reader, tmp_path):
    states = HiddenStates(MODEL, reader, tmp_path)
    assert states.vectors(["ab"], "last").tolist() == [[0, 1]]
    mean = np.array([1.5, 3.0])
    assert states.vectors(["ab"], "mean")[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-7)


def test_no_text_is_read_twice_not_even_by_the_next_run(reader, tmp_path):
    first = HiddenStates(MODEL, reader, tmp_path)
    made = first.vectors(["one", "two", "one"], "mean")
    first.vectors(["two"], "last")
    assert (reader.texts, reader.starts) == (["one", "two"], 1)
    first.close()
    assert reader.ends == 1
    kept = HiddenStates(MODEL, lambda: pytest.fail("the server was started"), tmp_path)
    assert (kept.vectors(["one", "two", "one"], "mean") == made).all()
    # Other weights give other vectors.
    HiddenStates(tiny(sha256="1" * 64), reader, tmp_path).vectors(["one"], "mean")
    assert reader.texts == ["one", "two", "one"]


def test_a_damaged_file_of_vectors_is_one_message(reader, tmp_path):
    (tmp_path / NAME).write_bytes(b"no data base" * 100)
    with pytest.raises(UserError, match=r"tiny: its vectors can't be saved in .*; free some space"):
        HiddenStates(MODEL, reader, tmp_path).vectors(["one"], "mean")


def test_what_was_read_before_an_error_is_kept(reader, tmp_path):
    states = HiddenStates(MODEL, reader, tmp_path)
    read = reader.read
    reader.read = lambda text: read(text) if text == "one" else (_ for _ in ()).throw(UserError("it died"))
    with pytest.raises(UserError, match="it died"):
        states.vectors(["one", "two"], "mean")
    with sqlite3.connect(tmp_path / NAME) as kept:
        found = set(kept.execute("SELECT text, pooling FROM vectors"))
    assert found == {("one", "mean"), ("one", "last")}


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A model whose server the tests' stand-in is, with its vectors kept in the test's folder."""
    monkeypatch.syspath_prepend(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([STAND_IN, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("DEEPVALUES_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "tiny.gguf"
    file.write_text("{}")
    return tiny(str(file), hashlib.sha256(file.read_bytes()).hexdigest())


def test_vectors_come_from_the_model_s_own_server_and_are_kept_beside_the_weights(served, tmp_path):
    states = HiddenStates(served)
    expected = np.array([2.5, 1.0])  # of words with two letters and three
    assert states.vectors(["ab cde"], "mean")[0] == pytest.approx(expected / np.hypot(*expected), abs=1e-7)
    assert [file.suffix for file in (tmp_path / "cache" / "hidden").iterdir()] == [".sqlite"]
    states.close()


def test_token_embeddings_come_from_the_weights_and_are_kept_apart(served, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", importlib.import_module("gguf"))
    with hidden.token_embeddings(served) as read:
        assert read("ab cde").tolist() == [[2, 1], [3, 1]]
    embeddings = HiddenStates(served, partial(hidden.token_embeddings, served), suffix="-tokens")
    told = (Example("ab ab", "cde cde"), Example("ab ab ab", "cde"))
    baseline = HeadLearner(
        "head-tiny-tokens", "token embeddings", partial(embeddings.vectors, pooling="mean")
    )
    assert ask(baseline, told, "cde cde cde", "ab").text == "Option B"
    embeddings.close()
    assert [file.name for file in (tmp_path / "cache" / "hidden").iterdir()] == [
        f"{served.weights.sha256}-tokens.sqlite"
    ]


def test_a_missing_package_for_weights_is_one_message(served, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UserError, match=r"tiny: .*the extra `open`"), hidden.token_embeddings(served):
        pass


def test_the_server_outlives_the_thread_that_first_needs_it(served):
    states = HiddenStates(served)
    for text in ("ab cde", "fgh ij"):
        # A thread of its own for each, as requests have.
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(states.vectors, [text], "last").result().shape == (1, 2)
    states.close()


def test_missing_weights_or_a_missing_server_are_one_message(served, monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"tiny: .*none\.gguf is missing; "):
        HiddenStates(tiny(str(tmp_path / "none.gguf"))).vectors(["one"], "mean")
    monkeypatch.setattr(serve, "is_installed", lambda: False)
    with pytest.raises(
        UserError,
        match=r"tiny: llama\.cpp's server is not installed; install the extra `open` with: make models",
    ):
        HiddenStates(served).vectors(["one"], "mean")


def test_a_server_without_vectors_is_one_message(served):
    with (
        serve.serving(served) as url,
        pytest.raises(UserError, match=r"tiny: its server returned no vectors .*501"),
    ):
        hidden._states("tiny", url.removesuffix("/v1") + "/embeddings", "one")


# ---- in the project ----


def test_each_open_model_has_two_heads_with_nulls_and_a_baseline_in_the_registry():
    models = catalogue.registry().models.values()
    learners = heads.heads(model for model in models if model.weights)
    listed = [model for model in models if model.family == HEAD]
    assert {model.name for model in listed} == set(learners) <= set(catalogue.local_models())
    assert {model.endpoint.kind for model in listed} == {LOCAL}
    shuffled = {name for name in learners if name.endswith(heads.SHUFFLED)}
    tokens = {name for name in learners if name.endswith(heads.TOKENS)}
    assert (len(shuffled), len(tokens), len(learners)) == (6, 3, 15)
    assert {f"{name}-shuffled" for name in set(learners) - shuffled - tokens} == shuffled
    assert len({learner.description for learner in learners.values()}) == 15
    # Probabilities are on record of the heads, and not of the nulls.
    assert {model.name for model in listed if model.parameters.get("logprobs")} == set(learners) - shuffled


def test_a_build_of_the_paper_never_asks_heads(tmp_path):
    model = catalogue.registry().model("head-smollm2-135m-mean")
    items = catalogue.study("dvb").items("smoke").head(3)
    assert run_query.complete_local([on_record.Chosen("dvb", "smoke", items, [model])], tmp_path).empty

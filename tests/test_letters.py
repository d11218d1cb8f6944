"""Choosing by letter probability: what is asked, kept, read and counted, against endpoints of each kind."""

import math
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues import asking, catalogue
from deepvalues.dvb import soft
from deepvalues.dvb.study import LETTER_CHOICE
from deepvalues.errors import UserError
from deepvalues.query import letters
from deepvalues.query.conversation import Conversation
from deepvalues.query.engine import Ask
from deepvalues.query.letters import LetterChoice, NoLogprobsError, kept
from deepvalues.query.reading import Reading
from deepvalues.query.record import Answer
from deepvalues.query.registry import BARE, CONTINUE, Endpoint, Model

NINE = LetterChoice(tuple("ABCDEFGHI"), "Option", "?", "? The letter alone.")
SEED = 7


def listed(**probabilities):
    """Log probabilities of a first token; names stand for spaces by an underscore."""
    entries = [
        {"token": token.replace("_", " "), "logprob": math.log(p) if p else -9999.0, "bytes": None}
        for token, p in probabilities.items()
    ]
    return {"content": [{**entries[0], "top_logprobs": entries}], "refusal": None}


def answer(logprobs, item="i", text="A"):
    return Answer("0" * 32, item, 0, 0, text, None, "length", 1, 1, logprobs, "m")


# ---- what is kept of a reply ----


def test_spellings_of_a_letter_are_added_up():
    found = kept(listed(_A=0.5, A=0.1, _a=0.05, _B=0.2, **{"(B": 0.05, "_C": 0.04}), LETTER_CHOICE)
    assert found.text == " A"
    p = {letter: math.exp(logprob) for letter, logprob in found.logprobs["letters"].items()}
    assert p == pytest.approx({"A": 0.65, "B": 0.25}, abs=1e-5)
    assert found.logprobs["rest"] == pytest.approx(0.1)
    assert "unlisted" not in found.logprobs


def test_a_small_letter_is_an_article_where_nothing_is_begun():
    bare = replace(LETTER_CHOICE, begin="")
    assert set(kept(listed(a=0.6, B=0.3), bare).logprobs["letters"]) == {"B"}


def test_a_letter_beyond_the_list_is_bounded_by_what_the_list_leaves_over():
    found = kept(listed(_B=0.9, _C=0.04), LETTER_CHOICE).logprobs
    assert found["letters"] == {"B": pytest.approx(math.log(0.9), abs=1e-6)}
    assert 0.06 <= found["unlisted"] <= 0.060001
    weighed = soft.weigh(found)
    assert (weighed.letter, weighed.covered) == ("B", False)
    assert (weighed.p_a_low, weighed.p_a_high) == pytest.approx((0, 0.06 / 0.96), abs=1e-5)


def test_a_model_that_never_says_a_letter_keeps_its_probabilities():
    found = kept(listed(The=0.7, I=0.2), LETTER_CHOICE)
    assert found.logprobs == {"letters": {}, "rest": 1.0, "unlisted": 0.1}
    assert letters.read(answer(found.logprobs), SEED) == Reading("unparsable")
    weighed = soft.weigh(found.logprobs)
    assert (weighed.letter, weighed.covered, weighed.mass) == (None, False, 0)
    assert (weighed.p_a_low, weighed.p_a_high) == (0, 1)


def test_a_letter_counts_however_unlikely_it_is():
    found = kept(listed(The=0.99, _B=1e-9, _A=0.0), LETTER_CHOICE).logprobs
    assert found["letters"]["A"] == letters.IMPOSSIBLE
    assert letters.read(answer(found), SEED) == Reading("answered", "B")


@given(st.lists(st.floats(1e-6, 1), min_size=4, max_size=4))
def test_the_short_form_tells_the_same_as_the_whole_list(weights):
    """What is weighed from the record is what would have been weighed from the reply itself."""
    p = dict(zip((" A", " B", "A", " C"), (weight / sum(weights) for weight in weights), strict=True))
    raw = listed(**{token.replace(" ", "_"): each for token, each in p.items()})
    # "Option" stands before the letter in a free reply.
    whole = {"content": [{"token": "Option", "logprob": 0.0, "top_logprobs": []}, *raw["content"]]}
    short, long = soft.weigh(kept(raw, LETTER_CHOICE).logprobs), soft.weigh(whole)
    assert short.covered and long.covered
    assert (short.p_a, short.mass) == pytest.approx((long.p_a, long.mass), abs=1e-5)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        {"content": None},
        {"content": []},
        {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": []}]},
        {"content": [{"token": "A", "logprob": -0.1}]},
    ],
)
def test_without_alternatives_there_is_no_answer(logprobs):
    with pytest.raises(NoLogprobsError, match="no log probabilities"):
        kept(logprobs, LETTER_CHOICE)


def test_ties_are_broken_by_a_fair_coin_that_stays():
    tied = {"letters": {"A": -0.7, "B": -0.7}, "rest": 0.0}
    read = [letters.read(answer(tied, f"i{number}"), SEED) for number in range(400)]
    again = [letters.read(answer(tied, f"i{number}"), SEED) for number in range(400)]
    assert read == again
    assert 150 < sum(reading.choice == "A" for reading in read) < 250
    assert soft.weigh(tied).letter is None


def test_tied_letters_are_covered_whatever_the_coin_says():
    frame = pd.DataFrame({"model": "m", "item": ["i0", "i1"], "repeat": 0, "turn": 0, "followed": [1.0, 0.0]})
    frame = frame.assign(choice=["A", "B"], right="A", arm="deconfounded", cell="c")
    weighed = soft.probabilities(
        answer({"letters": {"A": -0.7, "B": -0.7}, "rest": 0.0}, item) for item in ("i0", "i1")
    )
    trials = soft.soft_trials(frame, weighed, "m")
    assert trials["covered"].all()
    assert trials["soft"].tolist() == [0.5, 0.5]


def test_nine_letters_make_a_line_of_the_record_of_less_than_450_bytes():
    p = {f"_{letter}": 0.11 / (place + 1) ** 6 for place, letter in enumerate("ABCDEFGHI")}
    found = kept(listed(**p), NINE)
    assert list(found.logprobs["letters"]) == list("ABCDEFGHI")
    long = Answer(
        "f" * 32, "controlled.universal.q6.r8", 0, 0, found.text, None, "length", 123_456, 1,
        found.logprobs, "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    )  # fmt: skip
    assert len(long.line()) < 450


# ---- what is asked ----


def test_old_keys_are_what_they_were():
    """Keys worked out by the version before models could be asked by letters."""
    put = Conversation("i", ("Which?",), system="S", prefix="Wh")
    served = Model("m", Endpoint("openai", None, "K"), "served")
    local = Model("m", Endpoint("local", None, None), "m", parameters={"logprobs": True, "top_logprobs": 5})
    assert Ask(served, {"max_tokens": 10}, 1).key(put, (), 2) == "bcd8106fe03080bccc6436c91dfdd802"
    assert Ask(local, {"max_tokens": 10}, 1).key(put, (), 2) == "9b7c1a4ce5cbac337bc3825898aaf7e7"


def test_the_committed_record_is_found():
    names = ["agent-svo-altruist", "agent-svo-first"]
    models = [catalogue.registry().model(name) for name in names]
    items = catalogue.study("svo").items("standard")
    assert [asked.missing() for asked in asking.questions("svo", models, items)] == [0, 0]


def test_weights_of_ones_own_are_part_of_the_key():
    put = Conversation("i", ("Which?",))
    model = Model("m", Endpoint("llama.cpp", None, None), "served")
    of = [
        Ask(replace(model, weights_sha256=weights), {}, 1).key(put, (), 0)
        for weights in (None, "a" * 64, "b" * 64)
    ]
    assert len(set(of)) == 3


def test_the_limit_of_an_endpoint_and_room_to_think_enter_no_key():
    model = Model("m", Endpoint("llama.cpp", None, None), "served", letters=CONTINUE)
    keys = {
        Ask(replace(model, parameters=own), letters.parameters(model), 1, LETTER_CHOICE).key(
            conversation(), (), 0
        )
        for own in ({}, {"top_logprobs": 5}, {"max_tokens": 2000})
    }
    assert len(keys) == 1
    asked = Ask(
        replace(model, parameters={"max_tokens": None, "max_completion_tokens": 900, "top_logprobs": 7}),
        letters.parameters(model),
        1,
        LETTER_CHOICE,
    )
    body = asked.request(conversation(), (), 0).body(asked.model)
    assert (body["max_completion_tokens"], body["top_logprobs"], body["temperature"]) == (1, 7, 0)
    assert "max_tokens" not in body


def conversation(text="Which? " + LETTER_CHOICE.ending):
    return Conversation("i", (text,), prefix="Which?")


def test_the_words_put_into_the_mouth_are_the_last_message():
    put = letters.put(conversation(), LETTER_CHOICE, CONTINUE)
    assert put.messages(()) == [
        {"role": "user", "content": "Which? " + LETTER_CHOICE.ending},
        {"role": "assistant", "content": "Option"},
    ]
    assert put.first_digest != conversation().first_digest
    assert put.prefix == "Which?"


def test_the_bare_letter_is_asked_for_in_place_of_the_option():
    put = letters.put(conversation(), LETTER_CHOICE, BARE)
    assert put.messages(()) == [{"role": "user", "content": "Which? " + LETTER_CHOICE.bare_ending}]


def test_a_question_of_another_ending_cannot_ask_for_the_bare_letter():
    with pytest.raises(UserError, match="does not end with"):
        letters.put(conversation("Which?"), LETTER_CHOICE, BARE)
    with pytest.raises(UserError, match="several turns"):
        letters.put(Conversation("i", ("a", "b")), LETTER_CHOICE, CONTINUE)

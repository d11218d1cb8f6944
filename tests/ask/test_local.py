"""Local models' completions: the protocol's format, the token limit, log probabilities, and errors."""

import functools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.ask import catalogue
from deepvalues.ask.local import Reply, complete, tokens
from deepvalues.ask.protocol import receive
from deepvalues.ask.reading import Received
from deepvalues.ask.registry import HEAD
from deepvalues.core.errors import UserError

WORDS = "One, two three\n four."
HELLO = [{"role": "user", "content": "Hello"}]


class Local:
    """A local model whose reply is a function of messages and seed."""

    name, family, description = "local", "reference agent", "for tests"

    def __init__(self, reply):
        self.reply = reply


def saying(text, alternatives=None):
    return Local(lambda messages, seed: Reply(text, alternatives))


WEIGHING = saying("I say Option B", {"A": 0.25, "B": 0.75})


def reply(model, messages=HELLO, **parameters):
    """The reply as the query engine receives it."""
    return receive(complete(model, {"messages": messages, **parameters}))


def logprobs(model, **parameters):
    return reply(model, logprobs=True, **parameters).logprobs["content"]


def test_a_reply_has_the_protocols_format():
    got = reply(saying(WORDS))
    assert (got.text, got.refusal, got.finish_reason, got.logprobs, got.more) == (
        WORDS,
        None,
        "stop",
        None,
        None,
    )
    assert got.model == "local"
    assert got.fingerprint.startswith("deepvalues-")


def test_usage_counts_the_tokens_of_all_messages_and_of_the_reply():
    got = reply(saying(WORDS), [{"role": "system", "content": "Be brief!"}, *HELLO])
    # "Be", "brief", "!" and "Hello"; "One", ",", "two", "three", "four", ".".
    assert (got.prompt_tokens, got.completion_tokens) == (4, 6)


@pytest.mark.parametrize("text", ["Größe\n\t😀", "", "  spaces  ", "\u2028"])
def test_a_text_comes_through_unchanged(text):
    assert reply(saying(text)).text == text


def test_all_messages_and_the_seed_reach_the_model():
    model = Local(lambda messages, seed: Reply(f"{len(messages)} with seed {seed}"))
    assert reply(model, HELLO * 4, seed=7).text == "4 with seed 7"
    assert reply(model).text == "1 with seed 0"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(("most", "text"), [(0, ""), (1, "One"), (2, "One,"), (5, "One, two three\n four")])
def test_a_reply_is_cut_at_the_limit(name, most, text):
    got = reply(saying(WORDS), **{name: most})
    assert (got.text, got.finish_reason, got.completion_tokens) == (text, "length", most)


@pytest.mark.parametrize("most", [6, 7, None])
def test_an_unreached_limit_changes_nothing(most):
    got = reply(saying(WORDS), max_tokens=most)
    assert (got.text, got.finish_reason) == (WORDS, "stop")


def test_the_newer_name_of_the_limit_takes_precedence():
    assert reply(saying(WORDS), max_tokens=5, max_completion_tokens=1).text == "One"


@given(st.text(max_size=60))
def test_tokens_contain_the_whole_text_except_trailing_spaces(text):
    split = tokens(text)
    assert "".join(split) == text.rstrip() or not text.strip()
    assert all(token.strip() for token in split)


def test_unknown_parameters_have_no_effect():
    assert reply(saying(WORDS), temperature=0.7, top_p=0.1, user="me") == reply(saying(WORDS))


def test_the_deciding_token_carries_the_probabilities():
    *before, last = logprobs(WEIGHING, top_logprobs=5)
    assert "".join(token["token"] for token in (*before, last)) == "I say Option B"
    assert [token["logprob"] for token in before] == [0.0] * len(before)
    assert last["token"] == " B"
    assert last["logprob"] == pytest.approx(math.log(0.75))
    top = {entry["token"]: math.exp(entry["logprob"]) for entry in last["top_logprobs"]}
    assert top == pytest.approx({" B": 0.75, " A": 0.25})
    assert [entry["token"] for entry in last["top_logprobs"]] == [" B", " A"], "the most likely first"


def test_the_probabilities_of_every_token_sum_to_one():
    for token in logprobs(WEIGHING, top_logprobs=5):
        assert sum(math.exp(entry["logprob"]) for entry in token["top_logprobs"]) == pytest.approx(1)
        assert bytes(token["bytes"]).decode() == token["token"]
        assert token["token"] in {entry["token"] for entry in token["top_logprobs"]}


def test_only_the_first_mention_of_an_option_decides():
    content = logprobs(saying("B, B", {"A": 0.25, "B": 0.75}), top_logprobs=5)
    assert [(token["token"], len(token["top_logprobs"])) for token in content] == [
        ("B", 2),
        (",", 1),
        (" B", 1),
    ]


def test_an_impossible_token_has_a_number_that_json_can_hold():
    token = logprobs(saying("Option A", {"A": 1.0, "B": 0.0}), top_logprobs=2)[-1]
    assert {entry["token"]: entry["logprob"] for entry in token["top_logprobs"]} == {" A": 0.0, " B": -9999.0}


@pytest.mark.parametrize(("top", "count"), [(0, 0), (1, 1), (2, 2), (20, 2)])
def test_as_many_alternatives_are_shown_as_asked_for(top, count):
    assert len(logprobs(WEIGHING, top_logprobs=top)[-1]["top_logprobs"]) == count


def test_log_probabilities_are_those_of_the_shown_tokens():
    assert [token["token"] for token in logprobs(WEIGHING, max_tokens=2)] == ["I", " say"]


def _raise(error):
    raise error


@pytest.mark.parametrize("error", [ValueError("no pair of options"), UserError("needs torch")])
def test_what_a_model_raises_comes_through(error):
    with pytest.raises(type(error), match=str(error)):
        reply(Local(lambda messages, seed: _raise(error)))


# The project's models.


@pytest.fixture(scope="module")
def models():
    return catalogue.local_models()


def test_local_models_are_of_three_families(models):
    assert {"agent-value", "agent-rater", "agent-recogniser", "learner-words"} <= set(models)
    assert {model.family for model in models.values()} == {"reference agent", "text learner", HEAD}
    assert all(name == model.name and model.description for name, model in models.items())


#: All models except those that need PyTorch or the weights of an open model.
NEEDS_NO_WEIGHTS = [
    name
    for name, model in catalogue.local_models().items()
    if name != "learner-encoder" and model.family != HEAD
]
#: Agents whose rules decline some questions, or answer off the point.
NOT_ALWAYS_READABLE = (
    "agent-declining",
    "agent-rater-stray",
    "agent-profile-malformed",
    "agent-profile-refusing",
    "agent-coder-erring",
)


@functools.cache
def questions_of(study):
    """A few first messages of a study's smallest set."""
    found = catalogue.study(study)
    return [conversation.messages(()) for conversation in found.conversations(found.items("smoke"))][::15]


@pytest.mark.parametrize("name", NEEDS_NO_WEIGHTS)
def test_every_local_model_answers_readably_and_repeatably(models, name):
    listed = catalogue.registry().paper
    study = catalogue.study(next(study for study, names in listed.items() if name in names).split("/")[0])
    for messages in questions_of(study.name):
        asked = {"seed": 5, "logprobs": True, "top_logprobs": 9, **study.parameters}
        one, same = (reply(models[name], messages, **asked) for _ in range(2))
        assert one == same
        whole = models[name].reply(messages, 5).text
        assert whole == one.text or one.finish_reason == "length"
        received = Received(one.text, None, one.finish_reason, messages[-1]["content"])
        assert study.read(received).status == "answered" or name in NOT_ALWAYS_READABLE
        for token in one.logprobs["content"]:
            assert sum(math.exp(entry["logprob"]) for entry in token["top_logprobs"]) == pytest.approx(1)


@pytest.mark.parametrize("name", ["agent-value", "learner-words"])
@pytest.mark.parametrize("prompt", ["Hello", "", "Option A: one\nOption C: two", "Option A: \nOption B: \n"])
def test_a_prompt_of_another_kind_is_not_understood(models, name, prompt):
    with pytest.raises(ValueError, match="pair of options"):
        reply(models[name], [{"role": "user", "content": prompt}])


def test_unknown_wordings_are_not_understood(models):
    prompt = "Option A: An agent that juggles.\nOption B: An agent that sings."
    with pytest.raises(ValueError, match="not a value and a pole in wordings of the bank"):
        reply(models["agent-value"], [{"role": "user", "content": prompt}])

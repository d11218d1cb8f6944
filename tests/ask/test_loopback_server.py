"""The loopback server with the real client: completions, log probabilities, errors in OpenAI's format."""

import functools
import http.client
import json
import math
import socket
import threading
from urllib.parse import urlsplit

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.ask import catalogue
from deepvalues.ask.loopback import Reply, server
from deepvalues.ask.loopback.server import create_app, serve_forever, serving, tokens
from deepvalues.ask.reading import Received
from deepvalues.ask.registry import HEAD
from deepvalues.core.errors import UserError


class Model:
    """A local model whose reply is a function of messages and seed."""

    def __init__(self, name, reply):
        self.name, self.reply = name, reply
        self.family, self.description = "reference agent", f"answers as {name}"


def _raise(error):
    raise error


WORDS = "One, two three\n four."
WEIGHED = Reply("I say Option B", {"A": 0.25, "B": 0.75})
STUBS = [
    Model("echo", lambda messages, seed: Reply(messages[-1]["content"])),
    Model("seeded", lambda messages, seed: Reply(f"seed {seed}")),
    Model("counting", lambda messages, seed: Reply(str(len(messages)))),
    Model("words", lambda messages, seed: Reply(WORDS)),
    Model("weighing", lambda messages, seed: WEIGHED),
    Model("repeating", lambda messages, seed: Reply("B, B", {"A": 0.25, "B": 0.75})),
    Model("certain", lambda messages, seed: Reply("Option A", {"A": 1.0, "B": 0.0})),
    Model("org/slashed", lambda messages, seed: Reply("yes")),
    Model("unreadable", lambda messages, seed: _raise(ValueError("no pair of options"))),
    Model("uninstalled", lambda messages, seed: _raise(UserError("needs the package torch"))),
    Model("crashing", lambda messages, seed: _raise(RuntimeError("a bug"))),
]


@pytest.fixture(scope="module")
def url():
    with serving(create_app({model.name: model for model in STUBS})) as url:
        yield url


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def complete(client):
    """Ask a model; a text becomes one user message."""

    def complete(model, messages="Hello", **parameters):
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        return client.chat.completions.create(model=model, messages=messages, **parameters)

    return complete


@pytest.fixture(scope="module")
def send(url):
    """Send a raw request; returns status, headers and the decoded body."""

    def send(method, path, body=None):
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        connection.request(method, path, body)
        response = connection.getresponse()
        content = json.loads(response.read())
        connection.close()
        return response.status, response.headers, content

    return send


def post(send, body):
    return send("POST", "/v1/chat/completions", json.dumps(body))


HELLO = [{"role": "user", "content": "Hello"}]


# Completions.


def test_models_are_listed_in_order(client):
    listed = client.models.list().data
    assert [model.id for model in listed] == [model.name for model in STUBS]
    assert {model.object for model in listed} == {"model"}
    assert listed[0].family == "reference agent"
    assert listed[0].description == "answers as echo"


@pytest.mark.parametrize("name", ["echo", "org/slashed"])
def test_a_model_is_described(client, name):
    assert client.models.retrieve(name).id == name


def test_a_completion_has_the_protocols_format(complete):
    completion = complete("words", "How many, then?")
    assert completion.object == "chat.completion"
    assert completion.id.startswith("chatcmpl-")
    assert completion.model == "words"
    assert completion.system_fingerprint.startswith("deepvalues-")
    (choice,) = completion.choices
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert (choice.message.role, choice.message.content, choice.message.refusal) == ("assistant", WORDS, None)


def test_usage_counts_the_tokens_of_all_messages_and_of_the_reply(complete):
    usage = complete("words", [{"role": "system", "content": "Be brief!"}, *HELLO]).usage
    # "Be", "brief", "!" and "Hello"; "One", ",", "two", "three", "four", ".".
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (4, 6, 10)


@pytest.mark.parametrize("text", ["Größe\n\t😀", "", "  spaces  ", "\u2028"])
def test_a_reply_comes_through_unchanged(complete, text):
    assert complete("echo", text).choices[0].message.content == text


def test_all_messages_reach_the_model(complete):
    roles = ("system", "user", "assistant", "user")
    messages = [{"role": role, "content": role} for role in roles]
    assert complete("counting", messages).choices[0].message.content == "4"


def test_the_seed_decides_and_is_zero_by_default(complete):
    assert complete("seeded", seed=7).choices[0].message.content == "seed 7"
    assert complete("seeded", seed=2**31 - 1).choices[0].message.content == f"seed {2**31 - 1}"
    assert complete("seeded").choices[0].message.content == "seed 0"


def test_the_same_request_gets_the_same_completion(complete):
    one, same, other = (complete("seeded", seed=seed) for seed in (1, 1, 2))
    assert one.id == same.id != other.id
    assert one.choices == same.choices != other.choices


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(("most", "text"), [(0, ""), (1, "One"), (2, "One,"), (5, "One, two three\n four")])
def test_a_reply_is_cut_at_the_limit(complete, name, most, text):
    completion = complete("words", **{name: most})
    assert completion.choices[0].message.content == text
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens == most


@pytest.mark.parametrize("most", [6, 7, None])
def test_an_unreached_limit_changes_nothing(complete, most):
    choice = complete("words", max_tokens=most).choices[0]
    assert (choice.message.content, choice.finish_reason) == (WORDS, "stop")


def test_the_newer_name_of_the_limit_takes_precedence(complete):
    assert complete("words", max_tokens=5, max_completion_tokens=1).choices[0].message.content == "One"


@given(st.text(max_size=60))
def test_tokens_contain_the_whole_text_except_trailing_spaces(text):
    split = tokens(text)
    assert "".join(split) == text.rstrip() or not text.strip()
    assert all(token.strip() for token in split)


def test_unknown_parameters_have_no_effect(complete):
    plain = complete("words")
    assert complete("words", temperature=0.7, top_p=0.1, user="me").choices == plain.choices


# Log probabilities.


def test_the_deciding_token_carries_the_probabilities(complete):
    choice = complete("weighing", logprobs=True, top_logprobs=5).choices[0]
    shown = choice.logprobs.content
    assert "".join(token.token for token in shown) == choice.message.content
    *before, last = shown
    assert [token.logprob for token in before] == [0.0] * len(before)
    assert last.token == " B"
    assert last.logprob == pytest.approx(math.log(0.75))
    top = {entry.token: math.exp(entry.logprob) for entry in last.top_logprobs}
    assert top == pytest.approx({" B": 0.75, " A": 0.25})
    assert [entry.token for entry in last.top_logprobs] == [" B", " A"], "the most likely first"


def test_the_probabilities_of_every_token_sum_to_one(complete):
    for token in complete("weighing", logprobs=True, top_logprobs=5).choices[0].logprobs.content:
        assert sum(math.exp(entry.logprob) for entry in token.top_logprobs) == pytest.approx(1)
        assert bytes(token.bytes).decode() == token.token
        assert token.token in {entry.token for entry in token.top_logprobs}


def test_only_the_first_mention_of_an_option_decides(complete):
    content = complete("repeating", logprobs=True, top_logprobs=5).choices[0].logprobs.content
    assert [(token.token, len(token.top_logprobs)) for token in content] == [("B", 2), (",", 1), (" B", 1)]


def test_an_impossible_token_has_a_number_that_json_can_hold(complete):
    token = complete("certain", logprobs=True, top_logprobs=2).choices[0].logprobs.content[-1]
    assert {entry.token: entry.logprob for entry in token.top_logprobs} == {" A": 0.0, " B": -9999.0}


@pytest.mark.parametrize(("top", "count"), [(0, 0), (1, 1), (2, 2), (20, 2)])
def test_as_many_alternatives_are_shown_as_asked_for(complete, top, count):
    last = complete("weighing", logprobs=True, top_logprobs=top).choices[0].logprobs.content[-1]
    assert len(last.top_logprobs) == count


def test_log_probabilities_are_those_of_the_shown_tokens(complete):
    content = complete("weighing", logprobs=True, max_tokens=2).choices[0].logprobs.content
    assert [token.token for token in content] == ["I", " say"]


# Errors.


def test_an_unknown_model_is_not_found(complete):
    with pytest.raises(openai.NotFoundError) as caught:
        complete("gpt-17")
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert "'gpt-17' does not exist; there are echo," in caught.value.message


def test_an_unknown_model_has_no_description(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-17")
    assert caught.value.code == "model_not_found"


def test_an_unreadable_prompt_is_a_bad_request(complete):
    with pytest.raises(openai.BadRequestError, match="no pair of options") as caught:
        complete("unreadable")
    assert caught.value.param == "messages"


def test_a_missing_installation_is_status_501(client):
    with pytest.raises(openai.InternalServerError, match="needs the package torch") as caught:
        client.chat.completions.create(model="uninstalled", messages=HELLO)
    assert caught.value.status_code == 501
    assert caught.value.code == "model_not_available"
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_crash_is_a_server_error_in_the_same_format(client, caplog):
    with pytest.raises(openai.InternalServerError, match="RuntimeError: a bug") as caught:
        client.chat.completions.create(model="crashing", messages=HELLO)
    assert caught.value.status_code == 500
    assert caught.value.type == "server_error"
    assert "crashing failed" in caplog.text
    assert "Traceback" in caplog.text
    assert client.chat.completions.create(model="echo", messages=HELLO), "and the server goes on"


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"stream": True}, "stream"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"model": None}, "model"),
        ({"model": 3}, "model"),
        ({"model": ["echo"]}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": ["Hello"]}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages"),
        ({"messages": [{"role": "robot", "content": "Hello"}]}, "messages"),
        ({"messages": [{"content": "Hello"}]}, "messages"),
        ({"seed": "7"}, "seed"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": True}, "seed"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_completion_tokens": "ten"}, "max_completion_tokens"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": "two"}, "top_logprobs"),
    ],
    ids=repr,
)
def test_a_wrong_parameter_is_named(send, changed, param):
    status, _, content = post(send, {"model": "echo", "messages": HELLO, **changed})
    assert status == 400
    assert content["error"]["type"] == "invalid_request_error"
    assert content["error"]["param"] == param
    assert param in content["error"]["message"]
    assert set(content["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "changed", [{"stream": False}, {"tools": []}, {"n": 1}, {"seed": None}, {"top_logprobs": 0}]
)
def test_default_values_are_accepted(send, changed):
    status, _, _ = post(send, {"model": "echo", "messages": HELLO, **changed})
    assert status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"not JSON", b"\xff\xfe", b"[]", b'"text"', b"null", b"3"])
def test_a_body_that_is_not_an_object_is_rejected(send, body):
    status, headers, content = send("POST", "/v1/chat/completions", body)
    assert status == 400
    assert headers["content-type"] == "application/json"
    assert "JSON" in content["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("POST", "/v1/completions", 404),
        ("POST", "/chat/completions", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models/echo", 405),
    ],
)
def test_an_unknown_route_is_reported_in_the_same_format(send, method, path, status):
    found, headers, content = send(method, path)
    assert found == status
    assert headers["content-type"] == "application/json"
    assert f"{method} {path}" in content["error"]["message"]
    assert content["error"]["type"] == "invalid_request_error"


# Serving.


def test_the_server_is_on_loopback_only(url):
    assert urlsplit(url).hostname == "127.0.0.1" == server.HOST
    assert urlsplit(url).path == "/v1"


def test_the_server_ends_with_its_block():
    with serving(create_app({})) as url:
        address = ("127.0.0.1", urlsplit(url).port)
        socket.create_connection(address).close()
        names = {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    assert len({thread.name for thread in threading.enumerate()}) < len(names)


def test_the_server_ends_with_its_block_when_that_fails():
    with pytest.raises(RuntimeError, match="in the block"), serving(create_app({})) as url:
        address = ("127.0.0.1", urlsplit(url).port)
        raise RuntimeError("in the block")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_two_servers_are_served_at_once(url):
    with serving(create_app({"only": Model("only", None)})) as other:
        assert other != url
        for base_url, count in [(url, len(STUBS)), (other, 1)]:
            with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
                assert len(client.models.list().data) == count


def test_replies_are_not_delayed():
    # Nagle's algorithm and delayed acknowledgements together cost 40 ms a reply; asyncio switches the
    # former off for sockets that name their protocol, and accepted ones inherit that from the listener.
    with server._listener(0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP


def test_a_port_in_use_is_reported():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UserError, match=rf"can't use port {port} .*in use.*; choose another one with --port"
        ):
            serve_forever(create_app({}), port)


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_invalid_port_is_reported(port):
    with pytest.raises(UserError, match=f"can't use port {port}: ports range from 0 to 65535;"):
        serve_forever(create_app({}), port)


# The project's models.


@pytest.fixture(scope="module")
def earnest():
    models = catalogue.local_models()
    with (
        serving(create_app(models)) as url,
        openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client,
    ):
        yield client, models


def test_every_local_model_is_served_and_described(earnest):
    client, models = earnest
    listed = {model.id: (model.family, model.description) for model in client.models.list().data}
    assert listed == {name: (model.family, model.description) for name, model in models.items()}
    assert {"agent-value", "agent-rater", "agent-recogniser", "learner-words"} <= set(listed)
    assert {family for family, _ in listed.values()} == {"reference agent", "text learner", HEAD}


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
def test_every_local_model_answers_readably_and_repeatably(earnest, name):
    client, models = earnest
    listed = catalogue.registry().paper
    study = catalogue.study(next(study for study, names in listed.items() if name in names).split("/")[0])
    for messages in questions_of(study.name):
        asked = {"model": name, "messages": messages, "seed": 5, "logprobs": True, "top_logprobs": 9}
        one, same = (client.chat.completions.create(**asked, **study.parameters) for _ in range(2))
        assert one.choices == same.choices
        choice = one.choices[0]
        whole = models[name].reply(messages, 5).text
        assert whole == choice.message.content or choice.finish_reason == "length"
        received = Received(choice.message.content, None, choice.finish_reason, messages[-1]["content"])
        assert study.read(received).status == "answered" or name in NOT_ALWAYS_READABLE
        for token in choice.logprobs.content:
            assert sum(math.exp(entry.logprob) for entry in token.top_logprobs) == pytest.approx(1)


@pytest.mark.parametrize("name", ["agent-value", "learner-words"])
@pytest.mark.parametrize("prompt", ["Hello", "", "Option A: one\nOption C: two", "Option A: \nOption B: \n"])
def test_a_prompt_of_another_kind_is_a_bad_request(earnest, name, prompt):
    client, _ = earnest
    with pytest.raises(openai.BadRequestError, match="pair of options"):
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": prompt}])


def test_unknown_wordings_are_a_bad_request(earnest):
    client, _ = earnest
    prompt = "Option A: An agent that juggles.\nOption B: An agent that sings."
    with pytest.raises(openai.BadRequestError, match="not a value and a pole in wordings of the bank"):
        client.chat.completions.create(model="agent-value", messages=[{"role": "user", "content": prompt}])

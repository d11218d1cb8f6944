"""Replies that deviate from the protocol, and how they are read; nothing is discarded.

Replies are received by the program itself, from a server on loopback, and read by Study 1.
"""

import json
from collections import Counter
from dataclasses import replace

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.ask import catalogue, on_record, protocol, run_query
from deepvalues.ask.money import Usage
from deepvalues.ask.record import Record, read_line
from deepvalues.ask.registry import Endpoint, Model, Price
from deepvalues.ask.settings import Settings
from deepvalues.core.errors import UserError
from faulty_server import FaultyServer, completion, error, http

KEY = "sk-MARKED-0123456789"
USED = {"prompt_tokens": 100, "completion_tokens": 4}


def body(content, finish="stop", usage=USED, choice=(), **message):
    """A chat completion with unusual parts."""
    reply = completion(content, finish_reason=finish, **dict(choice))
    reply["choices"][0]["message"].update(message)
    return {**reply, "usage": usage}


class Asking:
    """Asks a server, one request at a time, and shows how its replies were read."""

    def __init__(self, folder, items):
        self.folder, self.items = folder, items

    def ask(self, rule, number=5, *, after="", retry=(), model=None, key_variable=None, **settings):
        """The server and the outcome of the run; ``rule`` gets the number of the request and its body.

        ``after`` stands in for the server's /v1 behind its address.
        """
        self.number = number
        with FaultyServer(lambda _text, _n, sent: rule(server.requests - 1, sent)) as server:
            url = server.url if not after else server.url.removesuffix("/v1") + after.removeprefix("-")
            model = model or catalogue.registry().model("m", url, key_variable)
            model = model if model.endpoint.base_url else at(model, url)
            # The same respondent for any port.
            model = replace(model, endpoint=replace(model.endpoint, kind="custom"))
            how = Settings(max_retries=0, concurrency=1, **settings)
            done = run_query.query(
                "dvb", [model], self.items.head(number), record_folder=self.folder, settings=how,
                retry=frozenset(retry),
            )  # fmt: skip
        return server, run_query.Outcome(*done.iloc[0])

    def read(self):
        """Status and choice of each item, in the order in which they were asked."""
        model = at(Model("m", Endpoint("custom", None, None), "m"), "http://127.0.0.1/v1")
        frame = on_record.answers("dvb", [model], self.items.head(self.number), self.folder)
        return [
            (row.status, row.choice if row.status == "answered" else row.error) for row in frame.itertuples()
        ]

    def statuses(self):
        return [status for status, _ in self.read()]

    def lines(self):
        """The record's lines by item."""
        found = Record(self.folder / "dvb" / "m.jsonl").answers.values()
        order = list(self.items["id"])
        return sorted(found, key=lambda answer: order.index(answer.item))

    def log(self):
        path = self.folder / "dvb" / "m.log.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def failures(self):
        return [entry["message"] for entry in self.log() if "error" in entry]


def at(model, url):
    """A model at another URL."""
    return Model(model.name, Endpoint("custom", url, None), "m", price=model.price)


@pytest.fixture
def asked(tmp_path, items_smoke, monkeypatch):
    for name in VENDORS:
        monkeypatch.delenv(name, raising=False)
    return Asking(tmp_path, items_smoke)


def fine(*_):
    return http(body("Option A"))


# Filtered prompts.

FILTERED = {
    "Azure": (400, {"error": {"message": "It was filtered.", "code": "content_filter", "innererror": {}}}),
    "DeepSeek": (400, {"detail": "Content Exists Risk"}),
    "DashScope": (400, {"error": {"message": "Failed.", "code": "data_inspection_failed"}}),
    "DashScope's words": (400, {"message": "Output data may contain inappropriate content."}),
    "OpenRouter": (403, {"error": {"message": "no", "metadata": {"note": "your input was flagged"}}}),
    "plain": (400, "Content Exists Risk"),
    "list": (400, [{"error": {"code": 400, "message": "no", "status": "PROHIBITED_CONTENT"}}]),
}  # fmt: skip


@pytest.mark.parametrize(("status", "said"), FILTERED.values(), ids=FILTERED)
def test_a_filtered_prompt_is_a_recorded_refusal(asked, status, said):
    stopped = http(said.encode() if isinstance(said, str) else said, status)
    rule = lambda n, _: stopped if n == 1 else fine()  # noqa: E731
    _, done = asked.ask(rule)
    assert (done.asked, done.failed) == (5, 0)
    assert Counter(asked.read()) == {("answered", "A"): 4, ("refused", None): 1}
    assert done.unread == "4 of 5 could be read: 1 refused"
    server, done = asked.ask(fine)
    assert (server.requests, done.replayed) == (0, 5), "it holds nothing up"
    assert asked.ask(fine, retry=["failed", "unparsable"])[0].requests == 0
    assert asked.ask(fine, retry=["refused"])[0].requests == 1
    assert asked.read() == [("answered", "A")] * 5


def test_other_errors_with_that_status_are_not_refusals(asked):
    for said in ({"error": {"message": "unknown parameter", "code": "invalid"}}, "bad request", None, [], 7):
        _, done = asked.ask(lambda _n, _, said=said: http(json.dumps(said).encode(), 400))
        assert (done.asked, done.failed) == (0, 5)


# Errors with status 200.


def test_an_error_with_status_200_is_a_failure_and_retried(asked):
    away = {"error": {"code": 502, "message": "the upstream went away"}}
    replies = [
        body("Option B"),
        body("", finish="error", choice=away),
        body("Looking at the examples, Option A", finish="ERROR", choice=away),
        {"error": {"code": 429, "message": "the upstream is busy"}, "user_id": "u"},
        body("Option A", choice=away),
    ]
    _, done = asked.ask(lambda n, _: http(replies[n]))
    assert (done.asked, done.failed) == (1, 4)
    assert [entry["error"] for entry in asked.log() if "error" in entry] == ["ReportedError"] * 4
    assert [("the upstream" in message) for message in asked.failures()] == [True] * 4
    server, _ = asked.ask(fine)
    assert server.requests == 4
    assert asked.statuses() == ["answered"] * 5


# Unusual content, finish reasons and messages.


def test_text_parts_are_joined_and_others_kept(asked):
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Option B. No: calm."}]}
    contents = [
        [thinking, {"type": "text", "text": "Option "}, {"type": "text", "text": "A"}],
        ["Option A"],
        {"type": "text", "text": "Option A"},
        [{"type": "image_url", "url": "x"}],
        [],
    ]
    asked.ask(lambda n, _: http(body(contents[n])))
    assert asked.read()[:3] == [("answered", "A")] * 3
    assert asked.statuses()[3:] == ["unparsable"] * 2
    kept = [answer.more for answer in asked.lines()]
    assert kept == [{"content": [thinking]}, None, None, {"content": contents[3]}, None]


def test_finish_reasons_of_other_apis_are_understood(asked):
    cut = body(None, finish="MAX_TOKENS")
    del cut["choices"][0]["message"]["content"]
    null = body(None, finish="content_filter")
    null["choices"][0]["message"] = None
    nothing = {**body("x"), "choices": [], "prompt_filter_results": [{"violence": "high"}]}
    replies = [
        body("Looking at the examples, Option A", finish="MAX_TOKENS"),
        cut, body(None, finish="SAFETY"), null, nothing,
    ]  # fmt: skip
    _, done = asked.ask(lambda n, _: http(replies[n]))
    assert done.failed == 0
    assert asked.statuses() == ["truncated", "truncated", "refused", "refused", "refused"]
    assert [answer.more for answer in asked.lines()] == [
        {"finish_reason": "MAX_TOKENS"},
        {"finish_reason": "MAX_TOKENS"},
        {"finish_reason": "SAFETY"},
        None,
        {"choices": [], "prompt_filter_results": [{"violence": "high"}]},
    ]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("STOP", "stop"), ("end_turn", "stop"), ("Length", "length"), ("model_length", "length"),
        ("content_filter: hate", "content_filter"), ("FinishReason.SPII", "content_filter"),
        ("BLOCKLIST", "content_filter"), ("recitation", "content_filter"), ("tool_calls", "tool_calls"),
        ("Whatever: x", "Whatever: x"), (None, None),
    ],
)  # fmt: skip
def test_finish_reasons_ignore_case(given, meant):
    assert protocol.receive(body("Option A", finish=given)).finish_reason == meant


def test_a_reply_at_the_token_limit_was_truncated_whatever_its_reason(asked):
    def rule(n, sent):
        used = {"prompt_tokens": 100, "completion_tokens": sent["max_tokens"] - n % 2}
        return http(body("Looking at the examples so far, Option A", usage=used))

    asked.ask(rule, 2)
    assert [(each.finish_reason, each.more) for each in asked.lines()] == [
        ("length", {"finish_reason": "stop"}),
        ("stop", None),
    ]
    assert asked.statuses()[0] == "truncated"


def test_thinking_that_uses_up_all_tokens_stops_the_run(asked):
    def rule(_n, sent):
        used = {"prompt_tokens": 100, "completion_tokens": sent["max_tokens"]}
        return http(body("", finish="length", usage=used, reasoning_content="Let me look"))

    with pytest.raises(
        UserError, match=r"the first 25 replies are all empty and cut off: .*raise max_tokens"
    ):
        asked.ask(rule, 45)
    assert len(asked.lines()) == 25, "what was paid for is on record"
    assert {answer.more["reasoning_content"] for answer in asked.lines()} == {"Let me look"}


@pytest.mark.parametrize("said", ["<think>Let me look", "<think>Let me</think>\n", " \n"])
def test_thinking_alone_is_not_a_reply(asked, said):
    with pytest.raises(UserError, match="the first 25 replies are all empty"):
        asked.ask(lambda *_: http(body(said, finish="length")), 45)


def test_one_early_reply_or_refusal_lets_a_run_continue(asked):
    said = [body("Option A"), body(None, refusal="I won't."), body(None, finish="content_filter")]
    for number, first in enumerate(said):
        again = asked.folder / str(number)
        once = Asking(again, asked.items)
        _, done = once.ask(
            lambda n, _, first=first: http(first if n == 20 else body("", finish="length")), 45
        )
        assert done.asked == 45
        assert (
            done.unread.endswith(" could be read: 44 truncated; this model may need more max_tokens")
            or number
        )


def test_an_answer_in_the_reasoning_field_is_kept(asked):
    _, done = asked.ask(lambda *_: http(body(None, reasoning_content="Option A")))
    assert asked.statuses() == ["unparsable"] * 5
    assert [(each.text, each.more) for each in asked.lines()] == [
        (None, {"reasoning_content": "Option A"})
    ] * 5
    assert done.unread == "0 of 5 could be read: 5 unparsable"
    with pytest.raises(UserError, match=r"all empty; other content is on record, in reasoning_content"):
        asked.ask(lambda *_: http(body(None, reasoning_content="Option A")), 45)


CHOICES = body("Option A")["choices"]
ODD = {
    "number for text": (body(7), {"message.content": 7}),
    "number for usage": (body("Option A", usage=7), {"usage": 7}),
    "list for tokens": (body("Option A", usage={"prompt_tokens": [1]}), {"usage.prompt_tokens": [1]}),
    "less than none": (body("Option A", usage={"prompt_tokens": -1}), {"usage.prompt_tokens": -1}),
    "number for a reason": (body("Option A", finish=2), {"finish_reason": 2}),
    "list for a model": ({**body("Option A"), "model": ["m"]}, {"model": ["m"]}),
    "two choices": ({**body("Option A"), "choices": CHOICES * 2}, {"choices": CHOICES}),
    "two, of which one is odd": ({**body("Option A"), "choices": [*CHOICES, 7]}, {"choices": [7]}),
    "tools": (body("Option A", tool_calls=[7], audio=None, annotations=[]), {"tool_calls": [7]}),
}  # fmt: skip


@pytest.mark.parametrize(("reply", "more"), ODD.values(), ids=ODD)
def test_what_is_not_understood_is_kept(asked, reply, more):
    _, done = asked.ask(lambda *_: http(reply), 1)
    (line,) = asked.lines()
    assert (done.failed, line.more) == (0, more)
    assert line.text == (None if "message.content" in more else "Option A")
    assert read_line(line.line().rstrip(b"\n"), "here") == line


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def bodies(draw):
    """Completions with an arbitrary or missing value in some place."""
    reply = body("Option A")
    places = [(), ("choices",), ("choices", 0), ("choices", 0, "message"), ("usage",), ("model",), ("error",)]
    places += [("choices", 0, name) for name in ("finish_reason", "logprobs", "error", "new")]
    places += [("choices", 0, "message", name) for name in ("content", "refusal", "new")]
    places += [("usage", name) for name in ("prompt_tokens", "completion_tokens", "prompt_tokens_details")]
    place, put = draw(st.sampled_from(places)), draw(VALUES)
    if not place:
        return put
    inside = reply
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = put
    return reply


@given(bodies())
def test_any_body_gives_a_typed_reply_or_a_clear_failure(sent):
    protocol.usage(sent)
    try:
        reply = protocol.receive(sent, 10)
    except (protocol.MalformedReplyError, protocol.ReportedError) as failure:
        assert str(failure)
        return
    assert isinstance(reply.more, dict | None)
    texts = (reply.text, reply.refusal, reply.finish_reason, reply.model, reply.fingerprint)
    assert all(isinstance(text, str | None) for text in texts)
    counts = (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens)
    assert all(count is None or (isinstance(count, int) and count >= 0) for count in counts)


def test_unusable_replies_count_against_the_maximum(asked):
    def rule(_n, _):
        return http({"choices": "none", "usage": {"prompt_tokens": 1000, "completion_tokens": 0}})

    priced = Model("m", Endpoint("custom", None, None), "m", price=Price(100.0, 100.0, 100.0, "2025-01-01"))
    with pytest.raises(UserError, match=r"could exceed the maximum of \$1"):
        asked.ask(rule, 45, model=priced, max_cost=1.0)
    assert len(asked.failures()) <= 10, "each costs $0.10"
    assert protocol.usage({"usage": {"prompt_tokens": 1000}}) == Usage(1000.0, 0.0, 0.0)


# URLs, and messages about them.


@pytest.mark.parametrize(
    "after",
    [
        "/v1",
        "/v1/",
        "/v1/chat/completions",
        "/v1/chat/completions/",
        "/openai/d?api-version=2024-10-21",
        "/a/b/",
    ],
)
def test_a_base_url_may_be_a_full_url_with_a_query(asked, after):
    server, done = asked.ask(fine, 1, after=after)
    assert done.failed == 0
    path, _, query = after.partition("?")
    path = path.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
    wanted = f"{path}?{query}" if query else path
    assert server.headers[0].startswith(f"POST {wanted} HTTP/1.1\r\n".encode())


NOWHERE = {
    "404": (lambda *_: http({"detail": "Not Found"}, 404), "HTTP 404.*Not Found"),
    "a page": (lambda *_: http(b"<!doctype html><html>"), "not JSON: <!doctype html><html>"),
    "said with a 200": (lambda *_: http({"error": "Unexpected endpoint (POST)"}), "Unexpected endpoint"),
}


@pytest.mark.parametrize(("rule", "shown"), NOWHERE.values(), ids=NOWHERE)
def test_a_base_url_without_v1_is_reported_with_url_and_response(asked, rule, shown):
    with pytest.raises(
        UserError, match=rf"is /v1 missing.*http://127\.0\.0\.1:\d+/chat/completions: .*{shown}"
    ):
        asked.ask(rule, 45, after="-")
    assert "is /v1 missing" not in stopped(asked, rule), "where it is there nobody is asked for it"


@pytest.mark.slow
def test_a_very_long_reply_is_kept_and_read(asked):
    long = "The user likes calm. " * 100_000
    asked.ask(lambda n, _: http(body(long, "length") if n == 3 else body("Option A")))
    assert asked.read() == [("answered", "A")] * 3 + [("truncated", None), ("answered", "A")]
    assert asked.lines()[3].text == long


def stopped(asked, rule, **options):
    """The message with which a run stops."""
    with pytest.raises(UserError, match="stopped because") as caught:
        asked.ask(rule, 45, **options)
    return str(caught.value)


def test_an_unrequested_stream_is_reported(asked):
    chunk = b'data: {"choices": [{"delta": {"content": "Option A"}}]}\n\ndata: [DONE]\n\n'
    message = stopped(asked, lambda *_: http(chunk))
    assert 'an event stream, which was not requested: data: {"choices"' in message


WORDED = [
    (422, {"detail": [{"loc": ["body", "seed"], "msg": "REASON"}]}),
    (422, {"object": "error", "message": {"detail": [{"msg": "REASON"}]}, "type": "invalid"}),
    (400, {"object": "error", "message": "REASON", "code": 400}),
    (400, {"error": "REASON"}),
    (400, {"detail": "REASON"}),
    (400, [{"error": {"code": 400, "message": "REASON"}}]),
    (400, b"REASON"),
    (400, {"message": "REASON", "statusCode": 400}),
    (400, {"error": {"message": "REASON"}}),
    (400, {"errors": [{"message": "REASON"}]}),
    (400, {"error": {"message": None, "metadata": {"raw": "REASON"}}}),
    (400, {"error": {"message": "Provider returned error", "metadata": {"raw": "REASON"}}}),
    (400, "größer: REASON".encode("latin-1")),
    (500, {"error": {"message": "REASON"}}),
]


def test_errors_are_shown_in_any_format(asked, monkeypatch):
    monkeypatch.setenv("OWN_KEY", KEY)

    def rule(n, _):
        status, said = WORDED[n]
        text = said if isinstance(said, bytes) else json.dumps(said).encode()
        return http(text.replace(b"REASON", f"no {KEY} {'x' * 500} {KEY}".encode()), status)

    asked.ask(rule, len(WORDED), key_variable="OWN_KEY")
    messages = asked.failures()
    assert len(messages) == len(WORDED)
    for message, (status, _) in zip(messages, WORDED, strict=True):
        assert f"/v1/chat/completions: HTTP {status}: " in message
        assert "no [API key] xxx" in message
        assert KEY[:8] not in message
        assert len(message) < 400, "cut"


def test_a_rejected_parameter_is_named_with_advice(asked):
    refused = {"object": "error", "message": {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs"}]}}
    message = stopped(asked, lambda *_: http(refused, 422))
    assert "to omit seed, put `parameters: {seed: null}` in the model's entry" in message
    assert "Extra inputs" in message


def test_secrets_in_a_url_are_not_shown():
    address = "http://me:pw@host/v1/x?api-version=1&api-key=secret&sig=s"
    failed = openai.APIConnectionError(request=httpx2.Request("POST", address))
    assert protocol.describe(failed, Model("m", Endpoint("custom", None, None), "m")).startswith(
        "http://host/v1/x?api-version=1&api-key=…&sig=…: "
    )


@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy"])
def test_a_socks_proxy_is_reported_before_anything_is_sent(asked, monkeypatch, variable):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv(variable, "socks5://127.0.0.1:9")
    model = catalogue.registry().model("m", "http://endpoint.invalid/v1")
    with pytest.raises(UserError, match=f"^{variable.upper()} is a SOCKS proxy.*http:// proxy, or unset it"):
        asked.ask(fine, model=model)


# A key is sent only to its own host.


VENDORS = ("OPENAI_API_KEY", "GEMINI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY")


@pytest.mark.parametrize("name", ["my-model", "gpt-4.1-nano-2025-04-14", "claude-any", "gemini-2.0-flash"])
def test_no_vendors_key_is_sent_to_another_url(asked, monkeypatch, name):
    for variable in (*VENDORS, "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(variable, KEY)
    with FaultyServer(lambda *_: fine()) as server:
        model = catalogue.registry().model(name, server.url)
        run_query.query("dvb", [model], asked.items.head(2), record_folder=asked.folder)
    assert server.requests == 2
    assert KEY.encode() not in b"".join(server.headers)
    assert b"authorization: Bearer none\r\n" in server.headers[0]


def test_the_key_that_a_variable_names_is_sent(asked, monkeypatch):
    monkeypatch.setenv("OWN_KEY", KEY)
    server, _ = asked.ask(fine, 1, key_variable="OWN_KEY")
    assert f"authorization: Bearer {KEY}\r\n".encode() in server.headers[0]
    monkeypatch.delenv("OWN_KEY")
    with pytest.raises(UserError, match=r"m: no API key: set the environment variable OWN_KEY"):
        asked.ask(fine, key_variable="OWN_KEY")


def test_a_vendors_key_is_sent_only_to_its_host():
    registry = catalogue.registry()

    def variable(url, name="my-model"):
        return registry.model(name, url).endpoint.key_variable

    assert variable("https://api.openai.com/v1") == "OPENAI_API_KEY"
    assert variable("https://API.openai.com:443/other/path?x=1") == "OPENAI_API_KEY"
    assert variable("https://api.anthropic.com/v1", "gpt-4.1-nano-2025-04-14") == "ANTHROPIC_API_KEY"
    for stranger in ("http://api.openai.com/v1", "https://api.openai.com:8443/v1", "http://127.0.0.1:8011/v1",
                     "https://api.openai.com.example.org/v1", "https://api.openai.com@example.org/v1",
                     "https://openai.com/v1"):  # fmt: skip
        assert variable(stranger, "gpt-4.1-nano-2025-04-14") is None
    with pytest.raises(UserError, match="--key-variable names the key for --base-url"):
        registry.model("my-model", None, "OWN_KEY")


def test_a_rejection_without_a_key_says_how_to_set_one(asked):
    message = stopped(asked, lambda *_: error(401, "no key"))
    assert "(no key was sent; name the variable that holds it with --key-variable)" in message

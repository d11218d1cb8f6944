"""The engine with well-behaved and faulty endpoints: nothing is asked twice or lost."""

import asyncio
import inspect
import json
import os
import pickle
import signal
import socket
import sys
import traceback
from collections import Counter
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from deepvalues.ask import asker, processes
from deepvalues.ask.conversation import Conversation, digest, key_head, request_key
from deepvalues.ask.engine import Ask, Job, Summary, recorded
from deepvalues.ask.local import Reply
from deepvalues.ask.processes import run_async
from deepvalues.ask.questions import Questions
from deepvalues.ask.reading import Reading
from deepvalues.ask.record import Answer, Record
from deepvalues.ask.registry import Endpoint, Model
from deepvalues.ask.run_query import _stop_if_stopped
from deepvalues.ask.settings import Settings
from deepvalues.core.errors import UserError
from local_server import serving

KEY = "sk-MARKED-0123456789"
#: Far longer than any test takes: a wait this long waits for something that never comes.
PATIENCE = 30


#: No retries; tests of retries set their own number.
SETTINGS = Settings(max_retries=0)


@pytest.fixture(autouse=True)
def marked_key(monkeypatch):
    monkeypatch.setenv("MARKED_KEY", KEY)


def change_settings(monkeypatch, **changes):
    """Change the settings of this test's runs."""
    monkeypatch.setattr(sys.modules[__name__], "SETTINGS", replace(SETTINGS, **changes))


def ask_missing(ask, conversations, record, *, base_url, concurrency=32, again=frozenset()):
    """Ask for what the record lacks, and for ``again``; a stopped run is an error."""
    jobs = []
    for conversation in conversations:
        for repeat in range(conversation.repeats):
            found = recorded(ask, conversation, repeat, record)
            known = {answer.key: answer for answer in found if answer.key not in again}
            if not conversation.is_over(found) or len(known) < len(found):
                jobs.append(Job(conversation, repeat, known))
    if not jobs:
        return Summary()
    ask.model.require_key(len(jobs))
    settings = replace(SETTINGS, concurrency=concurrency)
    summary = processes.run(ask, base_url, settings, jobs, record, lambda _: None)
    _stop_if_stopped(ask.model, record, summary)
    return summary


def completion(text, **fields):
    """A chat completion's body."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": "1", "object": "chat.completion", "model": "reported", "choices": [choice], **fields}


def error(status, message="no", headers=None, **fields):
    return JSONResponse({"error": {"message": message, **fields}}, status, headers)


class Stub:
    """A loopback endpoint that answers by a rule and keeps its requests.

    The rule gets a request's body and the number of the request, and returns a text, a body or a
    response, or a coroutine of one.
    """

    def __init__(self, rule, url):
        self.rule, self.url = rule, url
        self.bodies, self.headers = [], []
        self.in_flight = self.most_in_flight = 0

    async def complete(self, request):
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            reply = self.rule(body, len(self.bodies))
            reply = await reply if inspect.isawaitable(reply) else reply
        finally:
            self.in_flight -= 1
        reply = completion(reply) if isinstance(reply, str) else reply
        return reply if isinstance(reply, Response) else JSONResponse(reply)

    @property
    def asked(self):
        """The last message of every request."""
        return [body["messages"][-1]["content"] for body in self.bodies]


@pytest.fixture(scope="module")
def server():
    """One server for all stubs, which differ by path, since starting and stopping one takes time."""
    stubs = {}

    async def complete(request):
        return await stubs[request.path_params["number"]].complete(request)

    route = Route("/v1/{number:int}/chat/completions", complete, methods=["POST"])
    with serving(Starlette(routes=[route])) as url:
        yield stubs, url


@pytest.fixture
def serve(server):
    """Serve a rule on loopback; returns its `Stub`."""
    stubs, url = server

    def start(rule):
        stub = stubs[len(stubs)] = Stub(rule, f"{url}/{len(stubs)}")
        return stub

    return start


@pytest.fixture
def refusing_url():
    """A reserved URL at which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "study" / "m.jsonl")


MODEL = Model("m", Endpoint("custom", None, "MARKED_KEY"), "served")
ASK = Ask(MODEL, {"max_tokens": 10}, seed=1)


def single(count, prefix=""):
    """Conversations of one turn; a turn's text is its item."""
    return [
        Conversation(f"{prefix}{number:02d}", (f"{prefix}{number:02d}",), prefix=prefix)
        for number in range(count)
    ]


def run(stub, conversations, record, concurrency=4, again=frozenset(), ask=ASK):
    return ask_missing(
        ask, conversations, record, base_url=stub.url, concurrency=concurrency, again=frozenset(again)
    )


def logged(record):
    return [json.loads(line) for line in record.log_path.read_text(encoding="utf-8").splitlines()]


def texts(record):
    """The recorded text of each item."""
    return {answer.item: answer.text for answer in Record(record.path).answers.values()}


def echo(body, _):
    return f"to {body['messages'][-1]['content']}"


# Requests and records.


def test_every_conversation_is_asked_once_and_recorded(serve, record):
    stub = serve(echo)
    summary = run(stub, single(20), record)
    assert summary == Summary(asked=20)
    assert Counter(stub.asked) == Counter({f"{n:02d}": 1 for n in range(20)})
    assert texts(record) == {f"{n:02d}": f"to {n:02d}" for n in range(20)}


def test_a_request_follows_study_and_model(serve, record):
    model = Model("m", MODEL.endpoint, "served", parameters={"max_tokens": None, "temperature": 0})
    ask = Ask(model, {"max_tokens": 10}, seed=1)
    conversation = Conversation("i", ("Hello",), system="Be brief.")
    stub = serve(echo)
    run(stub, [conversation], record, ask=ask)
    assert stub.bodies == [
        {
            "model": "served",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hello"},
            ],
            "temperature": 0,
            "seed": ask.request(conversation, (), 0).parameters["seed"],
        }
    ]
    assert stub.headers[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("parameters", [{}, {"seed": None}, {"temperature": 0, "stop": ["0]", "the seed"]}])
@pytest.mark.parametrize("replies", [(), ("An answer",)])
def test_a_key_depends_on_the_parameters_sent(parameters, replies):
    conversation = Conversation("i", ("Hello", "You said {{reply 1}}"))
    asked = Ask(replace(MODEL, parameters=parameters), {"max_tokens": 10}, seed=1)
    request = asked.request(conversation, replies, 3)
    head = key_head("custom", "served", request.parameters, 3)
    expected = request_key(head, digest(request.messages))
    assert asked.key(conversation, replies, 3) == request.key == expected


def test_replies_are_recorded_and_varying_data_logged(serve, record):
    logprobs = {"content": [{"token": "A", "logprob": -0.1, "bytes": [65], "top_logprobs": []}]}
    reply = completion(
        None,
        created=1700000000,
        system_fingerprint="fp_1",
        model="another-name",
        usage={"prompt_tokens": 11, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}},
    )
    reply["choices"][0].update(finish_reason="content_filter", logprobs=logprobs)
    reply["choices"][0]["message"]["refusal"] = "I won't."
    stub = serve(lambda *_: reply)
    conversation = Conversation("i", ("Hello",))
    run(stub, [conversation], record)
    key = ASK.request(conversation, (), 0).key
    expected = Answer(key, "i", 0, 0, None, "I won't.", "content_filter", 11, 3, logprobs, "another-name")
    assert Record(record.path).answers == {key: expected}
    (entry,) = logged(record)
    assert entry.pop("seconds") >= 0
    assert entry.pop("date")
    assert entry == {"key": key, "item": "i", "repeat": 0, "fingerprint": "fp_1", "cached_tokens": 8}


@pytest.mark.parametrize("text", ["", "  \n", "Größe 😀 \u2028", "half \ud83d"])
def test_any_text_is_recorded_unchanged(serve, record, text):
    stub = serve(lambda *_: Response(json.dumps(completion(text)), media_type="application/json"))
    assert run(stub, single(1), record).asked == 1
    assert texts(record) == {"00": text}


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens_details": None},
        {"prompt_tokens_details": [1]},
        {"prompt_tokens_details": {"cached_tokens": "many"}},
    ],
)
def test_an_endpoint_may_count_no_tokens(serve, record, usage):
    stub = serve(lambda *_: completion("yes", usage=usage))
    assert run(stub, single(1), record).asked == 1
    (answer,) = Record(record.path).answers.values()
    assert (answer.prompt_tokens, answer.completion_tokens) == (None, None)


def test_repeats_have_different_seeds(serve, record):
    stub = serve(lambda body, number: str(body["seed"]))
    run(stub, [Conversation("i", ("Hello",), repeats=5)], record)
    answers = sorted(Record(record.path).answers.values(), key=lambda answer: answer.repeat)
    assert [answer.repeat for answer in answers] == [0, 1, 2, 3, 4]
    assert len({answer.text for answer in answers}) == 5
    more = [Conversation("i", ("Hello",), repeats=7)]
    assert run(stub, more, record).asked == 2, "more repeats add to those there are"


# Nothing is asked twice.


def test_a_second_run_asks_nothing(serve, record):
    run(serve(echo), single(5), record)
    before = record.path.read_bytes()
    silent = serve(echo)
    assert run(silent, single(5), record) == Summary()
    assert run(silent, single(5), Record(record.path)) == Summary()
    assert silent.bodies == []
    assert record.path.read_bytes() == before


def test_only_missing_answers_are_requested(serve, record):
    run(serve(echo), single(4), record)
    stub = serve(echo)
    assert run(stub, single(9), Record(record.path)).asked == 5
    assert sorted(stub.asked) == ["04", "05", "06", "07", "08"]
    assert len(texts(record)) == 9


def test_a_complete_record_needs_no_key_or_endpoint(serve, record, monkeypatch, refusing_url):
    run(serve(echo), single(3), record)
    monkeypatch.delenv("MARKED_KEY")
    assert ask_missing(ASK, single(3), record, base_url=refusing_url) == Summary()


def test_another_model_parameter_or_seed_is_another_question(serve, record):
    stub = serve(echo)
    others = [
        Ask(Model("m", MODEL.endpoint, "other"), ASK.parameters, 1),
        Ask(Model("m", Endpoint("openai", None, None), "served"), ASK.parameters, 1),
        Ask(MODEL, {"max_tokens": 11}, 1),
        Ask(MODEL, ASK.parameters, 2),
    ]
    for ask in [ASK, *others]:
        assert run(stub, single(2), record, ask=ask).asked == 2
    assert len(Record(record.path).answers) == 2 * 5


def test_arrival_order_does_not_matter(serve, tmp_path):
    # A single worker asks a group in order.
    conversations = single(12, "same")
    records, arrivals = [], []
    for name, order in [("a", conversations), ("b", conversations[::-1]), ("c", conversations[::2])]:
        record = Record(tmp_path / f"{name}.jsonl")
        stub = serve(echo)
        run(stub, order, record, concurrency=1)
        run(stub, conversations, record, concurrency=1)
        records.append(record.path.read_bytes())
        arrivals.append(tuple(stub.asked))
    assert len(set(arrivals)) == 3
    assert len(set(records)) == 1


# Failures.


class Cut(Response):
    """A reply that is shorter than its Content-Length."""

    async def __call__(self, scope, receive, send):
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"choices":[{"mess'})


def raw(body):
    return Response(body, media_type="application/json")


FAILURES = {
    "500": lambda *_: error(500),
    "503 without body": lambda *_: Response(status_code=503),
    "429": lambda *_: error(429, "slow down"),
    "400": lambda *_: error(400, "bad request"),
    "page": lambda *_: HTMLResponse("<p>Welcome to the hotel's network</p>"),
    "nothing": lambda *_: Response(status_code=204),
    "empty": lambda *_: raw(b""),
    "cut JSON": lambda *_: raw(b'{"choices":[{"mess'),
    "not UTF-8": lambda *_: raw(b'{"choices":"\xff"}'),
    "cut connection": lambda *_: Cut(),
    "redirect in a circle": lambda *_: RedirectResponse("completions"),
    "null": lambda *_: raw(b"null"),
    "list": lambda *_: [],
    "error in a body with 200": lambda *_: {"error": {"message": "overloaded"}},
    "no choices": lambda *_: {**completion(""), "choices": []},
    "null choices": lambda *_: {**completion(""), "choices": None},
    "no message": lambda *_: {**completion(""), "choices": [{"finish_reason": "stop"}]},
    "null message": lambda *_: {**completion(""), "choices": [{"message": None}]},
    "deep": lambda *_: raw(b"[" * 100_000),
    "number for a choice": lambda *_: {**completion(""), "choices": [7]},
    "text for a message": lambda *_: {**completion(""), "choices": [{"message": "Option A"}]},
}
each_failure = pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)


@each_failure
def test_a_failure_is_logged_not_recorded_and_requested_again(serve, record, failure):
    stub = serve(
        lambda body, n: failure(body, n) if body["messages"][-1]["content"] == "01" else echo(body, n)
    )
    summary = run(stub, single(3), record)
    assert (summary.asked, summary.failed, summary.stopped) == (2, 1, "")
    assert summary.last_error
    assert texts(record) == {"00": "to 00", "02": "to 02"}
    (entry,) = [entry for entry in logged(record) if "error" in entry]
    assert entry["item"] == "01"
    assert entry["key"] == ASK.request(single(3)[1], (), 0).key
    assert entry["date"]
    assert summary.last_error.startswith(entry["error"])

    mended = serve(echo)
    assert run(mended, single(3), Record(record.path)) == Summary(asked=1)
    assert mended.asked == ["01"]
    assert texts(record) == {f"0{n}": f"to 0{n}" for n in range(3)}


def test_failures_do_not_change_the_final_record(serve, tmp_path):
    conversations = single(12)
    quiet, rough = Record(tmp_path / "quiet.jsonl"), Record(tmp_path / "rough.jsonl")
    run(serve(echo), conversations, quiet)
    kinds = list(FAILURES.values())
    stub = serve(lambda body, n: echo(body, n) if n % 3 == 0 else kinds[n % len(kinds)](body, n))
    for _ in range(40):
        if not run(stub, conversations, rough).failed:
            break
    answered = Counter(entry["item"] for entry in logged(rough) if "error" not in entry)
    assert set(answered.values()) == {1}, "no answer that was received was asked for again"
    assert rough.path.read_bytes() == quiet.path.read_bytes()


def test_only_the_client_retries(serve, record, monkeypatch):
    change_settings(monkeypatch, max_retries=2)
    at_once = {"retry-after-ms": "1"}
    stub = serve(lambda *_: error(500, headers=at_once))
    assert run(stub, single(1), record).failed == 1
    assert len(stub.bodies) == 3
    later = serve(lambda body, n: echo(body, n) if n == 3 else error(429, headers=at_once))
    assert run(later, single(1), record) == Summary(asked=1)
    assert len(later.bodies) == 3
    assert len({json.dumps(body) for body in later.bodies}) == 1, "the same request, the same seed"


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (401, "the endpoint rejects this model or key"),
        (403, "the endpoint rejects this model or key"),
        (404, "the endpoint does not know this URL or model"),
    ],
)
def test_a_rejected_key_or_model_stops_the_run_at_once(serve, record, status, why):
    stub = serve(lambda body, n: echo(body, n) if n <= 2 else error(status, "no such luck"))
    with pytest.raises(UserError) as caught:
        run(stub, single(30), record, concurrency=1)
    assert len(stub.bodies) == 3
    message = str(caught.value)
    assert message.startswith(f"m: stopped because {why}")
    assert "no such luck" in message
    assert "2 answers were saved; run the same command to continue" in message
    assert len(texts(record)) == 2

    rest = serve(echo)
    assert run(rest, single(30), Record(record.path)).asked == 28
    assert not set(rest.asked) & set(stub.asked[:2])


def test_a_stopped_run_sends_nothing_more(serve, record):
    stub = serve(lambda *_: error(401))
    conversations = [conversation for prefix in "abcdef" for conversation in single(6, prefix)]
    with pytest.raises(UserError, match="0 answers were saved"):
        run(stub, conversations, record, concurrency=4)
    assert len(stub.bodies) <= 4
    assert not record.path.exists()


def refusing_one_of_two(reply, pause=0.0):
    """A rule that rejects "00" once another request is in flight, and answers that one after a pause."""
    both, refused = asyncio.Barrier(2), asyncio.Event()

    async def rule(body, number):
        await asyncio.wait_for(both.wait(), PATIENCE)
        if body["messages"][-1]["content"] == "00":
            refused.set()
            return error(401)
        await asyncio.wait_for(refused.wait(), PATIENCE)
        await asyncio.sleep(pause)
        return reply(body, number)

    return rule


def test_replies_in_flight_at_a_stop_are_kept(serve, record):
    with pytest.raises(UserError):
        run(serve(refusing_one_of_two(echo)), single(2), record, concurrency=2)
    assert texts(record) == {"01": "to 01"}


class Local:
    """A local model that answers as told."""

    name = "m"

    def __init__(self, rule):
        self.rule, self.asked = rule, 0

    def reply(self, messages, seed):
        self.asked += 1
        return Reply(self.rule(messages[-1]["content"]))


def ask_local(model, conversations, record, concurrency=1):
    return ask_missing(ASK, conversations, record, base_url=model, concurrency=concurrency)


def test_a_local_model_answers_without_a_server(record):
    assert ask_local(Local(str.upper), single(3, "x"), record).asked == 3
    assert texts(record) == {"x00": "X00", "x01": "X01", "x02": "X02"}


def test_a_model_missing_on_this_machine_stops_the_run(record):
    def missing(_):
        raise UserError("needs torch.")

    model = Local(missing)
    with pytest.raises(UserError) as caught:
        ask_local(model, single(9), record)
    told = "m: stopped because needs torch. 0 answers were saved; run the same command to continue."
    assert str(caught.value) == told
    assert model.asked == 1


def test_a_question_that_a_local_model_does_not_understand_fails(record):
    def odd(text):
        if int(text) % 2:
            raise ValueError("an even number is needed")
        return text

    summary = ask_local(Local(odd), single(4), record)
    assert (summary.asked, summary.failed) == (2, 2)
    assert summary.last_error == "ValueError: an even number is needed"


@pytest.mark.parametrize("rule", [lambda _: 1 / 0, lambda _: next(iter(()))])
def test_a_mistake_in_a_local_model_is_not_hidden(record, rule):
    with pytest.raises((ZeroDivisionError, RuntimeError)):
        ask_local(Local(rule), single(2), record)


def test_many_questions_to_a_local_model_at_once_are_all_saved(record):
    assert ask_local(Local(str.upper), single(200, "x"), record, concurrency=32).asked == 200
    assert texts(record) == {f"x{number:02d}": f"X{number:02d}" for number in range(200)}


def test_a_local_model_is_asked_in_this_process_alone(record, monkeypatch):
    monkeypatch.setattr(processes, "number_of_processes", lambda *_: 4)
    monkeypatch.setattr(processes, "_in_processes", lambda *_: pytest.fail("it was sent to another process"))
    assert ask_local(Local(str.upper), single(3, "x"), record).asked == 3


def test_after_an_interrupt_a_local_models_reply_is_saved_and_no_further_one_asked(record):
    def interrupting(text):
        os.kill(os.getpid(), signal.SIGINT)
        return text

    model = Local(interrupting)
    with pytest.raises(UserError, match="it was interrupted"):
        ask_local(model, single(3), record)
    assert texts(record) == {"00": "00"} and model.asked == 1


def test_many_failures_in_a_row_stop_the_run(serve, record, monkeypatch):
    change_settings(monkeypatch, break_after=3)
    fine = {1, 4}
    stub = serve(lambda body, n: echo(body, n) if n in fine else error(500, "down for good"))
    with pytest.raises(UserError, match=r"3 requests in a row failed.*down for good.*2 answers were saved"):
        run(stub, single(30), record, concurrency=1)
    assert len(stub.bodies) == 7, "an answer between them starts the count again"
    assert len(texts(record)) == 2
    assert run(serve(echo), single(30), Record(record.path)).asked == 28


@pytest.mark.parametrize(
    "again", [{}, {"retry-after": "32400"}, {"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}]
)
def test_an_exhausted_quota_stops_the_run_with_the_services_message(serve, record, monkeypatch, again):
    change_settings(monkeypatch, max_retries=1, break_after=3)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.005)
    stub = serve(lambda *_: error(429, "You exceeded your current quota.", again, code="insufficient_quota"))
    with pytest.raises(
        UserError, match=r"3 requests in a row failed.*exceeded your current quota\. 0 answers"
    ):
        run(stub, single(9), record, concurrency=1)
    assert len(stub.bodies) == (3 if again else 6), "and nobody waits nine hours, or until 2099"


def test_fewer_failures_do_not_stop_the_run(serve, record, monkeypatch):
    change_settings(monkeypatch, break_after=3)
    stub = serve(lambda body, n: echo(body, n) if n % 3 == 0 else error(500))
    summary = run(stub, single(30), record, concurrency=1)
    assert (summary.asked, summary.failed, summary.stopped) == (10, 20, "")


def test_an_unreachable_endpoint_is_reported(record, monkeypatch, refusing_url):
    change_settings(monkeypatch, break_after=2)
    with pytest.raises(UserError, match=r"2 requests in a row failed.*(?i:connect).*0 answers were saved"):
        ask_missing(ASK, single(9), record, base_url=refusing_url, concurrency=1)
    assert refusing_url.split("/")[2].split(":")[1] in logged(record)[0]["message"], "the log names the port"


def test_loopback_bypasses_a_proxy(serve, record, monkeypatch, refusing_url):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, refusing_url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert run(serve(echo), single(3), record) == Summary(asked=3)


def test_a_record_in_use_stops_before_anything_is_asked(serve, record):
    stub = serve(echo)
    with Record(record.path).writing(), pytest.raises(UserError, match="another run is writing"):
        run(stub, single(3), record)
    assert stub.bodies == []


def test_a_retry_is_not_sent_after_a_stop(serve, record, monkeypatch):
    change_settings(monkeypatch, max_retries=5)
    again = {"retry-after-ms": "100"}
    refusing = asyncio.Event()

    async def rule(body, number):
        if body["messages"][-1]["content"] == "00":
            await asyncio.wait_for(refusing.wait(), PATIENCE)
            return error(401, "no such luck")
        refusing.set()
        return error(500, headers=again)

    stub = serve(rule)
    with pytest.raises(UserError, match=r"rejects this model or key.*no such luck"):
        run(stub, single(2), record, concurrency=2)
    assert sorted(stub.asked) == ["00", "01"]
    assert {entry["item"]: entry["error"] for entry in logged(record)} == {
        "00": "AuthenticationError",
        "01": "CancelledError",
    }


def test_a_turn_is_not_asked_after_a_stop(serve, record):
    # The rejection arrives before the reply.
    stub = serve(refusing_one_of_two(fruit, pause=0.2))
    with pytest.raises(UserError, match="1 answers were saved"):
        run(stub, [*single(1), Conversation("i", TURNS)], record, concurrency=2)
    assert sorted(stub.asked) == ["00", "Name a fruit."]
    assert texts(record) == {"i": "pear"}
    assert [entry["error"] for entry in logged(record) if "error" in entry] == ["AuthenticationError"]


def test_unfinished_requests_are_cancelled_and_logged_after_a_stop(serve, record, monkeypatch):
    monkeypatch.setattr(asker, "GRACE_SECONDS", 0.1)
    both = asyncio.Barrier(3)

    async def rule(body, number):
        await asyncio.wait_for(both.wait(), PATIENCE)
        if body["messages"][-1]["content"] == "00":
            return error(401, "no such luck")
        await asyncio.sleep(3)
        return echo(body, number)

    with pytest.raises(UserError, match=r"The last error was: AuthenticationError: .*no such luck"):
        run(serve(rule), single(3), record, concurrency=3)
    errors = {entry["item"]: entry["error"] for entry in logged(record)}
    assert errors == {"00": "AuthenticationError", "01": "CancelledError", "02": "CancelledError"}


def test_an_endless_reply_is_a_failure(serve, record, monkeypatch):
    change_settings(monkeypatch, timeout=0.2)

    async def rule(body, number):
        await asyncio.sleep(1)
        return echo(body, number)

    summary = run(serve(rule), single(1), record)
    assert summary.last_error.startswith("APITimeoutError: ")
    assert "no complete reply within 0.2 s" in summary.last_error


@pytest.mark.parametrize(("rule", "saved"), [(echo, 1), (lambda *_: error(500), 0)], ids=["reply", "failure"])
def test_a_log_that_cannot_be_written_stops_the_run(serve, record, rule, saved):
    record.path.parent.mkdir()
    record.log_path.symlink_to("/dev/full")
    stub = serve(rule)
    message = rf"the record can't be written \(No space left on device\).* {saved} answers were saved"
    with pytest.raises(UserError, match=message):
        run(stub, single(9), record, concurrency=1)
    assert len(stub.bodies) == 1
    assert len(Record(record.path).answers) == saved


def test_a_crashed_worker_stops_the_others(serve, record):
    stub = serve(echo)
    jobs = [Job(conversation, 0, {}) for conversation in single(200)]

    reports = []

    def report(answers):
        reports.append(answers)
        if len(reports) == 1:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        processes.run(ASK, stub.url, replace(SETTINGS, concurrency=2), jobs, record, report)
    # How far the other worker got is random; without a stop it would have asked all questions.
    assert len(stub.bodies) < len(jobs) / 2
    # The log also has a request that the stop caught before it was sent.
    received = [entry for entry in logged(record) if "error" not in entry]
    assert len(Record(record.path).answers) == len(received) >= 1, "what was received is kept"


def test_the_first_process_that_stops_says_why():
    whole = Summary()
    whole.add(Summary(asked=1, failed=1, last_error="a hiccup"))
    whole.add(Summary(asked=2, failed=1, last_error="no such luck", stopped="the endpoint refuses"))
    whole.add(Summary(asked=4, failed=1, last_error="another hiccup", stopped=processes.INTERRUPTED))
    assert whole == Summary(7, 3, "no such luck", "the endpoint refuses")


# Order and pace.


@pytest.mark.parametrize("limit", [1, 4])
def test_requests_in_flight_reach_but_never_exceed_the_limit(serve, record, limit):
    barrier = asyncio.Barrier(limit)

    async def rule(body, number):
        await asyncio.wait_for(barrier.wait(), PATIENCE)
        return echo(body, number)

    stub = serve(rule)
    assert run(stub, single(5 * limit), record, concurrency=limit).asked == 5 * limit
    assert stub.most_in_flight == limit


def test_there_may_be_more_workers_than_jobs(serve, record):
    assert run(serve(echo), single(2), record, concurrency=500).asked == 2


GROUPS = [
    conversation
    for number in range(4)
    for conversation in [
        Conversation(f"{group}{number}", (f"{group}{number}",), prefix=group * 9) for group in "abc"
    ]
]


def test_the_first_of_a_group_is_sent_alone(serve, record):
    events = []
    heads = asyncio.Barrier(3)

    async def rule(body, number):
        item = body["messages"][-1]["content"]
        events.append(("asked", item))
        if item.endswith("0"):
            # Only the heads of all groups are in flight.
            await asyncio.wait_for(heads.wait(), PATIENCE)
        events.append(("answered", item))
        return echo(body, number)

    assert run(serve(rule), GROUPS, record, concurrency=12).asked == 12
    for group in "abc":
        of_group = [event for event in events if event[1].startswith(group)]
        assert of_group[:2] == [("asked", f"{group}0"), ("answered", f"{group}0")]
    assert {item for _, item in events[:3]} == {"a0", "b0", "c0"}


def test_a_group_is_finished_while_its_prefix_is_cached(serve, record):
    stub = serve(echo)
    run(stub, GROUPS, record, concurrency=1)
    assert stub.asked == [f"{group}{number}" for group in "abc" for number in range(4)]


def test_a_group_continues_if_its_first_request_fails(serve, record):
    stub = serve(lambda body, n: error(500) if n == 1 else echo(body, n))
    summary = run(stub, single(5, "same"), record)
    assert (summary.asked, summary.failed) == (4, 1)


def test_conversations_without_a_prefix_do_not_wait_for_each_other(serve, record):
    everyone = asyncio.Barrier(6)

    async def rule(body, number):
        await asyncio.wait_for(everyone.wait(), PATIENCE)
        return echo(body, number)

    assert run(serve(rule), single(6), record, concurrency=6) == Summary(asked=6)


def test_a_closed_queue_is_empty():
    async def work():
        queue = asker._Queue()
        queue.fill([Job(conversation, 0, {}) for conversation in [*single(2, "a"), *single(2, "b")]])
        first, second = await queue.take(), await queue.take()
        queue.close()
        taken = []
        for _, prefix in (first, second):
            queue.done(prefix)
            taken.append(await asyncio.wait_for(queue.take(), PATIENCE))
        return taken

    assert asyncio.run(work()) == [None, None]


# Several turns.

TURNS = ("Name a fruit.", "Why {{reply 1}}?", "So {{reply 2}}, hence {{reply 1}}?")


def fruit(body, _=0):
    """Replies to `TURNS`, which depend on the quoted replies."""
    last = body["messages"][-1]["content"]
    return {"Name a fruit.": "pear", "Why pear?": "it is ripe"}.get(last, f"[{last}]")


def test_turns_follow_each_other_and_quote_the_replies(serve, record):
    stub = serve(fruit)
    summary = run(stub, [Conversation("i", TURNS, system="Be brief.")], record)
    assert summary == Summary(asked=3)
    assert stub.bodies[-1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Name a fruit."},
        {"role": "assistant", "content": "pear"},
        {"role": "user", "content": "Why pear?"},
        {"role": "assistant", "content": "it is ripe"},
        {"role": "user", "content": "So it is ripe, hence pear?"},
    ]
    answers = [json.loads(line) for line in record.path.read_bytes().splitlines()]
    assert [(answer["turn"], answer["text"]) for answer in answers] == [
        (0, "pear"),
        (1, "it is ripe"),
        (2, "[So it is ripe, hence pear?]"),
    ]
    assert len({body["seed"] for body in stub.bodies}) == 3


def test_a_conversation_continues_where_it_stopped(serve, record):
    talk = [Conversation("i", TURNS)]
    assert run(serve(lambda body, n: fruit(body) if n < 3 else error(500)), talk, record).failed == 1
    stub = serve(fruit)
    assert run(stub, talk, Record(record.path)) == Summary(asked=1)
    assert stub.asked == ["So it is ripe, hence pear?"]


def test_nothing_is_asked_after_a_turn_that_failed(serve, record):
    stub = serve(lambda *_: error(500))
    assert run(stub, [Conversation("i", TURNS)], record).failed == 1
    assert stub.asked == ["Name a fruit."]


def test_a_turn_without_text_is_quoted_as_an_empty_string(serve, record):
    stub = serve(lambda *_: completion(None))
    run(stub, [Conversation("i", TURNS)], record)
    assert stub.asked == ["Name a fruit.", "Why ?", "So , hence ?"]


def test_a_different_reply_changes_the_questions_that_quote_it(serve, record):
    talk = Conversation("i", TURNS)
    run(serve(fruit), [talk], record)
    stub = serve(lambda body, n: "fig" if n == 1 else fruit(body))
    run(stub, [talk], record, again={ASK.request(talk, (), 0).key})
    assert stub.asked == ["Name a fruit.", "Why fig?", "So [Why fig?], hence fig?"]
    assert len(Record(record.path).answers) == 5, "what the old reply led to is kept"


# Turns that are asked only if needed.

REPAIRS = ("How many?", "Digits, please.", "Only digits!")


def is_number(received):
    assert received.question in REPAIRS
    return (received.text or "").isdigit()


class ReadsNumbers:
    """A study that expects numbers."""

    name, seed, parameters = "stub", 1, ASK.parameters

    def read(self, received):
        return Reading("answered" if is_number(received) else "unparsable", received.text)


def counting(*items):
    return [Conversation(item, REPAIRS, system=item, until=is_number) for item in items]


def number_at(turns):
    """A rule that replies with words until a turn given by the system text, then with a number."""

    def rule(body, _):
        turn = sum(message["role"] == "user" for message in body["messages"])
        return str(turn) if turn == turns[body["messages"][0]["content"]] else "several"

    return rule


def test_unneeded_turns_are_not_asked(serve, record):
    stub = serve(number_at({"first": 1, "second": 2, "never": 0}))
    talks = counting("first", "second", "never")
    asked = Questions(ReadsNumbers(), talks, MODEL, record)
    assert asked.plan(asked.jobs()).requests == asked.missing() == 3
    assert run(stub, talks, record) == Summary(asked=6)
    assert (asked.missing(), asked.orphans(), asked.jobs()) == (0, 0, [])
    frame = asked.answers()
    assert list(zip(frame["item"], frame["turn"], frame["choice"], strict=True)) == [
        ("first", 0, "1"),
        ("second", 0, "several"),
        ("second", 1, "2"),
        *(("never", turn, "several") for turn in range(3)),
    ]


def test_an_early_stop_is_replayed(serve, record):
    run(serve(number_at({"first": 1})), counting("first"), record)
    stub = serve(number_at({"first": 1}))
    run(stub, counting("first"), Record(record.path))
    assert stub.asked == []


def test_an_interrupted_conversation_continues(serve, record):
    rule = number_at({"second": 2})
    run(serve(lambda body, n: rule(body, n) if n == 1 else error(500)), counting("second"), record)
    asked = Questions(ReadsNumbers(), counting("second"), MODEL, record)
    assert asked.missing() == 1
    assert list(asked.answers()["status"]) == ["unparsable", "failed"]
    assert list(asked.answers()["error"])[1] == "InternalServerError"
    (job,) = asked.jobs(frozenset({"unparsable"}))
    assert len(job.known) == 1, "what was not answered yet is asked before anything is asked again"
    stub = serve(rule)
    run(stub, counting("second"), Record(record.path))
    assert stub.asked == ["Digits, please."]


def test_a_corrected_reply_is_not_requested_again(serve, record):
    run(serve(number_at({"second": 2, "never": 0})), counting("second", "never"), record)
    asked = Questions(ReadsNumbers(), counting("second", "never"), MODEL, record)
    (job,) = asked.jobs(frozenset({"unparsable"}))
    assert (job.conversation.item, len(job.known)) == ("never", 2)


def test_until_is_not_part_of_the_key():
    (early,) = counting("first")
    late = Conversation("first", REPAIRS, system="first")
    assert ASK.request(early, (), 0).key == ASK.request(late, (), 0).key


def test_worker_processes_apply_until():
    (talk,) = pickle.loads(pickle.dumps(counting("first")))
    assert talk.is_over([Answer("k", "first", 0, 0, "7", None, "stop", 1, 1, None, None)])
    assert not talk.is_over([])


# Asking again for answers with certain statuses.


class ReadsByFirstWord:
    """A study whose replies begin with their status."""

    name, seed, parameters = "stub", 1, ASK.parameters

    def read(self, received):
        return Reading(received.text.split()[0])


REPLIES = {"00": "answered", "01": "refused", "02": "truncated", "03": "refused", "04": "unparsable"}


def questions(record):
    return Questions(ReadsByFirstWord(), single(5), MODEL, record)


def ask_again(record, stub, *statuses):
    """Ask for what is missing, and for answers with one of the statuses."""
    asked = questions(record)
    jobs = asked.jobs(frozenset(statuses))
    settings = replace(SETTINGS, concurrency=4)
    return processes.run(asked.ask, stub.url, settings, jobs, record, lambda _: None) if jobs else Summary()


def by_status(body, number):
    return f"{REPLIES[body['messages'][-1]['content']]} {number}"


@pytest.mark.parametrize(
    ("statuses", "items"),
    [
        ([], []),
        (["answered"], ["00"]),
        (["refused"], ["01", "03"]),
        (["truncated", "unparsable"], ["02", "04"]),
        (["failed"], []),
    ],
)
def test_chosen_statuses_are_asked_again(serve, record, statuses, items):
    ask_again(record, serve(by_status))
    before = texts(record)
    stub = serve(lambda body, n: "answered now")
    summary = ask_again(Record(record.path), stub, *statuses)
    assert summary == Summary(asked=len(items))
    assert sorted(stub.asked) == items
    assert texts(record) == {**before, **dict.fromkeys(items, "answered now")}
    replaced = {
        entry["replaced"]["item"]: entry["replaced"]["text"]
        for entry in logged(record)
        if "replaced" in entry
    }
    assert replaced == {item: before[item] for item in items}


def test_an_answer_stays_when_asking_for_a_better_one_fails(serve, record):
    ask_again(record, serve(by_status))
    before = record.path.read_bytes()
    summary = ask_again(record, serve(lambda *_: error(500)), "refused")
    assert summary.failed == 2
    assert record.path.read_bytes() == before


def test_missing_and_orphaned_answers_are_counted(serve, record):
    asked = questions(record)
    assert (asked.missing(), asked.orphans()) == (5, 0)
    run(serve(by_status), single(5)[:3], record)
    assert (asked.missing(), asked.orphans()) == (2, 0)
    fewer = Questions(ReadsByFirstWord(), single(2), MODEL, record)
    assert (fewer.missing(), fewer.orphans()) == (0, 1)


def test_a_turn_without_an_answer_has_failed(serve, record):
    talk = [Conversation("i", ("answered", "refused {{reply 1}}", "truncated"), repeats=2)]
    stub = serve(
        lambda body, n: error(500) if len(body["messages"]) == 5 else body["messages"][-1]["content"]
    )
    run(stub, talk, record)
    asked = Questions(ReadsByFirstWord(), talk, MODEL, record)
    frame = asked.answers()
    assert list(frame.columns) == ["model", "item", "repeat", "turn", "status", "choice", "reply", "error"]
    assert list(frame["status"]) == ["answered", "refused", "failed"] * 2
    assert list(frame["repeat"]) == [0, 0, 0, 1, 1, 1]
    assert list(frame["turn"]) == [0, 1, 2] * 2
    assert (
        list(frame["reply"].astype(object).where(frame["reply"].notna(), None))
        == [
            "answered",
            "refused answered",
            None,
        ]
        * 2
    )
    errors = frame["error"].astype(object).where(frame["error"].notna(), None)
    assert list(errors) == [None, None, "InternalServerError"] * 2
    assert asked.missing() == 2


# In a notebook, whose own event loop is running.


def test_works_inside_a_running_loop(serve, record):
    stub = serve(echo)

    async def cell():
        return run(stub, single(3), record)

    assert asyncio.run(cell()) == Summary(asked=3)


def test_errors_come_through_a_running_loop(serve, record):
    stub = serve(lambda *_: error(401))

    async def cell():
        run(stub, single(3), record)

    with pytest.raises(UserError, match="the endpoint rejects"):
        asyncio.run(cell())


@pytest.mark.parametrize("raised", [ValueError("mine"), KeyboardInterrupt()], ids=repr)
def test_run_async_raises_what_the_work_raises(raised):
    async def work():
        raise raised

    async def cell():
        run_async(work())

    with pytest.raises(type(raised)):
        asyncio.run(cell())


def test_run_async_gives_back_the_result():
    async def work():
        return 7

    async def cell():
        return run_async(work())

    assert run_async(work()) == 7
    assert asyncio.run(cell()) == 7


# Secrets.


def echoing(status):
    """An endpoint that repeats the received key and its header."""
    return lambda key: lambda *_: error(status, f"you sent 'Authorization: Bearer {key}'", code=key)


def cut_in_the_key(key):
    """Bodies that are not completions; one is so full of keys that shortening it would split one."""
    return lambda _, number: {"echo": "x" * (len(key) // 2 * number) + key * 40}


LEAKS = {
    "a body that repeats the key": cut_in_the_key,
    **{name: lambda _, rule=rule: rule for name, rule in FAILURES.items()},
    **{f"{status} that repeats the key": echoing(status) for status in (400, 401, 403, 404, 429, 500, 501)},
    "success": lambda _: echo,
}


@pytest.mark.parametrize("make", LEAKS.values(), ids=LEAKS)
def test_the_key_is_never_written_or_shown(serve, tmp_path, record, monkeypatch, capfd, caplog, make):
    change_settings(monkeypatch, break_after=2)
    caplog.set_level("DEBUG")
    stub = serve(make(KEY))
    shown = []
    try:
        shown.append(repr(run(stub, single(3), record, concurrency=1)))
    except UserError as stopped:
        shown.extend(traceback.format_exception(stopped))
    assert stub.headers[0]["authorization"] == f"Bearer {KEY}", "it was sent"
    shown.extend([*capfd.readouterr(), caplog.text])
    shown.extend(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file())
    assert logged(record), "something was written"
    assert not [text for text in shown if KEY in text or KEY[: len(KEY) // 2] in text], "not even half"


def test_a_missing_key_is_named_and_nothing_is_asked(serve, record, monkeypatch):
    stub = serve(echo)
    needing = Model("m", Endpoint("openai", None, "MARKED_KEY"), "served")
    for unset in (lambda: monkeypatch.delenv("MARKED_KEY"), lambda: monkeypatch.setenv("MARKED_KEY", "")):
        unset()
        with pytest.raises(UserError, match=r"^m: no API key: .* MARKED_KEY \(3 answers are missing\)"):
            run(stub, single(3), record, ask=Ask(needing, ASK.parameters, 1))
    assert stub.bodies == []
    assert not record.path.exists()


def test_an_endpoint_may_need_no_key(serve, record):
    stub = serve(echo)
    keyless = Ask(Model("m", Endpoint("custom", None, None), "served"), {}, 1)
    assert run(stub, single(1), record, ask=keyless) == Summary(asked=1)
    assert stub.headers[0]["authorization"] == "Bearer none"


@pytest.mark.parametrize("wrong", [f"{KEY}\r", f"{KEY}\n", f"{KEY}€", f"{KEY}\x00"[:-1] + "\x7f"])
def test_an_invalid_key_is_reported_but_not_shown(serve, record, monkeypatch, wrong):
    monkeypatch.setenv("MARKED_KEY", wrong)
    stub = serve(echo)
    with pytest.raises(UserError, match="API key in MARKED_KEY contains an invalid character") as caught:
        run(stub, single(3), record)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert stub.bodies == []


def test_an_endpoint_without_a_key_variable_gets_a_placeholder(serve, record):
    stub = serve(lambda *_: error(400, "none of these"))
    keyless = Ask(Model("m", Endpoint("local", None, None), "served"), {}, 1)
    summary = run(stub, single(1), record, ask=keyless)
    assert KEY not in stub.headers[0]["authorization"]
    assert "none of these" in summary.last_error, "the stand-in is no secret to take out"


def test_half_a_surrogate_pair_is_escaped_in_the_frame(serve, record):
    stub = serve(lambda *_: Response(json.dumps(completion("half \ud83d")), media_type="application/json"))
    run(stub, [Conversation("i", ("Hello",))], record)
    (answer,) = Record(record.path).answers.values()
    assert answer.text == "half \ud83d", "the record keeps what was received"
    asked = Questions(ReadsByFirstWord(), [Conversation("i", ("Hello",))], MODEL, Record(record.path))
    assert list(asked.answers()["reply"]) == ["half \\ud83d"]

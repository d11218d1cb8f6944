"""The batch service: the openai client against a server on loopback, up to the record."""

import errno
import io
import json
import os
import tempfile
import weakref
from contextlib import contextmanager
from types import SimpleNamespace

import httpx2
import openai
import pytest
from openai import OpenAI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse

import batch_service
from batch_service import app_with_batches
from deepvalues import cli
from deepvalues.ask import batch, run_query
from deepvalues.ask.conversation import Conversation
from deepvalues.ask.engine import Request
from deepvalues.ask.letters import LetterChoice
from deepvalues.ask.local import Reply
from deepvalues.ask.processes import run
from deepvalues.ask.questions import Questions
from deepvalues.ask.reading import Reading
from deepvalues.ask.record import Record
from deepvalues.ask.registry import BARE, CUSTOM, Endpoint, Model, Price
from deepvalues.ask.settings import Settings
from deepvalues.core.errors import UserError
from local_server import serving

KEY = "sk-marked-5f1c"
FINAL = ("completed", "failed", "expired", "cancelled")


class Echo:
    """A local model that repeats the message; some texts make it fail."""

    name = family = description = "echo"

    def __init__(self):
        self.asked = []
        self.before = lambda text: None

    def reply(self, messages, seed):
        text = messages[-1]["content"]
        self.asked.append(text)
        self.before(text)
        if text == "unreadable":
            raise ValueError(f"can't read this with {KEY}")
        if text == "crash":
            raise RuntimeError("no memory")
        return Reply(f"{text} to {seed}")


class Texts:
    """A study whose questions are plain texts."""

    name, seed, parameters = "texts", 7, {"max_tokens": 10}

    def read(self, received):
        return Reading("answered", received.text)


class Letters(Texts):
    """A study that asks for one of two letters."""

    letter_choice = LetterChoice(("A", "B"), "Option", "?", "? The letter.")


class Leaning:
    """A local model that says A, though B is nearly as likely, or no letter for some texts."""

    name = family = description = "leaning"

    def reply(self, messages, seed):
        if "nothing" in messages[-1]["content"]:
            return Reply("Well")
        return Reply("A", {"A": 0.6, "B": 0.4})


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture(scope="module")
def server():
    """One server for all tests, since stopping one takes a while; each test sets its own app."""
    apps = [app_with_batches({})]

    async def newest(scope, receive, send):
        await apps[-1](scope, receive, send)

    with serving(newest) as address:
        yield address, apps


@pytest.fixture
def url(echo, server):
    address, apps = server
    apps.append(app_with_batches({"echo": echo}))
    return address


@pytest.fixture
def client(url):
    with OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def ask(url, tmp_path, monkeypatch):
    """Questions for the echo model, with a record for this test."""
    monkeypatch.setenv("MARKED_KEY", KEY)

    def ask(*texts, repeats=1, folder="record", price=None, address=url):
        conversations = [Conversation(f"item-{text}", (text,), repeats=repeats) for text in texts]
        model = Model("echo", Endpoint(CUSTOM, address, "MARKED_KEY"), "echo", price=price)
        return Questions(Texts(), conversations, model, Record(tmp_path / folder / "echo.jsonl"))

    return ask


@pytest.fixture(autouse=True)
def no_key_is_written(tmp_path, capsys):
    yield
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path
    assert KEY not in "".join(capsys.readouterr())


def submit(asked):
    return batch.submit(asked, lambda jobs: None)


def wait(client, *ids):
    """Poll batches until they have ended; returns the last."""
    for id in ids or [made.id for made in client.batches.list()]:
        while (found := client.batches.retrieve(id)).status not in FINAL:
            pass
    return found


def state_file(asked):
    return asked.record.path.with_suffix(".batch.json")


def test_the_round_trip_writes_the_engines_record(client, url, echo, ask):
    texts = ["one", "two words", "drei ü 😀", "four\u2028lines\r\n"]
    by_batch, by_engine = ask(*texts, repeats=3), ask(*texts, repeats=3, folder="engine")
    part = submit(by_batch)
    assert client.batches.retrieve(part.batch).status in ("validating", "in_progress")
    wait(client)
    assert batch.collect(by_batch) == (12, 0, 0, "")

    run(by_engine.ask, url, Settings(), by_engine.jobs(), by_engine.record, lambda _: None)
    assert by_batch.record.path.read_bytes() == by_engine.record.path.read_bytes()
    assert by_batch.missing() == 0
    assert not state_file(by_batch).exists()
    assert len(echo.asked) == 24


def test_a_batch_asks_by_letters_as_the_engine_does(server, monkeypatch, tmp_path):
    address, apps = server
    apps.append(app_with_batches({"leaning": Leaning()}))
    monkeypatch.setenv("MARKED_KEY", KEY)
    model = Model("leaning", Endpoint(CUSTOM, address, "MARKED_KEY"), "leaning", letters=BARE)
    conversations = [Conversation(item, (f"{item}, which?",)) for item in ("one", "two", "nothing")]
    by_batch, by_engine = (
        Questions(Letters(), conversations, model, Record(tmp_path / folder / "m.jsonl")) for folder in "be"
    )
    submit(by_batch)
    with OpenAI(base_url=address, api_key=KEY, max_retries=0) as client:
        wait(client)
    assert batch.collect(by_batch) == (3, 0, 0, "")
    run(by_engine.ask, address, Settings(), by_engine.jobs(), by_engine.record, lambda _: None)
    assert by_batch.record.path.read_bytes() == by_engine.record.path.read_bytes()
    answers = by_batch.answers().set_index("item")
    assert answers["status"].to_dict() == {"one": "answered", "two": "answered", "nothing": "unparsable"}
    assert answers.loc[["one", "two"], "choice"].tolist() == ["A", "A"]
    kept = {answer.item: answer.logprobs for answer in by_batch.record.answers.values()}
    assert kept["one"] == {"letters": {"A": -0.510826, "B": -0.916291}, "rest": 0.0}
    assert kept["nothing"] == {"letters": {}, "rest": 1.0, "unlisted": 0.0}


def test_a_batch_without_log_probabilities_gives_no_answer(server, monkeypatch, tmp_path):
    address, apps = server
    apps.append(app_with_batches({"leaning": Leaning()}))
    monkeypatch.setenv("MARKED_KEY", KEY)
    # A model's own parameters override those for letters.
    own = {"logprobs": None}
    model = Model("leaning", Endpoint(CUSTOM, address, "MARKED_KEY"), "leaning", letters=BARE, parameters=own)
    questions = Questions(Letters(), [Conversation("one", ("Which?",))], model, Record(tmp_path / "m.jsonl"))
    submit(questions)
    with OpenAI(base_url=address, api_key=KEY, max_retries=0) as client:
        wait(client)
    collected = batch.collect(questions)
    assert (collected.answered, collected.failed, questions.missing()) == (0, 1, 1)
    assert "log probabilities" in collected.last_error


def test_uploaded_lines_match_the_engines_requests(client, ask):
    asked = ask("one", "two")
    part = submit(asked)
    lines = [json.loads(line) for line in client.files.content(part.file).content.splitlines()]
    requests = [asked.ask.request(c, (), 0) for c in asked.conversations]
    assert {line["custom_id"]: line["body"] for line in lines} == {
        request.key: request.body(asked.model) for request in requests
    }
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}


@pytest.mark.parametrize(("limit", "most"), [("MOST_REQUESTS", 9), ("MOST_BYTES", 1000)])
def test_more_than_a_batch_takes_stops_before_anything_is_sent(client, ask, monkeypatch, limit, most):
    asked = ask(*(f"text {number:02}" for number in range(10)))
    with monkeypatch.context() as patch:
        patch.setattr(batch, limit, most)
        with pytest.raises(
            UserError, match=r"echo: nothing was submitted, .* at most [\d,]+ requests .*--set"
        ):
            batch.submit(asked, lambda jobs: pytest.fail("nothing needs to be confirmed"))
    assert not state_file(asked).exists()
    assert len(submit(asked).requests) == 10


def test_requests_are_written_to_disk_one_by_one(client, ask, monkeypatch):
    asked = ask(*(f"text {number:02}" for number in range(30)))
    alive, most = set(), []

    def body(request, model, body=Request.body):
        number = len(most)
        alive.add(number)
        weakref.finalize(request, alive.discard, number)
        most.append(len(alive))
        return body(request, model)

    monkeypatch.setattr(Request, "body", body)
    files, temporary = [], tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: files.append(temporary()) or files[0])
    assert len(submit(asked).requests) == 30
    assert len(most) == 30
    assert max(most) <= 2
    assert [file.closed for file in files] == [True]


class FullDisk(io.BytesIO):
    def write(self, _):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_reported(ask, monkeypatch):
    asked = ask("one")
    monkeypatch.setattr(tempfile, "TemporaryFile", FullDisk)
    with pytest.raises(UserError, match=r"can't be written to .* \(No space left on device\).*TMPDIR"):
        submit(asked)
    assert not state_file(asked).exists()


def test_what_is_in_an_open_batch_is_not_submitted_again(client, ask, echo):
    submit(ask("one", "two"))
    assert submit(ask("one", "two")) is None
    part = submit(ask("one", "two", "three"))
    assert [item for item, _ in part.requests.values()] == ["item-three"]
    wait(client)
    assert batch.collect(ask("one", "two", "three")).answered == 3
    assert submit(ask("one", "two", "three")) is None
    assert sorted(echo.asked) == ["one", "three", "two"]


class _CutError(Exception):
    pass


def _cut(patch, resource):
    """Fail before a call of ``create`` is sent."""

    def create(*args, **named):
        raise _CutError

    patch.setattr(resource, "create", create)


@pytest.mark.parametrize("resource", [openai.resources.files.Files, openai.resources.batches.Batches])
def test_an_interrupted_submission_is_repeated(client, ask, echo, monkeypatch, resource):
    with monkeypatch.context() as patch:
        _cut(patch, resource)
        with pytest.raises(_CutError):
            submit(ask("one", "two"))
    assert len(submit(ask("one", "two")).requests) == 2
    assert len(batch.State.beside(ask().record).parts) == 1
    wait(client)
    assert batch.collect(ask("one", "two")).answered == 2
    assert sorted(echo.asked) == ["one", "two"]


def test_a_state_of_several_files_is_read_and_submitted_once(client, ask, echo):
    """Former versions split large sets into several files, and kept those uploaded but not yet submitted."""
    first = submit(ask("one"))
    keys = {text: ask(text).ask.key(ask(text).conversations[0], (), 0) for text in ("one", "two", "three")}
    second = submit(ask("one", "two"))
    content = json.loads(state_file(ask()).read_bytes())
    left = {"file": "file-left", "requests": {keys["three"]: ["item-three", 0]}, "batch": None}
    state_file(ask()).write_text(json.dumps({"v": 1, "parts": [*content["parts"], left]}, indent=0))
    assert batch.status(ask())[2] == "file-left: 1 requests uploaded, not submitted yet"
    third = submit(ask("one", "two", "three"))
    assert list(third.requests) == [keys["three"]]
    kept = [part.batch for part in batch.State.beside(ask().record).parts]
    assert kept == [first.batch, second.batch, third.batch]
    wait(client, *kept)
    assert batch.collect(ask("one", "two", "three")).answered == 3
    assert sorted(echo.asked) == ["one", "three", "two"]


def test_a_batch_with_a_lost_confirmation_is_found(client, ask, echo, monkeypatch):
    original = openai.resources.batches.Batches.create

    def lost(*args, **named):
        original(*args, **named)
        raise openai.APIConnectionError(request=httpx2.Request("POST", "http://127.0.0.1/v1"))

    with monkeypatch.context() as patch:
        patch.setattr(openai.resources.batches.Batches, "create", lost)
        with pytest.raises(UserError, match="APIConnectionError"):
            submit(ask("one"))
    assert json.loads(state_file(ask()).read_bytes())["parts"][0]["batch"] is None
    assert submit(ask("one")) is None
    wait(client)
    assert batch.collect(ask("one")).answered == 1
    assert echo.asked == ["one"]


def test_an_uploaded_part_that_is_no_longer_needed_is_dropped(client, ask, echo, monkeypatch):
    with monkeypatch.context() as patch:
        _cut(patch, openai.resources.batches.Batches)
        with pytest.raises(_CutError):
            submit(ask("one", "two"))
    assert batch.status(ask("one"))[0].endswith("2 requests uploaded, not submitted yet")
    part = submit(ask("one"))
    assert [item for item, _ in part.requests.values()] == ["item-one"]
    wait(client)
    batch.collect(ask("one"))
    assert echo.asked == ["one"]


def test_finished_parts_are_collected_one_by_one_and_once(client, ask):
    texts = [f"text {number}" for number in range(4)]
    first, second = submit(ask(*texts[:2])), submit(ask(*texts))
    wait(client, first.batch)
    assert batch.collect(ask(*texts)) == (2, 0, 2, "")
    record = ask().record.path.read_bytes()
    assert [part["batch"] for part in json.loads(state_file(ask()).read_bytes())["parts"]] == [second.batch]
    wait(client, second.batch)
    assert batch.collect(ask(*texts)) == (2, 0, 0, "")
    after = ask().record.path.read_bytes()
    assert set(record.splitlines()) < set(after.splitlines())
    assert batch.collect(ask(*texts)) == (0, 0, 0, "")
    assert ask().record.path.read_bytes() == after


def test_collecting_the_same_batch_again_changes_nothing(client, ask):
    submit(ask("one"))
    state = state_file(ask()).read_bytes()
    wait(client)
    batch.collect(ask("one"))
    record = ask().record.path.read_bytes()
    # As if the program had been killed after writing the record but before the state.
    state_file(ask()).write_bytes(state)
    assert batch.collect(ask("one")).open == 0
    assert ask().record.path.read_bytes() == record


def test_nothing_is_written_while_nothing_is_finished(client, ask):
    submit(ask("one"))
    assert batch.collect(ask("one")) == (0, 0, 1, "")
    assert not ask().record.path.exists()


def test_failed_requests_are_logged_and_can_be_submitted_again(client, ask, echo):
    asked = ask("one", "unreadable", "crash")
    submit(asked)
    ended = wait(client)
    assert (ended.request_counts.completed, ended.request_counts.failed) == (1, 2)
    done = batch.collect(asked)
    assert (done.answered, done.failed, done.open) == (1, 2, 0)
    frame = asked.answers().set_index("item")
    assert dict(frame["error"].dropna()) == {
        "item-unreadable": "BadRequestError",
        "item-crash": "InternalServerError",
    }
    assert "key]" in asked.record.log_path.read_text()
    again = submit(ask("one", "unreadable", "crash"))
    assert len(again.requests) == 2


def test_a_filtered_prompt_is_a_recorded_refusal(client, ask, monkeypatch):
    asked = ask("one", "two")
    submit(asked)
    wait(client)
    replies = batch._replies
    refused = {"error": {"message": f"filtered, {KEY}", "code": "content_filter"}}

    def filtering(*arguments):
        lines = replies(*arguments)
        lines[asked.ask.key(asked.conversations[0], (), 0)]["response"] = {
            "status_code": 400,
            "body": refused,
        }
        return lines

    monkeypatch.setattr(batch, "_replies", filtering)
    assert batch.collect(asked)[:3] == (2, 0, 0)
    (first,) = [answer for answer in Record(asked.record.path).answers.values() if answer.refusal]
    assert (first.text, first.refusal, first.finish_reason) == (None, "filtered, [API key]", "content_filter")


def test_an_expired_batch_gives_its_finished_replies(client, ask, echo, monkeypatch):
    now = [1_000_000]
    monkeypatch.setattr(batch_service, "time", SimpleNamespace(time=lambda: now[0]))
    echo.before = lambda text: now.__setitem__(0, now[0] + 40_000)
    texts = [f"text {number}" for number in range(5)]
    submit(ask(*texts))
    assert wait(client).status == "expired"
    asked = ask(*texts)
    done = batch.collect(asked)
    assert (done.answered, done.failed) == (3, 2)
    assert done.last_error.startswith("batch_expired: ")
    assert len(submit(ask(*texts)).requests) == 2


def test_a_cancelled_batch_is_collected(client, ask):
    submit(ask("one"))
    (made,) = client.batches.list()
    client.batches.cancel(made.id)
    assert wait(client).status == "cancelled"
    done = batch.collect(ask("one"))
    assert done.open == 0
    assert done.answered + done.failed == 1


def test_a_rejected_batch_says_why(client, ask, monkeypatch):
    original = openai.resources.files.Files.create

    def spoilt(self, *, file, purpose):
        return original(self, file=("spoilt.jsonl", b"{}\n"), purpose=purpose)

    monkeypatch.setattr(openai.resources.files.Files, "create", spoilt)
    submit(ask("one"))
    assert wait(client).status == "failed"
    done = batch.collect(ask("one"))
    assert (done.answered, done.failed, done.open) == (0, 1, 0)
    assert "This line is not a request" in done.last_error


def test_an_unknown_batch_keeps_the_state(client, ask):
    submit(ask("one"))
    state = state_file(ask()).read_text()
    state_file(ask()).write_text(state.replace("batch_", "batch_x"))
    for step in (batch.status, batch.collect):
        with pytest.raises(UserError, match=r"No batch found with id .*echo\.batch\.json"):
            step(ask("one"))
    assert state_file(ask()).exists()


def test_a_damaged_output_file_is_rejected(client, ask, monkeypatch):
    submit(ask("one"))
    wait(client)
    damaged = SimpleNamespace(content=b'{"custom_id": "half')
    with monkeypatch.context() as patch:
        patch.setattr(openai.resources.files.Files, "content", lambda self, id: damaged)
        with pytest.raises(UserError, match="line 1 of its file"):
            batch.collect(ask("one"))
    assert batch.collect(ask("one")).answered == 1


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"v": 2, "parts": []}',
        '{"v": 1}',
        '{"v": 1, "parts": [{"file": "f", "requests": {"k": ["i"]}}]}',
    ],
)
def test_a_damaged_state_is_named(ask, content):
    asked = ask("one")
    state_file(asked).parent.mkdir()
    state_file(asked).write_text(content)
    with pytest.raises(UserError, match=r"echo\.batch\.json.*can't be read") as damaged:
        submit(asked)
    assert "\n" not in str(damaged.value)


def test_several_turns_are_rejected(ask):
    asked = ask("one")
    asked = Questions(asked.study, [Conversation("two", ("a", "b"))], asked.model, asked.record)
    with pytest.raises(UserError, match="several turns"):
        submit(asked)


def test_nothing_is_submitted_for_a_locked_record(ask, echo):
    with ask().record.locked(), pytest.raises(UserError, match="another run"):
        submit(ask("one"))
    assert echo.asked == []


@contextmanager
def _quoting_server():
    """A service that quotes the key it rejects, as OpenAI does."""

    class Reject:
        def __init__(self, app):
            pass

        async def __call__(self, scope, receive, send):
            if scope["type"] == "http":
                key = dict(scope["headers"])[b"authorization"].decode().removeprefix("Bearer ")
                error = {"message": f"Incorrect API key provided: {key}.", "code": "invalid_api_key"}
                await JSONResponse({"error": error}, status_code=401)(scope, receive, send)

    with serving(Starlette(middleware=[Middleware(Reject)])) as address:
        yield address


def test_a_rejected_key_is_not_shown(ask):
    with _quoting_server() as address, pytest.raises(UserError, match="Incorrect API key") as caught:
        submit(ask("one", address=address))
    assert KEY not in str(caught.value)
    assert "key]" in str(caught.value)


def test_a_missing_key_and_a_temporary_server_are_reported(ask, monkeypatch):
    asked = ask("one")
    for endpoint, message in (
        (Endpoint("openai", "http://127.0.0.1:1/v1", "NO_SUCH_KEY"), "NO_SUCH_KEY"),
        (Endpoint("local", None, None), "can't run a batch: use `deepvalues query`"),
    ):
        model = Model("echo", endpoint, "echo")
        with pytest.raises(UserError, match=message):
            submit(Questions(asked.study, asked.conversations, model, asked.record))


def test_a_paid_model_needs_a_confirmation(ask, echo, capsys, monkeypatch):
    asked = ask("one", price=Price(1.0, 0.5, 2.0, "2025-05"))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    with pytest.raises(UserError, match="--yes"):
        run_query.submit(asked, yes=False)
    assert not state_file(asked).exists()
    assert not asked.record.path.exists()
    assert len(run_query.submit(asked, yes=True).requests) == 1
    shown = capsys.readouterr().out
    assert shown.count("echo: 1 requests to send") == 2
    assert "usually half" in shown


def test_the_servers_files_and_batches(client):
    uploaded = client.files.create(file=("name.jsonl", b"{}\n"), purpose="batch")
    assert (uploaded.bytes, uploaded.filename, uploaded.status) == (3, "name.jsonl", "processed")
    assert client.files.retrieve(uploaded.id) == uploaded
    assert client.files.content(uploaded.id).content == b"{}\n"
    endpoint = "/v1/chat/completions"
    made = [
        client.batches.create(input_file_id=uploaded.id, endpoint=endpoint, completion_window="24h")
        for _ in range(3)
    ]
    # Newest first, also across pages.
    assert [found.id for found in client.batches.list(limit=2)] == [each.id for each in reversed(made)]
    with pytest.raises(openai.ConflictError):
        wait(client, made[0].id)
        client.batches.cancel(made[0].id)
    assert client.files.delete(uploaded.id).deleted
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError, match="No such File object"):
            call(uploaded.id)
    for call in (client.batches.retrieve, client.batches.cancel):
        with pytest.raises(openai.NotFoundError, match="No batch found"):
            call("batch_none")
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        client.batches.create(input_file_id="file-none", endpoint=endpoint, completion_window="24h")
    for wrong in ({"endpoint": "/v1/embeddings"}, {"completion_window": "1h"}):
        named = {"input_file_id": uploaded.id, "endpoint": endpoint, "completion_window": "24h", **wrong}
        with pytest.raises(openai.BadRequestError, match=next(iter(wrong))):
            client.batches.create(**named)
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.files.create(file=("name.jsonl", b""), purpose="fine-tune")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"not json\n", "invalid_json_line"),
        (
            b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{}}\n' * 2,
            "duplicate_custom_id",
        ),
    ],
)
def test_the_server_fails_a_batch_of_wrong_lines(client, content, code):
    uploaded = client.files.create(file=("name.jsonl", content), purpose="batch")
    client.batches.create(input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h")
    ended = wait(client)
    assert ended.status == "failed"
    assert [problem.code for problem in ended.errors.data] == [code]


def test_the_command_line(tmp_path, capsys, monkeypatch, agents):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(app_with_batches(agents)) as address, OpenAI(base_url=address, api_key="none") as client:
        options = ["--study", "dvb", "--set", "smoke", "--model", "agent-value", "--base-url", address]
        by_batch = [*options, "--record", str(tmp_path / "batch")]
        assert cli.main(["batch", "submit", *by_batch]) == 0
        assert "130 requests submitted" in capsys.readouterr().out
        assert cli.main(["query", *by_batch]) == 2
        assert "deepvalues batch collect" in capsys.readouterr().err
        assert cli.main(["batch", "status", *by_batch]) == 0
        assert "of 130 done, 0 failed" in capsys.readouterr().out
        wait(client)
        assert cli.main(["batch", "collect", *by_batch]) == 0
        assert "130 replies collected, 0 failed, 0 pending" in capsys.readouterr().out
        assert cli.main(["batch", "status", *by_batch]) == 0
        assert "no open batch" in capsys.readouterr().out
        assert cli.main(["query", *options, "--record", str(tmp_path / "engine")]) == 0
    records = [tmp_path / folder / "dvb" / "agent-value.jsonl" for folder in ("batch", "engine")]
    assert records[0].read_bytes() == records[1].read_bytes()


@pytest.mark.parametrize("step", ["submit", "status", "collect"])
def test_help_has_an_example(step, capsys):
    with pytest.raises(SystemExit):
        cli.main(["batch", step, "--help"])
    assert f"deepvalues batch {step} --study" in " ".join(capsys.readouterr().out.split())

"""Faults of endpoints, disks and users: in the end every question is answered once, and nothing is lost.

Runs are whole runs of the command line in processes of their own, against a server that misbehaves as
each test says. A moment is a number of requests or replies, not a time.
"""

import asyncio
import contextlib
import errno
import fcntl
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, OrderedDict
from pathlib import Path
from types import SimpleNamespace

import httpx2
import psutil
import pytest

from deepvalues.ask import asker, processes, record, run_query
from deepvalues.ask.asker import Asker
from deepvalues.ask.conversation import Conversation
from deepvalues.ask.engine import Ask, Job
from deepvalues.ask.record import Journal, Record
from deepvalues.ask.registry import Endpoint, Model, Price
from deepvalues.ask.settings import Settings
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper.execute import execute_notebook
from faulty_server import CUT, DRIP, HANG, FaultyServer, answer, completion, error, good, http

KEY = "sk-MARKED-4f1c9a7be2d80365"
#: No output may contain even this part of the key.
PART_OF_KEY = "sk-MARKED-4f1c9"
#: A --base-url gets a key only if one is named.
WITH_KEY = ("--key-variable", "OPENAI_API_KEY")
#: Far longer than anything here takes: a wait this long waits for something that never comes.
PATIENCE = 60
LLMOCK = Path(sys.executable).with_name("llmock")


class Run:
    """One run of the command line, in a separate process."""

    def __init__(self, runs, order, out, err):
        self._runs, self._out, self._err = runs, out, err
        self.pid = runs.order(order)

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self):
        """The exit status; negative for a signal that ended the run."""
        return self._runs.order({"wait": self.pid})

    @property
    def out(self):
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self):
        return self._err.read_text(encoding="utf-8")


class Runs:
    """Forks runs from a process that has already imported everything."""

    def __init__(self, folder):
        self.folder, self.number = folder, 0
        here = paths.ROOT / "tests" / "support" / "forked_runs.py"
        self._process = subprocess.Popen(
            [sys.executable, str(here)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def order(self, order):
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self):
        self._process.stdin.close()
        assert self._process.wait(PATIENCE) == 0
        self._process.stdout.close()

    def start(self, *arguments, parts=None, grace=None, file_limit=None, obey_permissions=False):
        self.number += 1
        out, err = (self.folder / f"{self.number}.{name}" for name in ("out", "err"))
        order = {
            "arguments": [str(argument) for argument in arguments],
            "out": str(out),
            "err": str(err),
            "processes": parts,
            "grace": grace,
            "file_limit": file_limit,
            "obey_permissions": obey_permissions,
            "environment": {"OPENAI_API_KEY": KEY},
        }
        return Run(self, order, out, err)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of the command line with a marked key in their environment, which no output may contain."""
    runs = Runs(tmp_path_factory.mktemp("runs"))
    yield runs
    runs.end()
    for file in runs.folder.iterdir():
        assert PART_OF_KEY not in file.read_text(encoding="utf-8")


@pytest.fixture
def query(runs, tmp_path):
    """Start `deepvalues query` for toy questions; its output must not contain the key."""

    def start(server, number, *arguments, model="m", **options):
        command = ["query", "--study", "toy", "--set", number, "--model", model, *WITH_KEY]
        return runs.start(
            *command, "--base-url", server.url, "--record", tmp_path, *map(str, arguments), **options
        )

    yield start
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert PART_OF_KEY.encode() not in file.read_bytes(), file


@pytest.fixture
def path(tmp_path):
    """The record of this test's runs."""
    return tmp_path / "toy" / "m.jsonl"


def anywhere(path):
    """The bytes of a record without keys and checksums, which depend on the server's port."""
    return re.sub(rb'"(?:key|check)":"[0-9a-f]+"', b"", path.read_bytes())


@pytest.fixture(scope="module")
def undisturbed(runs, tmp_path_factory):
    """A record made without faults."""
    made = {}

    def undisturbed(number):
        if number not in made:
            folder = tmp_path_factory.mktemp("undisturbed")
            with FaultyServer() as server:
                command = ["query", "--study", "toy", "--set", number, "--model", "m", *WITH_KEY]
                run = runs.start(*command, "--base-url", server.url, "--record", folder)
                assert run.wait() == 0, run.err
            assert server.requests == number
            made[number] = anywhere(folder / "toy" / "m.jsonl")
        return made[number]

    return undisturbed


def question(number):
    return f"Question {number:05d}?"


def recorded(path):
    """The questions with recorded answers, including those in parts and before half a line."""
    return {f"Question {answer.item}?" for answer in Record(path).answers.values()}


def logged(path):
    lines = path.with_suffix(".log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def wait_for_lock(path):
    """Wait until the last process of a run has ended."""
    with path.with_suffix(".lock").open("wb") as lock:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                assert time.monotonic() < deadline, "a worker process goes on for ever"
                time.sleep(0.01)


def one_message(run):
    """The one line that a run writes to standard error."""
    assert "Traceback" not in run.err, run.err
    lines = [line for line in run.err.splitlines() if line and not line.startswith("Stopping: ")]
    assert len(lines) == 1, run.err
    assert lines[0].startswith("deepvalues: ")
    return lines[0]


# Endpoint faults.


def too_hasty(**headers):
    return error(429, f"slow down; your key is {KEY}", **headers)


HEADERS = http(completion("Option A"))[:-20]
FAULTS = {
    "RateLimitError": too_hasty(),
    "InternalServerError": error(500, f"oh, {KEY}"),
    "BadRequestError": error(400, f"oh, {KEY}"),
    "APIConnectionError": [HEADERS, CUT],
    "APITimeoutError": [HANG],
    "APITimeoutError, dripping": [HEADERS[: HEADERS.index(b"\r\n\r\n") + 4], DRIP],
    "MalformedReplyError, no JSON": http(b'{"choices":[{"mess'),
    "MalformedReplyError": http({"choices": [], "key": KEY}),
    "ReportedError, cut in the key": http({"error": {"message": "x" * 290 + KEY}}),
}
TOY = [Conversation(f"{number:05d}", (question(number),)) for number in range(8)]
MODEL = Model("m", Endpoint("custom", None, "OPENAI_API_KEY"), "m")
ASK = Ask(MODEL, {"max_tokens": 10}, 1)


def hold(conversations, server, record, report=lambda _: None, ask=ASK, **settings):
    """Hold conversations in this process."""
    settings = Settings(**{"max_retries": 0, "concurrency": 4, **settings})
    jobs = [Job(conversation, 0, {}) for conversation in conversations]
    return processes.run(ask, server.url, settings, jobs, record, report)


@pytest.fixture
def marked(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.mark.parametrize("kind", FAULTS)
def test_failures_are_logged_by_class_and_do_not_delay_others(kind, marked, path):
    bad = {question(2), question(5)}
    with FaultyServer(lambda text, *_: FAULTS[kind] if text in bad else good(text)) as server:
        summary = hold(TOY, server, Record(path), timeout=0.5)
    assert (summary.asked, summary.failed, summary.stopped) == (6, 2, "")
    failures = {entry["item"]: entry["error"] for entry in logged(path) if "error" in entry}
    assert failures == dict.fromkeys(("00002", "00005"), kind.split(",")[0])
    assert sorted(Record(path).failures().values()) == [kind.split(",")[0]] * 2
    assert recorded(path) == {question(n) for n in range(8)} - bad
    written = path.read_text() + path.with_suffix(".log.jsonl").read_text() + summary.last_error
    assert PART_OF_KEY not in written


def storm(text, times, _):
    """Reject 30% of attempts, with and without Retry-After, but never six times in a row."""
    draw = random.Random(f"{text} {times}").random()
    if draw < 0.3 and times % 6:
        return too_hasty(**random.Random(text).choice([{}, {"retry_after": "0.01"}, {"retry_after_ms": "5"}]))
    return good(text)


@pytest.mark.slow
def test_status_429_costs_no_answer(query, path, undisturbed):
    with FaultyServer(storm) as server:
        run = query(server, 200, "--concurrency", 16)
        assert run.wait() == 0, run.err
    assert run.out == "m: 200 asked, 0 replayed, 0 failed\n"
    refused = server.requests - 200
    assert 0.2 < refused / server.requests < 0.4
    assert anywhere(path) == undisturbed(200)


def anything(text, times, _):
    """At most six faulty replies of any kind to each question, then a good one."""
    chance = random.Random(f"{text} {times}")
    if times > 6 or chance.random() < 0.5:
        return good(text)
    kinds = [name for name in FAULTS if "Timeout" not in name] + ["APITimeoutError, dripping"] * (times == 1)
    return FAULTS[chance.choice(kinds)]


@pytest.mark.slow
def test_with_all_faults_together_every_question_is_answered_once(query, path, undisturbed):
    number, delivered_well = 200, Counter()

    def rule(text, times, body):
        reply = anything(text, times, body)
        delivered_well[text] += reply == good(text)
        return reply

    with FaultyServer(rule) as server:
        missing = number
        for _ in range(10):
            run = query(server, number, "--timeout", 0.4, "--concurrency", 64)
            status = run.wait()
            counts = [int(n) for n in re.findall(r"\d+", run.out.splitlines()[-1])]
            asked, replayed, failed = counts
            assert (replayed, asked + failed) == (number - missing, missing), "lost"
            assert status == (1 if failed else 0)
            last = Record(path).failures()
            assert len(last) == failed
            assert set(last.values()) <= {name.split(",")[0] for name in FAULTS}
            missing = failed
            if not missing:
                break
    assert delivered_well == {question(n): 1 for n in range(number)}
    assert anywhere(path) == undisturbed(number)


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        (completion(""), ("", "stop", "m")),
        (completion(None), (None, "stop", "m")),
        (completion(None, finish_reason="content_filter"), (None, "content_filter", "m")),
        ({**completion("Option A"), "model": "another"}, ("Option A", "stop", "another")),
    ],
    ids=["empty", "null", "filtered", "another model"],
)
def test_odd_replies_are_kept_and_not_requested_again(query, path, reply, kept):
    with FaultyServer(lambda *_: http(reply)) as server:
        assert query(server, 3).wait() == 0
        again = query(server, 3)
        assert again.wait() == 0
    assert again.out == "m: 0 asked, 3 replayed, 0 failed\n"
    assert server.requests == 3
    answers = Record(path).answers.values()
    assert [(a.text, a.finish_reason, a.model) for a in answers] == [kept] * 3


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(
    ("status", "code", "name"),
    [
        (401, "invalid_api_key", "AuthenticationError"),
        (403, None, "PermissionDeniedError"),
        (404, "model_not_found", "NotFoundError"),
    ],
)
def test_errors_that_affect_all_requests_stop_the_run(query, path, status, code, name, parts):
    with FaultyServer(lambda *_: error(status, f"not with the key {KEY}", code)) as server:
        run = query(server, 300, "--concurrency", 8, parts=parts)
        assert run.wait() == 2
        message = one_message(run)
        assert server.requests <= 16
    why = "does not know this URL or model" if status == 404 else "rejects this model or key"
    assert f"because the endpoint {why}. The last error was: {name}" in message
    assert "[API key]" in message
    assert "0 answers were saved; run the same command to continue" in message
    assert recorded(path) == set()
    with FaultyServer() as server:
        again = query(server, 300)
        assert again.wait() == 0, again.err
    assert server.requests == 300


def test_endless_failures_stop_the_run_with_the_last_error(query):
    with FaultyServer(lambda *_: error(503, "overloaded", x_should_retry="false")) as server:
        run = query(server, 300, "--concurrency", 8)
        assert run.wait() == 2
    message = one_message(run)
    assert "25 requests in a row failed. The last error was: InternalServerError" in message
    assert server.requests <= 25 + 8


def test_the_pace_halves_once_per_burst_and_grows_back(marked, path, monkeypatch):
    askers, limits = [], []

    class Watched(Asker):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            askers.append(self)

    monkeypatch.setattr("deepvalues.ask.asker.Asker", Watched)
    conversations = [Conversation(f"{n:05d}", (question(n),)) for n in range(400)]

    async def rule(text, times, _):
        if int(text[9:14]) < 16 and times == 1:
            return too_hasty(retry_after_ms="1")
        return good(text)

    with FaultyServer(rule) as server:
        summary = hold(
            conversations,
            server,
            Record(path),
            report=lambda _: limits.append(askers[0].pace.limit),
            concurrency=16,
            max_retries=2,
        )
    assert summary.asked == 400
    assert server.requests == 416
    assert 8 <= min(limits) < 9, "sixteen refusals of one burst halve once"
    assert limits == sorted(limits)
    assert limits[-1] == 16
    assert server.most_in_flight <= 16


# Killed.


class Killer:
    """Kills a run at its n-th request: every victim at each of four moments, twelve times in all.

    "all asked" is when every reply has led to a next request, so that none can be on its way: what was
    delivered by then has been received in full, and must be in the record.
    """

    MOMENTS = ("all asked", "before", "amid", "after")
    KILLS = 12

    def __init__(self, seed, victims, in_flight):
        self.chance, self.in_flight = random.Random(seed), in_flight
        self.plan = list(itertools.product(self.MOMENTS, victims)) * (3 // len(victims))
        assert len(self.plan) == self.KILLS
        self.run, self.left = None, 0

    def aim(self):
        """Kill the next run, which gets no reply until ``run`` is set."""
        self.run, self.left = None, self.chance.randint(1, 40)
        self.moment, self.whom = self.plan.pop()
        self.received, self.released = set(), asyncio.Event()
        self.before = self.server.delivered.copy()

    def kill(self):
        parent = psutil.Process(self.run.pid)
        workers = parent.children()
        chosen = {"run": [parent], "worker": workers[:1], "all": [parent, *workers]}[self.whom]
        for process in chosen:
            process.kill()

    async def rule(self, text, *_):
        while not self.run:
            await asyncio.sleep(0.001)
        self.left -= 1
        reply = good(text)
        if self.left < 0 and self.moment == "all asked" and not self.released.is_set():
            await self.released.wait()
        if self.left:
            return reply
        if self.moment == "all asked":
            while self.server.in_flight < self.in_flight:
                await asyncio.sleep(0.001)
            self.received = set(self.server.delivered - self.before)
            self.kill()
            self.released.set()
            return reply
        if self.moment == "before":
            return [self.kill, reply]
        if self.moment == "amid":
            return [reply[:-20], self.kill, reply[-20:]]
        return [reply, self.chance.random() / 200, self.kill]


def test_workers_keep_the_record_locked_after_the_run_is_killed(query, path):
    released = False

    async def rule(text, *_):
        while not released:
            await asyncio.sleep(0.001)
        return good(text)

    with FaultyServer(rule) as server:
        run = query(server, 100, "--concurrency", 16, parts=2)
        while server.in_flight < 16:
            time.sleep(0.001)
        psutil.Process(run.pid).kill()
        run.wait()
        with path.with_suffix(".lock").open("wb") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        released = True
        wait_for_lock(path)
    assert len(recorded(path)) >= 16


@pytest.mark.slow
@pytest.mark.parametrize(("parts", "victims"), [(1, ["run"]), (2, ["run", "worker", "all"])])
def test_after_a_kill_nothing_received_is_requested_again(query, path, undisturbed, parts, victims):
    number = 600
    killer = Killer(parts, victims, 8 * parts)
    with FaultyServer(killer.rule) as killer.server:
        server = killer.server
        while True:
            killer.left = 1 << 30
            held = recorded(path) if path.parent.exists() else set()
            before = server.asked.copy()
            if not (last := not killer.plan):
                killer.aim()
            run = killer.run = query(server, number, "--concurrency", 8 * parts, parts=parts)
            status = run.wait()
            wait_for_lock(path)
            while server.in_flight:
                time.sleep(0.001)
            assert killer.received <= recorded(path), "received in full and not in the record"
            again = set(server.asked - before) & held
            assert not again, "asked again though it was in the record"
            if last:
                break
            assert status != 0
            if killer.whom != "worker":
                assert status == -signal.SIGKILL
    assert (status, run.err) == (0, "")
    assert set(server.asked) == {question(n) for n in range(number)}
    # Only requests in flight at a kill were sent more than once.
    assert server.requests - number <= Killer.KILLS * 8 * parts
    assert anywhere(path) == undisturbed(number)
    assert list(path.parent.glob("*.part*")) == []


def test_a_worker_killed_at_the_start_stops_the_run(marked, path, monkeypatch):
    class Stillborn(processes._Worker):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.process.kill()
            self.process.wait()

    monkeypatch.setattr(processes, "number_of_processes", lambda *_: 2)
    monkeypatch.setattr(processes, "_Worker", Stillborn)
    long = [Conversation(f"{n:05d}", (f"{question(n)} {'x' * 70_000}",)) for n in range(8)]
    with FaultyServer() as server:
        summary = hold(long, server, Record(path))
    assert summary.stopped == "a worker process died"
    assert server.requests == 0


# Disks.


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, 2])
def test_a_file_size_limit_stops_the_run_and_the_next_one_continues(query, path, undisturbed, parts):
    number = 600
    with FaultyServer() as server:
        run = query(server, number, "--concurrency", 8, parts=parts, file_limit=40_000)
        assert run.wait() == 2
        message = one_message(run)
        assert re.search(
            r"the record can't be written \((No space left on device|File too large)\)\. ", message
        )
        held, aside = recorded(path), record.found_aside(path)
        assert 100 < len(held) < number
        assert f"{len(held)} answers were saved" in message
        assert server.requests == len(held), "what was asked was kept"
        assert len(aside) <= 8, "nothing was sent after the first failed write"
        # With several processes, the shared log reaches the limit first.
        if parts == 1:
            where = message.split(f", {len(aside)} of them for lack of space in ")[1].split(";")[0]
            assert aside == sorted(Path(where).parent.glob(Path(where).name))
        run = query(server, number, parts=parts)
        assert run.wait() == 0, run.err
        assert server.requests == number, "nothing was asked twice"
    assert anywhere(path) == undisturbed(number)
    assert record.found_aside(path) == []


def test_unsaved_replies_are_counted_and_only_they_are_requested_again(marked, path, monkeypatch):
    monkeypatch.setattr(record, "_folders", lambda: iter([path / "missing"]))
    monkeypatch.setattr(Journal, "append", full_from(3))
    with FaultyServer() as server:
        summary = hold(TOY, server, Record(path), concurrency=2)
        assert (summary.asked, summary.stopped) == (
            2,
            "the record can't be written (No space left on device)",
        )
        assert 1 <= summary.lost <= 2
        assert server.requests == summary.asked + summary.lost == 2 + summary.lost
    with pytest.raises(
        UserError, match=rf"2 answers were saved; {summary.lost} could not be saved and will be requested, "
    ):
        run_query._stop_if_stopped(MODEL, Record(path), summary)


def full_from(number):
    """The method `Journal.append` on a disk that is full after some answers."""
    append, count = Journal.append, itertools.count(1)

    def full(journal, answer):
        if next(count) >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(journal, answer)

    return full


def test_after_a_failed_write_requests_in_flight_get_their_full_timeout(marked, path, monkeypatch):
    monkeypatch.setattr(asker, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(Journal, "append", full_from(1))
    slow = {question(1), question(2)}

    async def rule(text, *_):
        # They arrive well after the first reply, later than the grace period of other stops.
        return [0.5, good(text)] if text in slow else good(text)

    with FaultyServer(rule) as server:
        summary = hold(TOY, server, Record(path), concurrency=3)
        assert (server.requests, summary.asked, summary.lost) == (3, 3, 0)
    assert recorded(path) == {question(0), *slow}
    assert record.found_aside(path) == [], "taken in at the end, as there was room again"


ON_A_SMALL_DISK = """
mount -t tmpfs -o size=96k tmpfs "$1" || exit 99
shift
"$@" && exit 98
cp -r "$DISK" "$SAVED"
mount -o remount,size=4m "$DISK" && "$@" && cp "$DISK/toy/m.jsonl" "$SAVED/last"
"""
TOY_QUERY = (
    "import sys, forked_runs; from deepvalues.ask import study; from deepvalues import cli;"
    "study.register(forked_runs.Toy()); sys.exit(cli.main(sys.argv[1:]))"
)


def environment(**more):
    """A command's environment with the marked key."""
    here = os.pathsep.join([str(paths.ROOT / "tests" / "support"), str(paths.ROOT / "src")])
    return {**os.environ, "OPENAI_API_KEY": KEY, "PYTHONPATH": here, **more}


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_the_next_one_continues(tmp_path, undisturbed):
    number = 600
    disk, saved = tmp_path / "disk", tmp_path / "saved"
    disk.mkdir()
    command = [sys.executable, "-c", TOY_QUERY, "query", "--study", "toy", "--set", number, "--model", "m"]
    # In its own namespace, the small disk disappears with the last process that uses it.
    alone = ["unshare", "--mount", "--map-root-user", "sh", "-c", ON_A_SMALL_DISK, "sh", disk]
    if not shutil.which("unshare"):
        pytest.skip("no unshare: a small disk can't be had here")
    with FaultyServer() as server:
        command += ["--base-url", server.url, "--record", disk, *WITH_KEY]
        done = subprocess.run(
            [str(word) for word in [*alone, *command]],
            check=False,
            env=environment(DISK=str(disk), SAVED=str(saved)),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    if done.returncode == 99:
        pytest.skip(f"a small disk can't be had here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr
    assert 0 < len(recorded(saved / "toy" / "m.jsonl")) < number
    assert server.requests == number, "nothing was asked twice"
    assert anywhere(saved / "last") == undisturbed(number)
    assert PART_OF_KEY not in done.stdout + done.stderr


@pytest.mark.parametrize("begun", [False, True])
def test_a_read_only_folder_is_reported_before_anything_is_sent(query, path, undisturbed, begun):
    with FaultyServer() as server:
        if begun:
            assert query(server, 5).wait() == 0
        path.parent.mkdir(exist_ok=True)
        asked, held = server.requests, {file: file.read_bytes() for file in path.parent.iterdir()}
        for file in held:
            file.chmod(0o444)
        path.parent.chmod(0o555)
        run = query(server, 20, obey_permissions=True)
        assert run.wait() == 2
        assert "can't write the record: Permission denied" in one_message(run)
        assert server.requests == asked
        assert {file: file.read_bytes() for file in path.parent.iterdir()} == held
        path.parent.chmod(0o755)
        for file in held:
            file.chmod(0o644)
        assert query(server, 20).wait() == 0
    assert server.requests == 20
    assert anywhere(path) == undisturbed(20)


# Interrupted.


def interrupting(after, hanging=0):
    """A rule that interrupts `rule.target` at a request; replies in flight arrive a little later.

    So many of those in flight get no reply at all, the first time they are asked.
    """
    state = {"left": after, "hanging": hanging}

    async def rule(text, times, _):
        state["left"] -= 1
        if state["left"] == 0:
            rule.target()
        if state["left"] <= 0 and times == 1 and state["hanging"] and not rule.done:
            state["hanging"] -= 1
            return [HANG]
        return [0.05, good(text)]

    rule.done = False
    return rule


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, 2])
def test_an_interrupted_run_saves_replies_in_flight_and_can_continue(query, path, undisturbed, parts):
    number = 300
    rule = interrupting(100, hanging=2 * (parts == 1))
    with FaultyServer(rule) as server:
        started = threading.Event()
        rule.target = lambda: started.wait(PATIENCE) and run.signal(signal.SIGINT)
        # Two replies never come: waiting for them longer would show no more.
        run = query(server, number, "--concurrency", 16, parts=parts, grace=2)
        started.set()
        assert run.wait() == 2
        wait_for_lock(path)
        rule.done = True
        message = one_message(run)
        assert "Stopping: waiting a few seconds for requests in flight." in run.err
        assert "stopped because it was interrupted." in message
        assert "run the same command to continue" in message
        held = recorded(path)
        assert held == set(server.delivered), "all that was delivered was saved"
        assert f"{len(held)} answers were saved" in message
        assert 80 < len(held) < 140
        assert query(server, number).wait() == 0
    assert all(server.asked[text] == 1 for text in held)
    assert anywhere(path) == undisturbed(number)


def test_ctrl_c_ends_the_command_within_seconds(tmp_path):
    command = ["query", "--set", "smoke", "--model", "m", "--record", tmp_path, "--concurrency", 4, *WITH_KEY]
    rule = interrupting(12)
    with FaultyServer(rule) as server:
        moments = []
        words = [sys.executable, "-m", "deepvalues", *command, "--base-url", server.url]
        process = subprocess.Popen(
            [str(word) for word in words],
            env=environment(),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        rule.target = lambda: (moments.append(time.monotonic()), process.send_signal(signal.SIGINT))
        out, err = process.communicate(timeout=PATIENCE)
        assert time.monotonic() - moments[0] < 15
    assert process.returncode == 2
    assert "stopped because it was interrupted." in err
    assert "Traceback" not in err
    saved = len(Record(tmp_path / "dvb" / "m.jsonl").answers)
    assert saved == server.delivered.total()
    assert f"{saved} answers were saved; run the same command to continue" in err
    assert PART_OF_KEY not in out + err


# Prefix order.


class PromptCache:
    """A provider's prompt cache: the longest common prefix with an earlier completed request.

    It counts in blocks of 128 tokens from 1,024 on, as OpenAI says of its own, and forgets a beginning
    that none of the last ``memory`` requests had. A token is four characters.
    """

    BLOCK, LEAST = 128 * 4, 1024 * 4

    def __init__(self, memory):
        self.memory = memory
        self.input = self.cached = self.completed = 0
        self._known = OrderedDict()

    async def rule(self, text, *_):
        ends = range(self.LEAST, len(text) + 1, self.BLOCK)
        digests = [hash(text[:end]) for end in ends]
        oldest = self.completed - self.memory
        hits = [
            end
            for end, digest in zip(ends, digests, strict=True)
            if self._known.get(digest, oldest - 1) >= oldest
        ]
        cached, tokens = max(hits, default=0) // 4, len(text) // 4
        await asyncio.sleep(0.005)
        self.completed += 1
        self._known.update(dict.fromkeys(digests, self.completed))
        self.input += tokens
        self.cached += cached
        return http(completion("Option A", prompt_tokens=tokens, cached=cached))


@pytest.mark.slow
@pytest.mark.parametrize("memory", [32, 10**9])
def test_three_quarters_of_the_input_come_from_the_providers_cache(
    study, items_full, marked, tmp_path, memory, record_property
):
    # An unlimited cache saves the same share of any cells' input; one that forgets needs many to forget.
    cells = sorted(items_full["cell"].unique())[:: 13 if memory == 32 else 65]
    chosen = items_full[items_full["n_examples"].isin([20, 40]) & items_full["cell"].isin(cells)]
    chosen = chosen.sample(frac=1, random_state=1)
    assert len(chosen) == 20 * len(cells)
    in_order = study.conversations(chosen)
    # Without prefixes the engine follows the order of item names.
    at_random = [Conversation(f"{n:05d}", each.turns) for n, each in enumerate(in_order)]
    shares = {}
    for name, conversations in (("in order", in_order), ("at random", at_random)):
        cache = PromptCache(memory)
        with FaultyServer(cache.rule) as server:
            # One at a time nothing else is in flight, so an unlimited cache is exact.
            at_once = 4 if memory == 32 else 1
            summary = hold(conversations, server, Record(tmp_path / f"{name}.jsonl"), concurrency=at_once)
        assert (summary.asked, summary.failed) == (len(chosen), 0)
        assert (summary.used.input, summary.used.cached) == (cache.input, cache.cached)
        shares[name] = cache.cached / cache.input
        record_property(f"share from cache {name}", shares[name])
    print(f"from cache, {memory} requests remembered: {shares}")
    assert shares["in order"] >= 0.75
    # The order does not matter to an unlimited cache; providers' caches expire within minutes.
    gained = shares["in order"] - shares["at random"]
    assert gained > 0.3 if memory == 32 else gained == 0


# Money.

PAID = "gpt-4o-2024-08-06"
PRICE = Price(2.5, 1.25, 10.0, "2025-05")


def cheap(text, *_):
    return http(completion(answer(text), prompt_tokens=5))


def test_the_maximum_cost_is_not_exceeded_and_the_next_run_continues(query, tmp_path):
    most = 0.005
    each = (5 * PRICE.input + 2 * PRICE.output) / 1e6
    with FaultyServer(cheap) as server:
        for round_ in (1, 2):
            run = query(server, 600, "--max-cost", most, "--yes", "--concurrency", 16, model=PAID)
            assert run.wait() == 2
            assert f"the next request could exceed the maximum of ${most:g}" in one_message(run)
            assert 0.6 * most * round_ < server.requests * each <= most * round_
        assert query(server, 600, "--max-cost", 1, "--yes", model=PAID).wait() == 0
    assert server.requests == 600, "nothing was paid for twice"
    assert len(Record(tmp_path / "toy" / f"{PAID}.jsonl").answers) == 600


@pytest.mark.parametrize("usage", [True, False], ids=["counted", "not counted"])
def test_unusable_replies_count_toward_the_maximum(query, usage):
    reply = {**completion("Option A", prompt_tokens=5), "choices": "none"}
    if not usage:
        del reply["usage"]
    with FaultyServer(lambda *_: http(reply)) as server:
        run = query(server, 200, "--price", "100,1000", "--max-cost", 0.03, "--yes", "--concurrency", 1)
        assert run.wait() == 2
    assert "the next request could exceed the maximum of $0.03" in one_message(run)
    assert 0 < server.requests < 25, "before so many failures would have stopped it"


def test_a_maximum_cost_needs_a_price(query):
    with FaultyServer() as server:
        run = query(server, 5, "--max-cost", 1)
        assert run.wait() == 2
    assert "a maximum cost needs a price" in one_message(run)
    assert server.requests == 0


def test_a_dry_run_sends_and_writes_nothing(query, tmp_path):
    with FaultyServer() as server:
        run = query(server, 600, "--dry-run", model=PAID)
        assert run.wait() == 0
    assert run.out.startswith(f"{PAID}: 600 requests to send\n")
    assert "with prefix caching" in run.out
    assert server.connections == 0
    assert list(tmp_path.iterdir()) == []


def test_a_paid_endpoint_needs_a_confirmation(query, tmp_path):
    with FaultyServer() as server:
        run = query(server, 600, model=PAID)
        assert run.wait() == 2
    assert f"{PAID} costs money: add --yes" in one_message(run)
    assert "600 requests to send" in run.out
    assert server.connections == 0
    assert list(tmp_path.iterdir()) == []


# Secrets. The fixtures also check that no run above reveals the key.

CELLS = [
    "url = ''\nfolder = ''",
    """from pathlib import Path
from deepvalues.ask import on_record, run_query
from deepvalues.ask import catalogue, study
from deepvalues.core.errors import UserError
from deepvalues.ask.settings import Settings
import forked_runs
study.register(forked_runs.Toy())
items = forked_runs.Toy().items("24")
models = [catalogue.registry().model("m", url, "OPENAI_API_KEY")]
def ask(url):
    models = [catalogue.registry().model("m", url, "OPENAI_API_KEY")]
    settings = Settings(max_retries=0, timeout=0.5)
    return run_query.query("toy", models, items, record_folder=Path(folder), settings=settings)
ask(url)""",
    "on_record.answers('toy', models, items, Path(folder))",
    "print(*[path.read_text() for path in Path(folder).rglob('*.jsonl')])",
    """try:
    ask(url + "/rejecting")
except UserError as error:
    print(error)
models""",
]


def notebook(folder, cells):
    """Write a notebook; its first cell takes parameters."""
    import nbformat.v4

    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.cells[0].metadata["tags"] = ["parameters"]
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    source = folder / "faults.ipynb"
    source.write_text(nbformat.writes(made), encoding="utf-8")
    return source


@pytest.mark.slow
def test_an_executed_notebook_does_not_contain_the_key(tmp_path, marked, capfd, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    kinds = list(FAULTS.values())
    numbers = {}

    def rule(text, *_):
        if "/rejecting" in server.headers[-1].split(b"\r\n")[0].decode():
            return error(401, f"Incorrect API key provided: {KEY}")
        number = numbers.setdefault(text, len(numbers))
        return kinds[number] if number < len(kinds) else good(text)

    target, folder = tmp_path / "executed" / "faults.ipynb", tmp_path / "record"
    with FaultyServer(rule) as server:
        parameters = {"url": server.url, "folder": str(folder)}
        execute_notebook(notebook(tmp_path, CELLS), target, parameters)
        failing = [*CELLS[:2], "ask(url + '/rejecting')"]
        with pytest.raises(UserError) as caught:
            execute_notebook(notebook(tmp_path, failing), target.with_name("failed.ipynb"), parameters)
    assert "AuthenticationError" in str(caught.value)
    shown = target.read_text(encoding="utf-8")
    for told in ("MalformedReplyError", "RateLimitError", "APITimeoutError", "AuthenticationError"):
        assert told in shown
    written = [file.read_text(encoding="utf-8") for file in tmp_path.rglob("*") if file.is_file()]
    for text in (*written, *capfd.readouterr(), str(caught.value)):
        assert PART_OF_KEY not in text


def test_a_failing_attempt_has_no_key_in_its_traceback(marked, path, monkeypatch, caplog):
    """Also with all log messages of client and engine turned on."""
    caplog.set_level("DEBUG")
    with FaultyServer(lambda *_: error(401, f"not with {KEY}")) as server:
        summary = hold(TOY, server, Record(path))
    assert "[API key]" in summary.last_error
    assert PART_OF_KEY not in repr(summary) + path.with_suffix(".log.jsonl").read_text()


# A third-party server.


def free_ports(number):
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def foreign():
    """Start LLMock from PyPI, which speaks OpenAI's protocol, misbehaves on request and rates clients."""
    with contextlib.ExitStack() as stack:
        yield lambda *options: stack.enter_context(llmock(*options))


@contextlib.contextmanager
def llmock(*options):
    port = free_port()
    process = subprocess.Popen(
        [LLMOCK, "serve", "--port", str(port), "--response-style", "varied", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                httpx2.get(f"http://127.0.0.1:{port}/health", trust_env=False)
                break
            except httpx2.HTTPError:
                assert process.poll() is None and time.monotonic() < deadline, "it did not start"
                time.sleep(0.05)
        yield SimpleNamespace(url=f"http://127.0.0.1:{port}/v1", root=f"http://127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)


def verdict(server):
    """The server's report on its clients, and whether it has no complaints."""
    command = [LLMOCK, "report", "--strict", "--url", server.root]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
    return run.stdout + run.stderr, run.returncode == 0


@pytest.mark.slow
def test_a_third_party_server_gets_every_question_once(query, path, foreign):
    server = foreign()
    run = query(server, 60)
    assert run.wait() == 0, run.err
    assert run.out.startswith("m: 60 asked, 0 replayed, 0 failed")
    record = Record(path)
    assert len(record.answers) == 60
    assert all(answer.text and answer.prompt_tokens for answer in record.answers.values())
    before = path.read_bytes()
    run = query(server, 60)
    assert run.wait() == 0
    assert run.out == "m: 0 asked, 60 replayed, 0 failed\n"
    assert path.read_bytes() == before
    said, passed = verdict(server)
    assert passed and "60 call(s), 60 attempt(s)" in said, said


@pytest.mark.slow
def test_a_third_party_server_approves_of_the_error_handling(query, path, foreign):
    # It rejects requests at random. After a request that was rejected six times, all is begun anew: the next
    # run would send it again without knowing how long the server had asked to wait.
    for _ in range(5):
        path.unlink(missing_ok=True)
        path.with_suffix(".log.jsonl").unlink(missing_ok=True)
        server = foreign("--error-rate", "429=0.15", "--error-rate", "503=0.15")
        run = query(server, 40)
        if run.wait() == 0 and " 0 failed" in run.out:
            break
    assert len(Record(path).answers) == 40, run.out
    said, passed = verdict(server)
    assert passed and " 0 fault(s)" not in said, said

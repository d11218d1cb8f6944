"""Hidden states: what a language model's last layer makes of a text, as a vector.

A model reads a text in one pass, which gives one vector a token. Two summaries are kept: the mean over the
tokens, and the last token's, which has read all that comes before it. Both are set to length 1. They are
kept on disk, outside the project, so that no text is read twice: the options of the prompts come back often.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from deepvalues.errors import UserError

#: A text's vectors, of shape (tokens, size).
TokenStates: TypeAlias = Any
#: Reads a text.
ReadText: TypeAlias = Callable[[str], TokenStates]
#: Starts what reads texts, and ends it with the block.
Reader: TypeAlias = Callable[[], AbstractContextManager[ReadText]]

#: What is kept of a text: the mean of its tokens' vectors, and the last token's.
POOLINGS = ("mean", "last")
#: Names another folder for what is kept, the same as for the weights.
CACHE_VARIABLE = "DEEPVALUES_CACHE"
#: Names the folder of the weights.
WEIGHTS_VARIABLE = "DEEPVALUES_WEIGHTS"
#: Seconds for one text; the largest model takes two or three on a busy processor.
_ONE_TEXT = 300.0
_INSTALL = 'llama.cpp\'s server is not installed; install it with: pip install -e ".[open]"'


class OpenModel(NamedTuple):
    """A model whose weights are on this machine."""

    name: str
    file: str
    sha256: str


OPEN_MODELS = (
    OpenModel(
        "smollm2-135m",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    OpenModel(
        "qwen2.5-coder-0.5b",
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    OpenModel(
        "qwen2.5-coder-1.5b",
        "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
)


# ---- the weights and their server ----


def cache_folder() -> Path:
    """Where vectors are kept: in the user's cache, or where `CACHE_VARIABLE` says."""
    # Here, and not above: inside a notebook pooch's import warns that there are no widgets for its bars.
    import pooch

    named = os.environ.get(CACHE_VARIABLE)
    return (Path(named).expanduser() if named else Path(pooch.os_cache("deepvalues"))) / "hidden"


def weights_path(model: OpenModel) -> Path:
    """The file of a model's weights, once it is known to be the expected one.

    Raises
    ------
    UserError
        When the file is not there, or its SHA-256 is another one.
    """
    named = os.environ.get(WEIGHTS_VARIABLE)
    path = (Path(named).expanduser() if named else cache_folder().with_name("weights")) / model.file
    if not path.is_file():
        raise UserError(
            f"{model.name}: its weights are not on this machine: {path} is not there; put the file there, or "
            f"name its folder in {WEIGHTS_VARIABLE}"
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != model.sha256:
        raise UserError(
            f"{model.name}: {path} is not the expected file: its SHA-256 is {found}, and not {model.sha256}; "
            "fetch it again"
        )
    return path


@contextmanager
def server(model: OpenModel) -> Iterator[ReadText]:
    """Have llama.cpp's server read texts, in a process of its own that ends with the block or this process.

    Raises
    ------
    UserError
        When the server is not installed, the weights are missing or others, or the server does not answer.
    """
    if find_spec("xllamacpp") is None:
        raise UserError(f"{model.name}: {_INSTALL}")
    command = [sys.executable, "-m", "deepvalues.local.embedding", str(weights_path(model))]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    # A session of its own: at Ctrl-C what is in flight comes back first.
    with subprocess.Popen(command, start_new_session=True, text=True, **pipes) as process:
        assert process.stdin is not None and process.stdout is not None
        address = process.stdout.readline().strip()
        try:
            if not address:
                raise UserError(f"the server of {model.name} ended with status {process.wait()}")
            yield lambda text: _asked(model.name, f"{address}/embeddings", text)
        finally:
            process.stdin.close()


def _asked(name: str, url: str, text: str) -> TokenStates:
    request = urllib.request.Request(
        url, json.dumps({"content": text}).encode(), {"Content-Type": "application/json"}
    )
    # A proxy of the environment is not for loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_ONE_TEXT) as reply:
            return np.asarray(json.load(reply)[0]["embedding"], dtype=np.float64)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise UserError(f"{name}: its server gave no vectors for a text ({error}); ask again") from None


# ---- vectors ----


def pooled(states: TokenStates) -> dict[str, Any]:
    """The summaries of a text's vectors by pooling, each of length 1 and in single precision.

    Parameters
    ----------
    states
        Shape (tokens, size).
    """
    summaries = {"mean": states.mean(axis=0), "last": states[-1]}
    return {name: (each / np.linalg.norm(each)).astype(np.float32) for name, each in summaries.items()}


class HiddenStates:
    """The vectors of texts under one model's weights, kept on disk once they are made.

    Parameters
    ----------
    model
        Whose SHA-256, with the pooling and the text, is the key of a vector.
    reader
        Started when a text is met for the first time; by default `server`.
    folder
        Where vectors are kept; by default `cache_folder`.
    """

    def __init__(self, model: OpenModel, reader: Reader | None = None, folder: Path | None = None) -> None:
        self.model = model
        self._reader = reader or (lambda: server(model))
        self._folder = folder
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._read: ReadText | None = None

    def vectors(self, texts: Sequence[str], pooling: str) -> Any:
        """The vectors of texts, shape (texts, size), each of length 1.

        Parameters
        ----------
        pooling
            ``mean`` or ``last``.

        Raises
        ------
        UserError
            When vectors have to be made and the server or the weights are missing, or can't be kept.
        """
        path = (self._folder or cache_folder()) / f"{self.model.sha256}.sqlite"
        # One at a time: the server has one slot, and a text that two prompts share is read once.
        with self._lock:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with closing(sqlite3.connect(path, timeout=60)) as kept:
                    kept.execute(_TABLE)
                    return np.stack([self._vector(kept, text, pooling) for text in texts]).astype(np.float64)
            except (sqlite3.Error, OSError) as error:
                raise UserError(
                    f"{self.model.name}: its vectors can't be kept in {path} ({error}); make room there, "
                    f"delete the file if it is damaged, or name another folder in {CACHE_VARIABLE}"
                ) from None

    def _vector(self, kept: sqlite3.Connection, text: str, pooling: str) -> Any:
        found = kept.execute(_FIND, (text, pooling)).fetchone()
        if found is not None:
            return np.frombuffer(found[0], dtype="<f4")
        if self._read is None:
            self._read = self._open.enter_context(self._reader())
            atexit.register(self.close)
        made = pooled(self._read(text))
        with kept:
            kept.executemany(
                _KEEP, [(text, name, each.astype("<f4").tobytes()) for name, each in made.items()]
            )
        return made[pooling]

    def close(self) -> None:
        """End what reads texts; it is started again when needed."""
        self._read = None
        self._open.close()


_TABLE = (
    "CREATE TABLE IF NOT EXISTS vectors (text TEXT, pooling TEXT, vector BLOB, PRIMARY KEY (text, pooling))"
)
_FIND = "SELECT vector FROM vectors WHERE text = ? AND pooling = ?"
_KEEP = "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)"

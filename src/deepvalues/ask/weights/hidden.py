"""Hidden states: what a language model's last layer makes of a text, as a vector.

A model reads a text in one pass, which gives one vector a token. Two summaries are kept: the mean over the
tokens, and the last token's, which has read all that comes before it. Both are set to length 1. They are
kept on disk, outside the project, so that no text is read twice: the options of the prompts come back often.
"""

from __future__ import annotations

import atexit
import json
import sqlite3
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from deepvalues.ask.registry import Model
from deepvalues.ask.weights.fetch import CACHE_VARIABLE, cache_folder, weights_of
from deepvalues.ask.weights.serve import serving
from deepvalues.core.errors import UserError

#: A text's vectors, of shape (tokens, size).
TokenStates: TypeAlias = Any
#: Reads a text.
ReadText: TypeAlias = Callable[[str], TokenStates]
#: Starts what reads texts, and ends it with the block.
Reader: TypeAlias = Callable[[], AbstractContextManager[ReadText]]

#: What is kept of a text: the mean of its tokens' vectors, and the last token's.
POOLINGS = ("mean", "last")
#: Seconds for one text; the largest model takes two or three on a busy processor.
_ONE_TEXT = 300.0


def hidden_folder() -> Path:
    """Where vectors are kept: beside the weights, in the user's cache."""
    return cache_folder().with_name("hidden")


@contextmanager
def server(model: Model) -> Iterator[ReadText]:
    """Have llama.cpp's server read texts for as long as the block runs.

    Raises
    ------
    UserError
        As from `deepvalues.ask.weights.serve.serving`, or when the server gives no vectors.
    """
    with serving(model, vectors=True) as base_url:
        yield lambda text: _asked(model.name, f"{base_url.removesuffix('/v1')}/embeddings", text)


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
        One with weights: their SHA-256, with the pooling and the text, is the key of a vector.
    reader
        Started when a text is met for the first time; by default `server`.
    folder
        Where vectors are kept; by default `hidden_folder`.
    """

    def __init__(self, model: Model, reader: Reader | None = None, folder: Path | None = None) -> None:
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
        path = (self._folder or hidden_folder()) / f"{weights_of(self.model).sha256}.sqlite"
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
        made = pooled((self._read or self._start())(text))
        with kept:
            kept.executemany(
                _KEEP, [(text, name, each.astype("<f4").tobytes()) for name, each in made.items()]
            )
        return made[pooling]

    def _start(self) -> ReadText:
        # A server ends with the thread that starts it, and those that answer requests come and go.
        keeper = self._open.enter_context(ThreadPoolExecutor(1))
        self._read = keeper.submit(lambda: self._open.enter_context(self._reader())).result()
        atexit.register(self.close)
        return self._read

    def close(self) -> None:
        """End what reads texts; it is started again when needed."""
        self._read = None
        self._open.close()


_TABLE = (
    "CREATE TABLE IF NOT EXISTS vectors (text TEXT, pooling TEXT, vector BLOB, PRIMARY KEY (text, pooling))"
)
_FIND = "SELECT vector FROM vectors WHERE text = ? AND pooling = ?"
_KEEP = "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)"

"""Hidden states: the output of a language model's last layer for a text, as a vector.

A model reads a text in one pass, which gives one vector per token. Two summaries are kept, each normalized to
length 1: the mean over tokens, and the last token's vector, which depends on the whole text. They are cached
on disk, outside the project, since prompts often share options.

The model's token embeddings, from which the first layer starts, are the baseline without context: what its
vocabulary alone holds.
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
from deepvalues.ask.weights.fetch import CACHE_VARIABLE, cache_folder, place, weights_of
from deepvalues.ask.weights.serve import serving
from deepvalues.core.errors import UserError
from deepvalues.core.paths import install

#: A text's vectors, of shape (tokens, size).
TokenStates: TypeAlias = Any
#: Reads a text.
ReadText: TypeAlias = Callable[[str], TokenStates]
#: A context manager that provides a `ReadText`.
Reader: TypeAlias = Callable[[], AbstractContextManager[ReadText]]

#: The summaries of a text: the mean of its tokens' vectors, and the last token's.
POOLINGS = ("mean", "last")
#: Timeout in seconds for one text; the largest model takes two or three on a busy processor.
_TIMEOUT = 300.0


def hidden_folder() -> Path:
    """The folder for vectors: next to the weights, in the user's cache."""
    return cache_folder().with_name("hidden")


@contextmanager
def server(model: Model) -> Iterator[ReadText]:
    """Read texts with llama.cpp's server while the block runs.

    Raises
    ------
    UserError
        As from `deepvalues.ask.weights.serve.serving`, or when the server returns no vectors.
    """
    with serving(model, vectors=True) as base_url:
        yield lambda text: _states(model.name, f"{base_url.removesuffix('/v1')}/embeddings", text)


def _states(name: str, url: str, text: str) -> TokenStates:
    return _read(name, url, text, lambda reply: np.asarray(reply[0]["embedding"], dtype=np.float64))


@contextmanager
def token_embeddings(model: Model) -> Iterator[ReadText]:
    """Read texts as the embeddings of their tokens, each without its context, while the block runs.

    Raises
    ------
    UserError
        As from `server`, or when the package that reads the weights' file is missing.
    """
    with serving(model, vectors=True) as base_url:
        try:
            import gguf
        except ImportError as error:
            raise UserError(
                f"{model.name}: the package that reads its weights is missing ({error}); it comes with the "
                f"extra `open`: make models (or: {install('open')})"
            ) from None
        tensors = gguf.GGUFReader(place(weights_of(model))).tensors
        (matrix,) = (each for each in tensors if each.name == "token_embd.weight")
        url = f"{base_url.removesuffix('/v1')}/tokenize"

        def read(text: str) -> TokenStates:
            tokens = _read(model.name, url, text, lambda reply: reply["tokens"])
            return gguf.dequantize(matrix.data[tokens], matrix.tensor_type).astype(np.float64)

        yield read


def _read(name: str, url: str, text: str, found: Callable[[Any], Any]) -> Any:
    """What is found in the server's reply to a text."""
    request = urllib.request.Request(
        url, json.dumps({"content": text}).encode(), {"Content-Type": "application/json"}
    )
    # Loopback must bypass any proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT) as reply:
            return found(json.load(reply))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise UserError(f"{name}: its server returned no vectors for a text ({error}); try again") from None


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
    """The vectors of texts for one model's weights, cached on disk.

    Parameters
    ----------
    model
        A model with weights; a vector's key is their SHA-256, the pooling and the text.
    reader
        Started for the first text that is not cached; by default `server`.
    folder
        The cache; by default `hidden_folder`.
    suffix
        End of the cache's file name, which keeps the vectors of another reader apart.
    """

    def __init__(
        self, model: Model, reader: Reader | None = None, folder: Path | None = None, suffix: str = ""
    ) -> None:
        self.model = model
        self._reader = reader or (lambda: server(model))
        self._folder, self._suffix = folder, suffix
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
            When the server or the weights are needed but missing, or vectors can't be saved.
        """
        path = (self._folder or hidden_folder()) / f"{weights_of(self.model).sha256}{self._suffix}.sqlite"
        # One at a time: the server has one slot, and a text shared by two prompts should be read once.
        with self._lock:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with closing(sqlite3.connect(path, timeout=60)) as cache:
                    cache.execute(_TABLE)
                    return np.stack([self._vector(cache, text, pooling) for text in texts]).astype(np.float64)
            except (sqlite3.Error, OSError) as error:
                raise UserError(
                    f"{self.model.name}: its vectors can't be saved in {path} ({error}); free some space, "
                    f"delete the file if it is damaged, or set {CACHE_VARIABLE} to another folder"
                ) from None

    def _vector(self, cache: sqlite3.Connection, text: str, pooling: str) -> Any:
        row = cache.execute(_FIND, (text, pooling)).fetchone()
        if row is not None:
            return np.frombuffer(row[0], dtype="<f4")
        vectors = pooled((self._read or self._start())(text))
        with cache:
            cache.executemany(
                _INSERT, [(text, name, each.astype("<f4").tobytes()) for name, each in vectors.items()]
            )
        return vectors[pooling]

    def _start(self) -> ReadText:
        # A server ends with the thread that starts it, so that must not be one that answers a request.
        thread = self._open.enter_context(ThreadPoolExecutor(1))
        self._read = thread.submit(lambda: self._open.enter_context(self._reader())).result()
        atexit.register(self.close)
        return self._read

    def close(self) -> None:
        """Stop the reader; it is started again when needed."""
        self._read = None
        self._open.close()


_TABLE = (
    "CREATE TABLE IF NOT EXISTS vectors (text TEXT, pooling TEXT, vector BLOB, PRIMARY KEY (text, pooling))"
)
_FIND = "SELECT vector FROM vectors WHERE text = ? AND pooling = ?"
_INSERT = "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)"

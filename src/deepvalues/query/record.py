"""The record: every answer ever received, one line each, and the log beside it.

``<model>.jsonl`` holds what request and reply determine, so that two runs can be compared byte by
byte. ``<model>.log.jsonl`` holds what they don't: date, latency, fingerprint, failures, and lines that
a retry replaced. Lines are appended as replies arrive, and put in order at the end of a run.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from deepvalues.errors import UserError

SCHEMA = 1
#: Half a surrogate pair, as a reply cut by a token limit may hold, is written as JSON's \ud83d.
_ESCAPE = "backslashreplace"
_CHECK = re.compile(rb',"check":"([0-9a-f]{8})"\}$')


@dataclass(frozen=True)
class Answer:
    """One line of the record: what was received for one turn of one repeat of one item."""

    key: str
    item: str
    repeat: int
    turn: int
    text: str | None
    refusal: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    logprobs: Any
    model: str | None

    @property
    def place(self) -> tuple[str, int, int, str]:
        """Where the line stands in the sorted record."""
        return self.item, self.repeat, self.turn, self.key

    def line(self) -> bytes:
        """The line in canonical form, ending with a check sum of itself."""
        fields = {"v": SCHEMA, **self.__dict__}
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        body = text.encode(errors=_ESCAPE)
        return body[:-1] + b',"check":"' + _check(body[:-1]) + b'"}\n'


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=4).hexdigest().encode()


def read_line(line: bytes, where: str) -> Answer:
    """Read a line and verify its check sum.

    Raises
    ------
    UserError
        When the line was cut or altered; the message says where.
    """
    found = _CHECK.search(line)
    if not found or _check(line[: found.start()]) != found[1]:
        raise UserError(
            f"{where}: this line of the record was cut or altered. Restore the file from git or a "
            "backup; or delete the line, and the answer will be asked for again."
        )
    fields = json.loads(line)
    if fields["v"] != SCHEMA:
        raise UserError(f"{where}: schema {fields['v']}, and this program reads schema {SCHEMA}")
    del fields["v"], fields["check"]
    return Answer(**fields)


class Record:
    """The answers of one model to one study.

    Reading needs no lock. Writing does: use ``with record.writing():`` around appends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_path = path.with_suffix(".log.jsonl")
        self.answers: dict[str, Answer] = {}
        self.notices: list[str] = []
        self._half_line = 0
        self._file: BinaryIO | None = None
        self._log: BinaryIO | None = None
        self._read()

    def _read(self) -> None:
        self.answers.clear()
        self.notices.clear()
        self._half_line = 0
        try:
            if not self.path.exists():
                return
            opened = self.path.open("rb")
        except OSError as error:
            raise UserError(f"{self.path}: can't read the record: {error.strerror}") from None
        with opened as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    self._half_line = len(line)
                    notice = f"{self.path.name}: dropped a half-written last line (line {number})"
                    self.notices.append(notice)
                    break
                answer = read_line(line.rstrip(b"\n"), f"{self.path}, line {number}")
                self.answers[answer.key] = answer

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Open the record for appending, alone; put it in order at the end.

        Raises
        ------
        UserError
            When another run writes to the same record, or the folder can't be written.
        """
        with ExitStack() as stack:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context(self.path.with_suffix(".lock").open("wb"))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Between reading and locking another run may have ended.
                self._read()
                self._file = stack.enter_context(self.path.open("ab"))
                self._log = stack.enter_context(self.log_path.open("ab"))
            except BlockingIOError:
                raise UserError(f"{self.path}: another run is writing to this record") from None
            except OSError as error:
                raise UserError(f"{self.path}: can't write the record: {error.strerror}") from None
            if self._half_line:
                self._file.truncate(self._file.tell() - self._half_line)
            try:
                yield
            finally:
                self._file.flush()
                self._compact()

    def append(self, answer: Answer) -> None:
        """Write an answer at once; one with the same key before it is moved to the log."""
        assert self._file and self._log, "append is for use inside `with record.writing()`"
        replaced = self.answers.get(answer.key)
        if replaced:
            self.log({"key": answer.key, "replaced": replaced.__dict__})
            self._log.flush()
        self._file.write(answer.line())
        self._file.flush()
        self.answers[answer.key] = answer

    def log(self, attempt: Mapping[str, Any]) -> None:
        """Write a line about an attempt to the log."""
        assert self._log is not None, "log is for use inside `with record.writing()`"
        line = json.dumps(attempt, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        self._log.write(line.encode(errors=_ESCAPE) + b"\n")

    def _compact(self) -> None:
        """Rewrite the record in sorted order, one line per key, in one step."""
        ordered = sorted(self.answers.values(), key=lambda answer: answer.place)
        content = b"".join(answer.line() for answer in ordered)
        if not content:
            self.path.unlink(missing_ok=True)
            return
        if content == self.path.read_bytes():
            return
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)

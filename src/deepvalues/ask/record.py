"""The record: every answer ever received, one line each, and the log beside it.

``<model>.jsonl`` holds what request and reply determine, so that two runs can be compared byte by
byte. ``<model>.log.jsonl`` holds what they don't: date, latency, fingerprint, failures, and lines that
a retry replaced. Lines are appended as replies arrive, and put in order at the end of a run.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deepvalues.core.errors import UserError
from deepvalues.core.paths import shown

SCHEMA = 1
#: Half a surrogate pair, as a reply cut by a token limit may hold, is written as JSON's \ud83d.
_ESCAPE = "backslashreplace"
#: Reads a line whose check sum is right, and which therefore is JSON from its first to its last byte.
_DECODER = json.JSONDecoder()
#: Bytes that the check sum adds to a line.
_CHECK_LENGTH = len(b',"check":"01234567"}')
#: What git puts at the beginning of lines that a merge could not settle.
_MERGE_MARKS = (b"<<<<<<< ", b"||||||| ", b"=======", b">>>>>>> ")
#: With these a file system says that it has no locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_PART = re.compile(r"\.part[0-9]+")


class Answer(NamedTuple):
    """One line of the record: what was received for one turn of one repeat of one item.

    ``more`` is what a reply held that has no field here, such as ``reasoning_content``, by name; a line
    without it has no such field.
    """

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
    more: Any = None

    @property
    def place(self) -> tuple[str, int, int, str]:
        """Where the line stands in the sorted record."""
        return self.item, self.repeat, self.turn, self.key

    def line(self) -> bytes:
        """The line in canonical form, ending with a check sum of itself."""
        fields = {"v": SCHEMA, **self._asdict()}
        if self.more is None:
            del fields["more"]
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        body = text.encode(errors=_ESCAPE)
        return body[:-1] + _check(body[:-1]) + b"\n"


def _check(body: bytes) -> bytes:
    return b',"check":"%b"}' % hashlib.blake2b(body, digest_size=4).hexdigest().encode()


def _is_whole(line: bytes) -> bool:
    return _check(line[:-_CHECK_LENGTH]) == line[-_CHECK_LENGTH:]


def _damage(line: bytes) -> str:
    """What has happened to a line, and what to do."""
    if line.endswith(b"\r") and _is_whole(line[:-1]):
        return (
            "the line endings of this file were converted to those of Windows. Clone the project anew with "
            "`git clone -c core.autocrlf=false`, or convert them back to \\n; else this line is whole."
        )
    if line.startswith(_MERGE_MARKS):
        return (
            "a mark that a git merge left. Delete the lines that begin with <<<<<<<, |||||||, ======= and "
            ">>>>>>>, and keep the lines between them: what is there twice is settled by itself."
        )
    return (
        "this line of the record was cut or altered. Restore the file from git or a backup; or delete the "
        "line, and the answer will be asked for again."
    )


def read_line(line: bytes, where: str) -> Answer:
    """Read a line and verify its check sum.

    Raises
    ------
    UserError
        When the line was cut or altered; the message says where.
    """
    if not _is_whole(line):
        raise UserError(f"{where}: {_damage(line)}")
    fields, _ = _DECODER.raw_decode(line.decode())
    if fields["v"] != SCHEMA:
        raise UserError(f"{where}: schema {fields['v']}, and this program reads schema {SCHEMA}")
    del fields["v"], fields["check"]
    return Answer(**fields)


class Journal:
    """Appends answers and attempts to files, each line in one write.

    A write that fails half-way, on a full disk say, is taken back, so that a journal holds whole
    lines only.
    """

    def __init__(self, path: Path, log_path: Path) -> None:
        self._path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._log = os.open(log_path, flags, 0o644)
        try:
            self._record = os.open(path, flags, 0o644)
        except OSError:
            os.close(self._log)
            raise

    def append(self, answer: Answer) -> None:
        """Write an answer at once."""
        _write_whole(self._record, answer.line())

    def set_aside(self, answer: Answer) -> bool:
        """Write an answer to another folder, where this one has no room; whether there was any."""
        before, after = aside_names(self._path).split("*")
        for folder in _folders():
            with contextlib.suppress(OSError):
                descriptor, name = tempfile.mkstemp(after, before, folder)
                try:
                    with os.fdopen(descriptor, "wb") as file:
                        file.write(answer.line())
                except OSError:
                    Path(name).unlink()
                    raise
                return True
        return False

    def log(self, attempt: Mapping[str, Any]) -> None:
        """Write a line about an attempt."""
        line = json.dumps(attempt, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        _write_whole(self._log, line.encode(errors=_ESCAPE) + b"\n")

    def sync(self) -> None:
        """Have the answers on the disk, also if the machine fails now."""
        os.fsync(self._record)

    def close(self) -> None:
        """Close the files."""
        os.close(self._record)
        os.close(self._log)


def _write_whole(descriptor: int, line: bytes) -> None:
    written = os.write(descriptor, line)
    if written < len(line):
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def aside_names(record: Path) -> str:
    """The names of files of answers for which the record's disk has no room; other records have other ones.

    Each lies in another folder and holds one answer. The next reading of the record takes them in, as it does
    what worker processes have written.
    """
    # A worker's part belongs to the record that it lies beside.
    place = os.fsencode(record.resolve().with_suffix(""))
    return f"deepvalues-{hashlib.blake2b(place, digest_size=8).hexdigest()}-*.jsonl"


def _folders() -> Iterator[Path]:
    """Where there may be room: the temporary folders, and the user's own."""
    with contextlib.suppress(OSError):
        yield Path(tempfile.gettempdir())
    yield Path("/var/tmp")
    with contextlib.suppress(RuntimeError):
        yield Path.home()


def found_aside(record: Path) -> list[Path]:
    """The files of a record's answers; what other users put there is none."""
    files = {file for folder in _folders() for file in folder.glob(aside_names(record))}
    about = {file: file.lstat() for file in files}
    own = os.getuid()
    return sorted(file for file in files if stat.S_ISREG(about[file].st_mode) and about[file].st_uid == own)


class Record:
    """The answers of one model to one study.

    Reading needs no lock. Writing does: ``with record.writing() as journal:``. Worker processes write
    parts beside the record (``part``), which the next reading takes in; they inherit ``lock``, the
    descriptor of the locked file, so that the record stays locked until the last of them has ended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_path = path.with_suffix(".log.jsonl")
        self.answers: dict[str, Answer] = {}
        self.notices: list[str] = []
        self.lock: int | None = None
        # What newer lines of the files replace: it goes to the log before the record is put in order.
        self._replaced: list[Answer] = []
        self._read()

    def part(self, number: int) -> Path:
        """Where a worker process appends."""
        return self.path.with_suffix(f".part{number}")

    def _parts(self) -> list[Path]:
        """What worker processes have written, and what found no room on this disk."""
        beside = self.path.parent.glob(f"{glob.escape(self.path.stem)}.part*")
        # Another model's name may go on after this one's.
        parts = (path for path in beside if _PART.fullmatch(path.name.removeprefix(self.path.stem)))
        return [*sorted(parts), *found_aside(self.path)]

    def _read(self) -> None:
        self.answers.clear()
        self._replaced.clear()
        try:
            for path in (self.path, *self._parts()):
                if path.exists():
                    self._read_file(path)
            self._stop_if_lost()
        except OSError as error:
            raise UserError(f"{shown(self.path)}: can't read the record: {error.strerror}") from None

    def _read_file(self, path: Path) -> None:
        name = shown(path)
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n") and not _is_whole(line):
                    notice = f"{path.name}: dropped a half-written last line (line {number})"
                    if notice not in self.notices:
                        self.notices.append(notice)
                    break
                answer = read_line(line.removesuffix(b"\n"), f"{name}, line {number}")
                before = self.answers.get(answer.key, answer)
                if before != answer:
                    self._replaced.append(before)
                self.answers[answer.key] = answer

    def _stop_if_lost(self) -> None:
        """Stop where the log tells of answers and the file of the answers is gone.

        Whoever took it for a model that was never asked would leave it out of the paper, or pay once more.
        """
        if self.answers or self.path.exists():
            return
        received = len(self.received())
        if received:
            raise UserError(
                f"{shown(self.path)}: the record is gone, and its log, {self.log_path.name}, tells of "
                f"{received:,} answers. Restore it from git or a backup; or delete the log, and they will be "
                "asked, and perhaps paid, for again."
            )

    def failures(self) -> dict[str, str]:
        """Error class of the last failed attempt, by key, of what has no answer."""
        attempts = (attempt for attempt in self._attempts() if "error" in attempt)
        return {each["key"]: each["error"] for each in attempts if each["key"] not in self.answers}

    def received(self) -> dict[str, dict[str, Any]]:
        """What the log says of each reply that came, by key."""
        return {each["key"]: each for each in self._attempts() if "fingerprint" in each}

    def cached_tokens(self) -> dict[str, int]:
        """How many tokens of its prompt the endpoint had read before, by key, where the log says so."""
        attempts = (attempt for attempt in self._attempts() if attempt.get("cached_tokens") is not None)
        return {each["key"]: each["cached_tokens"] for each in attempts if each["key"] in self.answers}

    def log(self) -> dict[str, dict[str, Any]]:
        """What the log says of the attempt that gave each answer, by key: its date, and more where known."""
        attempts = (attempt for attempt in self._attempts() if "date" in attempt and "error" not in attempt)
        return {each["key"]: each for each in attempts if each["key"] in self.answers}

    def _attempts(self) -> Iterator[dict[str, Any]]:
        """What the log says of attempts, in the order in which they were made."""
        if self.log_path.is_file():
            for line in self.log_path.read_bytes().splitlines():
                # A run that was killed may have left half a line; the log is no evidence of answers.
                with contextlib.suppress(ValueError):
                    yield json.loads(line)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Journal]:
        """Open the record for appending, alone; put it in order at the end.

        Raises
        ------
        UserError
            When another run writes to the same record, or the folder can't be written.
        """
        with self.locked():
            # A killed run may have left parts or half a line, which must not stand before new lines.
            self._put_in_order()
            journal = self._journal()
            try:
                yield journal
            finally:
                journal.close()
                self._read()
                self._put_in_order()

    def _journal(self) -> Journal:
        try:
            return Journal(self.path, self.log_path)
        except OSError as error:
            raise UserError(f"{shown(self.path)}: can't write the record: {error.strerror}") from None

    def _put_in_order(self) -> None:
        """Keep in the log what newer answers replaced; only then may it leave the record."""
        if self._replaced:
            journal = self._journal()
            try:
                for answer in self._replaced:
                    journal.log({"key": answer.key, "replaced": answer._asdict()})
            except OSError as error:
                raise UserError(f"{shown(self.log_path)}: can't write the log: {error.strerror}") from None
            finally:
                journal.close()
            self._replaced.clear()
        self._compact()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs from writing, and read what the last one wrote.

        Raises
        ------
        UserError
            When another run writes to the same record, or the folder can't be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = self.path.with_suffix(".lock").open("wb")
        except OSError as error:
            raise UserError(f"{shown(self.path)}: can't write the record: {error.strerror}") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{shown(self.path)}: another run is writing to this record") from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise UserError(f"{shown(self.path)}: can't lock the record: {error.strerror}") from None
                print(
                    f"{shown(self.path)}: this file system has no locks ({error.strerror}): see to it that "
                    "no other run writes to this record",
                    file=sys.stderr,
                )
            self.lock = lock.fileno()
            # Between reading and locking another run may have ended.
            self._read()
            yield

    def _compact(self) -> None:
        """Rewrite the record in sorted order, one line per key, in one step; then drop the parts.

        A record without answers is no file.
        """
        ordered = sorted(self.answers.values(), key=lambda answer: answer.place)
        content = b"".join(answer.line() for answer in ordered)
        if content != (self.path.read_bytes() if self.path.exists() else b""):
            temporary = self.path.with_suffix(".tmp")
            try:
                with temporary.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self.path)
            except OSError as error:
                temporary.unlink(missing_ok=True)
                raise UserError(
                    f"{shown(self.path)}: can't put the record in order: {error.strerror}. Nothing is lost: "
                    "the answers are there, in the order of their arrival, and the next run sorts them."
                ) from None
        if not content:
            self.path.unlink(missing_ok=True)
        for part in self._parts():
            part.unlink()

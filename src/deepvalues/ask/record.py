"""The record: every answer ever received, one per line, and a log.

``<model>.jsonl`` holds what request and reply determine, so that two runs can be compared byte by
byte. ``<model>.log.jsonl`` holds the rest: date, latency, fingerprint, failures, and answers that
a retry replaced. Lines are appended as replies arrive, and sorted at the end of a run.
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
#: Escapes half a surrogate pair, which a truncated reply may end with, as \ud83d.
_ESCAPE = "backslashreplace"
#: Decodes lines whose checksum has been verified; faster than `json.loads`.
_DECODER = json.JSONDecoder()
#: Number of bytes that the checksum adds to a line.
_CHECK_LENGTH = len(b',"check":"01234567"}')
#: Git's merge conflict markers.
_MERGE_MARKS = (b"<<<<<<< ", b"||||||| ", b"=======", b">>>>>>> ")
#: Errors of a file system without locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_PART = re.compile(r"\.part[0-9]+")


class Answer(NamedTuple):
    """One line of the record: the reply to one turn of one repeat of one item.

    ``more`` holds further parts of the reply by name, such as ``reasoning_content``; a line without any has
    no such field.
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
        """The sort key of the line."""
        return self.item, self.repeat, self.turn, self.key

    def line(self) -> bytes:
        """The line in canonical form, ending with its checksum."""
        fields = {"v": SCHEMA, **self._asdict()}
        if self.more is None:
            del fields["more"]
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        body = text.encode(errors=_ESCAPE)
        return body[:-1] + _check(body[:-1]) + b"\n"


def _check(body: bytes) -> bytes:
    return b',"check":"%b"}' % hashlib.blake2b(body, digest_size=4).hexdigest().encode()


def _is_intact(line: bytes) -> bool:
    return _check(line[:-_CHECK_LENGTH]) == line[-_CHECK_LENGTH:]


def _damage(line: bytes) -> str:
    """What is wrong with a line, and what to do."""
    if line.endswith(b"\r") and _is_intact(line[:-1]):
        return (
            "the line endings of this file were converted to those of Windows. Clone the project again with "
            "`git clone -c core.autocrlf=false`, or convert them back to \\n; the line itself is intact."
        )
    if line.startswith(_MERGE_MARKS):
        return (
            "a git merge left a conflict marker. Delete the lines that begin with <<<<<<<, |||||||, ======= "
            "and >>>>>>>, and keep the lines between them: duplicates do no harm."
        )
    return (
        "this line of the record was truncated or altered. Restore the file from git or a backup; or delete "
        "the line, and its answer will be requested again."
    )


def read_line(line: bytes, where: str) -> Answer:
    """Read a line and verify its checksum.

    Raises
    ------
    UserError
        When the line was truncated or altered; the message says where.
    """
    if not _is_intact(line):
        raise UserError(f"{where}: {_damage(line)}")
    fields, _ = _DECODER.raw_decode(line.decode())
    if fields["v"] != SCHEMA:
        raise UserError(f"{where}: schema {fields['v']}, but this version reads schema {SCHEMA}")
    del fields["v"], fields["check"]
    return Answer(**fields)


class Journal:
    """Appends answers and attempts to files, each line in one write.

    A partial write, such as on a full disk, is undone, so that files hold complete lines only.
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
        """Write an answer."""
        _write(self._record, answer.line())

    def set_aside(self, answer: Answer) -> bool:
        """Write an answer to another folder because this disk is full; whether that succeeded."""
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
        _write(self._log, line.encode(errors=_ESCAPE) + b"\n")

    def sync(self) -> None:
        """Flush the answers to disk."""
        os.fsync(self._record)

    def close(self) -> None:
        """Close the files."""
        os.close(self._record)
        os.close(self._log)


def _write(descriptor: int, line: bytes) -> None:
    written = os.write(descriptor, line)
    if written < len(line):
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def aside_names(record: Path) -> str:
    """The name pattern, unique to a record, of files for answers that its full disk can't take.

    Each file lies in another folder and holds one answer. They are merged when the record is next read, like
    the parts that worker processes write.
    """
    # Without the suffix, so that a worker's part has its record's pattern.
    place = os.fsencode(record.resolve().with_suffix(""))
    return f"deepvalues-{hashlib.blake2b(place, digest_size=8).hexdigest()}-*.jsonl"


def _folders() -> Iterator[Path]:
    """Folders that may be on another disk: the temporary folders, and the user's home."""
    with contextlib.suppress(OSError):
        yield Path(tempfile.gettempdir())
    yield Path("/var/tmp")
    with contextlib.suppress(RuntimeError):
        yield Path.home()


def found_aside(record: Path) -> list[Path]:
    """A record's files that `Journal.set_aside` wrote, ignoring those of other users."""
    files = {file for folder in _folders() for file in folder.glob(aside_names(record))}
    stats = {file: file.lstat() for file in files}
    own = os.getuid()
    return sorted(file for file in files if stat.S_ISREG(stats[file].st_mode) and stats[file].st_uid == own)


class Record:
    """The answers of one model to one study.

    Reading needs no lock. Writing does: ``with record.writing() as journal:``. Worker processes write
    parts next to the record (``part``), which are merged on the next read. They inherit ``lock``, the
    descriptor of the locked file, so that the record stays locked until the last of them has exited.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_path = path.with_suffix(".log.jsonl")
        self.answers: dict[str, Answer] = {}
        self.notices: list[str] = []
        self.lock: int | None = None
        # Answers that newer lines replace; they are logged before the record is sorted.
        self._replaced: list[Answer] = []
        self._read()

    def part(self, number: int) -> Path:
        """The file to which a worker process appends."""
        return self.path.with_suffix(f".part{number}")

    def _parts(self) -> list[Path]:
        """Files of worker processes, and of answers that did not fit on this disk."""
        candidates = self.path.parent.glob(f"{glob.escape(self.path.stem)}.part*")
        # Another model's name may begin with this one's.
        parts = (path for path in candidates if _PART.fullmatch(path.name.removeprefix(self.path.stem)))
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
                if not line.endswith(b"\n") and not _is_intact(line):
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
        """Raise if the log mentions answers but the record is missing.

        Otherwise the model would seem never asked, and be left out of the paper or paid for again.
        """
        if self.answers or self.path.exists():
            return
        received = len(self.received())
        if received:
            raise UserError(
                f"{shown(self.path)}: the record is missing, but its log, {self.log_path.name}, mentions "
                f"{received:,} answers. Restore it from git or a backup; or delete the log, and they will be "
                "requested, and perhaps paid for, again."
            )

    def failures(self) -> dict[str, str]:
        """Error class of the last failed attempt by key, for requests without an answer."""
        attempts = (attempt for attempt in self._attempts() if "error" in attempt)
        return {each["key"]: each["error"] for each in attempts if each["key"] not in self.answers}

    def received(self) -> dict[str, dict[str, Any]]:
        """The log entry of each received reply, by key."""
        return {each["key"]: each for each in self._attempts() if "fingerprint" in each}

    def cached_tokens(self) -> dict[str, int]:
        """Number of prompt tokens from the endpoint's cache, by key, where logged."""
        attempts = (attempt for attempt in self._attempts() if attempt.get("cached_tokens") is not None)
        return {each["key"]: each["cached_tokens"] for each in attempts if each["key"] in self.answers}

    def log(self) -> dict[str, dict[str, Any]]:
        """The log entry of the attempt that gave each answer, by key: its date, and more where known."""
        attempts = (attempt for attempt in self._attempts() if "date" in attempt and "error" not in attempt)
        return {each["key"]: each for each in attempts if each["key"] in self.answers}

    def _attempts(self) -> Iterator[dict[str, Any]]:
        """The log entries, in order."""
        if self.log_path.is_file():
            for line in self.log_path.read_bytes().splitlines():
                # A killed run may have left half a line, which can be ignored here.
                with contextlib.suppress(ValueError):
                    yield json.loads(line)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Journal]:
        """Open the record for appending, exclusively; sort it at the end.

        Raises
        ------
        UserError
            When another run is writing to the same record, or the folder is not writable.
        """
        with self.locked():
            # A killed run may have left parts or half a line, to which nothing must be appended.
            self._sort()
            journal = self._journal()
            try:
                yield journal
            finally:
                journal.close()
                self._read()
                self._sort()

    def _journal(self) -> Journal:
        try:
            return Journal(self.path, self.log_path)
        except OSError as error:
            raise UserError(f"{shown(self.path)}: can't write the record: {error.strerror}") from None

    def _sort(self) -> None:
        """Log the answers that newer ones replaced, then sort the record without them."""
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
        """Lock the record against other runs, and read it again.

        Raises
        ------
        UserError
            When another run is writing to the same record, or the folder is not writable.
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
                    f"{shown(self.path)}: this file system has no locks ({error.strerror}): make sure that "
                    "no other run writes to this record",
                    file=sys.stderr,
                )
            self.lock = lock.fileno()
            # Another run may have finished between reading and locking.
            self._read()
            yield

    def _compact(self) -> None:
        """Replace the record atomically by a sorted one with one line per key, and delete its parts.

        A record without answers is deleted.
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
                    f"{shown(self.path)}: can't sort the record: {error.strerror}. Nothing is lost: "
                    "the answers are there in order of arrival, and the next run will sort them."
                ) from None
        if not content:
            self.path.unlink(missing_ok=True)
        for part in self._parts():
            part.unlink()

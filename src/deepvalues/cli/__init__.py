"""The thin command line: reads arguments, calls the package, prints what comes out.

A user's mistake ends in one message on standard error and exit status 2. A reader that has gone, as `head`
does, ends it without a word.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Sequence

from deepvalues.core.errors import UserError

_REMEDY = "`make environment` installs what the paper needs; the README names what else an extra brings"
#: Of a folder that is somebody else's, a read-only one, and a full disk.
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC)
#: What a shell reports of a program that the signal SIGPIPE has ended: 128 and the signal's number, 13.
_READER_GONE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    # With Arrow's own allocator, building a large set of items often takes a third longer.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    for stream in (sys.stdout, sys.stderr):
        # What a terminal can't show is written out, as \\u8f93.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            status = _run(argv)
        except SystemExit:
            # Help and version were printed; whether they are read shows here, and not after the last line.
            print(end="", flush=True)
            raise
        print(end="", flush=True)
        return status
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        # Python writes what is left once more at its end, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_GONE


def _reader_is_gone() -> bool:
    """Whether it is standard output that nobody reads any more, and not some other pipe that broke."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))


def _run(argv: Sequence[str] | None) -> int:
    try:
        # Here, as it looks for the project's folder, and says so where there is none.
        from deepvalues.cli.parser import parser

        arguments = parser().parse_args(argv)
        return arguments.run(arguments) or 0
    except UserError as error:
        return _told(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "deepvalues"):
            raise
        return _told(f"{sys.executable} lacks the package {package}: {_REMEDY}")
    except OSError as error:
        if error.errno not in _NOT_WRITABLE or error.filename is None:
            raise
        return _told(f"{error.filename}: can't be written: {error.strerror}")
    except KeyboardInterrupt:
        return _told("interrupted", 130)


def _told(message: str, status: int = 2) -> int:
    print(f"deepvalues: {message}", file=sys.stderr)
    return status

"""The command line: parses arguments, calls the package, prints the results.

A user error ends in one message on standard error and exit status 2; a closed pipe, as with `head`, ends
silently.
"""

from __future__ import annotations

import atexit
import errno
import gc
import io
import os
import select
import sys
from collections.abc import Sequence

from deepvalues.core.errors import UserError

_REMEDY = "`make environment` installs what the paper needs; for optional extras, see the README"
#: Errors of missing permissions, read-only file systems and full disks.
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC)
#: A shell's exit status for a program ended by SIGPIPE: 128 + 13.
_SIGPIPE_STATUS = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    # Arrow's own allocator often makes building a large set of items a third slower.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # Items and conversations are many objects that stay: searching a large set for garbage takes .3 s.
    gc.set_threshold(100_000, 50, 50)
    # At exit, Python would search all objects for garbage: a sixth of a second after a large run.
    atexit.register(gc.freeze)
    for stream in (sys.stdout, sys.stderr):
        # Characters that a terminal can't show are escaped, as \\u8f93.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            status = _run(argv)
        except SystemExit:
            # Flush help or version here, so that a closed pipe is noticed.
            print(end="", flush=True)
            raise
        print(end="", flush=True)
        return status
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        # Python flushes once more at exit, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SIGPIPE_STATUS


def _stdout_is_closed() -> bool:
    """Whether standard output, rather than some other pipe, has lost its reader."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))


def _run(argv: Sequence[str] | None) -> int:
    try:
        # Imported here because it raises a `UserError` outside the project's folder.
        from deepvalues.cli.command import parser

        arguments = parser().parse_args(argv)
        return arguments.run(arguments) or 0
    except UserError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "deepvalues"):
            raise
        return _fail(f"{sys.executable} lacks the package {package}: {_REMEDY}")
    except OSError as error:
        if error.errno not in _NOT_WRITABLE or error.filename is None:
            raise
        return _fail(f"{error.filename}: can't be written: {error.strerror}")
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


def _fail(message: str, status: int = 2) -> int:
    print(f"deepvalues: {message}", file=sys.stderr)
    return status

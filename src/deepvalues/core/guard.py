"""Child processes end with their parent, however that ends.

Run as a program, this module runs a command and kills all its descendants, even those in other sessions, when
the command ends or standard input closes, which also happens when the parent process dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def end_with(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel signal this process when its parent ends (Linux only).

    Parameters
    ----------
    parent
        The parent's process id, needed to notice that it has already ended.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)
        if os.getppid() != parent:
            os._exit(0)


def run(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> int:
    """Run a command with this module as a program; returns its exit status."""
    # By path, since the command's environment may have another version of this package.
    guarded = [sys.executable, __file__, *command]
    with subprocess.Popen(guarded, cwd=cwd, env=environment, stdin=subprocess.PIPE) as process:
        # The guard watches standard input, which stays open until then.
        return process.wait()


def _end_all() -> None:
    while children := psutil.Process().children(recursive=True):
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=1)


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1 << 10):
        pass
    _end_all()
    os._exit(1)


def main() -> int:
    """Run the command given as arguments, and return its exit status."""
    if sys.platform == "linux":
        # Orphaned descendants become children of this process, so that they are found.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    threading.Thread(target=_watch, daemon=True).start()
    try:
        return subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, check=False).returncode
    finally:
        _end_all()


if __name__ == "__main__":
    sys.exit(main())

"""Nothing outlives its parent: what was started for a command ends with it, whatever it ends of.

As a program it runs a command, and ends all that came of it, also what went into sessions of its own, when
the command ends or standard input closes, as it does when the process that started this one dies.
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
    """Have the kernel end this process by a signal when its parent ends; only Linux can.

    Parameters
    ----------
    parent
        The parent's process id: it may have ended before this could be asked for.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)
        if os.getppid() != parent:
            os._exit(0)


def run(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> int:
    """Run a command under guard; gives its exit status."""
    # By its path: the command may be given another version of this package.
    guarded = [sys.executable, __file__, *command]
    with subprocess.Popen(guarded, cwd=cwd, env=environment, stdin=subprocess.PIPE) as process:
        # Kept open, which is what the guard listens to.
        return process.wait()


def _end_all() -> None:
    while found := psutil.Process().children(recursive=True):
        for each in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(found, timeout=1)


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1 << 10):
        pass
    _end_all()
    os._exit(1)


def main() -> int:
    """Run the command of the arguments, and give its exit status."""
    if sys.platform == "linux":
        # What loses its parent becomes a child of this process, and so is found.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    threading.Thread(target=_watch, daemon=True).start()
    try:
        return subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, check=False).returncode
    finally:
        _end_all()


if __name__ == "__main__":
    sys.exit(main())

"""Everything that a command starts ends with its parent, even after SIGKILL."""

import os
import subprocess
import sys

import psutil
import pytest

from deepvalues.core import guard

#: Descendants that wait for ever: a child, an orphan, and one in its own session; then their ids.
FAMILY = (
    "tail -f /dev/null & a=$!; b=$(tail -f /dev/null >&2 & echo $!); "
    "setsid tail -f /dev/null & echo $$ $a $b $!; wait"
)
WANTED = (
    "import os, sys\nfrom pathlib import Path\nfrom deepvalues.core import guard\n"
    "guard.run(['sh', '-c', sys.argv[1]], Path.cwd(), os.environ)\n"
)
POOL = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
from deepvalues.core import guard
if __name__ == "__main__":
    with ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=guard.end_with, initargs=(os.getpid(),)
    ) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        sys.stdin.read()
"""


def killed(command):
    """The descendants of a command that has been killed, from the ids that it printed."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        descendants = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        assert all(each.is_running() for each in descendants)
        process.kill()
    return descendants


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans are not found")
def test_all_descendants_of_a_command_end_when_its_parent_is_killed():
    descendants = killed([sys.executable, "-c", WANTED, FAMILY])
    assert len(descendants) == 4
    assert psutil.wait_procs(descendants, timeout=30)[1] == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can")
def test_workers_of_a_pool_end_with_their_parent(tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    (worker,) = killed([sys.executable, script])
    assert psutil.wait_procs([worker], timeout=30)[1] == []


def test_the_commands_status_is_returned(tmp_path):
    assert [guard.run(["sh", "-c", f"exit {n}"], tmp_path, os.environ) for n in (0, 3)] == [0, 3]

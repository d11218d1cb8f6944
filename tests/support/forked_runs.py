"""A process that forks runs of the command line, so that each need not import everything anew.

It reads orders from standard input, one JSON object a line, and answers each with a number: the process
id of a run, or the exit status of one that is waited for. Runs have a study more: ``toy``, whose item
sets are as long as their names say (``--study toy --set 300``).
"""

import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path

import openai._base_client
import pandas as pd

from deepvalues import cli
from deepvalues.ask import asker, batch, catalogue, processes, run_query
from deepvalues.ask.conversation import Conversation
from deepvalues.ask.study import Study, register

assert batch and run_query


class Toy(Study):
    """A study of short questions, told apart by their numbers."""

    name = "toy"
    seed = 1
    max_tokens = 10

    def build(self, item_set):
        return pd.DataFrame({"id": [f"{number:05d}" for number in range(int(item_set))]})

    #: A set of any size.
    items = build

    def conversations(self, items):
        return [Conversation(id, (f"Question {id}?",)) for id in items["id"]]


def obey_permissions():
    """Have root, too, refused what a folder's permissions refuse: give up its capabilities."""
    import ctypes

    if os.geteuid() == 0:
        header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(header, none) == 0


def run(order):
    """Be a run."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(order["environment"])
    for descriptor, name in enumerate((os.devnull, order["out"], order["err"])):
        opened = os.open(name, os.O_RDONLY if not descriptor else os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if order["processes"]:
        processes.number_of_processes = lambda *_: order["processes"]
    if order["grace"]:
        asker.GRACE_SECONDS = order["grace"]
    if order["file_limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_limit"],) * 2)
    if order["obey_permissions"]:
        obey_permissions()
    return cli.main(order["arguments"])


def main():
    # The client's waits between attempts, made short; a Retry-After is kept as it is.
    openai._base_client.INITIAL_RETRY_DELAY = 0.005
    openai._base_client.MAX_RETRY_DELAY = 0.02
    catalogue.studies()
    register(Toy())
    catalogue.registry()
    while line := os.read(0, 1 << 20):
        order = json.loads(line)
        if "wait" in order:
            number = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        elif not (number := os.fork()):
            status = 70
            try:
                status = run(order)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        print(number, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()

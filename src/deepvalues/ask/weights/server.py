"""llama.cpp's server in a process of its own, which ends with the process that started it.

The one argument is what to serve, as JSON. When the model is loaded the server's address goes to standard
output, in a line. The process ends when its standard input closes, and so also when its parent dies.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

from deepvalues.core import guard

HOST = "127.0.0.1"


def _end_with(parent: int) -> None:
    """End this process when its parent does, whatever the parent dies of."""
    threading.Thread(target=_watch, daemon=True).start()
    # While a model is loaded no thread of Python's may run, so that the kernel is asked as well.
    guard.end_with(parent)


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1 << 10):
        pass
    # Not by sys.exit: it would wait for the request that is being answered.
    os._exit(0)


def _start(options: dict[str, Any]) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options["path"]
    # Replies name their model by it; without it they would by the file's path.
    params.model_alias = {options["name"]}
    # Any free port: one that is chosen here first could be taken before it is used.
    params.hostnames, params.port = [HOST], 0
    params.n_ctx, params.n_parallel = options["context"], 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options["threads"]
    # Prompts come in the order of their beginnings, which the one slot keeps; gigabytes of earlier ones
    # are not needed.
    params.cache_ram_mib = 0
    # A context that is cut to the memory that happens to be free would answer otherwise elsewhere.
    params.fit_params = False
    params.ui = False
    if options["vectors"]:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_NONE
    return xllamacpp.Server(params)


def main() -> None:
    """Serve until the parent closes standard input, or dies."""
    options = json.loads(sys.argv[1])
    _end_with(options["parent"])
    # Whatever the library prints goes to standard error; the parent reads one line of the other.
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = _start(options)
    report.write(f"{server.listening_address}\n")
    report.close()
    threading.Event().wait()


if __name__ == "__main__":
    main()

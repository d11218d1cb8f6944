"""llama.cpp's server in a separate process, which ends with the process that started it.

The only argument is a JSON object of options. Once the server listens, its address is written to standard
output on one line. The process ends when its standard input closes, and so also when its parent dies.
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
    """End this process when its parent does, however that ends."""
    threading.Thread(target=_watch, daemon=True).start()
    # The kernel is asked too, since loading a model can block all Python threads.
    guard.end_with(parent)


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1 << 10):
        pass
    # Not sys.exit, which would wait for requests in flight.
    os._exit(0)


def _start(options: dict[str, Any]) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options["path"]
    # The model's name in replies; by default it is the file's path.
    params.model_alias = {options["name"]}
    # The server picks a free port, since one picked here could be taken before it is used.
    params.hostnames, params.port = [HOST], 0
    params.n_ctx, params.n_parallel = options["context"], 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options["threads"]
    # No cache of earlier prompts, which takes gigabytes: prompts with the same beginning are adjacent.
    params.cache_ram_mib = 0
    # Answers must not depend on the free memory of a machine.
    params.fit_params = False
    params.ui = False
    if options["vectors"]:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_NONE
    return xllamacpp.Server(params)


def main() -> None:
    """Serve until the parent closes standard input or dies."""
    options = json.loads(sys.argv[1])
    _end_with(options["parent"])
    # Redirect the library's output to standard error, since the parent reads standard output.
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = _start(options)
    report.write(f"{server.listening_address}\n")
    report.close()
    threading.Event().wait()


if __name__ == "__main__":
    main()

"""llama.cpp's server as a process of its own that gives texts' vectors; it ends when its input closes.

Its one argument is the path of the weights. Once the model is loaded, its address goes to standard output.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Serve until standard input closes, as it also does when the parent dies."""
    import xllamacpp

    # What the library prints goes to standard error; the parent reads one line of the other.
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_ctx, params.n_parallel = 2048, 1
    # One thread: llama.cpp's spin, and other work on the machine then slows them to a crawl.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_NONE
    params.ui = params.fit_params = False
    server = xllamacpp.Server(params)
    print(server.listening_address, file=report, flush=True)
    sys.stdin.read()
    # Not by returning: the server would wait for the request that is being answered.
    os._exit(0)


if __name__ == "__main__":
    main()

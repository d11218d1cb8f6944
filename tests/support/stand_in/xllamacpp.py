"""Stands in for llama.cpp's server: the file of weights is JSON that tells how it behaves.

``unwell``: so many looks at its health are answered with 503; ``refuses``: what it says before it fails to
load; ``dies``: the signal that it sends itself, once, in place of the reply to the question ``dies_at``;
``says``: its reply, by default "Option A"; ``hangs_at``: the question from which on it does not reply.
As a server of vectors it has one for each word of a text: its length, and 1. A word's token is its length.
Beside the file it writes its process id, what it was started with, and every body that it was sent.
"""

import http.server
import json
import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

llama_pooling_type = SimpleNamespace(LLAMA_POOLING_TYPE_NONE="none")


class CommonParams(SimpleNamespace):
    def __init__(self):
        threads = {name: SimpleNamespace(n_threads=0) for name in ("cpuparams", "cpuparams_batch")}
        super().__init__(model=SimpleNamespace(path=""), embedding=False, pooling_type=None, **threads)


class Server:
    def __init__(self, params):
        self.path = Path(params.model.path)
        self.vectors = params.embedding and params.pooling_type == "none"
        self.rule = json.loads(self.path.read_text())
        about = {
            "pid": os.getpid(),
            "threads": [params.cpuparams.n_threads, params.cpuparams_batch.n_threads],
            "context": params.n_ctx,
            "slots": params.n_parallel,
            "hosts": params.hostnames,
        }
        self.path.with_suffix(".started").write_text(json.dumps(about))
        if "refuses" in self.rule:
            print(self.rule["refuses"], file=sys.stderr)
            raise RuntimeError("Failed to init server, please check the input params.")
        self.alias, self.asked = next(iter(params.model_alias)), 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", params.port), handler(self))
        self.listening_address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def health(self):
        self.rule["unwell"] = self.rule.get("unwell", 0) - 1
        return (200, {"status": "ok"}) if self.rule["unwell"] < 0 else (503, {"error": "Loading model"})

    def complete(self, body):
        self.asked += 1
        with self.path.with_suffix(".asked").open("a") as log:
            log.write(json.dumps(body) + "\n")
        died = self.path.with_suffix(".died")
        if self.asked >= self.rule.get("dies_at", 10**9) and not died.exists():
            died.touch()
            os.kill(os.getpid(), self.rule["dies"])
            time.sleep(60)  # a signal may take a moment to another thread
        if self.asked >= self.rule.get("hangs_at", 10**9):
            time.sleep(60)
        message = {"role": "assistant", "content": self.rule.get("says", "Option A")}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        if "p_a" in self.rule:
            choice["logprobs"] = self.logprobs(message["content"])
        return 200, {"id": "1", "object": "chat.completion", "model": self.alias, "choices": [choice]}

    def embed(self, body):
        if not self.vectors:
            return 501, {"error": "This server does not support embeddings."}
        return 200, [{"index": 0, "embedding": [[len(word), 1.0] for word in body["content"].split()]}]

    def tokenize(self, body):
        return 200, {"tokens": [len(word) for word in body["content"].split()]}

    def logprobs(self, text):
        word, letter = text.split()
        listed = [{"token": f" {name}", "logprob": self.rule["p_a"][name]} for name in "AB"]
        likely = {"token": f" {letter}", "logprob": self.rule["p_a"][letter], "top_logprobs": listed}
        return {"content": [{"token": word, "logprob": 0.0, "top_logprobs": []}, likely]}


def handler(served):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(*served.health())

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            others = {"/embeddings": served.embed, "/tokenize": served.tokenize}
            answer = others.get(self.path, served.complete)
            self.answer(*answer(body))

        def answer(self, status, body):
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    return Handler

"""A loopback endpoint that misbehaves as a test tells it, down to the bytes on the connection.

A framework would mend what is to be broken here: replies cut half-way, replies that never end.
"""

import asyncio
import contextlib
import inspect
import json
import re
import threading
from collections import Counter

#: Steps of a reply beside bytes to write, seconds to wait and functions to call.
CUT = "cut the connection"
HANG = "say no more and keep the connection"
DRIP = "a space now and then for ever"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def http(body, status=200, **headers):
    """A whole HTTP reply; names of headers are written with underscores."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} as told",
        "content-type: application/json",
        f"content-length: {len(content)}",
    ]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def completion(text, prompt_tokens=100, cached=None, **choice):
    """A chat completion's body."""
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 2}
    if cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop", **choice}]
    return {"id": "1", "object": "chat.completion", "model": "m", "choices": choices, "usage": usage}


def answer(text):
    """The reply that a question always gets: it depends on the question alone."""
    return f"Option {'AB'[sum(text.encode()) % 2]}"


def error(status, message="no", code=None, **headers):
    """An error as OpenAI words it."""
    return http({"error": {"message": message, "code": code}}, status, **headers)


class FaultyServer:
    """Answers by a rule, and counts by question what was asked and what was delivered in full.

    The rule gets the question, the number of times it has been asked, and the body; it returns bytes
    or a list of steps: bytes, seconds, functions, or `CUT`, `HANG`, `DRIP`; or a coroutine of them. A
    reply is delivered when its last byte has been given to the network.
    """

    def __init__(self, rule=None, tls=None):
        self.rule, self.tls = rule or good, tls
        self.asked, self.delivered = Counter(), Counter()
        self.headers = []
        self.in_flight = self.most_in_flight = self.requests = self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024, ssl=self.tls)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self):
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = json.loads(await reader.readexactly(int(length[1]) if length else 0))
                if not await self._reply(head, body, writer):
                    break
        writer.transport.abort()

    async def _reply(self, head, body, writer):
        text = body["messages"][-1]["content"]
        self.headers.append(head)
        self.requests += 1
        self.asked[text] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            steps = self.rule(text, self.asked[text], body)
            steps = await steps if inspect.isawaitable(steps) else steps
            for step in [steps] if isinstance(steps, bytes) else steps:
                if step == CUT:
                    return False
                if step == HANG:
                    await asyncio.Event().wait()
                while step == DRIP:
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(0.02)
                if isinstance(step, bytes):
                    writer.write(step)
                    await writer.drain()
                elif callable(step):
                    step()
                else:
                    await asyncio.sleep(step)
        finally:
            self.in_flight -= 1
        self.delivered[text] += 1
        return True


def good(text, *_):
    """The rule of an endpoint without faults."""
    return http(completion(answer(text)))

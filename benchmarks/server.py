"""A bare loopback server for benchmarks: answers every request alike, after a settable latency.

``python benchmarks/server.py LATENCY_SECONDS`` prints its port and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

_COMPLETION = {
    "id": "chatcmpl-0",
    "object": "chat.completion",
    "created": 0,
    "model": "bench",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Option A", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 200, "completion_tokens": 2, "total_tokens": 202},
}


async def serve(latency: float) -> None:
    """Serve on a free port."""

    async def complete(request: web.Request) -> web.Response:
        await request.json()
        if latency:
            await asyncio.sleep(latency)
        return web.json_response(_COMPLETION)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))

"""The query engine against other clients, in one run, as ratios of raw aiohttp's rate.

``make bench`` runs it. Every client sends the same prompts to the same bare server on loopback; the
engine keeps its durable record while it does. Start-up is left out: the engine's clock starts with
its first reply. lm-evaluation-harness and Inspect take part where they are installed. This measures; it
is no test, and its figures hold for the machine and the moment.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import aiohttp
import others
import pandas as pd
import replay
from openai import AsyncOpenAI, DefaultAioHttpClient

from deepvalues.ask.conversation import Conversation
from deepvalues.ask.engine import Ask, Job
from deepvalues.ask.processes import number_of_processes, run
from deepvalues.ask.record import Record
from deepvalues.ask.registry import Endpoint, Model
from deepvalues.ask.settings import Settings

HERE = Path(__file__).parent
#: An item of about the size of one with four examples.
TEXT = "An agent that does things one way and that does them another way. " * 20


@contextlib.contextmanager
def serving(latency: float) -> Iterator[str]:
    """The bare server in a process of its own; yields the base URL."""
    command = [sys.executable, str(HERE / "server.py"), str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def prompts(number: int) -> list[str]:
    """Prompts that differ."""
    return [f"Question {place}. {TEXT}" for place in range(number)]


def _body(text: str) -> dict[str, object]:
    return {"model": "bench", "messages": [{"role": "user", "content": text}], "max_tokens": 10}


async def _in_turn(texts: Sequence[str], concurrency: int, send: Callable[[str], Awaitable[object]]) -> float:
    waiting = iter(texts)

    async def work() -> None:
        for text in waiting:
            await send(text)

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    return time.perf_counter() - started


async def raw_aiohttp(base_url: str, texts: Sequence[str], concurrency: int) -> float:
    """Seconds that aiohttp alone takes: the yardstick."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def send(text: str) -> None:
            async with session.post(f"{base_url}/chat/completions", json=_body(text)) as reply:
                await reply.json()

        return await _in_turn(texts, concurrency, send)


async def openai_client(base_url: str, texts: Sequence[str], concurrency: int, transport: str) -> float:
    """Seconds that `chat.completions.create` takes on the default or the aiohttp transport."""
    http_client = DefaultAioHttpClient() if transport == "aiohttp" else None
    async with AsyncOpenAI(base_url=base_url, api_key="none", http_client=http_client) as client:

        async def send(text: str) -> None:
            await client.chat.completions.create(**_body(text))  # type: ignore[call-overload]

        return await _in_turn(texts, concurrency, send)


def engine(base_url: str, texts: Sequence[str], concurrency: int) -> float:
    """Seconds per all requests of the engine, from its first report to its last, record kept."""
    model = Model("bench", Endpoint("bench", base_url, None), "bench")
    jobs = [Job(Conversation(f"{place:06d}", (text,)), 0, {}) for place, text in enumerate(texts)]
    reports: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        record = Record(Path(folder) / "bench.jsonl")
        settings = Settings(concurrency=concurrency)
        summary = run(
            Ask(model, {"max_tokens": 10}, 1),
            base_url,
            settings,
            jobs,
            record,
            lambda _: reports.append(time.perf_counter()),
        )
    assert summary.asked == len(texts), summary
    # Worker processes start one after the other: leave out the first tenth of the replies.
    skipped = len(reports) // 10 if number_of_processes(settings, len(jobs)) > 1 else 0
    return (reports[-1] - reports[skipped]) / (len(reports) - skipped) * len(texts)


def measure(latency: float, number: int, concurrency: int, rounds: int) -> pd.DataFrame:
    """Requests per second of each client, the rounds interleaved; medians and ratios."""
    texts = prompts(number)
    clients: dict[str, Callable[[str], float]] = {
        "raw aiohttp": lambda url: asyncio.run(raw_aiohttp(url, texts, concurrency)),
        "this engine": lambda url: engine(url, texts, concurrency),
        "openai, aiohttp transport": lambda url: asyncio.run(
            openai_client(url, texts, concurrency, "aiohttp")
        ),
        "openai, default transport": lambda url: asyncio.run(
            openai_client(url, texts, concurrency, "default")
        ),
    }
    if latency == 0:
        clients |= others.clients(texts, concurrency)
    rates: dict[str, list[float]] = {name: [] for name in clients}
    with serving(latency) as base_url:
        for _ in range(rounds):
            for name, client in clients.items():
                rates[name].append(number / client(base_url))
    table = pd.DataFrame(rates).median().rename("requests per second").rename_axis("client").reset_index()
    table["of raw aiohttp"] = table["requests per second"] / table["requests per second"].iloc[0]
    return table


def main() -> None:
    """Print one table for each setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--number", type=int, default=10_000)
    arguments = parser.parse_args()
    for latency, concurrency in ((0.0, 128), (0.2, 256), (0.2, 1000)):
        print(f"\nlatency {latency * 1000:.0f} ms, {concurrency} in flight, {arguments.number:,} requests")
        table = measure(latency, arguments.number, concurrency, arguments.rounds)
        print(table.round({"requests per second": 0, "of raw aiohttp": 2}).to_string(index=False))
    print("\nreplay of 108,000 recorded answers")
    for way, taken in replay.replay(108_000).items():
        print(f"{way}: {taken.seconds:.1f} s, {taken.megabytes:.0f} MB at the peak")


if __name__ == "__main__":
    main()

"""Running askers: in this process, or in several where one event loop is too slow.

A worker process gets its jobs on standard input, appends to its own part of the record, and reports
on standard output. It stops when its input closes, and so also when this process dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeVar

from deepvalues.ask.engine import Ask, Job, Summary, groups
from deepvalues.ask.local import Target
from deepvalues.ask.record import Answer, Journal, Record
from deepvalues.ask.registry import proxy_for
from deepvalues.ask.settings import Settings
from deepvalues.core.errors import UserError

T = TypeVar("T")
#: One event loop can handle about this many requests in flight.
REQUESTS_PER_LOOP = 64
#: With fewer jobs, starting another process takes longer than it saves.
JOBS_PER_PROCESS = 2_000

Report = Callable[[Sequence[Answer] | None], None]
INTERRUPTED = "it was interrupted"


@dataclass(frozen=True)
class Orders:
    """What a worker process is sent."""

    ask: Ask
    base_url: str
    settings: Settings
    jobs: Sequence[Job]
    part: Path
    log: Path


def processors() -> int:
    """Number of processors available to this process; on a cluster fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def number_of_processes(settings: Settings, jobs: int) -> int:
    """The number of processes for a run: one, or up to one per core for many requests in flight.

    A run with a maximum cost uses one process, since only one ledger can enforce it exactly.
    """
    if settings.max_cost is not None:
        return 1
    wanted = min(settings.concurrency // REQUESTS_PER_LOOP, jobs // JOBS_PER_PROCESS, processors())
    return max(1, wanted)


def run(
    ask: Ask, target: Target, settings: Settings, jobs: Sequence[Job], record: Record, report: Report
) -> Summary:
    """Run the jobs; the first Ctrl-C waits for requests in flight, then stops."""
    if isinstance(target, str):
        # Checked here because a worker process could not report the error.
        proxy_for(target)
    summary = Summary()
    try:
        with record.writing() as journal:
            if isinstance(target, str) and (processes := number_of_processes(settings, len(jobs))) > 1:
                summary = _in_processes(processes, ask, target, settings, jobs, record, report)
            else:
                summary = _in_this_process(ask, target, settings, jobs, journal, report)
    except UserError:
        # The reason for a stop matters more than an unsorted record, which the next run sorts.
        if not summary.stopped:
            raise
    return summary


def _in_this_process(
    ask: Ask, target: Target, settings: Settings, jobs: Sequence[Job], journal: Journal, report: Report
) -> Summary:
    from deepvalues.ask.asker import Asker

    async def work() -> Summary:
        asker = Asker(ask, target, settings, journal, report)
        loop = asyncio.get_running_loop()
        with _on_interrupt(lambda: loop.call_soon_threadsafe(asker.stop, INTERRUPTED)):
            return await asker.run(jobs)

    return run_async(work())


@contextlib.contextmanager
def _on_interrupt(stop: Callable[[], object]) -> Iterator[None]:
    """Call ``stop`` on the first Ctrl-C; a second one interrupts as usual.

    Signals can be handled in the main thread only; elsewhere (as in a notebook) Ctrl-C is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGINT)

    def handler(*_: object) -> None:
        signal.signal(signal.SIGINT, previous)
        print("\nStopping: waiting a few seconds for requests in flight.", file=sys.stderr)
        stop()

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to completion, even in a notebook, whose own event loop is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(asyncio.run, work).result()
    finally:
        # Interrupting a notebook must not wait for requests in flight.
        pool.shutdown(wait=False)


def _share_out(jobs: Sequence[Job], processes: int) -> list[list[Job]]:
    """Distribute groups of jobs over processes; jobs that share a prefix stay together."""
    shares: list[list[Job]] = [[] for _ in range(processes)]
    for group in groups(jobs).values():
        min(shares, key=len).extend(group)
    return shares


def _divided(settings: Settings, processes: int) -> Settings:
    def part(limit: float | None) -> float | None:
        return limit / processes if limit else None

    return replace(
        settings,
        concurrency=settings.concurrency // processes,
        requests_per_minute=part(settings.requests_per_minute),
        tokens_per_minute=part(settings.tokens_per_minute),
    )


def _in_processes(
    processes: int,
    ask: Ask,
    base_url: str,
    settings: Settings,
    jobs: Sequence[Job],
    record: Record,
    report: Report,
) -> Summary:
    events: queue.Queue[Any] = queue.Queue()
    # Started first, since loading their client takes a second.
    workers = [_Worker(events, record.lock) for _ in range(processes)]
    divided = _divided(settings, processes)
    orders = [
        Orders(ask, base_url, divided, share, record.part(number), record.log_path)
        for number, share in enumerate(_share_out(jobs, processes))
    ]

    def stop() -> None:
        for worker in workers:
            worker.stop()

    summary = Summary()
    with _on_interrupt(stop):
        for worker, each in zip(workers, orders, strict=True):
            worker.start(each)
        # Hashed while the workers wait for replies, since the outcome needs the keys.
        for job in jobs:
            _ = job.conversation.first_digest
        running = processes
        while running:
            event = events.get()
            if isinstance(event, Summary):
                running -= 1
                summary.add(event)
                if event.stopped:
                    stop()
            else:
                for answers in event:
                    report(answers)
    # Workers hold the record's lock until they exit, and the same command may follow at once.
    for worker in workers:
        worker.process.wait()
    return summary


class _Worker:
    """A worker process, and the thread that reads its reports."""

    def __init__(self, events: queue.Queue[Any], lock: int | None) -> None:
        self.events = events
        command = [sys.executable, "-m", "deepvalues.ask.processes"]
        # In its own session, so that Ctrl-C reaches only this process, which then stops the worker.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[lock] if lock is not None else [],
        )

    def start(self, orders: Orders) -> None:
        assert self.process.stdin is not None
        # If the worker has already died, the thread that reads its reports will notice.
        with contextlib.suppress(BrokenPipeError):
            pickle.dump(orders, self.process.stdin)
            self.process.stdin.flush()
        threading.Thread(target=self._listen, daemon=True).start()

    def stop(self) -> None:
        if self.process.stdin and not self.process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        try:
            while True:
                event = pickle.load(self.process.stdout)
                self.events.put(event)
                if isinstance(event, Summary):
                    break
        except (EOFError, pickle.UnpicklingError):
            self.events.put(Summary(stopped="a worker process died"))
        self.stop()
        self.process.wait()


#: A worker sends its reports in batches of this size, for speed.
_BATCH = 32


def _work(orders: Orders, listening: IO[bytes], speaking: IO[bytes]) -> None:
    """Run a worker process."""
    from deepvalues.ask.asker import Asker

    journal = Journal(orders.part, orders.log)
    batch: list[Sequence[Answer] | None] = []

    def report(answers: Sequence[Answer] | None) -> None:
        batch.append(answers)
        if len(batch) >= _BATCH:
            send(batch)
            batch.clear()

    def send(event: object) -> None:
        try:
            pickle.dump(event, speaking, protocol=pickle.HIGHEST_PROTOCOL)
            speaking.flush()
        except BrokenPipeError:
            asker.stop("the parent process is gone")

    async def work() -> Summary:
        loop = asyncio.get_running_loop()

        def wait_for_stop() -> None:
            listening.read()
            with contextlib.suppress(RuntimeError):  # if the loop has already ended
                loop.call_soon_threadsafe(asker.stop, INTERRUPTED)

        threading.Thread(target=wait_for_stop, daemon=True).start()
        return await asker.run(orders.jobs)

    asker = Asker(orders.ask, orders.base_url, orders.settings, journal, report)
    summary = asyncio.run(work())
    journal.close()
    send(batch)
    send(summary)


if __name__ == "__main__":
    import deepvalues.ask.asker  # noqa: F401 - loaded before the orders arrive

    # Standard input is empty if the parent process has ended.
    with contextlib.suppress(EOFError):
        _work(pickle.load(sys.stdin.buffer), sys.stdin.buffer, sys.stdout.buffer)
    # Exit despite the thread that waits for a stop.
    os._exit(0)

"""How long it takes to replay recorded answers, and how much memory.

``python benchmarks/replay.py ANSWERS`` replays the deconfounded arm of the full set for the first nine
models of the registry, in two ways, each in a process of its own: ``query`` runs a query that finds
every answer recorded, ``answers`` reads them all into a frame. Time counts from the items in memory and
the records on disk; memory is the process's peak, interpreter and libraries included. What is replayed is
built once and kept in the folder for temporary files.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

MODELS = 9
#: What conversations are made of.
COLUMNS = ["id", "prompt", "prefix_chars"]
WAYS = ("query", "answers")


class Replay(NamedTuple):
    """What a replay took."""

    seconds: float
    megabytes: float


def folder_of(number: int) -> Path:
    """Where the items and records of a replay are kept."""
    return Path(tempfile.gettempdir()) / f"deepvalues-replay-{os.getuid()}-{number}"


def build(number: int) -> None:
    """Write items of real size, and the records of models that answered them all."""
    from deepvalues.ask import catalogue, on_record
    from deepvalues.ask.record import Answer

    items = catalogue.study("dvb").items("full")
    items = items[items["arm"] == "deconfounded"].head(number // MODELS)
    models = list(catalogue.registry().models.values())[:MODELS]
    folder = folder_of(number)
    for asked in on_record.questions_by_model("dvb", models, items, folder):
        asked.record.path.parent.mkdir(parents=True, exist_ok=True)
        answers = [
            Answer(
                key=asked.ask.request(conversation, (), 0).key,
                item=conversation.item,
                repeat=0,
                turn=0,
                text=f"Option {'AB'[place % 2]}",
                refusal=None,
                finish_reason="stop",
                prompt_tokens=len(conversation.turns[0]) // 4,
                completion_tokens=2,
                logprobs=None,
                model=asked.model.served_as,
            )
            for place, conversation in enumerate(asked.conversations)
        ]
        answers.sort(key=lambda answer: answer.place)
        asked.record.path.write_bytes(b"".join(answer.line() for answer in answers))
    items[COLUMNS].to_parquet(folder / "items.parquet", row_group_size=500)


def measure(number: int, way: str) -> Replay:
    """Replay in this process.

    Raises
    ------
    ValueError
        When an answer is not found in the records: they were built by another version.
    """
    from deepvalues.ask import catalogue, on_record, run_query

    models = list(catalogue.registry().models.values())[:MODELS]
    study, folder = catalogue.study("dvb"), folder_of(number)
    _ = study.seed  # reads bank and design
    items = _items(folder)
    expected = len(items) * len(models)
    started = time.perf_counter()
    if way == "query":
        found = int(run_query.query("dvb", models, items, record_folder=folder)["replayed"].sum())
    else:
        frame = on_record.answers("dvb", models, items, folder)
        found = int((frame["status"] == "answered").sum())
    seconds = time.perf_counter() - started
    if found != expected:
        raise ValueError(f"{found} of {expected} answers were found in {folder}: remove that folder")
    return Replay(seconds, peak_megabytes())


def _items(folder: Path) -> pd.DataFrame:
    """The items, read in small pieces: reading them is not what the peak is to tell of."""
    import pyarrow as pa
    from pyarrow import parquet

    # Arrow's own allocator keeps much of what it has used once.
    pa.set_memory_pool(pa.system_memory_pool())
    file = parquet.ParquetFile(folder / "items.parquet", pre_buffer=False)
    pieces = file.iter_batches(batch_size=500, use_threads=False)
    items: pd.DataFrame = pa.Table.from_batches(pieces).to_pandas()
    return items


def peak_megabytes() -> float:
    """The most memory that this process has had.

    Linux counts into ``ru_maxrss`` what the parent had when it started this process, so its own figure
    is taken where there is one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _in_a_process(*arguments: str) -> str:
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def replay(number: int) -> dict[str, Replay]:
    """Seconds and peak megabytes of each way of replaying this many answers."""
    if not (folder_of(number) / "items.parquet").exists():
        _in_a_process(str(number), "build")
    taken = {}
    for way in WAYS:
        seconds, megabytes = _in_a_process(str(number), way).split()
        taken[way] = Replay(float(seconds), float(megabytes))
    return taken


def main() -> None:
    """Build, measure one way, or do all of it."""
    number, *way = sys.argv[1:]
    if way == ["build"]:
        build(int(number))
    elif way:
        print(*measure(int(number), way[0]))
    else:
        for name, taken in replay(int(number)).items():
            print(f"{name}: {taken.seconds:.2f} s, {taken.megabytes:.0f} MB at the peak")


if __name__ == "__main__":
    main()

"""The exports used by those they are for: `datasets`, lm-evaluation-harness and Inspect.

``make proof`` runs it. Each program has an environment of its own, made on first use from the package index.
The data set is loaded; then reference agents on loopback, and SmolLM2 where its weights are here, are asked
200 tests by each harness, free and by letter probability. Each log is imported, and compared item by item
with what this project's own engine gets for the same requests. Agents must agree in full; for the language
model every difference is shown. Its probabilities differ a little with the order of the requests: llama.cpp
rounds differently when part of a prompt is cached (``cache_prompt``).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from deepvalues.ask import catalogue, letters, run_query
from deepvalues.ask.questions import Questions, record_path
from deepvalues.ask.record import Record
from deepvalues.ask.registry import BARE, CONTINUE, FREE, Model
from deepvalues.ask.settings import Settings
from deepvalues.ask.weights import serve
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.export import importing
from deepvalues.export.write import FOLDER

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from local_server import create_app, serving

STUDY, SET, ARMS = "dvb", "n4-50", ("deconfounded", "control")
#: Agents whose choices depend on the seed, on the prompt, and on how words are read; and a language model.
AGENTS = {
    FREE: ("agent-mixture", "agent-prose", "agent-declining"),
    CONTINUE: ("agent-value", "agent-sensitive"),
}
LANGUAGE_MODEL = "smollm2-135m"
SEED = 1234


#: The harnesses, with the way in which each asks by letter probability.
PEERS = {"lm-eval": CONTINUE, "inspect": BARE}


def environment(folder: Path, extra: str) -> Path:
    """The folder of programs of a peer's own environment, made where there is none."""
    place = folder / extra
    if not (place / "bin" / "python").exists():
        project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        # Inspect's tasks are in this package; the other two need nothing of it.
        needed = (
            ["-e", f"{paths.ROOT}[inspect]"]
            if extra == "inspect"
            else project["optional-dependencies"][extra]
        )
        print(f"== {paths.shown(place)}: {' '.join(needed)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([place / "bin" / "pip", "install", "--quiet", *needed], check=True)
    return place / "bin"


def told(command: list[str | Path], out: Path, **variables: str) -> None:
    """Run a peer's program; what it says goes to a file, which the error names."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as file:
        done = subprocess.run(
            command, check=False, stdout=file, stderr=file, cwd=paths.ROOT, env={**own, **variables}
        )
    if done.returncode:
        raise UserError(f"{command[0]} ended with status {done.returncode}: see {out}")


def loads(bin_: Path, export: Path, out: Path) -> None:
    """Load every configuration of the data set, and count its rows."""
    counts = {
        path.relative_to(export / "data").with_suffix("").as_posix().replace("/", "-"): len(
            pd.read_parquet(path)
        )
        for path in sorted((export / "data").rglob("*.parquet"))
    }
    code = (
        "import datasets, json, sys\n"
        "counts = json.loads(sys.argv[2])\n"
        "assert set(datasets.get_dataset_config_names(sys.argv[1])) == set(counts)\n"
        "for name, rows in counts.items():\n"
        "    assert len(datasets.load_dataset(sys.argv[1], name, split='test')) == rows, name\n"
    )
    told([bin_ / "python", "-c", code, export, json.dumps(counts)], out / "hub.txt", HF_HOME=str(out / "hub"))
    print(f"datasets: {len(counts)} configurations load, {sum(counts.values()):,} rows", flush=True)


def ask_lm_eval(bin_: Path, export: Path, out: Path, model: str, url: str, way: str) -> Path:
    """Have lm-evaluation-harness ask; gives the folder of its log."""
    tail = "_letters" if way != FREE else ""
    program = [bin_ / "python", export / FOLDER / "letters.py"] if tail else [bin_ / "lm_eval"]
    arguments = [
        *("run", "--model", "deepvalues-letters" if tail else "local-chat-completions"),
        *("--model_args", f"model={model},base_url={url}/chat/completions,seed={SEED}"),
        *("--tasks", ",".join(f"deepvalues_{STUDY}-{SET}_{arm}{tail}" for arm in ARMS)),
        *("--include_path", str(export / FOLDER), "--apply_chat_template", "--log_samples"),
        *("--output_path", str(out / "log")),
    ]
    told([*program, *arguments], out / "said.txt", HF_HOME=str(out / "hub"), HF_HUB_OFFLINE="1")
    return out / "log"


def ask_inspect(bin_: Path, out: Path, model: str, url: str, way: str) -> Path:
    """Have Inspect ask; gives its log."""
    arguments = [
        *("eval", "deepvalues/dvb", "-T", f"item_set={SET}", "-T", f"by_letters={str(way != FREE).lower()}"),
        *("-T", f"arms={','.join(ARMS)}", "--model", f"openai-api/local/{model}", "--seed", str(SEED)),
        *("--max-connections", "1", "--display", "plain", "--log-format", "json"),
        *("--log-dir", str(out / "log")),
    ]
    told([bin_ / "inspect", *arguments], out / "said.txt", LOCAL_BASE_URL=url, LOCAL_API_KEY="none")
    (file,) = (out / "log").glob("*.json")
    return file


def compared(log: Path, model: str, url: str, records: Path) -> pd.DataFrame:
    """What a peer got and what this project's engine gets for the same requests, item by item."""
    (read,) = importing.read(log)
    brought = importing.bring_in(read, record_folder=records / "peers")
    way = {"letters": brought.model.letters, "parameters": brought.model.parameters}
    own, folder = replace(catalogue.registry().model(model, url), **way), records / brought.model.name
    items = catalogue.study(STUDY).items(SET)
    items = items[items["arm"].isin(ARMS)]
    run_query.query(STUDY, [own], items, record_folder=folder, settings=Settings(concurrency=1))
    theirs, ours = recorded(brought.model, items, records / "peers"), recorded(own, items, folder)
    both = theirs.answers().merge(ours.answers(), on="item", suffixes=("_peer", "_own"), validate="1:1")
    for where, questions in {"peer": theirs, "own": ours}.items():
        kept = {each.item: each.logprobs for each in questions.record.answers.values()}
        both[f"p_{where}"] = both["item"].map(kept).map(_p_a)
    if len(both) != 200 or (both["status_peer"] == "failed").any():
        raise UserError(f"{log}: not all of the 200 tests were asked as this project asks them: {brought}")
    return both


def recorded(model: Model, items: pd.DataFrame, folder: Path) -> Questions:
    """The items as they were put to a model, with its record."""
    study = catalogue.study(STUDY)
    return Questions(study, study.conversations(items), model, Record(record_path(folder, STUDY, model.name)))


def _p_a(logprobs: Mapping[str, Any] | None) -> float:
    """The share of A among the letters; NaN for a reply in words."""
    return letters.shares(logprobs).get("A", 0.0) if logprobs else math.nan


def why(row: pd.Series) -> str:
    """Why two choices differ."""
    if pd.notna(row["p_own"]):
        return f"P(A) {row['p_peer']:.4f} there, {row['p_own']:.4f} here"
    if row["reply_peer"] == row["reply_own"]:
        return f"the same reply, cut, which the log does not say: {row['reply_own']!r}"
    # At temperature 1 and with one seed: the probabilities depend on what the server had read before.
    return f"another reply was drawn: {row['reply_peer']!r} there, {row['reply_own']!r} here"


def shown(name: str, peer: str, way: str, both: pd.DataFrame, *, exact: bool) -> None:
    """Print the share of choices that agree, and every difference.

    Raises
    ------
    UserError
        When one of an agent differs.
    """
    same = both["choice_peer"].fillna("") == both["choice_own"].fillna("")
    largest = (both["p_peer"] - both["p_own"]).abs().max()
    close = "" if pd.isna(largest) else f"; P(A) differs by {largest:.2g} at most"
    read = (both["status_own"] == "answered").sum()
    print(
        f"{name}, {peer}, {way}: {same.mean():.1%} of {len(both)} agree ({read} choices{close})",
        flush=True,
    )
    for _, row in both[~same].iterrows():
        print(f"  {row['item']}: {why(row)}", flush=True)
    if exact and not same.all():
        raise UserError(f"{name}: an agent's choices differ")


@contextmanager
def language_model() -> Iterator[str | None]:
    """The address of the language model's server; None where weights or server are not here."""
    model = catalogue.registry().model(LANGUAGE_MODEL)
    try:
        serve.ready(model)
    except UserError as error:
        print(f"left out: {error}", flush=True)
        yield None
        return
    with serve.serving(model) as url:
        yield url


def runs(local: str, url: str | None) -> Iterator[tuple[str, str, str, str]]:
    """Model, address, peer and way of every run."""
    for way, agents in AGENTS.items():
        for name, (peer, by_letters) in itertools.product(agents, PEERS.items()):
            yield name, local, peer, FREE if way == FREE else by_letters
    if url:
        for peer, by_letters in PEERS.items():
            yield from ((LANGUAGE_MODEL, url, peer, way) for way in (FREE, by_letters))


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=Path, default=paths.ROOT / "build" / "peers", metavar="DIR")
    parser.add_argument("--out", type=Path, default=paths.ROOT / "build" / "proof", metavar="DIR")
    parser.add_argument("--only", metavar="MODEL", nargs="+", help="ask these models alone")
    arguments = parser.parse_args()
    out: Path = arguments.out.resolve()
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{paths.shown(out)} is not empty: remove it, or name another folder with --out")
    bins = {extra: environment(arguments.environments.resolve(), extra) for extra in ("hub", *PEERS)}
    told([sys.executable, "-m", "deepvalues", "export", "--to", out / "export"], out / "export.txt",
         PYTHONPATH=os.environ.get("PYTHONPATH", ""))  # fmt: skip
    loads(bins["hub"], out / "export", out)
    with serving(create_app(catalogue.local_models())) as local, language_model() as url:
        for name, address, peer, way in runs(local, url):
            if not arguments.only or name in arguments.only:
                place = out / f"{name}-{peer}-{way}"
                if peer == "inspect":
                    log = ask_inspect(bins[peer], place, name, address, way)
                else:
                    log = ask_lm_eval(bins[peer], out / "export", place, name, address, way)
                both = compared(log, name, address, place)
                shown(name, peer, way, both, exact=name != LANGUAGE_MODEL)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        try:
            main()
        except UserError as error:
            sys.exit(f"proof: {error}")

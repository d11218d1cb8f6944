"""Two evaluation frameworks that send the same prompts, where they are installed.

Both are used as their users use them: lm-evaluation-harness by its class for local chat endpoints,
Inspect by an evaluation of a task that only generates, log included. `pip install "lm_eval[api]"
inspect_ai` beside the project's packages, in an environment of its own, lets them take part.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

#: Inspect is slow; it gets at most this many prompts, and its seconds are scaled up.
INSPECT_PROMPTS = 1_000
MAX_TOKENS = 10


def clients(texts: Sequence[str], concurrency: int) -> dict[str, Callable[[str], float]]:
    """Functions from a base URL to the seconds that all texts take, of the frameworks installed here."""
    found: dict[str, Callable[[str], float]] = {}
    if _installed("lm_eval", "tenacity"):
        found["lm-evaluation-harness"] = lambda url: harness(url, texts, concurrency)
    if _installed("inspect_ai"):
        found["Inspect"] = lambda url: inspect(url, texts, concurrency)
    return found


def _installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) for module in modules)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep progress bars and notices out of the table."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        try:
            yield
        finally:
            logging.disable(level)


def harness(base_url: str, texts: Sequence[str], concurrency: int) -> float:
    """Seconds that lm-evaluation-harness takes for plain ``generate_until`` requests."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.api_models import JsonChatStr
    from lm_eval.models.openai_completions import LocalChatCompletion

    settings = {"until": ["\n\n"], "max_gen_toks": MAX_TOKENS}
    with _silent():
        model = LocalChatCompletion(
            base_url=f"{base_url}/chat/completions", model="bench", num_concurrent=concurrency
        )
        requests = []
        for place, text in enumerate(texts):
            messages = JsonChatStr(json.dumps([{"role": "user", "content": text}]))
            requests.append(Instance("generate_until", {}, (messages, settings), place))
        started = time.perf_counter()
        replies = model.generate_until(requests, disable_tqdm=True)
        seconds = time.perf_counter() - started
    assert replies == ["Option A"] * len(texts), replies[:3]
    return seconds


def inspect(base_url: str, texts: Sequence[str], concurrency: int) -> float:
    """Seconds that an Inspect evaluation takes, from its first sample's start to its last one's end."""
    import inspect_ai
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.solver import generate

    asked = texts[:INSPECT_PROMPTS]
    task = inspect_ai.Task(
        dataset=MemoryDataset([Sample(input=text) for text in asked]),
        solver=generate(),
        config=GenerateConfig(max_tokens=MAX_TOKENS, max_connections=concurrency),
    )
    with _silent(), tempfile.TemporaryDirectory() as folder:
        model = get_model("openai-api/bench/bench", base_url=base_url, api_key="none", memoize=False)
        (log,) = inspect_ai.eval(
            task, model=model, max_samples=concurrency, log_dir=folder, display="none", score=False
        )
        # The log reads its samples when they are asked for, so the folder must still be there.
        samples = log.samples or []
    assert log.status == "success" and len(samples) == len(asked), log.error
    started = min(datetime.fromisoformat(str(sample.started_at)) for sample in samples)
    ended = max(datetime.fromisoformat(str(sample.completed_at)) for sample in samples)
    return (ended - started).total_seconds() / len(asked) * len(texts)

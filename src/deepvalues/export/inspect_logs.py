"""Reading logs of Inspect, and what it holds of a sample as an answer of the record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepvalues.ask import catalogue
from deepvalues.ask.engine import answer_from
from deepvalues.ask.letters import LetterChoice
from deepvalues.ask.protocol import FILTERED, Reply
from deepvalues.ask.record import Answer
from deepvalues.ask.registry import FREE, PARAMETERS
from deepvalues.core.errors import UserError
from deepvalues.core.extras import install
from deepvalues.core.files import read_json
from deepvalues.core.paths import shown
from deepvalues.export.logs import Log, Sample, cut, other_task, place, stop_unless_known

HARNESS = "inspect"
_KNOWN = "0.3."
_LACKS = "the server's fingerprint, refusals reported apart, and what a reply held beside its text"
_NAMES = {"stop_seqs": "stop"}
#: The protocol's words for Inspect's reasons; it has others that the protocol has not.
_REASONS = {"stop": "stop", "max_tokens": "length", "content_filter": FILTERED}


def answer_of(item: str, output: Mapping[str, Any], choice: LetterChoice | None) -> Answer:
    """The answer that a sample's output holds, without a key.

    Raises
    ------
    deepvalues.ask.letters.NoLogprobsError
        When it was asked by letters and has no log probabilities.
    """
    (first, *_), usage = output["choices"], output.get("usage") or {}
    reply = Reply(
        text=_text(first["message"]["content"]),
        refusal=None,
        finish_reason=_REASONS.get(first["stop_reason"], first["stop_reason"]),
        logprobs=first.get("logprobs"),
        model=output.get("model"),
        prompt_tokens=usage.get("input_tokens"),
        completion_tokens=usage.get("output_tokens"),
        cached_tokens=None,
        fingerprint=None,
        more=None,
    )
    return answer_from(reply, "", item, 0, 0, choice)


def _text(content: Any) -> str:
    """The text of a message, which may come in parts."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


def load(file: Path) -> Mapping[str, Any]:
    """The content of a log, of either of Inspect's formats.

    Raises
    ------
    UserError
        When it is a compressed log and Inspect is not installed, or can't read it.
    """
    if file.suffix != ".eval":
        content = read_json(file, "the log may have been cut")
        return content if isinstance(content, dict) else {}
    try:
        from inspect_ai.log import read_eval_log
    except ModuleNotFoundError:
        raise UserError(
            f"{shown(file)}: only Inspect reads its compressed logs; it comes with the extra `inspect`: "
            f"{install('inspect')}. Or have Inspect write JSON: --log-format json"
        ) from None
    try:
        return dict(read_eval_log(str(file), resolve_attachments=True).model_dump(mode="json"))
    except Exception as error:  # a broken archive can fail in many ways
        raise cut(file, f"Inspect can't read it ({error})") from None


def read(file: Path, content: Mapping[str, Any]) -> list[Log]:
    """The log of a task of this project.

    Raises
    ------
    UserError
        When it is of another task or version, or the run did not come to its end.
    """
    about = content["eval"]
    stop_unless_known(file, "inspect_ai", str(about.get("packages", {}).get("inspect_ai") or ""), _KNOWN)
    found = place(about.get("metadata"))
    if not found:
        raise other_task(file)
    samples, status = content.get("samples") or [], content.get("status")
    if status != "success" or len(samples) != content["results"]["total_samples"]:
        expected = (content.get("results") or {}).get("total_samples", "more")
        raise cut(file, f"its status is {status}, and it has {len(samples):,} of {expected} samples")
    # An item has one answer: of several epochs, the first.
    usable = [each for each in samples if each["epoch"] == 1 and each["output"]["choices"]]
    choice = None if found.way == FREE else catalogue.study(found.study).letter_choice
    log = Log(
        HARNESS,
        about["packages"]["inspect_ai"],
        *found,
        served_as=about["model"],
        asked_at=about.get("model_base_url"),
        date=about["created"],
        parameters=_sent(content["plan"]["config"]),
        samples=tuple(_sample(each, choice) for each in usable),
        unusable=len(samples) - len(usable),
        lacks=_LACKS,
    )
    return [log]


def _sent(config: Mapping[str, Any]) -> dict[str, Any]:
    named = {_NAMES.get(name, name): setting for name, setting in config.items() if setting is not None}
    # How many alternatives are listed enters no key.
    kept = set(PARAMETERS) - {"top_logprobs"}
    return {name: setting for name, setting in named.items() if name in kept}


def _sample(each: Mapping[str, Any], choice: LetterChoice | None) -> Sample:
    sent = [message for message in each["messages"] if message.get("source") != "generate"]
    messages = [{"role": one["role"], "content": _text(one["content"])} for one in sent]
    return Sample(str(each["id"]), messages, answer_of(str(each["id"]), each["output"], choice))

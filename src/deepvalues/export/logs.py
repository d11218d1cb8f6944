"""What a log of another harness says, as far as the record can hold it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

from deepvalues.ask.conversation import Message
from deepvalues.ask.record import Answer
from deepvalues.ask.registry import Way
from deepvalues.core.errors import UserError
from deepvalues.core.paths import shown


class Sample(NamedTuple):
    """An item's answer, without a key, and the messages that were sent; None where the log has others."""

    item: str
    messages: list[Message] | None
    answer: Answer


class Log(NamedTuple):
    """What one model answered to one set in one way, and what the log does not say.

    ``harness`` is its endpoint in ``data/models.yml``, ``way`` how letters were asked for. ``parameters``
    are those of every request in the protocol's words. ``unusable`` counts samples without a reply.
    """

    harness: str
    version: str
    study: str
    item_set: str
    way: Way
    served_as: str
    asked_at: str | None
    date: str
    parameters: Mapping[str, Any]
    samples: tuple[Sample, ...]
    unusable: int
    lacks: str


class Place(NamedTuple):
    """What a task of an export says of itself in a log."""

    study: str
    item_set: str
    way: Way


def place(metadata: Any) -> Place | None:
    """The study and set of a task, from its metadata; None where it is none of this project's tasks."""
    if not isinstance(metadata, Mapping) or not {"study", "item_set"} <= set(metadata):
        return None
    ways: dict[str, Way] = {way: way for way in get_args(Way)}
    way = ways.get(metadata.get("letters", ""))
    return Place(metadata["study"], metadata["item_set"], way) if way else None


def other_task(file: Path) -> UserError:
    """The error about a log that no task of this project wrote."""
    return UserError(
        f"{shown(file)}: a log of another task: only logs of this project's tasks can be read, which "
        "`deepvalues export` writes"
    )


def cut(file: Path, how: str) -> UserError:
    """The error about a log that is not whole."""
    return UserError(f"{shown(file)}: the log is not whole: {how}; run the task again, or to its end")


def stop_unless_known(file: Path, package: str, version: str, known: str) -> None:
    """Stop at a log of a harness whose logs are perhaps other ones.

    Parameters
    ----------
    known
        What the versions begin with whose logs are read, such as ``0.4.``.

    Raises
    ------
    UserError
        When the version is another one.
    """
    if not version.startswith(known):
        raise UserError(
            f"{shown(file)}: written by {package} {version or 'of an unknown version'}; logs of {known}x are "
            f'read: run the task with `pip install "{package}=={known}*"`'
        )

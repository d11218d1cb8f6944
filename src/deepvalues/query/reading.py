"""What a reading of a reply is: a status, and a choice where there is one."""

from __future__ import annotations

from typing import NamedTuple

#: answered: a choice was read. refused: the model declined. unparsable: a whole reply that the rules
#: do not read for certain. truncated: cut off before its choice. failed: no reply was received.
STATUSES = ("answered", "refused", "unparsable", "truncated", "failed")


class Received(NamedTuple):
    """What an endpoint returned for one turn, as far as a reader needs it, and what the turn asked.

    ``question`` is the turn as the study wrote it, without quotes filled in and without the prefix that it
    shares with other conversations.
    """

    text: str | None
    refusal: str | None = None
    finish_reason: str | None = None
    question: str = ""


class Reading(NamedTuple):
    """A status and, when it is ``answered``, the choice."""

    status: str
    choice: str | None = None

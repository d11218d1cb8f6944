"""Reading replies: a letter, or the amounts that exactly one option of the question shows."""

from __future__ import annotations

import re

from deepvalues.ask.reading import Reading, Received, read_choice, settled
from deepvalues.studies.svo.stimuli.prompts import option_lines

#: Two amounts as the options show them: "85, 50", "(85 / 50)", "85 for me and 50 for the other".
_AMOUNTS = re.compile(
    r"(?<![\d.,])[(\[]?(\d{1,3})(?: coins?)?(?: (?:for|to) (?:me|myself))? ?(?:,|/|;|:|\band\b|-) ?(?:and )?"
    r"(\d{1,3})(?: coins?)?(?: (?:for|to) (?:them|you|(?:the )?other(?: (?:person|participant))?))?"
    r"[)\]]?(?![.,]?\d)",
    re.IGNORECASE,
)
_GAP = re.compile(r"[^\S\n]+")


def read(received: Received) -> Reading:
    """Read a reply to a turn of this study.

    A reply to a turn that shows no options (a description, a goal) is answered by any text.

    Returns
    -------
    Reading
        ``answered`` with the letter as shown (no choice for a turn without options), or one of the other
        statuses without a choice.
    """
    options = option_lines(received.question)
    if not options:
        return settled(received) or Reading("answered")

    def named(match: re.Match[str]) -> str:
        letters = [letter for letter, coins in options.items() if coins == (int(match[1]), int(match[2]))]
        return f"(option {letters[0] if len(letters) == 1 else '?'})"

    return read_choice(received, options, lambda text: _AMOUNTS.sub(named, _GAP.sub(" ", text)))

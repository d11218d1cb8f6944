"""Reference agents of the pairs: the worths that they choose by, and their liking for a place, are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import expit

from deepvalues.ask.loopback import Message, Reply
from deepvalues.studies.profiles.pairs import LETTERS, PairWording

#: Worths of the themes in logits, in their fixed order; they sum to 0.
WORTHS = (0.5, 0.1, 0.3, 1.0, -0.4, -1.5)
#: How much an agent likes option A, in logits.
LIKING = 0.6
#: The same of the agent that chooses by place alone.
PLACE_LIKING = 2.0


@dataclass(frozen=True)
class PairAgent:
    """An agent whose log odds of option A over option B are w_A − w_B + liking.

    Its reply is the likelier letter, A where both are as likely; there is no chance in it.
    """

    name: str
    description: str
    worths: Mapping[str, float]
    liking: float
    wording: PairWording
    family: str = "reference agent"

    def reply(self, messages: Sequence[Message], seed: int) -> Reply:  # noqa: ARG002 - that of every model
        """Answer a question.

        Raises
        ------
        ValueError
            When it is not one of this study.
        """
        question = next(message["content"] for message in messages if message["role"] == "user")
        shown = self.wording.themes_of(question)
        if not shown:
            raise ValueError(f"not a question about two themes: {question[:60]!r}")
        p = float(expit(self.worths[shown[0]] - self.worths[shown[1]] + self.liking))
        # After a reply that is begun for it, a token has the space before it.
        space = " " if messages[-1]["role"] == "assistant" else ""
        return Reply(space + LETTERS[p < 0.5], dict(zip(LETTERS, (p, 1 - p), strict=True)))


def pair_agents(wording: PairWording) -> dict[str, PairAgent]:
    """The reference agents by name."""
    worths = {theme.key: worth for theme, worth in zip(wording.themes, WORTHS, strict=True)}
    agents = [
        PairAgent(
            "agent-pairs-worths",
            "choices by fixed worths, and a liking for option A",
            worths,
            LIKING,
            wording,
        ),
        PairAgent(
            "agent-pairs-place",
            "a liking for option A alone",
            dict.fromkeys(worths, 0.0),
            PLACE_LIKING,
            wording,
        ),
    ]
    return {agent.name: agent for agent in agents}

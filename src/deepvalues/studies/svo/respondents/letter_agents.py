"""Reference agents of the slider measure one question at a time: their letter probabilities are known.

They read options and value off the prompt. An agent has a taste for divisions and a liking for letters; the
angle of its taste is what the measure must find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deepvalues.ask.loopback import Message, Reply
from deepvalues.studies.svo.analysis.scoring import angles_of
from deepvalues.studies.svo.items import CONDITIONS
from deepvalues.studies.svo.one_question import OneQuestionWording
from deepvalues.studies.svo.respondents.agents import OWN_TYPE, PRECISION, WEIGHTS, best, logit
from deepvalues.studies.svo.stimuli.payoffs import LETTERS, N_OPTIONS, N_PRIMARY, VALUES, payoffs
from deepvalues.studies.svo.stimuli.prompts import Coins, option_lines

#: How much an agent likes the letters A to I, in logits.
LIKING = (2.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0)
NO_LIKING = (0.0,) * N_OPTIONS

#: Probability of each option if letters meant nothing, given the options and the assigned value.
Taste = Callable[[Mapping[str, Coins], str], Mapping[str, float]]


def _ideal(options: Mapping[str, Coins], value: str) -> Mapping[str, float]:
    chosen = best(options, value if value in VALUES else OWN_TYPE)
    return {letter: float(letter == chosen) for letter in options}


def _logit(options: Mapping[str, Coins], value: str) -> Mapping[str, float]:
    return logit(options, WEIGHTS[value], PRECISION)


def _none(options: Mapping[str, Coins], _: str) -> Mapping[str, float]:
    return dict.fromkeys(options, 1 / len(options))


@dataclass(frozen=True)
class LetterAgent:
    """An agent whose probability of a letter is in proportion to taste · exp(liking).

    Its reply is the likeliest letter; there is no chance in it.
    """

    name: str
    description: str
    taste: Taste
    liking: tuple[float, ...]
    wording: OneQuestionWording
    family: str = "reference agent"

    def shares(self, options: Mapping[str, Coins], value: str) -> dict[str, float]:
        """Probability of each letter."""
        weights = np.array(list(self.taste(options, value).values())) * np.exp(self.liking)
        return dict(zip(options, map(float, weights / weights.sum()), strict=True))

    def reply(self, messages: Sequence[Message], seed: int) -> Reply:  # noqa: ARG002 - that of every model
        """Answer a question.

        Raises
        ------
        ValueError
            When it is not one of this study.
        """
        question = next(message["content"] for message in messages if message["role"] == "user")
        options = option_lines(question)
        values = [value for value in CONDITIONS if question.startswith(self.wording.opening(value))]
        if len(options) != N_OPTIONS or not values:
            raise ValueError(f"not a question of the slider measure alone: {question[:60]!r}")
        shares = self.shares(options, values[0])
        # After a reply that is begun for it, a token has the space before it.
        space = " " if messages[-1]["role"] == "assistant" else ""
        return Reply(space + max(shares, key=shares.__getitem__), shares)

    def expected(self, value: str) -> float:
        """The angle of expected payoffs that the agent's taste implies in a condition, in degrees."""
        pay, sums = payoffs(), np.zeros(2)
        for own, other in zip(pay.own[:N_PRIMARY], pay.other[:N_PRIMARY], strict=True):
            coins = [Coins(int(a), int(b)) for a, b in zip(own, other, strict=True)]
            shares = self.taste(dict(zip(LETTERS, coins, strict=True)), value)
            sums += np.array(list(shares.values())) @ np.array(coins, dtype=float)
        return float(angles_of(*sums / N_PRIMARY))


def letter_agents(wording: OneQuestionWording) -> dict[str, LetterAgent]:
    """The reference agents by name."""
    noisy = f"logit choice, precision {PRECISION} a coin, weights by the assigned value"
    agents = [
        LetterAgent(
            "agent-svo-letters-ideal", "the best option for the assigned value", _ideal, NO_LIKING, wording
        ),
        LetterAgent(
            "agent-svo-letters-leaning", f"{noisy}, and a liking for some letters", _logit, LIKING, wording
        ),
        LetterAgent("agent-svo-letters-place", "a liking for some letters alone", _none, LIKING, wording),
    ]
    return {agent.name: agent for agent in agents}

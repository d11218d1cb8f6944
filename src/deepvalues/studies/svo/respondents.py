"""Reference agents of study 2: local models whose angles are known before the run.

They prove the instrument. They read the options off the question, and the assigned value off what stands
before it, which they recognize by its wording.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from scipy.special import softmax

from deepvalues.ask.loopback import Message, Reply
from deepvalues.core import stable_random
from deepvalues.studies.svo.analysis.scoring import angles_of
from deepvalues.studies.svo.items import CONDITIONS, OneQuestionWording
from deepvalues.studies.svo.stimuli import (
    IDEAL_POINTS,
    LETTERS,
    MODES,
    N_OPTIONS,
    N_PRIMARY,
    NO_VALUE,
    VALUES,
    Coins,
    Wording,
    option_lines,
    options_of,
)

#: The agent whose weights `analysis.instrument` must find.
NOISY = "agent-svo-noisy"
#: Precision of the noisy agents, in logits per coin of utility cos φ · self + sin φ · other.
PRECISION = 0.12
#: Weight angle φ in degrees: of the agent that ignores the value, and of the noisy one where there is none.
OWN_WEIGHT = 30.0
#: Weight angle φ of the noisy agent for each value, in degrees.
WEIGHTS = {
    "altruistic": 75.0,
    "prosocial": 45.0,
    "individualistic": 0.0,
    "competitive": -30.0,
    NO_VALUE: OWN_WEIGHT,
}
INEQUALITY_AVERSE = "inequality averse"
#: What the followers do where no value is assigned.
OWN_TYPE = INEQUALITY_AVERSE

PROSE = (
    "I would choose option {letter}.",
    "My answer: {letter}",
    "**{letter}**",
    "I'd go with {own}, {other}.",
    "({letter})",
    "{letter}: {own}, {other}",
    "As this person I take option {letter}: {own} coins for me and {other} for the other.",
)
REFUSAL = "I'm sorry, I can't take part in choices that are meant to leave someone behind."
READY = "I am ready to divide coins."
GOAL = "My goal is the division that suits me best."

#: What a type wants to be large, of (self, other).
Utility = Callable[[Coins], float]
UTILITIES: Mapping[str, Utility] = {
    "altruistic": lambda coins: coins.other,
    "prosocial": lambda coins: coins.own + coins.other,
    "individualistic": lambda coins: coins.own,
    "competitive": lambda coins: coins.own - coins.other,
    INEQUALITY_AVERSE: lambda coins: -abs(coins.own - coins.other),
}
#: Probability of each option, given the options and the assigned value.
Rule = Callable[[Mapping[str, Coins], str], dict[str, float]]

#: Payoffs are printed as whole coins, so merits that differ by no more were equal before rounding.
ROUNDING = 1.0


def best(options: Mapping[str, Coins], kind: str) -> str:
    """The option that suits a type best; where several do, the one nearest its ideal point on the ring.

    Never the place among the options: the choice is the same however they are ordered.
    """
    own, other = IDEAL_POINTS.get(kind, IDEAL_POINTS["prosocial"])

    merits = {letter: UTILITIES[kind](coins) for letter, coins in options.items()}
    most = max(merits.values())

    def distance(letter: str) -> tuple[float, Coins]:
        coins = options[letter]
        return float(np.hypot(coins.own - own, coins.other - other)), coins

    return min((letter for letter in options if merits[letter] >= most - ROUNDING), key=distance)


def _certain(options: Mapping[str, Coins], chosen: str) -> dict[str, float]:
    return {letter: float(letter == chosen) for letter in options}


def _fixed(kind: str, options: Mapping[str, Coins], _: str) -> dict[str, float]:
    return _certain(options, best(options, kind))


def _first(options: Mapping[str, Coins], _: str) -> dict[str, float]:
    return _certain(options, next(iter(options)))


def _follow(options: Mapping[str, Coins], value: str) -> dict[str, float]:
    return _certain(options, best(options, value if value in VALUES else OWN_TYPE))


def logit(options: Mapping[str, Coins], weight: float, precision: float) -> dict[str, float]:
    """Logit choice: P proportional to exp(precision · (cos φ · self + sin φ · other)), φ in degrees.

    References
    ----------
    McFadden (1974), in Zarembka (ed.), Frontiers in Econometrics.
    """
    angle = np.radians(weight)
    utility = [np.cos(angle) * coins.own + np.sin(angle) * coins.other for coins in options.values()]
    return dict(zip(options, map(float, softmax(precision * np.array(utility))), strict=True))


_NOISY = f"logit choice, precision {PRECISION} a coin, weights by the assigned value"


def _noisy(options: Mapping[str, Coins], value: str) -> dict[str, float]:
    return logit(options, WEIGHTS[value], PRECISION)


def _random(options: Mapping[str, Coins], _: str) -> dict[str, float]:
    return dict.fromkeys(options, 1 / len(options))


@dataclass(frozen=True)
class ReferenceAgent:
    """A rule that turns options and value into probabilities, words for the choice, and what it refuses."""

    name: str
    description: str
    rule: Rule
    wording: Wording
    prose: bool = False
    refuses: frozenset[str] = frozenset()
    family: str = "reference agent"

    @cached_property
    def _values(self) -> dict[str, str]:
        """The value that each opening turn assigns."""
        return {
            opening: value
            for mode in MODES
            for value in VALUES
            for opening in self.wording.openings(mode, value)[:1]
        }

    def reply(self, messages: Sequence[Message], seed: int) -> Reply:
        """Answer the last message.

        Raises
        ------
        ValueError
            When the conversation is not one of this study.
        """
        turns = [message["content"] for message in messages if message["role"] == "user"]
        value = self._values.get(turns[0], NO_VALUE)
        options = option_lines(turns[-1])
        if options:
            return self._choose(options, value, seed)
        if value == NO_VALUE and turns[-1] != self.wording.texts["goal"]:
            raise ValueError(f"not a turn of the study of social values: {turns[-1][:60]!r}")
        return Reply(GOAL if turns[-1] == self.wording.texts["goal"] else READY)

    def _choose(self, options: Mapping[str, Coins], value: str, seed: int) -> Reply:
        if value in self.refuses:
            return Reply(REFUSAL)
        shares = self.rule(options, value)
        # With its name, or agents would err alike on a question that all of them are asked in the same words.
        place = stable_random.uniform(seed, self.name)
        reached = np.cumsum(list(shares.values()))
        letter = list(shares)[min(int(np.searchsorted(reached, place, side="right")), len(shares) - 1)]
        if not self.prose:
            return Reply(letter, shares)
        # In prose no token decides: its first "I" is no option.
        text = PROSE[stable_random.integer(seed, "prose") % len(PROSE)]
        return Reply(text.format(letter=letter, own=options[letter].own, other=options[letter].other))


def reference_agents(wording: Wording) -> dict[str, ReferenceAgent]:
    """The reference agents by name."""
    types = {
        "agent-svo-altruist": ("always the most for the other", "altruistic"),
        "agent-svo-prosocial": ("always the most for both together", "prosocial"),
        "agent-svo-individualist": ("always the most for itself", "individualistic"),
        "agent-svo-competitor": ("always the most ahead", "competitive"),
        "agent-svo-egalitarian": ("always the most equal division", INEQUALITY_AVERSE),
    }
    ignoring = f"logit choice, precision {PRECISION} a coin, weight angle {OWN_WEIGHT:g}° whatever the value"
    rules: dict[str, tuple[str, Rule]] = {
        **{name: (text, partial(_fixed, kind)) for name, (text, kind) in types.items()},
        "agent-svo-follower": ("the best option for the assigned value", _follow),
        NOISY: (_NOISY, _noisy),
        "agent-svo-ignoring": (ignoring, lambda options, _: logit(options, OWN_WEIGHT, PRECISION)),
        "agent-svo-first": ("always the option shown first", _first),
        "agent-svo-random": ("any option with equal probability", _random),
    }
    agents = [ReferenceAgent(name, text, rule, wording) for name, (text, rule) in rules.items()]
    prose = ReferenceAgent("agent-svo-prose", "as the follower, in prose", _follow, wording, prose=True)
    told = ("agent-svo-refusing", "as the follower, but refuses to compete")
    refusing = ReferenceAgent(*told, _follow, wording, refuses=frozenset({"competitive"}))
    return {agent.name: agent for agent in [*agents, prose, refusing]}


# ---- one question at a time ----

#: How much an agent likes the letters A to I, in logits.
LIKING = (2.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0)


@dataclass(frozen=True)
class LetterAgent:
    """An agent whose probability of a letter is in proportion to taste · exp(liking).

    Its reply is the likeliest letter; there is no chance in it.
    """

    name: str
    description: str
    #: Its probabilities if letters meant nothing.
    taste: Rule
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
        sums = np.zeros(2)
        for item in range(1, N_PRIMARY + 1):
            options = options_of(item, LETTERS)
            shares = self.taste(options, value)
            sums += np.array(list(shares.values())) @ np.array(list(options.values()), dtype=float)
        return float(angles_of(*sums / N_PRIMARY))


def letter_agents(wording: OneQuestionWording) -> dict[str, LetterAgent]:
    """The reference agents by name."""
    agents = {
        "ideal": ("the best option for the assigned value", _follow, (0.0,) * N_OPTIONS),
        "leaning": (f"{_NOISY}, and a liking for some letters", _noisy, LIKING),
        "place": ("a liking for some letters alone", _random, LIKING),
    }
    return {
        f"agent-svo-letters-{name}": LetterAgent(f"agent-svo-letters-{name}", *told, wording)
        for name, told in agents.items()
    }

"""Reference agents of study 2: local models with known angles, for testing the instrument.

They read the options from the question and recognize the assigned value by the wording before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from scipy.special import softmax

from deepvalues.ask.local import Message, Reply
from deepvalues.core import stable_random
from deepvalues.studies.shared import letter_reply, question_of
from deepvalues.studies.svo.analysis.scoring import angles_of
from deepvalues.studies.svo.stimuli import (
    CONDITIONS,
    IDEAL_POINTS,
    LETTERS,
    MODES,
    N_OPTIONS,
    N_PRIMARY,
    NO_VALUE,
    VALUES,
    Coins,
    OneQuestionWording,
    Wording,
    option_lines,
    options_of,
)

#: The agent whose weights `analysis.instrument` must recover.
NOISY = "agent-svo-noisy"
#: Precision of the noisy agents, in logits per coin of the utility cos φ · self + sin φ · other.
PRECISION = 0.12
#: Weight angle φ of the agent that ignores the value, and of the noisy one without a value, in degrees.
OWN_WEIGHT = 30.0
#: Weight angle φ of the noisy agent under each value, in degrees.
WEIGHTS = {
    "altruistic": 75.0,
    "prosocial": 45.0,
    "individualistic": 0.0,
    "competitive": -30.0,
    NO_VALUE: OWN_WEIGHT,
}
INEQUALITY_AVERSE = "inequality averse"
#: How the followers choose if no value is assigned.
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

#: What each type maximizes.
Utility = Callable[[Coins], float]
UTILITIES: Mapping[str, Utility] = {
    "altruistic": lambda coins: coins.other,
    "prosocial": lambda coins: coins.own + coins.other,
    "individualistic": lambda coins: coins.own,
    "competitive": lambda coins: coins.own - coins.other,
    INEQUALITY_AVERSE: lambda coins: -abs(coins.own - coins.other),
}
#: Gives each option's probability from the options and the assigned value.
Rule = Callable[[Mapping[str, Coins], str], dict[str, float]]

#: Payoffs are printed as whole coins, so utilities this close were equal before rounding.
ROUNDING = 1.0


def best(options: Mapping[str, Coins], kind: str) -> str:
    """The best option for a type; of several, the one nearest its ideal point on the ring.

    The choice does not depend on the order of the options.
    """
    own, other = IDEAL_POINTS.get(kind, IDEAL_POINTS["prosocial"])
    utilities = {letter: UTILITIES[kind](coins) for letter, coins in options.items()}
    most = max(utilities.values())

    def distance(letter: str) -> tuple[float, Coins]:
        coins = options[letter]
        return float(np.hypot(coins.own - own, coins.other - other)), coins

    return min((letter for letter in options if utilities[letter] >= most - ROUNDING), key=distance)


def _certain(options: Mapping[str, Coins], chosen: str) -> dict[str, float]:
    return {letter: float(letter == chosen) for letter in options}


def _fixed(kind: str, options: Mapping[str, Coins], _: str) -> dict[str, float]:
    return _certain(options, best(options, kind))


def _first(options: Mapping[str, Coins], _: str) -> dict[str, float]:
    return _certain(options, next(iter(options)))


def _follow(options: Mapping[str, Coins], value: str) -> dict[str, float]:
    return _certain(options, best(options, value if value in VALUES else OWN_TYPE))


def logit(options: Mapping[str, Coins], weight: float, precision: float) -> dict[str, float]:
    """Logit choice: P ∝ exp(precision · (cos φ · self + sin φ · other)), with φ = ``weight`` in degrees.

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
    """An agent with a rule for its probabilities, a form of reply, and values that it refuses."""

    name: str
    description: str
    rule: Rule
    wording: Wording
    prose: bool = False
    refuses: frozenset[str] = frozenset()
    family: str = "reference agent"

    @cached_property
    def _values(self) -> dict[str, str]:
        """The value assigned by each opening turn."""
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
            When the conversation is not from this study.
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
        # The name enters the draw, or all agents would err alike on a question in the same words.
        place = stable_random.uniform(seed, self.name)
        reached = np.cumsum(list(shares.values()))
        letter = list(shares)[min(int(np.searchsorted(reached, place, side="right")), len(shares) - 1)]
        if not self.prose:
            return Reply(letter, shares)
        # Prose has no letter probabilities: a first token "I" is not an option.
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

#: An agent's preference for each of the letters A to I, in logits.
LIKING = (2.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0)


@dataclass(frozen=True)
class LetterAgent:
    """An agent whose probability of a letter is proportional to taste · exp(liking).

    It always replies with the most probable letter.
    """

    name: str
    description: str
    #: Its probabilities without a preference for letters.
    taste: Rule
    liking: tuple[float, ...]
    wording: OneQuestionWording
    family: str = "reference agent"

    def shares(self, options: Mapping[str, Coins], value: str) -> dict[str, float]:
        """Probability of each letter."""
        weights = np.array(list(self.taste(options, value).values())) * np.exp(self.liking)
        return dict(zip(options, map(float, weights / weights.sum()), strict=True))

    def reply(self, messages: Sequence[Message], seed: int) -> Reply:  # noqa: ARG002 - as for every model
        """Answer a question.

        Raises
        ------
        ValueError
            When the question is not from this study.
        """
        question = question_of(messages)
        options = option_lines(question)
        values = [value for value in CONDITIONS if question.startswith(self.wording.opening(value))]
        if len(options) != N_OPTIONS or not values:
            raise ValueError(f"not a question of the slider measure alone: {question[:60]!r}")
        return letter_reply(messages, self.shares(options, values[0]))

    def expected(self, value: str) -> float:
        """The angle of the expected payoffs under the agent's taste in a condition, in degrees."""
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

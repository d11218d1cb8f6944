"""Reference agents of study 3: local models with known profiles, for testing the instrument.

Their profiles are derived from the synthetic reference, and their responses have exactly the stated mean in
every mode: rankings are drawn from all orders, weighted to have that mean; ratings and points are rounded up
or down at random; open answers contain sentences of known themes in that proportion. The agents of the pairs
choose by known worths and a preference for a position.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from deepvalues.ask.local import Message, Reply
from deepvalues.core import stable_random
from deepvalues.studies.profiles.analysis.measures import THEMES
from deepvalues.studies.profiles.analysis.reference import (
    mean_profiles,
    parts_at,
    synthetic_reference,
    whole_parts,
)
from deepvalues.studies.profiles.stimuli import (
    LETTERS,
    MODES,
    NONE,
    OPEN,
    WORDINGS,
    Codebook,
    PairWording,
    SentenceBank,
    Stimuli,
)
from deepvalues.studies.profiles.study import SENTENCE_MARK
from deepvalues.studies.shared import letter_reply, question_of

Array = NDArray[np.float64]

#: Mean over themes in each mode: priorities, ratings, points.
CENTRES = {"ranking": 3.5, "rating": 4.0, "allocation": 100 / THEMES, OPEN: 100 / THEMES}
#: Exaggeration and flattening, as factors of the reference's differences.
EXAGGERATION, FLATTENING = 2.0, 0.5
#: The themes exchanged by the swapping agent, as in the specification's test vector.
SWAPPED = (0, 2)
#: Factors of the drifting agent's differences by wording; their mean is .2.
DRIFT = (1.0, 0.6, 0.2, -0.2, -0.6)
#: Shares of unreadable replies, at first and to a repair, and of refused runs.
MALFORMED_FIRST, MALFORMED_REPAIR = 0.6, 0.3
REFUSED = 0.25
#: Number of sentences with a theme in an open answer, and how often one without a theme precedes them.
SENTENCES = 8
OPENED = 0.5
#: Largest random change of a run's points.
WOBBLE = 2.0
#: Every order of the priorities 1 to 6, shape (720, 6).
ORDERS = np.array(list(permutations(range(1, THEMES + 1))), dtype=float)
#: The erring coder's shares of wrong codes and of unreadable replies.
CODER_ERROR, CODER_UNREADABLE = 0.15, 0.4


def order_weights(target: Sequence[float]) -> Array:
    """Probabilities of the 720 orders of 1 to 6 with a given mean and maximum entropy.

    p(o) ∝ exp(θ·o), with θ by Newton's method; steps that bring the mean no closer are halved.

    Parameters
    ----------
    target
        Six numbers that sum to 21, in the convex hull of the orders.

    Returns
    -------
    numpy.ndarray
        Shape (720,), for the rows of `ORDERS`.

    Raises
    ------
    ValueError
        When no mixture of orders has this mean.
    """
    goal, theta = np.asarray(target, dtype=float), np.zeros(THEMES)
    weights, left = _weights(theta), np.inf
    for _ in range(200):
        difference = goal - weights @ ORDERS
        left = np.abs(difference).max()
        if left < 1e-10:
            # Rounded because the last bits differ between machines and must not decide a draw.
            return np.round(weights, 12)
        covariance = (ORDERS.T * weights) @ ORDERS - np.outer(weights @ ORDERS, weights @ ORDERS)
        step = np.linalg.pinv(covariance, rcond=1e-10) @ difference
        while np.abs(goal - _weights(theta + step) @ ORDERS).max() >= left and np.abs(step).max() > 1e-12:
            step = step / 2
        theta = theta + step
        weights = _weights(theta)
    raise ValueError(f"no mixture of rankings has the mean {list(target)}")


def _weights(theta: Array) -> Array:
    return np.asarray(softmax(ORDERS @ theta))


class Task(NamedTuple):
    """What an agent reads from a conversation; ``turn`` is the number of repairs."""

    mode: str
    wording: int
    order: tuple[int, ...]
    turn: int


def task_of(stimuli: Stimuli, messages: Sequence[Message]) -> Task:
    """The mode, wording, order of themes and number of repairs of a conversation.

    Raises
    ------
    ValueError
        When the question is not from this instrument.
    """
    asked = [message["content"] for message in messages if message["role"] == "user"]
    mode = stimuli.mode_of(asked[0]) if asked else None
    if mode is None:
        raise ValueError("not a question of the value-priority profiles")
    frames = stimuli.open_questions if mode == OPEN else stimuli.frames
    begins = [place for place, text in enumerate(frames.values()) if asked[0].startswith(text)]
    listed = [asked[0].find(f"- {theme.name}: ") for theme in stimuli.themes]
    return Task(mode, begins[0], tuple(sorted(range(THEMES), key=listed.__getitem__)), len(asked) - 1)


@dataclass(frozen=True)
class ProfileAgent:
    """An agent with a known mean profile in each mode and wording.

    ``targets`` has shape (5, 6) for each mode, by wording and theme; None means random responses.
    """

    name: str
    description: str
    stimuli: Stimuli
    bank: SentenceBank
    targets: Mapping[str, Array] | None
    malformed: bool = False
    refused: float = 0.0
    family: str = "reference agent"

    def expected(self, mode: str) -> Array:
        """The mean profile in a mode over runs with balanced wordings, shape (6,)."""
        if self.targets is None:
            return np.full(THEMES, CENTRES[mode])
        return np.asarray(self.targets[mode].mean(axis=0))

    @property
    def steady(self) -> bool:
        """Whether it answers every run with the same profile in any wording, as `simulated` requires."""
        targets = (self.targets or {}).values()
        alike = all(np.allclose(by_wording, by_wording[0]) for by_wording in targets)
        return alike and not self.malformed and not self.refused

    def simulated(self, mode: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Draw priorities in a closed mode, by the same rules as its replies.

        Parameters
        ----------
        shape
            Shape of the runs.

        Returns
        -------
        numpy.ndarray
            Shape (*shape, 6).

        Raises
        ------
        ValueError
            When the agent is not `steady`.
        """
        if not self.steady:
            raise ValueError(f"{self.name} does not answer all runs alike; choose a steady agent")
        if self.targets is None:
            return chance_runs(mode, shape, rng)
        target = self.expected(mode)
        if mode == "ranking":
            weights = order_weights(list(target))
            return np.asarray(ORDERS[rng.choice(len(ORDERS), shape, p=weights / weights.sum())])
        drawn = rng.random((*shape, THEMES))
        return np.floor(target + drawn) if mode == "rating" else _points(target, drawn, rng.random(shape))

    @cached_property
    def _ends(self) -> Array:
        """Cumulative weights of the orders, by wording."""
        assert self.targets is not None
        # Most agents have the same target in all wordings.
        weights = {tuple(target): order_weights(target) for target in self.targets["ranking"]}
        return np.array([np.cumsum(weights[tuple(target)]) for target in self.targets["ranking"]])

    def reply(self, messages: Sequence[Message], seed: int) -> Reply:
        """Answer the last message."""
        task = task_of(self.stimuli, messages)
        # The seed of a question is the same for all models, but their draws must be independent.
        seed = stable_random.integer(self.name, seed)
        if stable_random.uniform(seed, "refuse") < self.refused:
            return Reply(self.bank.refusal)
        if task.mode == OPEN:
            return Reply(self._text(task, seed))
        numbers = self._numbers(task, seed)
        share = MALFORMED_REPAIR if task.turn else MALFORMED_FIRST
        if self.malformed:
            return Reply(self._odd(task, numbers, seed, stable_random.uniform(seed, "malformed") < share))
        return Reply(self._json(task, numbers))

    def _numbers(self, task: Task, seed: int) -> list[int]:
        """Ranks, ratings or points in the fixed order of themes."""
        if self.targets is None:
            return _by_chance(task.mode, seed)
        target = self.targets[task.mode][task.wording]
        if task.mode == "ranking":
            at = stable_random.uniform(seed, "order")
            place = int(np.searchsorted(self._ends[task.wording], at, side="right"))
            return [int(THEMES + 1 - each) for each in ORDERS[min(place, len(ORDERS) - 1)]]
        drawn = np.array([stable_random.uniform(seed, place) for place in range(THEMES)])
        if task.mode == "rating":
            return [int(rating) for rating in np.floor(target + drawn)]
        rounding = np.array(stable_random.uniform(seed, "points"))
        return [int(part) for part in _points(target, drawn, rounding)]

    def _entries(self, task: Task, numbers: Sequence[int]) -> list[dict[str, object]]:
        themes = self.stimuli.themes
        return [{"theme": themes[place].name, "response": numbers[place]} for place in task.order]

    def _json(self, task: Task, numbers: Sequence[int]) -> str:
        return json.dumps({"responses": self._entries(task, numbers)})

    def _odd(self, task: Task, numbers: Sequence[int], seed: int, unreadable: bool) -> str:
        """A reply in a form that was not asked for, readable or not."""
        entries, whole = self._entries(task, numbers), self._json(task, numbers)
        flat = {str(entry["theme"]): entry["response"] for entry in entries}
        good = [
            f"Here is my answer:\n```json\n{whole}\n```\nI hope this helps.",
            json.dumps({name.lower(): f" {number} " for name, number in flat.items()}),
            whole.replace("}]}", "},]}"),
        ]
        bad = [
            whole[: len(whole) * 2 // 3],
            whole.replace('"', "'"),
            json.dumps({"responses": entries[1:]}),
            "; ".join(f"{name} {number}" for name, number in flat.items()),
            json.dumps({"responses": [*entries[1:], {**entries[0], "response": 101}]}),
        ]
        forms = bad if unreadable else good
        return forms[stable_random.integer(seed, "form") % len(forms)]

    def _text(self, task: Task, seed: int) -> str:
        """Sentences from the bank, whose themes have the target's proportions on average."""
        keys = self.stimuli.keys
        if self.targets is None:
            shares = [SENTENCES * points / 100 for points in _by_chance(OPEN, seed)]
        else:
            shares = list(SENTENCES * self.targets[OPEN][task.wording] / 100)
        counts = whole_parts(shares, SENTENCES, (seed, "themes"))
        chosen = [
            sentence
            for key, count in zip(keys, counts, strict=True)
            for sentence in stable_random.shuffled(self.bank.sentences[key], seed, key)[:count]
        ]
        opening = stable_random.shuffled(self.bank.sentences[NONE], seed)[
            : stable_random.uniform(seed, "opening") < OPENED
        ]
        return " ".join([*opening, *stable_random.shuffled(chosen, seed, "text")])


def _points(target: Array, drawn: Array, rounding: Array) -> Array:
    """Points near a target that sum to 100: randomly changed without affecting their mean, then rounded.

    ``drawn`` and ``rounding`` are uniform draws, shapes (..., 6) and (...).
    """
    moved = drawn - 0.5
    # No theme changes by more than its target, so none falls below 0.
    wobble = min(WOBBLE, float(target.min()))
    return parts_at(target + wobble * (moved - moved.mean(axis=-1, keepdims=True)), 100, rounding)


def chance_replies(mode: str, drawn: Array) -> Array:
    """Replies without a preference for any theme: ranks, ratings or points.

    A ranking is any of the 720 orders and a rating any of 1 to 7, with equal probability; points are the gaps
    between five cuts drawn from 0 to 100.

    Parameters
    ----------
    mode
        Any mode; open answers have the proportions of points.
    drawn
        Uniform draws from 0 to 1, shape (..., 6).

    Returns
    -------
    numpy.ndarray
        Whole numbers, shape (..., 6).
    """
    if mode == "ranking":
        return np.asarray(drawn.argsort(axis=-1).argsort(axis=-1) + 1.0)
    if mode == "rating":
        return 1 + np.floor(7 * drawn)
    cuts = np.sort(np.floor(101 * drawn[..., :-1]), axis=-1)
    return np.diff(cuts, axis=-1, prepend=0, append=100)


def chance_runs(mode: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Priorities of runs without an opinion, shape (*shape, 6).

    Each of the `chance_replies` is reshuffled over the themes, because five cuts give the first and last gap
    half a point less than the others.
    """
    replies = rng.permuted(chance_replies(mode, rng.random((*shape, THEMES))), axis=-1)
    return np.asarray(THEMES + 1 - replies if mode == "ranking" else replies)


def _by_chance(mode: str, seed: int) -> list[int]:
    """One of the `chance_replies`."""
    if mode == "ranking":
        return stable_random.shuffled(range(1, THEMES + 1), seed, "ranking")
    drawn = np.array([stable_random.uniform(seed, place) for place in range(THEMES)])
    return [int(number) for number in chance_replies(mode, drawn)]


def _shifted(deviations: Mapping[str, Array], factors: float | Sequence[float] = 1.0) -> dict[str, Array]:
    """Targets by mode and wording: the centre plus the deviations times a factor, or one per wording."""
    by_wording = np.broadcast_to(factors, WORDINGS)
    return {mode: CENTRES[mode] + np.outer(by_wording, deviations[mode]) for mode in MODES}


def profile_agents(stimuli: Stimuli, bank: SentenceBank) -> dict[str, ProfileAgent]:
    """The agents with known profiles, by name."""
    means = mean_profiles(synthetic_reference(stimuli.keys), stimuli.keys)
    own = {mode: mean - mean.mean() for mode, mean in means.items()}
    places = list(range(THEMES))
    places[SWAPPED[0]], places[SWAPPED[1]] = SWAPPED[1], SWAPPED[0]
    swapped = {mode: deviations[places] for mode, deviations in own.items()}
    drifting = f"its differences times {', '.join(map(str, DRIFT))} by wording"
    told: dict[str, tuple[str, Mapping[str, Array] | None]] = {
        "reference": ("the mean of the synthetic reference", _shifted(own)),
        "exaggerating": (f"its differences times {EXAGGERATION:g}", _shifted(own, EXAGGERATION)),
        "flattening": (f"its differences times {FLATTENING:g}", _shifted(own, FLATTENING)),
        "reversed": ("its differences turned round", _shifted(own, -1.0)),
        "swapping": ("Performance and Social Good exchanged", _shifted(swapped)),
        "random": ("numbers by chance", None),
        "drifting": (drifting, _shifted(own, DRIFT)),
        "malformed": ("the reference, often not in the JSON asked for", _shifted(own)),
        "refusing": (f"the reference, but refuses {REFUSED:.0%} of runs", _shifted(own)),
    }
    return {
        f"agent-profile-{name}": ProfileAgent(
            f"agent-profile-{name}",
            description,
            stimuli,
            bank,
            targets,
            malformed=name == "malformed",
            refused=REFUSED if name == "refusing" else 0.0,
        )
        for name, (description, targets) in told.items()
    }


@dataclass(frozen=True)
class CoderAgent:
    """A coder that knows the codes of the sentence bank and errs at a known rate."""

    name: str
    description: str
    codebook: Codebook
    bank: SentenceBank
    error: float = 0.0
    unreadable: float = 0.0
    family: str = "reference agent"

    @cached_property
    def _codes(self) -> dict[str, str]:
        return {sentence: code for code, listed in self.bank.sentences.items() for sentence in listed}

    def reply(self, messages: Sequence[Message], seed: int) -> Reply:
        """Code the sentence of the first message; one that is not in the bank gets ``none``."""
        _, mark, sentence = messages[0]["content"].partition(f"\n\n{SENTENCE_MARK}")
        if not mark:
            raise ValueError("not a sentence to be coded")
        seed = stable_random.integer(self.name, seed)
        if stable_random.uniform(seed, "unreadable") < self.unreadable:
            return Reply("It seems to be about several of them.")
        code = self._codes.get(sentence, NONE)
        if stable_random.uniform(seed, "error") < self.error:
            others = [other for other in self.codebook.codes if other != code]
            code = others[stable_random.integer(seed, "other") % len(others)]
        return Reply(json.dumps({"theme": self.codebook.names[code]}))


def coder_agents(codebook: Codebook, bank: SentenceBank) -> dict[str, CoderAgent]:
    """The two coders, by name."""
    erring = f"a wrong code for {CODER_ERROR:.0%} of sentences, and often a reply that can't be read"
    agents = [
        CoderAgent("agent-coder-exact", "the known code of every sentence", codebook, bank),
        CoderAgent("agent-coder-erring", erring, codebook, bank, CODER_ERROR, CODER_UNREADABLE),
    ]
    return {agent.name: agent for agent in agents}


# ---- pairs ----

#: Worths of the themes in logits, in their fixed order; they sum to 0.
WORTHS = (0.5, 0.1, 0.3, 1.0, -0.4, -1.5)
#: Preference for option A, in logits: of the agent with worths, and of the one that has no others.
LIKING, PLACE_LIKING = 0.6, 2.0


@dataclass(frozen=True)
class PairAgent:
    """An agent whose log odds of option A over option B are w_A − w_B + liking.

    It always replies with the more probable letter, A if both are equal.
    """

    name: str
    description: str
    worths: Mapping[str, float]
    liking: float
    wording: PairWording
    family: str = "reference agent"

    def reply(self, messages: Sequence[Message], seed: int) -> Reply:  # noqa: ARG002 - as for every model
        """Answer a question.

        Raises
        ------
        ValueError
            When the question is not from this study.
        """
        question = question_of(messages)
        shown = self.wording.themes_of(question)
        if not shown:
            raise ValueError(f"not a question about two themes: {question[:60]!r}")
        p = float(expit(self.worths[shown[0]] - self.worths[shown[1]] + self.liking))
        return letter_reply(messages, dict(zip(LETTERS, (p, 1 - p), strict=True)))

    def expected(self, theme: str) -> float:
        """The worth of a theme, in logits."""
        return self.worths[theme]


def pair_agents(wording: PairWording) -> dict[str, PairAgent]:
    """The reference agents by name."""
    worths = {theme.key: worth for theme, worth in zip(wording.themes, WORTHS, strict=True)}
    equal = dict.fromkeys(worths, 0.0)
    both = "choices by fixed worths, and a liking for option A"
    agents = [
        PairAgent("agent-pairs-worths", both, worths, LIKING, wording),
        PairAgent("agent-pairs-place", "a liking for option A alone", equal, PLACE_LIKING, wording),
    ]
    return {agent.name: agent for agent in agents}

"""Heads on hidden states: what can be read from a language model that is not asked.

A head is the Bradley-Terry model of `respondents.learners` on a language model's hidden states of the
options, each read alone; in effect, a small reward model trained on the choices of one prompt. If it follows
the value, the value can be read from the hidden states linearly. Whether the model itself uses it when asked
is another question.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from scipy import linalg, optimize
from scipy.special import expit

from deepvalues.ask.registry import HEAD, Model
from deepvalues.ask.weights.hidden import POOLINGS, HiddenStates
from deepvalues.core import stable_random
from deepvalues.studies.dvb.items.prompts import Example
from deepvalues.studies.dvb.respondents.learners import (
    DIGITS,
    Embed,
    Examples,
    Score,
    TextLearner,
    no_preference,
)

#: Inverse strengths of the ridge penalty, from which the examples select one; strongest penalty first.
GRID = tuple(10.0**power for power in range(-2, 5))
#: Folds of the cross-validation, if there are that many examples.
FOLDS = 5
#: Suffix of the name of a head that learns from coin-flipped choices.
SHUFFLED = "-shuffled"


def _fit(won: Any, c: float) -> Any:
    """Weights that minimize half their squared length plus ``c`` times the log loss, with both signs."""
    rows = np.sqrt(2 * c) * won

    def loss(w: Any) -> float:
        return float(w @ w / 2 + 2 * c * np.logaddexp(0, -won @ w).sum())

    def gradient(w: Any) -> Any:
        return w - 2 * c * won.T @ expit(-won @ w)

    def curvature(w: Any) -> Any:
        p = expit(won @ w)
        return np.eye(len(w)) + (rows.T * (p * (1 - p))) @ rows

    # A second-order method, as the loss is convex and there are no more weights than examples.
    start, near = np.zeros(won.shape[1]), {"gtol": 1e-8 * max(1.0, c)}
    return optimize.minimize(loss, start, method="trust-exact", jac=gradient, hess=curvature, options=near).x


def held_out_loss(won: Any, c: float) -> float:
    """Mean log loss of examples under heads fitted without them, over at most `FOLDS` folds.

    Example i is in fold i modulo the number of folds, so nothing is random. With `FOLDS` examples or
    fewer, this leaves out one at a time.

    Parameters
    ----------
    won
        Differences f(chosen) - f(rejected), shape (examples, features); at least two examples.
    """
    fold = np.arange(len(won)) % min(len(won), FOLDS)
    losses = [
        np.logaddexp(0, -won[fold == left_out] @ _fit(won[fold != left_out], c))
        for left_out in range(fold.max() + 1)
    ]
    return float(np.concatenate(losses).mean())


def chosen_c(won: Any) -> float:
    """The inverse strength of the penalty from `GRID` with the smallest `held_out_loss` on the examples.

    In a tie, the strongest penalty is taken. A single example can't be left out, so it gets 1.
    """
    if len(won) < 2:
        return 1.0
    losses = [round(held_out_loss(won, c), DIGITS) for c in GRID]
    return GRID[int(np.argmin(losses))]


def head(embed: Embed, examples: Examples) -> Score:
    """Fit the Bradley-Terry model on options' vectors; scores are log odds.

    It minimizes half the squared length of w plus C times the log loss of the differences f(chosen) -
    f(rejected), each entered with both signs. C is chosen within the examples, see `chosen_c`. The test's
    options affect neither w nor C.

    References
    ----------
    Bradley, R. A., & Terry, M. E. (1952). Rank analysis of incomplete block designs: I. The method
    of paired comparisons. Biometrika, 39(3/4), 324-345.
    """
    if not examples:
        return no_preference
    vectors = embed([text for example in examples for text in example])
    won = vectors[::2] - vectors[1::2]
    # Ridge weights lie in the span of the examples. In its coordinates there are no more features than
    # examples, and the fit is the same.
    directions, coordinates = linalg.qr(won.T, mode="economic")
    weights = directions @ _fit(coordinates.T, chosen_c(coordinates.T))

    def score(option_a: str, option_b: str) -> float:
        a, b = embed([option_a, option_b])
        return float((a - b) @ weights)

    return score


def coin_choices(examples: Examples, seed: int) -> Examples:
    """The examples with each choice set by a fair coin that depends only on seed and examples."""
    key = stable_random.integer(seed, "turned", *(text for example in examples for text in example))
    return tuple(
        Example(example.rejected, example.chosen) if stable_random.uniform(key, number) < 0.5 else example
        for number, example in enumerate(examples)
    )


class HeadLearner(TextLearner):
    """A local model that learns from hidden states of a prompt's examples.

    Parameters
    ----------
    name
        As in the list of models.
    described
        Which hidden states these are, and of which model.
    embed
        Returns the vectors of options.
    shuffled
        Whether it is a null: it learns from choices set by fair coins (`coin_choices`), the same for every
        head. Each cell has its own coins, so a set of items has as many permutations as cells. Since opposite
        coins give opposite replies, the expected rate is one half in every arm. It shows how far chance takes
        such a head, and that nothing leaks from the test.
    """

    family = HEAD

    def __init__(self, name: str, described: str, embed: Embed, *, shuffled: bool = False) -> None:
        fitted = "fitted on the prompt's examples" + ", their choices shuffled" * shuffled
        super().__init__(name, f"Bradley-Terry head on {described}, {fitted}", partial(head, embed))
        self._shuffled = shuffled

    def examples(self, shown: Examples, seed: int) -> Examples:
        """The prompt's examples or, for a null, those with choices set by coins."""
        return coin_choices(shown, seed) if self._shuffled else shown


_STATES = {"mean": "the mean of the tokens' hidden states", "last": "the last token's hidden state"}


def heads(models: Iterable[Model]) -> dict[str, HeadLearner]:
    """The heads on models with weights, by name: for each model and pooling, one head and its null.

    Weights and their server are needed only for a text that was never read before.
    """
    found = {}
    for model in models:
        states = HiddenStates(model)
        for pooling, shuffled in product(POOLINGS, (False, True)):
            name = f"head-{model.name}-{pooling}{SHUFFLED * shuffled}"
            described = f"{_STATES[pooling]} in {model.name}"
            embed = partial(states.vectors, pooling=pooling)
            found[name] = HeadLearner(name, described, embed, shuffled=shuffled)
    return found

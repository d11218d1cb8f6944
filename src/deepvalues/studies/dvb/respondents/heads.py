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

from deepvalues.ask.registry import HEAD, Model
from deepvalues.ask.weights.hidden import POOLINGS, HiddenStates, token_embeddings
from deepvalues.core import stable_random
from deepvalues.studies.dvb.items.prompts import Example
from deepvalues.studies.dvb.respondents.learners import (
    Embed,
    Examples,
    Score,
    TextLearner,
    sentence_features,
    tuned_bradley_terry,
)

#: Suffix of the name of a head that learns from coin-flipped choices.
SHUFFLED = "-shuffled"


def head(embed: Embed, examples: Examples) -> Score:
    """Fit the Bradley-Terry model on options' vectors, see `respondents.learners.tuned_bradley_terry`."""
    return tuned_bradley_terry(partial(sentence_features, embed), examples)


def coin_choices(examples: Examples, seed: int) -> Examples:
    """The examples with each choice set by a fair coin that depends only on seed and examples."""
    key = stable_random.integer(seed, "turned", *(text for example in examples for text in example))
    return tuple(
        Example(example.rejected, example.chosen) if stable_random.uniform(key, number) < 0.5 else example
        for number, example in enumerate(examples)
    )


class HeadLearner(TextLearner):
    """A local model that learns from a language model's vectors of a prompt's examples.

    Parameters
    ----------
    name
        As in the list of models.
    described
        Which vectors these are, and of which model.
    embed
        Returns the vectors of options.
    shuffled
        Whether it is a null: it learns from choices set by fair coins (`coin_choices`), drawn anew for each
        prompt and the same for every head. Since opposite coins give opposite replies, the expected rate is
        one half in every arm. It shows how far chance takes such a head, and that nothing leaks from the
        test.
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
#: End of the names of heads on token embeddings, the baseline without context.
TOKENS = "tokens"


def heads(models: Iterable[Model]) -> dict[str, HeadLearner]:
    """The heads on models with weights, by name.

    For each model, these are one head and its null for each pooling of the hidden states, and one on the
    token embeddings. Weights and their server are needed only for a text that was never read before.
    """
    found = {}
    for model in models:
        states = HiddenStates(model)
        for pooling, shuffled in product(POOLINGS, (False, True)):
            name = f"head-{model.name}-{pooling}{SHUFFLED * shuffled}"
            described = f"{_STATES[pooling]} in {model.name}"
            embed = partial(states.vectors, pooling=pooling)
            found[name] = HeadLearner(name, described, embed, shuffled=shuffled)
        name = f"head-{model.name}-{TOKENS}"
        embeddings = HiddenStates(model, partial(token_embeddings, model), suffix=f"-{TOKENS}")
        described = f"the mean of the tokens' embeddings in {model.name}, without context"
        found[name] = HeadLearner(name, described, partial(embeddings.vectors, pooling="mean"))
    return found

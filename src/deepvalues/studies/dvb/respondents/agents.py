"""Reference agents: local models whose results are known in advance.

They validate the instrument. Unlike text learners, they know the bank's wordings by construction: they look
up which value and pole each option shows, and so know what the examples have in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from scipy.special import expit

from deepvalues.ask.local import Message, Reply
from deepvalues.core import stable_random
from deepvalues.studies.dvb.items.prompts import (
    LETTER_ONLY,
    SCALES,
    Task,
    parse_match,
    parse_prompt,
    parse_rating,
    wants_rationale,
)
from deepvalues.studies.dvb.items.ratings import RATING_WORDS
from deepvalues.studies.dvb.stimuli.bank import Bank
from deepvalues.studies.dvb.stimuli.design import Arm

#: Share of items on which the mixture follows the value: its DVGR.
MIXTURE_SHARE = 0.3
#: Position bias and the two sensitivities of the sensitive agent, in logits.
B0, BV, BS = 0.4, 0.8, 1.6
#: The declining agent declines one item in this many, on average.
DECLINES_ONE_IN = 12

PROSE = (
    "I would say Option {}.",
    "Answer: Option {}",
    "**Option {}**",
    "({})",
    "The user would choose Option {}.",
    "option {}",
)
REFUSAL = "I can't predict what this person wants."
#: Names both options, so that only the next line can say which one is the answer.
RATIONALE = (
    "Rationale: the earlier choices had a value and a surface feature in common, and of these Option A and "
    "Option B show what the two test texts say."
)
#: The highest rating in the raters' profile. The lowest is 2, so that ±1 of noise stays on the scale.
HIGHEST_RATING = 9
#: Replies of the stray rater, all equally frequent: five ratings, a refusal, two invalid numbers.
RATING_FORMS = ("{0}", "{0}/10", "Rating: {0}", "**{0}**", "{1}", "I can't rate values.", "11", "7.5")


class Evidence(NamedTuple):
    """The option that the examples favour on each layer: +1 for A, −1 for B, 0 for neither."""

    value: int
    surface: int


@dataclass(frozen=True)
class Recogniser:
    """Recognizes the value and pole of an option by looking up its two clauses in the bank."""

    bank: Bank

    @cached_property
    def traits(self) -> dict[str, tuple[str, str]]:
        """(kind, trait id) of every wording with its slots filled."""
        return {
            wording.fill(domain.nouns): (trait.kind, trait.id)
            for domain in self.bank.domains.values()
            for trait in self.bank.traits
            for wordings in trait.wordings.values()
            for wording in wordings
        }

    def option(self, text: str) -> dict[str, str]:
        """{"value": …, "pole": …} of an option's sentence.

        Raises
        ------
        ValueError
            When the sentence is not made of one value and one pole of the bank.
        """
        clauses = text.removeprefix("An agent that ").removesuffix(".").split(" and that ")
        found = dict(self.traits[clause] for clause in clauses if clause in self.traits)
        if len(clauses) != 2 or found.keys() != {"value", "pole"}:
            known = "not a value and a pole in wordings of the bank, which is all that reference agents know"
            raise ValueError(f"{known}: {text!r}")
        return found

    def evidence(self, task: Task) -> Evidence:
        """Compare how often the examples chose and rejected the traits of the two test options."""
        seen: Counter[str] = Counter()
        for example in task.examples:
            seen.update(self.option(example.chosen).values())
            seen.subtract(self.option(example.rejected).values())
        a, b = self.option(task.option_a), self.option(task.option_b)

        def lean(kind: str) -> int:
            difference = seen[a[kind]] - seen[b[kind]]
            return (difference > 0) - (difference < 0)

        return Evidence(lean("value"), lean("pole"))


#: Probability of option A given the evidence.
Rule = Callable[[Evidence], float]
#: Text around the letter, given a seed.
Wrapper = Callable[[str, int], str]


def _follow(lean: int) -> float:
    """Always the favoured option; without evidence, the first one."""
    return 1.0 if lean >= 0 else 0.0


def _value(evidence: Evidence) -> float:
    return _follow(evidence.value)


def _mixture(evidence: Evidence) -> float:
    return MIXTURE_SHARE * _follow(evidence.value) + (1 - MIXTURE_SHARE) * _follow(evidence.surface)


def _both(evidence: Evidence) -> float:
    """The favoured option if the layers agree or one has no evidence; a fair coin if they conflict."""
    return (1 + max(-1, min(1, evidence.value + evidence.surface))) / 2


def _sensitive(evidence: Evidence) -> float:
    return float(expit(B0 + BV * evidence.value + BS * evidence.surface))


def _option(letter: str, _: int) -> str:
    return f"Option {letter}"


def _prose(letter: str, seed: int) -> str:
    return PROSE[stable_random.integer(seed, "prose") % len(PROSE)].format(letter)


def _declining(letter: str, seed: int) -> str:
    return REFUSAL if stable_random.uniform(seed, "decline") < 1 / DECLINES_ONE_IN else f"Option {letter}"


@dataclass(frozen=True)
class ReferenceAgent:
    """A rule from evidence to the probability of option A, and the text around the letter."""

    name: str
    description: str
    rule: Rule
    recogniser: Recogniser
    wrapper: Wrapper = _option
    family: str = "reference agent"

    def reply(self, messages: Sequence[Message], seed: int) -> Reply:
        """Answer the last question: after a rationale if it asks for one, or with the letter alone."""
        begun = len(messages) > 1 and messages[-1]["role"] == "assistant"
        text = messages[-2 if begun else -1]["content"]
        p = self.rule(self.recogniser.evidence(parse_prompt(text)))
        letter = "A" if stable_random.uniform(seed, "letter") < p else "B"
        if begun or text.endswith(LETTER_ONLY):
            # If the reply was begun for it, the token includes the preceding space.
            return Reply(" " * begun + letter, {"A": p, "B": 1 - p})
        answer = self.wrapper(letter, seed)
        if wants_rationale(text):
            # Without probabilities: the server would look for the deciding token in the rationale.
            return Reply(f"{RATIONALE}\n{answer}")
        return Reply(answer, {"A": p, "B": 1 - p})


def reference_agents(bank: Bank) -> dict[str, ReferenceAgent]:
    """The reference agents by name."""
    recogniser = Recogniser(bank)
    mixture = f"the value with probability {MIXTURE_SHARE}, else the surface"
    sensitive = f"logit of option A = {B0} + {BV} × value + {BS} × surface"
    declining = f"always the value, but declines one item in {DECLINES_ONE_IN}"
    agents = [
        ReferenceAgent("agent-value", "always the value", _value, recogniser),
        ReferenceAgent("agent-surface", "always the surface", lambda of: _follow(of.surface), recogniser),
        ReferenceAgent("agent-mixture", mixture, _mixture, recogniser),
        ReferenceAgent("agent-both", "both layers, with equal weight", _both, recogniser),
        ReferenceAgent("agent-sensitive", sensitive, _sensitive, recogniser),
        ReferenceAgent("agent-random", "a fair coin", lambda _: 0.5, recogniser),
        ReferenceAgent("agent-first", "always the first option", lambda _: 1.0, recogniser),
        ReferenceAgent("agent-prose", "always the value, in prose", _value, recogniser, _prose),
        ReferenceAgent("agent-declining", declining, _value, recogniser, _declining),
    ]
    return {agent.name: agent for agent in agents}


def arm_evidence(arm: Arm) -> Evidence:
    """The evidence of an arm's examples when its target is option A."""
    if arm.examples is None or arm.shuffled:
        return Evidence(0, 0)
    lean = {("1", "2"): 1, ("2", "1"): -1, ("=", "="): 0}
    # By layer: whether the examples differ in it, and which way the test does.
    learned = [chosen != rejected for chosen, rejected in zip(*arm.examples, strict=True)]
    shown = [lean[target[1], other[1]] for target, other in zip(*arm.test, strict=True)]
    return Evidence(*(way * told for way, told in zip(shown, learned, strict=True)))


def expected_rate(agent: ReferenceAgent, arm: Arm) -> float:
    """The expected rate of right answers of an agent in an arm with balanced positions.

    This is the mean of P(A) with the target as option A and 1 − P(A) with the target as option B.
    """
    evidence = arm_evidence(arm)
    mirrored = Evidence(-evidence.value, -evidence.surface)
    return (agent.rule(evidence) + 1 - agent.rule(mirrored)) / 2


@dataclass(frozen=True)
class Matcher:
    """Answers which option shows a value or pole by looking it up in the bank; always right."""

    recogniser: Recogniser
    name: str = "agent-recogniser"
    description: str = "which option shows a value or pole, looked up in the bank"
    family: str = "reference agent"

    @cached_property
    def _defined(self) -> dict[str, str]:
        return {trait.definition: trait.id for trait in self.recogniser.bank.traits}

    def reply(self, messages: Sequence[Message], _: int) -> Reply:
        """Answer a validation question; `ValueError` if it is not one, or its traits are not in the bank."""
        definition, task = parse_match(messages[-1]["content"])
        asked = self._defined.get(definition)
        a, b = (asked in self.recogniser.option(text).values() for text in (task.option_a, task.option_b))
        if a == b:
            raise ValueError(f"not a value or pole that one option alone shows: {definition!r}")
        return Reply("Option A" if a else "Option B")


def rating_profile(bank: Bank) -> dict[tuple[str, str], int]:
    """The ratings from 2 to 9 in the raters' profile, by value and scale.

    They cycle through the eight numbers from value to value, with a different start for each scale.
    """
    return {
        (value, scale): 2 + (index + 3 * number) % (HIGHEST_RATING - 1)
        for index, value in enumerate(bank.values)
        for number, scale in enumerate(SCALES)
    }


def _noisy_rating(rating: int, seed: int) -> str:
    return str(rating + stable_random.integer(seed, "noise") % 3 - 1)


def _stray_rating(rating: int, seed: int) -> str:
    form = RATING_FORMS[stable_random.integer(seed, "form") % len(RATING_FORMS)]
    return form.format(rating, RATING_WORDS[rating - 1])


@dataclass(frozen=True)
class Rater:
    """Rates values by `rating_profile`, in its own form of words."""

    name: str
    description: str
    bank: Bank
    wording: Callable[[int, int], str]
    family: str = "reference agent"

    @cached_property
    def _profile(self) -> dict[tuple[str, str], int]:
        return {
            (self.bank.values[value].definition, scale): rating
            for (value, scale), rating in rating_profile(self.bank).items()
        }

    def reply(self, messages: Sequence[Message], seed: int) -> Reply:
        """Answer a rating question; `ValueError` if it is not one, or its value is not in the bank."""
        asked = parse_rating(messages[-1]["content"])
        if asked not in self._profile:
            raise ValueError(f"not a value of the bank: {asked[0]!r}")
        return Reply(self.wording(self._profile[asked], seed))


def raters(bank: Bank) -> dict[str, Rater]:
    """The agents that rate values, by name."""
    noisy = "the profile plus −1, 0 or 1, each one time in three"
    stray = "the profile in many forms; three in eight are no rating"
    found = [
        Rater("agent-rater", "rates by a fixed profile", bank, lambda rating, _: str(rating)),
        Rater("agent-rater-noisy", noisy, bank, _noisy_rating),
        Rater("agent-rater-stray", stray, bank, _stray_rating),
    ]
    return {rater.name: rater for rater in found}

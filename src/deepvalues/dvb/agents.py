"""Reference agents: local models whose results are known before the run.

They prove the instrument. Unlike text learners they recognise the bank's wordings, by definition:
they read off which value and pole each option shows, and so know what the examples have in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from scipy.special import expit

from deepvalues import draw
from deepvalues.dvb.arms import Arm
from deepvalues.dvb.bank import Bank
from deepvalues.dvb.parsing import Task, parse_prompt
from deepvalues.local.protocol import Message, Reply

#: Share of items on which the mixture follows the value: its DVGR.
MIXTURE_SHARE = 0.3
#: Position bias and the two sensitivities of the sensitive agent, in logits.
B0, BV, BS = 0.4, 0.8, 1.6
#: The declining agent declines one item in so many.
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


class Evidence(NamedTuple):
    """Which way the examples point at the test: +1 to option A, −1 to option B, 0 to neither."""

    value: int
    surface: int


@dataclass(frozen=True)
class Recogniser:
    """Tells value and pole of an option by looking its two clauses up in the bank."""

    bank: Bank

    @cached_property
    def traits(self) -> dict[str, tuple[str, str]]:
        """(kind, trait id) of every filled wording."""
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
            raise ValueError(f"not a value and a pole in wordings of the bank: {text!r}")
        return found

    def evidence(self, task: Task) -> Evidence:
        """Compare how often each trait of the test options was chosen and rejected before."""
        seen: Counter[str] = Counter()
        for example in task.examples:
            seen.update(self.option(example.chosen).values())
            seen.subtract(self.option(example.rejected).values())
        a, b = self.option(task.option_a), self.option(task.option_b)

        def lean(kind: str) -> int:
            difference = seen[a[kind]] - seen[b[kind]]
            return (difference > 0) - (difference < 0)

        return Evidence(lean("value"), lean("pole"))


#: Probability of option A, given the evidence.
Rule = Callable[[Evidence], float]
#: The words around a letter, given the seed.
Wrapper = Callable[[str, int], str]


def _follow(lean: int) -> float:
    """Option A or B for certain; the first option without evidence."""
    return 1.0 if lean >= 0 else 0.0


def _value(evidence: Evidence) -> float:
    return _follow(evidence.value)


def _surface(evidence: Evidence) -> float:
    return _follow(evidence.surface)


def _mixture(evidence: Evidence) -> float:
    return MIXTURE_SHARE * _value(evidence) + (1 - MIXTURE_SHARE) * _surface(evidence)


def _sensitive(evidence: Evidence) -> float:
    return float(expit(B0 + BV * evidence.value + BS * evidence.surface))


def _option(letter: str, _: int) -> str:
    return f"Option {letter}"


def _prose(letter: str, seed: int) -> str:
    return PROSE[draw.integer(seed, "prose") % len(PROSE)].format(letter)


def _declining(letter: str, seed: int) -> str:
    return REFUSAL if draw.uniform(seed, "decline") < 1 / DECLINES_ONE_IN else f"Option {letter}"


@dataclass(frozen=True)
class ReferenceAgent:
    """A rule that turns evidence into a probability of option A, and words around the letter."""

    name: str
    description: str
    rule: Rule
    recogniser: Recogniser
    wrapper: Wrapper = _option
    family: str = "reference agent"

    def reply(self, messages: Sequence[Message], seed: int) -> Reply:
        """Answer the last message."""
        evidence = self.recogniser.evidence(parse_prompt(messages[-1]["content"]))
        p = self.rule(evidence)
        letter = "A" if draw.uniform(seed, "letter") < p else "B"
        return Reply(self.wrapper(letter, seed), {"A": p, "B": 1 - p})


def reference_agents(bank: Bank) -> dict[str, ReferenceAgent]:
    """The reference agents by name."""
    recogniser = Recogniser(bank)
    mixture = f"the value with probability {MIXTURE_SHARE}, else the surface"
    sensitive = f"logit of option A = {B0} + {BV} × value + {BS} × surface"
    declining = f"always the value, but declines one item in {DECLINES_ONE_IN}"
    agents = [
        ReferenceAgent("agent-value", "always the value", _value, recogniser),
        ReferenceAgent("agent-surface", "always the surface", _surface, recogniser),
        ReferenceAgent("agent-mixture", mixture, _mixture, recogniser),
        ReferenceAgent("agent-sensitive", sensitive, _sensitive, recogniser),
        ReferenceAgent("agent-random", "a fair coin", lambda _: 0.5, recogniser),
        ReferenceAgent("agent-first", "always the first option", lambda _: 1.0, recogniser),
        ReferenceAgent("agent-prose", "always the value, in prose", _value, recogniser, _prose),
        ReferenceAgent("agent-declining", declining, _value, recogniser, _declining),
    ]
    return {agent.name: agent for agent in agents}


def arm_evidence(arm: Arm) -> Evidence:
    """What an arm's examples say of its target option, were it option A."""
    if arm.examples is None:
        return Evidence(0, 0)
    lean = {("1", "2"): 1, ("2", "1"): -1, ("=", "="): 0}
    learned = {
        "value": arm.examples.target.value != arm.examples.other.value,
        "pole": arm.examples.target.pole != arm.examples.other.pole,
    }
    return Evidence(
        *(
            lean[getattr(arm.test.target, layer)[1], getattr(arm.test.other, layer)[1]] * learned[layer]
            for layer in ("value", "pole")
        )
    )


def expected_rate(agent: ReferenceAgent, arm: Arm) -> float:
    """The rate of right answers that an agent must reach in an arm with balanced positions.

    The mean of P(A) where the target is option A and 1 − P(A) where it is option B.
    """
    evidence = arm_evidence(arm)
    mirrored = Evidence(-evidence.value, -evidence.surface)
    return (agent.rule(evidence) + 1 - agent.rule(mirrored)) / 2

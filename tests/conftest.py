"""What the tests share: the bank, the design and the items, built once, and no network."""

import functools
import signal

import pandas as pd
import pytest
from hypothesis import settings

from deepvalues.ask import catalogue
from deepvalues.ask.reading import Received, read_choice
from deepvalues.core import stable_random
from deepvalues.studies.dvb.items.prompts import parse_prompt
from deepvalues.studies.dvb.respondents import agents as agents_module
from deepvalues.studies.dvb.respondents.agents import Recogniser, reference_agents
from loopback_only import loopback_only  # noqa: F401

# The same examples on every run, and no wall clock in a verdict.
settings.register_profile("project", deadline=None, derandomize=True, database=None)
settings.load_profile("project")

# A shell starts what it runs in the background deaf to Ctrl-C, and processes inherit that: tests that send it
# would fail.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def study():
    """Study 1, as the program itself reads it."""
    return catalogue.study("dvb")


@pytest.fixture(scope="session")
def bank(study):
    return study.bank


@pytest.fixture(scope="session")
def design(study):
    return study.design


@pytest.fixture(scope="session")
def items_smoke(study):
    return study.items("smoke")


@pytest.fixture(scope="session")
def items_n4(study):
    return study.items("n4")


@pytest.fixture(scope="session")
def items_standard(study):
    return study.items("standard")


@pytest.fixture(scope="session")
def items_full(study):
    return study.items("full")


@pytest.fixture(scope="session")
def recogniser(bank):
    return Recogniser(bank)


@pytest.fixture(scope="session")
def wording_ids(bank):
    """The id of every filled wording."""
    return {
        wording.fill(domain.nouns): wording.id
        for domain in bank.domains.values()
        for trait in bank.traits
        for wordings in trait.wordings.values()
        for wording in wordings
    }


@pytest.fixture(scope="session")
def tasks(items_standard):
    """Every standard item's examples and options, read from its text, by item id."""
    return {id: parsed(text) for id, text in items_standard[["id", "prompt"]].itertuples(index=False)}


@pytest.fixture(scope="session")
def agents(bank):
    return reference_agents(bank)


#: Each prompt of the standard set is taken apart once.
parsed = functools.cache(parse_prompt)


@functools.cache
def _read(text):
    return read_choice(Received(text, None, "stop"), "AB")


def _remembered(evidence):
    """`Recogniser.evidence` by the identity of the task, which lives as long as this does."""
    known = {}

    def remembered(recogniser, task):
        if id(task) not in known:
            known[id(task)] = task, evidence(recogniser, task)
        return known[id(task)][1]

    return remembered


@pytest.fixture(scope="session")
def agent_answers(agents, items_standard):
    """The reference agents' answers to the standard set, as `Questions.answers` gives them.

    With the column ``p_a``: the probability of option A that an agent reports.
    """
    rows = []
    with pytest.MonkeyPatch.context() as patch:
        # Each prompt is taken apart and recognized once, not once for each agent.
        patch.setattr(agents_module, "parse_prompt", parsed)
        patch.setattr(Recogniser, "evidence", _remembered(Recogniser.evidence))
        asked = [
            (item, [{"role": "user", "content": prompt}], stable_random.integer("tests", item))
            for item, prompt in items_standard[["id", "prompt"]].itertuples(index=False, name=None)
        ]
        for agent in agents.values():
            for item, messages, seed in asked:
                text, alternatives = agent.reply(messages, seed)
                rows.append((agent.name, item, 0, 0, *_read(text), text, alternatives["A"]))
    columns = ["model", "item", "repeat", "turn", "status", "choice", "reply", "p_a"]
    return pd.DataFrame(rows, columns=columns)

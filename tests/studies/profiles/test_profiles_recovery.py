"""Known profiles against their estimates: what is implied, and when an interval holds it."""

import numpy as np
import pandas as pd
import pytest

from deepvalues.studies.profiles.analysis.measures import fidelity
from deepvalues.studies.profiles.analysis.recovery import RECOVERED, recovery
from deepvalues.studies.profiles.analysis.reference import mean_profiles, synthetic_reference
from profile_runs import AGENTS, KEYS

EXAGGERATING, REFERENCE = "agent-profile-exaggerating", "agent-profile-reference"


@pytest.fixture(scope="module")
def reference():
    return synthetic_reference(KEYS, respondents=20)


def row(model, estimate, low, high, mode="rating"):
    values = dict.fromkeys(RECOVERED, estimate)
    ends = {f"{name}_{end}": end_at for name in RECOVERED for end, end_at in (("low", low), ("high", high))}
    return {"mode": mode, "model": model, **values, **ends}


def test_what_is_implied_is_the_known_profile_against_the_reference(reference):
    table = pd.DataFrame([row(EXAGGERATING, 0.7, 0.0, 9.0), row("gpt-x", 0.2, 0.1, 0.3)])
    found = recovery(table, AGENTS, reference, KEYS)
    assert set(found["model"]) == {EXAGGERATING}, "a model that is no agent has no known profile"
    assert list(found["measure"]) == list(RECOVERED)
    expected = AGENTS[EXAGGERATING].expected("rating")
    implied = fidelity(expected, mean_profiles(reference, KEYS)["rating"])
    assert found["implied"].tolist() == pytest.approx([implied["fidelity"], implied["v"]])
    assert found["held"].all()
    assert set(found["reference"]) == {"synthetic reference"}


def test_against_another_reference_another_fidelity_is_implied(reference):
    """People may order the themes otherwise than the synthetic respondents, and the agents are not theirs."""
    turned = reference.assign(synthetic=False)
    rating = turned["mode"] == "rating"
    turned.loc[rating, "priority"] = 8 - turned.loc[rating, "priority"]
    found = recovery(pd.DataFrame([row(REFERENCE, -0.9, -1.0, -0.5)]), AGENTS, turned, KEYS)
    assert found.loc[found["measure"] == "fidelity", "implied"].item() < -0.9
    assert set(found["reference"]) == {"human reference"}


@pytest.mark.parametrize(("low", "high", "held"), [(0.9, 1.0, True), (0.2, 0.5, False), (1.1, 1.2, False)])
def test_an_interval_holds_what_lies_in_it_or_on_its_end(low, high, held):
    # The agent's profile is the mean of the whole synthetic reference: fidelity and spread are 1.
    table = pd.DataFrame([row(REFERENCE, 0.5, low, high)])
    found = recovery(table, AGENTS, synthetic_reference(KEYS), KEYS)
    assert found["implied"].tolist() == pytest.approx([1.0, 1.0])
    assert found["held"].tolist() == [held, held]


def test_an_interval_that_is_missing_holds_nothing(reference):
    table = pd.DataFrame([row(REFERENCE, 0.5, np.nan, np.nan)])
    assert not recovery(table, AGENTS, reference, KEYS)["held"].any()


def test_without_agents_there_is_nothing_to_recover(reference):
    found = recovery(pd.DataFrame([row("gpt-x", 0.2, 0.1, 0.3)]), AGENTS, reference, KEYS)
    assert found.empty
    assert "held" in found and "reference" in found

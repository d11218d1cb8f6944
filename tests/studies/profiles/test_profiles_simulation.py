"""Simulated respondents: those without an opinion, and how often intervals hold what known profiles imply."""

import numpy as np
import pandas as pd
import pytest

from deepvalues.studies.profiles.analysis import recovery as simulation
from deepvalues.studies.profiles.analysis.recovery import (
    RECOVERED,
    RESPONDENTS,
    null_p,
    null_scores,
    null_table,
    simulated_coverage,
)
from deepvalues.studies.profiles.analysis.reference import mean_profiles
from deepvalues.studies.profiles.analysis.responses import matrices, responses
from deepvalues.studies.profiles.respondents import chance_runs
from deepvalues.studies.profiles.stimuli import CLOSED_MODES
from profile_runs import AGENTS, KEYS, held, reference

STEADY = [name for name, agent in AGENTS.items() if agent.steady]
H = mean_profiles(reference(), KEYS)


# Runs.


def test_agents_that_answer_all_runs_from_one_profile_are_steady():
    others = {f"agent-profile-{name}" for name in ("drifting", "malformed", "refusing")}
    assert {*STEADY} == {*AGENTS} - others
    with pytest.raises(ValueError, match="agent-profile-drifting does not answer all runs alike"):
        AGENTS["agent-profile-drifting"].simulated("rating", (3,), np.random.default_rng(1))


@pytest.mark.parametrize("mode", CLOSED_MODES)
@pytest.mark.parametrize("name", STEADY)
def test_simulated_runs_are_those_of_the_agent(name, mode):
    """Valid replies around the known profile, as different from each other as the agent's own."""
    x = AGENTS[name].simulated(mode, (40, 100), np.random.default_rng(5)).reshape(-1, 6)
    own = matrices(responses(held(name), KEYS), KEYS)[mode, name]
    assert (x == np.round(x)).all()
    if mode == "ranking":
        assert (np.sort(x, axis=1) == np.arange(1, 7)).all()
    elif mode == "rating":
        assert x.min() >= 1 and x.max() <= 7
    else:
        assert x.min() >= 0 and (x.sum(axis=1) == 100).all()
    error = x.std(axis=0) / np.sqrt(len(x)) + 1e-12
    assert (np.abs(x.mean(axis=0) - AGENTS[name].expected(mode)) < 4 * error).all()
    assert x.std(axis=0).mean() == pytest.approx(own.std(axis=0).mean(), rel=0.1)


@pytest.mark.parametrize("mode", CLOSED_MODES)
def test_runs_without_an_opinion_favour_no_theme(mode):
    x = chance_runs(mode, (60_000,), np.random.default_rng(2))
    error = x.std(axis=0) / np.sqrt(len(x))
    assert (np.abs(x.mean(axis=0) - x.mean()) < 4 * error).all()


# The null.


@pytest.mark.parametrize("mode", CLOSED_MODES)
def test_an_order_by_chance_has_the_moments_of_a_permutation(mode):
    """Pitman (1937): r of exchangeable numbers with others has the mean 0 and the variance 1/(n − 1)."""
    r = null_scores(mode, 30, H[mode], 3)["r"]
    assert r.mean() == pytest.approx(0, abs=4 * np.sqrt(0.2 / len(r)))
    assert r.var() == pytest.approx(0.2, rel=0.05)


def test_the_spread_of_rankings_by_chance_is_that_of_their_means():
    """A rank has the variance 35/12, a mean of thirty the thirtieth part."""
    v = null_scores("ranking", 30, H["ranking"], 3)["v"]
    assert (v**2).mean() * H["ranking"].var() == pytest.approx(35 / 12 / 30, rel=0.02)


def test_the_null_table_tells_how_far_chance_gets():
    ceiling = pd.DataFrame({"mode": ["rating", "ranking", "open"], "mean": [-1.0, 1.0, 0.0]})
    people = reference().query("mode in ['rating', 'ranking', 'open']")
    table = null_table(people, ceiling, KEYS, 30, 3).set_index("mode")
    assert list(table.index) == ["ranking", "rating"], "open answers have no replies by chance"
    fidelity = null_scores("rating", 30, H["rating"], 3)["fidelity"]
    rated = table.loc["rating"]
    assert rated[["runs", "simulated"]].tolist() == [30, len(fidelity)]
    assert (fidelity <= rated["to_exceed"]).mean() == pytest.approx(0.95, abs=1e-3)
    outside = (fidelity < rated["fidelity_low"]) | (fidelity > rated["fidelity_high"])
    assert outside.mean() == pytest.approx(0.05, abs=1e-3)
    assert rated["fidelity_low"] < rated["fidelity_median"] < rated["to_exceed"] < rated["fidelity_high"]
    assert table["as_people"].to_dict() == {"rating": 1.0, "ranking": 0.0}


def test_p_counts_respondents_by_chance_with_as_many_runs():
    rows = [(30, 0.5), (150, 0.5), (30, 1.1), (30, -1.0), (30, np.nan)]
    table = pd.DataFrame(rows, columns=["runs", "fidelity"], index=[*"abcde"]).assign(mode="rating")
    p = null_p(table, reference(), KEYS, 3)
    fidelity = null_scores("rating", 30, H["rating"], 3)["fidelity"]
    assert p["a"] == pytest.approx((fidelity >= 0.5).mean(), abs=2 / RESPONDENTS)
    assert p["b"] < p["a"], "more runs leave less to chance"
    assert p[["c", "d"]].tolist() == [1 / (1 + RESPONDENTS), 1.0]
    assert np.isnan(p["e"])


# Coverage.


@pytest.fixture(scope="module")
def covered():
    agents = [AGENTS["agent-profile-exaggerating"], AGENTS["agent-profile-random"]]
    return simulated_coverage(agents, reference(), KEYS, ["rating"], 30, 100, 3)


def test_intervals_of_known_profiles_hold_what_they_imply(covered):
    table = covered.set_index(["model", "measure"])
    wider = table.loc["agent-profile-exaggerating"]
    assert wider["implied"].to_dict() == pytest.approx({"fidelity": 0.8, "v": 2.0})
    assert wider["mean_estimate"].to_dict() == pytest.approx({"fidelity": 0.8, "v": 2.0}, rel=0.03)
    assert table.loc["agent-profile-random", "implied"].tolist() == [0, 0]
    assert table.loc[("agent-profile-random", "v"), "mean_estimate"] > 0.3, "chance is taken for spread"
    assert (table["coverage"] > 0.87).all()
    share = table["coverage"]
    assert table["coverage_error"].to_numpy() == pytest.approx(np.sqrt(share * (1 - share) / 100))
    assert set(covered["reference"]) == {"synthetic reference"}
    assert (covered[["runs", "respondents", "simulated"]] == [30, 200, 100]).all(axis=None)


def test_intervals_do_not_hold_what_is_not_true(monkeypatch):
    monkeypatch.setattr(simulation, "fidelity", lambda *_: pd.Series({"fidelity": 0.3, "v": 3.0}))
    found = simulated_coverage(
        [AGENTS["agent-profile-exaggerating"]], reference(), KEYS, ["rating"], 30, 20, 3
    )
    assert found["measure"].tolist() == list(RECOVERED)
    assert found["coverage"].tolist() == [0, 0]


def test_the_same_seed_simulates_the_same(covered):
    agents = [AGENTS["agent-profile-exaggerating"], AGENTS["agent-profile-random"]]
    pd.testing.assert_frame_equal(
        covered, simulated_coverage(agents, reference(), KEYS, ["rating"], 30, 100, 3)
    )

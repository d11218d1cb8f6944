"""Verdicts: reference agents and simulated respondents, one for each row of the table of rules."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

from deepvalues.stats import clusters
from deepvalues.stats.clusters import Estimate
from deepvalues.studies.dvb.analysis import verdicts as module
from deepvalues.studies.dvb.analysis.orders import pairs
from deepvalues.studies.dvb.analysis.verdicts import (
    BOUND,
    CONTRACT,
    LEXICAL,
    NAMES,
    VERDICTS,
    Findings,
    above,
    alike,
    differs,
    equal,
    in_free_text,
    tost_interval,
    verdict_of,
    verdicts,
)
from deepvalues.studies.dvb.respondents.agents import B0, BS, BV, MIXTURE_SHARE, Evidence
from respondents import answers, evidence, liking, logit_respondent

NOTHING = Findings(
    answers=True,
    tells_value=True,
    tells_surface=True,
    **dict.fromkeys(set(Findings._fields) - {"answers", "tells_value", "tells_surface"}, False),
)


def verdict(*trials, unrecognized=None):
    """The verdict of the first respondent."""
    table = verdicts(pairs(pd.concat(trials)), unrecognized=unrecognized)
    return table.set_index("model").loc[trials[0]["model"].iloc[0], "verdict"]


# ---- the rules ----


def test_the_rules_are_those_of_the_methods():
    assert [(verdict.number, verdict.name) for verdict in VERDICTS] == [
        (1, "does not answer"),
        (2, "value learner"),
        (2, "surface learner"),
        (3, "learned both"),
        (4, "learned, layer unclear"),
        (5, "prior preference"),
        (6, "chooses by position"),
        (7, "no capability"),
        (8, "undecided"),
    ]
    assert len(NAMES) == len(VERDICTS)
    for verdict in VERDICTS:
        assert verdict.meaning.startswith("It "), "sentences put its model in the place of “It”"
        assert verdict.meaning.endswith(".")
        assert verdict.meaning.count(".") == 1


CONDITIONS = {
    "no_answer": {"answers": False},
    "value": {"control_above": True, "value_above": True, "value_over_surface": True},
    "surface": {"control_above": True, "surface_above": True, "surface_over_value": True},
    "both": {"control_above": True, "value_above": True, "surface_above": True, "probes_alike": True},
    "layer_open": {"control_above": True},
    "prior": {"dvgr_differs": True, "like_shuffled": True},
    "place": {"by_place": True},
    "no_capability": {"repeat_equal": True, "control_equal": True},
    "undecided": {},
}


@pytest.mark.parametrize("id", CONDITIONS)
def test_each_rule_holds_by_its_own_conditions(id):
    assert verdict_of(NOTHING._replace(**CONDITIONS[id])).id == id
    for condition, met in CONDITIONS[id].items():
        if len(CONDITIONS[id]) > 1:
            assert verdict_of(NOTHING._replace(**CONDITIONS[id] | {condition: not met})).id != id


def test_the_first_rule_that_holds_is_given():
    for first, later in pairwise(CONDITIONS):
        both = CONDITIONS[later] | CONDITIONS[first]
        assert verdict_of(NOTHING._replace(**both)).id == first


@pytest.mark.parametrize("probe", ["value_above", "surface_above"])
def test_a_probe_alone_leaves_the_layer_open(probe):
    assert verdict_of(NOTHING._replace(**{probe: True})).id == "layer_open"


def test_a_layer_that_cannot_be_told_is_not_learned():
    both = NOTHING._replace(**CONDITIONS["both"])
    assert verdict_of(both._replace(tells_value=False)).id == "layer_open"
    assert verdict_of(both._replace(tells_surface=False)).id == "layer_open"
    value = NOTHING._replace(**CONDITIONS["value"])
    assert verdict_of(value._replace(tells_surface=False)).id == "value"
    assert verdict_of(value._replace(tells_value=False)).id == "layer_open"


# ---- above, differs, equal ----


def test_an_interval_above():
    low, high = Estimate(0.1, 0.04, 100), Estimate(0.1, 0.06, 100)
    assert above(low)
    assert not above(high)
    assert not above(low, 0.05)
    assert differs(low._replace(value=-0.1))
    assert not differs(high)
    assert alike(high)
    assert not alike(low)


@pytest.mark.parametrize(("cells", "expected"), [(1, False), (3, False), (4, True), (400, True)])
def test_without_variation_the_sign_decides_in_cells_enough(cells, expected):
    constant = clusters.mean(np.ones(cells), np.arange(cells))
    assert above(constant, 0.5) is expected
    assert differs(constant, 0.5) is expected
    assert above(constant._replace(value=0.5), 0.5) is False
    assert differs(constant._replace(value=0.0), 0.5) is expected


def test_what_was_not_asked_meets_no_rule():
    nothing = clusters.mean(np.array([]), np.array([]))
    assert not any(rule(nothing) for rule in (above, differs, alike, equal))


@pytest.mark.parametrize("positive", [190, 200, 209, 212, 220])
def test_equal_is_the_90_percent_interval_within_the_bounds(positive):
    signs = np.repeat([1.0, 0.0], [positive, 400 - positive])
    share = clusters.mean(signs, np.arange(400))
    half = stats.t.ppf(0.95, 399) * signs.std(ddof=1) / math.sqrt(400)
    low, high = share.value - half, share.value + half
    assert tost_interval(share) == pytest.approx((low, high))
    assert equal(share) == (low > 0.5 - BOUND and high < 0.5 + BOUND)


def test_ties_throughout_are_equal_and_certainty_is_not():
    for value, expected in ((0.5, True), (1.0, False), (0.0, False)):
        assert equal(clusters.mean(np.full(50, value), np.arange(50))) is expected


# ---- reference agents ----

AGENTS = {
    "agent-value": ("value", lambda v, s: np.where(v >= 0, 1.0, 0.0)),
    "agent-surface": ("surface", lambda v, s: np.where(s >= 0, 1.0, 0.0)),
    "agent-mixture": (
        "surface",
        lambda v, s: MIXTURE_SHARE * (v >= 0) + (1 - MIXTURE_SHARE) * (s >= 0),
    ),
    "agent-both": ("both", lambda v, s: (1 + np.clip(v + s, -1, 1)) / 2),
    "agent-sensitive": ("surface", lambda v, s: expit(B0 + BV * v + BS * s)),
    "agent-random": ("place", lambda v, s: np.full(len(v), 0.5)),
    "agent-first": ("place", lambda v, s: np.ones(len(v))),
}


@pytest.mark.parametrize("weighed", [True, False], ids=["probabilities", "choices"])
@pytest.mark.parametrize("name", AGENTS)
def test_reference_agents(items_n4, name, weighed):
    expected, rule = AGENTS[name]
    p_a = rule(evidence(items_n4, "value"), evidence(items_n4, "surface"))
    trials = answers(items_n4, name, p_a, np.random.default_rng(1), family="reference agent")
    if not weighed:
        trials = trials.drop(columns=["p_a", "mass"])
    table = verdicts(pairs(trials))
    assert table["verdict"].tolist() == [expected]
    assert table["scale"].tolist() == ["log odds" if weighed else "share − .5"]


def test_the_agents_here_are_the_agents(items_n4, agents):
    """The rules above are those of the package."""
    v, s = (evidence(items_n4, layer) for layer in ("value", "surface"))
    for name, (_, rule) in AGENTS.items():
        for one, other in {(-1, -1), (-1, 1), (0, 0), (0, 1), (1, 0), (1, 1)}:
            at = rule(np.array([one]), np.array([other]))
            assert float(at[0]) == pytest.approx(agents[name].rule(Evidence(one, other)))
    assert set(zip(v, s, strict=True)) <= {(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)}


# ---- simulated respondents, one for each row ----


def right(items, size):
    """In favour of the right option, by so many logits."""
    return np.where(items["right"] == "A", size, -size)


RESPONDENTS = {
    "no_answer": lambda items: {"bv": 1, "mass": 0.3},
    "value": lambda items: {"b0": 3, "bv": 1, "bs": 0.2},
    "surface": lambda items: {"b0": -3, "bv": 0.2, "bs": 1},
    "both": lambda items: {"b0": 1, "bv": 1, "bs": 1},
    "layer_open": lambda items: {"more": right(items, 0.6) * (items["arm"] == "control")},
    "prior": lambda items: {
        "more": right(items, 1) * items["arm"].isin(["deconfounded", "prior", "shuffled"])
    },
    "place": lambda items: {"b0": 8},
    "no_capability": lambda items: {},
    # Finds copies and nothing else.
    "undecided": lambda items: {"more": right(items, 9) * ((items["arm"] == "repeat") & ~items["swapped"])},
}


def respondent(items, id, seed=0):
    """A respondent that deserves a verdict, with likings for options that nothing else explains."""
    return logit_respondent(items, "m", np.random.default_rng(seed), noise=1, **RESPONDENTS[id](items))


@pytest.mark.parametrize("id", NAMES)
def test_a_respondent_for_each_verdict(items_n4, id):
    assert verdict(respondent(items_n4, id)) == id


def test_every_verdict_has_a_respondent():
    assert RESPONDENTS.keys() == NAMES.keys() == CONDITIONS.keys()


def test_the_size_of_a_preference_for_a_position_comes_back(items_n4):
    """Half of the cells like A by .4 logits and the others B; a liking for options cancels."""
    liked = np.where(items_n4["cell"].str[-1].isin(list("02468")), 0.4, -0.4)
    trials = logit_respondent(items_n4, "m", np.random.default_rng(3), noise=0.1, more=liked)
    (row,) = verdicts(pairs(trials)).to_dict("records")
    assert row["position_lean"] == pytest.approx(0.4)
    assert row["first_option_p"] == pytest.approx(0.5, abs=0.01)


def test_a_place_chooser_is_none_who_learned(items_n4):
    """A liking for the first place of any size is no evidence of learning, nor hides it."""
    rng = np.random.default_rng(7)
    learner = logit_respondent(items_n4, "m", rng, b0=8, bs=1, noise=1)
    table = verdicts(pairs(learner))
    (row,) = table.to_dict("records")
    assert row["verdict"] == "surface"
    assert row["first_option_rate"] > 0.95
    assert row["order_consistency"] < 0.1


def test_choices_without_probabilities(items_n4):
    for id in ("value", "surface", "prior"):
        rng = np.random.default_rng(2)
        b = {"value": {"bv": 2, "bs": 0.2}, "surface": {"bv": 0.2, "bs": 2}, "prior": {}}[id]
        tests = items_n4["arm"].isin(["deconfounded", "prior", "shuffled"])
        more = np.where(items_n4["right"] == "A", 1.0, -1.0) * tests * (id == "prior")
        trials = logit_respondent(items_n4, "m", rng, noise=1, more=more, **b).drop(columns=["p_a", "mass"])
        assert verdict(trials) == id


def test_replies_that_name_no_option_are_no_answers(items_n4):
    trials = respondent(items_n4, "value").drop(columns=["p_a", "mass"])
    lost = np.arange(len(trials)) % 5 < 3
    trials = trials.assign(
        status=np.where(lost, "unparsable", "answered"),
        choice=trials["choice"].where(~lost, None),
        followed=trials["followed"].where(~lost),
    )
    assert verdict(trials) == "no_answer"


def test_a_layer_untold_in_the_validation(items_n4):
    trials = respondent(items_n4, "value")
    assert verdict(trials, unrecognized={"m": ["surface"]}) == "value"
    assert verdict(trials, unrecognized={"m": ["value"]}) == "layer_open"


# ---- the table ----


@pytest.fixture(scope="module")
def everyone(items_n4, study):
    """The lexical learners and two models, one of them asked at N = 20 too."""
    more = study.items("n20")
    both = pd.concat([items_n4, more], ignore_index=True)
    rng = np.random.default_rng(11)
    lexical = [logit_respondent(items_n4, name, rng, noise=1, family="text learner") for name in LEXICAL]
    one = logit_respondent(both, "one", rng, bv=1.5, noise=1, mass=0.9)
    two = logit_respondent(items_n4, "two", rng, b0=5, noise=1)
    return pairs(pd.concat([*lexical, one, two]))


@pytest.fixture(scope="module")
def table(everyone):
    free = pd.DataFrame(
        {"model": "one", "cell": [f"c{n:03d}" for n in range(100)], "status": ["answered", "refused"] * 50}
    )
    return verdicts(everyone, free)


def test_one_row_a_respondent(table):
    assert table["model"].tolist() == sorted([*LEXICAL, "one", "two"])
    CONTRACT.validate(table)


def test_rates_and_intervals_by_hand(everyone, table):
    row = table.set_index("model").loc["one"]
    own = everyone[everyone["model"] == "one"]
    for name, arm in {"control": "control", "probe_value": "probe_value", "dvgr": "deconfounded"}.items():
        for n, end in ((4, ""), (20, "_n20")):
            y = own[(own["arm"] == arm) & (own["n_examples"] == n)]["followed"]
            p, variance = y.mean(), y.var() / len(y)
            assert row[name + end] == pytest.approx(p)
            # Wilson's lower bound solves (p − x)² = t² x (1 − x) / n, n the effective number of trials.
            x, t = row[f"{name}{end}_low"], stats.t.ppf(0.975, len(y) - 1)
            assert x < p and (p - x) ** 2 == pytest.approx(t**2 * x * (1 - x) * variance / (p * (1 - p)))
    assert row["letter_mass"] == pytest.approx(0.9)
    assert (row["readable"], row["cells"]) == (0.5, 400)
    assert 0.4 < row["readable_low"] < 0.5


def test_paired_differences_by_hand(everyone, table):
    row = table.set_index("model").loc["one"]
    deep = everyone[everyone["arm"].isin(["deconfounded", "shuffled"])]
    wide = deep.pivot(index="cell", columns=["model", "arm", "n_examples"], values="followed")
    for n, end in ((4, ""), (20, "_n20")):
        d = wide["one", "deconfounded", n] - wide["one", "shuffled", 4]
        assert row[f"dvgr_minus_shuffled{end}"] == pytest.approx(d.mean())
        half = stats.t.ppf(0.975, 399) * d.std() / 20
        assert row[f"dvgr_minus_shuffled{end}_high"] == pytest.approx(d.mean() + half)


@pytest.mark.parametrize(
    ("measure", "arm"),
    [("dvgr", "deconfounded"), ("probe_value", "probe_value"), ("probe_surface", "probe_surface")],
)
def test_against_the_lexical_learners_by_hand(everyone, table, measure, arm):
    own = everyone[(everyone["arm"] == arm) & (everyone["n_examples"] == 4)]
    wide = own.pivot(index="cell", columns="model", values="followed")
    # The learner with the highest rate, whichever it is on this arm.
    d = wide["one"] - wide[max(LEXICAL, key=lambda name: wide[name].mean())]
    row = table.set_index("model").loc["one"]
    assert row[f"{measure}_minus_lexical"] == pytest.approx(d.mean())
    half = stats.t.ppf(0.975, 399) * d.std() / 20
    assert row[f"{measure}_minus_lexical_low"] == pytest.approx(d.mean() - half)


def test_the_best_lexical_learner_is_chosen_on_the_tests_that_are_shared():
    """Of four cells, "one" was asked two, on which the learner that is worse overall is better."""
    right = {
        "learner-words": [1, 1, 0, 0.5],
        "learner-words-tuned": [0, 0, 1, 1],
        "one": [math.nan, math.nan, 1, 0.5],
    }
    columns = {"arm": "probe_value", "n_examples": 4, "test": 0}
    rows = [
        {"model": model, "cell": f"c{cell}", "followed": share, **columns}
        for model, shares in right.items()
        for cell, share in enumerate(shares)
    ]
    rows = pd.DataFrame(rows).dropna().assign(log_odds=math.nan)
    own, lexical = rows[rows["model"] == "one"], rows[rows["model"] != "one"]
    assert module._Respondent(own, lexical).against_lexical("probe_value", 4).value == -0.25


def test_what_was_not_asked_is_missing(table):
    rows = table.set_index("model")
    assert math.isnan(rows.loc["two", "dvgr_n20"])
    assert math.isnan(rows.loc["two", "readable"])
    # Nobody is held against itself; at N = 20 these were not asked.
    assert rows.loc[list(LEXICAL), "dvgr_minus_lexical"].isna().all()
    assert math.isnan(rows.loc["one", "dvgr_minus_lexical_n20"])


def test_consistency_is_that_of_the_four_tests(everyone, table):
    of_tests = everyone[everyone["arm"].isin(module.TESTS) & (everyone["n_examples"] == 4)]
    for row in table.to_dict("records"):
        own = of_tests[of_tests["model"] == row["model"]].dropna(subset="agree")
        p = own["first_option"].mean()
        assert row["order_consistency"] == pytest.approx(own["agree"].mean(), nan_ok=True)
        assert row["by_place"] == pytest.approx(2 * p * (1 - p), nan_ok=True)
        prior = everyone[(everyone["arm"] == "prior") & (everyone["model"] == row["model"])]
        assert row["prior_consistency"] == pytest.approx(prior["agree"].mean())
        excess = own["agree"].mean() - 2 * p * (1 - p)
        assert row["consistency_excess"] == pytest.approx(excess, nan_ok=True)


def test_a_copy_is_held_against_places_in_balance(items_n4):
    """Who takes the first place always finds no copies, however many copies stand first."""
    odd = items_n4[(items_n4["arm"] != "repeat") | (items_n4["cell"] < "c300") | (items_n4["right"] == "A")]
    (row,) = verdicts(pairs(answers(odd, "m", 1.0))).to_dict("records")
    assert row["repeat_copy"] > 0.55
    assert row["repeat_copy_lean"] == 0


def test_swapping_all_orders_changes_no_verdict(items_n4):
    for id in ("value", "place", "prior"):
        trials = respondent(items_n4, id)
        assert verdict(trials.assign(swapped=~trials["swapped"])) == verdict(trials)


def test_a_noisy_liking_is_the_same_in_both_orders(items_n4):
    liked = liking(items_n4, np.random.default_rng(0), 1)
    frame = items_n4.assign(liked=np.where(items_n4["right"] == "A", liked, -liked))
    both = frame[frame["arm"] == "control"].pivot(index="cell", columns="swapped", values="liked")
    assert (both[False] == both[True]).all()


def test_in_free_text_tests_count_of_which_both_replies_can_be_read(items_n4):
    trials = respondent(items_n4, "value")
    asked = trials[trials["arm"].isin(["control", "deconfounded"])].reset_index(drop=True)
    control = asked.index[asked["arm"] == "control"]
    asked.loc[control, "followed"] = 1.0
    # The only wrong reply to a control, and one that can't be read to the same test.
    test = (
        asked.loc[control, ["cell", "test"]].eq(asked.loc[control[0], ["cell", "test"]]).all(axis="columns")
    )
    first, second = control[test]
    asked.loc[first, "followed"] = 0.0
    asked.loc[second, ["status", "choice", "followed"]] = ["unparsable", None, math.nan]
    (row,) = in_free_text(pairs(asked)).to_dict("records")
    assert row["tests"] == len(asked) / 2 - 1
    assert row["control"] == 1
    assert in_free_text(pairs(asked.assign(family="reference agent"))).empty

"""Comparisons: definitions recomputed, published counts, reference agents, and coverage of intervals."""

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pingouin as pg
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from deepvalues.stats.clusters import clustered, mean
from deepvalues.stats.rates import holm
from deepvalues.studies.dvb.analysis import comparisons, statistics
from deepvalues.studies.dvb.analysis.comparisons import (
    CLUSTER_NAMES,
    FACTOR_NAMES,
    FACTORS,
    agreement_matrix,
    asymmetry,
    breakdowns,
    control_gate,
    direction_gaps,
    factor_tests,
    level_names,
    mean_agreement,
    pairwise_agreement,
    position_bias,
    prior_corrected,
    rate_matrix,
)

MODELS = {
    "one-large": "one",
    "one-middle": "one",
    "one-small": "one",
    "one-old-small": "one",
    "two-large": "two",
    "two-small": "two",
    "three": "three",
}


@pytest.fixture(scope="module")
def trials(items_standard):
    """Made-up models: logits by model and value, and a liking that a developer's models share."""
    rng = np.random.default_rng(11)
    items = items_standard.drop(columns=["prompt", "prefix_chars", "hash"]).rename(columns={"id": "item"})
    common = {name: rng.normal(0, 0.9, len(items)) for name in ("one", "two", "three")}
    by_value = {value: rng.normal(0, 0.6) for value in sorted(items["v1"].unique())}
    frames = []
    for number, (model, developer) in enumerate(MODELS.items()):
        eta = -0.9 + 0.2 * number + common[developer] + items["v1"].map(by_value)
        eta += np.where(items["arm"] == "control", 3.0, 0.0) + np.where(items["right"] == "A", 0.3, -0.3)
        followed = (rng.random(len(items)) < 1 / (1 + np.exp(-eta))).astype(float)
        other = items["right"].map({"A": "B", "B": "A"})
        frame = items.assign(model=model, followed=followed)
        frame["choice"] = items["right"].where(followed == 1, other)
        gone = rng.random(len(items)) < 0.05
        frame.loc[gone, "followed"] = np.nan
        frame.loc[gone, "choice"] = None
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def deep(trials):
    return trials[trials["arm"] == "deconfounded"]


@pytest.fixture(scope="module")
def agent_trials(items_standard, agent_answers):
    return statistics.trials(items_standard, agent_answers)


# ---- breakdowns and factor tests ----


def test_every_factor_cluster_and_level_has_a_name(trials, bank):
    assert {"model", *FACTORS, "v1"} == set(FACTOR_NAMES)
    assert {cluster for _, cluster in FACTORS.values()} == set(CLUSTER_NAMES)
    levels = level_names(bank)
    table = breakdowns(trials)
    for factor, names in levels.items():
        assert set(table.loc[table["factor"] == factor, "level"]) == set(names), factor
        assert not any("_" in name for name in names.values())
    assert levels["value"]["self_improvement"] == "self-improvement"
    assert levels["domain"]["customer_service"] == "customer service"


def test_every_factor_splits_all_trials(trials, deep):
    table = breakdowns(trials)
    assert (table.groupby("factor")["items"].sum() == len(deep)).all()
    assert (table.groupby("factor")["followed"].sum() == deep["followed"].sum()).all()
    assert table[table["factor"] == "pair"].shape[0] == 50


def test_values_and_dimensions_are_clustered_by_wording_and_cell_and_all_else_by_cell(trials):
    table = breakdowns(trials[trials["model"] == "three"]).drop_duplicates("factor")
    clusters = dict(zip(table["factor"], table["cluster"], strict=True))
    assert clusters.pop("value") == "target_value_wording × cell"
    assert clusters.pop("dimension") == "target_pole_wording × cell"
    assert set(clusters.values()) == {"cell"}


@pytest.mark.slow
def test_factor_tests_are_pingouins_and_the_clustered_ones_are_more_cautious(trials, deep):
    table = factor_tests(trials).set_index("factor")
    assert list(table.index) == ["model", *FACTORS]
    answered = deep.dropna(subset="followed").assign(followed=lambda frame: frame["followed"] > 0)
    for factor, column in (("model", "model"), ("value", "v1"), ("domain", "domain")):
        _, _, printed = pg.chi2_independence(answered, column, "followed")
        pearson = printed.set_index("test").loc["pearson"]
        assert table.loc[factor, "chi2"] == pytest.approx(pearson["chi2"])
        assert table.loc[factor, "cramers_v"] == pytest.approx(pearson["cramer"])
        assert table.loc[factor, "p_value"] == pytest.approx(pearson["pval"], rel=1e-6)
    assert list(table["wald_p_holm"]) == pytest.approx(holm(list(table["wald_p"])))
    assert table.loc["value", ["wald_df", "wald_p"]].tolist()[0] == 10
    assert table.loc["value", "wald_p"] < 1e-6, "values do differ"
    # Answers to one cell go together: as independent trials, cells without an effect look like one.
    assert table.loc["domain", "wald_p"] > table.loc["domain", "p_value"]
    assert table.loc["activity", "wald_df"] < table.loc["activity", "df"], "rare activities are left out"


def test_factor_tests_of_one_model_that_never_varies(trials):
    sure = trials[trials["model"] == "three"].assign(followed=1.0)
    table = factor_tests(sure)
    assert list(table["factor"]) == list(FACTORS)
    assert table[["chi2", "cramers_v", "wald_p", "wald_p_holm"]].isna().all(axis=None)


def test_rate_matrix_has_the_rates(trials, deep):
    matrix = rate_matrix(trials, "dimension")
    assert matrix.shape == (7, 20)
    here = (deep["model"] == "three") & (deep["dimension"] == "humor")
    assert matrix.loc["three", "humor"] == deep.loc[here, "followed"].mean()


# ---- agreement ----


def test_pairwise_agreement_from_its_definition(trials, deep):
    table = pairwise_agreement(trials)
    assert len(table) == 21
    wide = deep.pivot(index="item", columns="model", values="choice")
    cells = deep.drop_duplicates("item").set_index("item")["cell"]
    for row in table.iloc[::5].itertuples():
        both = wide[[row.model_a, row.model_b]].dropna()
        same = (both[row.model_a] == both[row.model_b]).astype(float)
        assert (row.items, row.agreement) == (len(both), pytest.approx(same.mean()))
        assert (row.clustered_low, row.clustered_high) == pytest.approx(clustered(same, cells[both.index]))
        assert row.kappa == pytest.approx(cohen_kappa_score(both[row.model_a], both[row.model_b]))
    matrix = agreement_matrix(table)
    assert (matrix.to_numpy() == matrix.to_numpy().T).all()
    assert (np.diag(matrix) == 1).all()
    assert (
        matrix.loc["three", "one-large"]
        == table.set_index(["model_a", "model_b"]).loc[("one-large", "three"), "agreement"]
    )


def test_kappa_is_missing_where_both_always_choose_one_letter(trials):
    pair = trials[trials["model"].isin(["three", "two-large"])]
    first = pair.assign(choice="A", followed=(pair["right"] == "A").astype(float))
    row = pairwise_agreement(first).iloc[0]
    assert (row["agreement"], math.isnan(row["kappa"])) == (1, True)


def test_mean_agreement_from_its_definition(trials):
    (row,) = mean_agreement(trials, draws=400).to_dict("records")
    pairs = pairwise_agreement(trials)
    assert row["pairs"] == len(pairs)
    assert row["agreement"] == pytest.approx(np.average(pairs["agreement"], weights=pairs["items"]))
    assert row["cells_low"] < row["agreement"] < row["cells_high"]
    widths = {name: row[f"{name}_high"] - row[f"{name}_low"] for name in ("cells", "models", "both")}
    assert widths["cells"] < widths["models"] <= widths["both"] * 1.1


def test_a_bootstrap_draw_is_the_agreement_of_the_drawn_cells_and_models(trials, deep, monkeypatch):
    """Cells and models repeated as often as drawn, pairs counted one by one."""
    some = deep[deep["cell"] < "c012"]
    wide, cells = comparisons._chose_a(some)
    rng = np.random.default_rng(2)
    by_cell, by_model = rng.multinomial(12, np.full(12, 1 / 12)), rng.multinomial(7, np.full(7, 1 / 7))
    counts = {12: by_cell[None].astype(float), 7: by_model[None].astype(float)}
    monkeypatch.setattr(comparisons.bootstrap, "draw_counts", lambda n, draws, rng: counts[n])
    found = mean_agreement(some, draws=1)["both_low"][0]
    order = {cell: place for place, cell in enumerate(dict.fromkeys(cells))}
    drawn = [m for m, times in enumerate(by_model) for _ in range(times)]
    agreeing = common = 0
    for a, b in combinations(drawn, 2):
        if a == b:
            continue
        both = wide.iloc[:, [a, b]].dropna()
        weight = cells[both.index].map(order).map(lambda place: by_cell[place])
        common += weight.sum()
        agreeing += weight[both.iloc[:, 0] == both.iloc[:, 1]].sum()
    assert found == pytest.approx(agreeing / common)


def test_mean_agreement_of_one_model_is_unknown(trials):
    row = mean_agreement(trials[trials["model"] == "three"], draws=50).iloc[0]
    assert row["pairs"] == 0
    assert row.drop("pairs").isna().all()


# ---- prior, position, direction, control ----


def test_prior_corrected_pairs_test_by_test(trials, deep):
    table = prior_corrected(trials)
    test = ["model", "cell", "test", "swapped"]
    prior = trials[trials["arm"] == "prior"].set_index(test)["followed"]
    for row in table.itertuples():
        here = deep[deep["model"] == row.model].dropna(subset="followed")
        before = prior.reindex(pd.MultiIndex.from_frame(here[test])).to_numpy()
        known = ~np.isnan(before)
        difference = pd.Series(here["followed"].to_numpy() - before, here["cell"])[known]
        assert (row.pairs, row.difference) == (known.sum(), pytest.approx(difference.mean()))
        assert row.difference == pytest.approx(row.dvgr - row.prior)
        expected = mean(difference.to_numpy(), difference.index.to_numpy()).interval
        assert (row.clustered_low, row.clustered_high) == pytest.approx(tuple(expected))


def test_the_orders_of_a_test_are_set_against_their_own_prior(trials):
    """With one order there is one pair a cell: Student's paired t-test."""
    one = trials[~trials["swapped"]]
    own = one[(one["model"] == "three") & (one["n_examples"].isin([0, 4]))]
    (row,) = prior_corrected(own).to_dict("records")
    followed = own.set_index(["arm", "cell"])["followed"]
    difference = (followed["deconfounded"] - followed["prior"]).dropna()
    assert row["p_value"] == pytest.approx(stats.ttest_1samp(difference, 0).pvalue)


def test_a_test_without_a_prior_of_its_own_is_left_out(trials):
    own = trials[trials["model"] == "three"]
    second = own[own["arm"] == "deconfounded"].assign(test=1, followed=1.0)
    pd.testing.assert_frame_equal(prior_corrected(pd.concat([own, second])), prior_corrected(own))


def test_agents_against_their_prior(agent_trials):
    """Without evidence the agents choose the first option, which is the target in half of the tests."""
    table = prior_corrected(agent_trials).set_index("model")
    assert table.loc["agent-value", ["dvgr", "prior", "difference"]].tolist() == [1, 0.5, 0.5]
    assert table.loc["agent-surface", ["dvgr", "prior", "difference"]].tolist() == [0, 0.5, -0.5]


def test_agents_position_bias(agent_trials, agents):
    table = position_bias(agent_trials).set_index("model")
    assert table.loc["agent-first", ["chose_a", "dvgr_a", "dvgr_b", "gap"]].tolist() == [1, 1, 0, 1]
    assert table.loc["agent-value", ["chose_a", "gap"]].tolist() == [0.5, 0]
    assert math.isnan(table.loc["agent-value", "gap_low"])
    # b0 = .4, d = .8 − 1.6: σ(d + b0) − σ(d − b0) by the agent's own rule.
    expected = 1 / (1 + math.exp(0.4)) - 1 / (1 + math.exp(1.2))
    row = table.loc["agent-sensitive"]
    assert row["gap_low"] < expected < row["gap_high"]


def test_position_bias_from_its_definition(deep):
    group = deep[deep["model"] == "three"].dropna(subset="followed")
    row = position_bias(deep).set_index("model").loc["three"]
    at_a = group["right"] == "A"
    assert row["chose_a"] == (group["choice"] == "A").mean()
    assert row["gap"] == pytest.approx(group["followed"][at_a].mean() - group["followed"][~at_a].mean())
    assert (row["chose_a_low"], row["chose_a_high"]) == pytest.approx(
        clustered((group["choice"] == "A").astype(float), group["cell"])
    )


def test_asymmetry_finds_a_liking_for_a_pole(trials, deep):
    liked = deep["dimension"].eq("humor")
    changed = deep.assign(followed=deep["followed"].mask(liked & deep["direction"].eq("forward"), 1.0))
    table = asymmetry(changed).set_index("dimension")
    assert len(table) == 20
    assert table.loc["humor", "forward"] == 1
    assert table["p_holm"].idxmin() == "humor"
    assert table.loc["humor", "clustered_low"] > 0
    swapped = changed.assign(
        direction=changed["direction"].map({"forward": "reversed", "reversed": "forward"})
    )
    other = asymmetry(swapped).set_index("dimension")
    assert list(other["difference"]) == pytest.approx(list(-table["difference"]))


def test_asymmetry_is_clustered_by_the_targets_pole_wording(deep):
    """statsmodels' OLS on the direction; its correction has (n − 1)/(n − 2) beside G/(G − 1)."""
    here = deep[deep["dimension"] == "voice"].dropna(subset="followed")
    design = sm.add_constant((here["direction"] == "forward").astype(float).to_numpy())
    groups = here["target_pole_wording"].factorize()[0]
    fit = sm.OLS(here["followed"].to_numpy(), design).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, use_t=True
    )
    row = asymmetry(deep).set_index("dimension").loc["voice"]
    n, half = len(here), fit.conf_int()[1][1] - fit.params[1]
    assert row["difference"] == pytest.approx(fit.params[1])
    assert row["clustered_high"] - row["difference"] == pytest.approx(half * math.sqrt((n - 2) / (n - 1)))


def test_asymmetry_of_one_direction_is_missing(deep):
    table = asymmetry(deep[deep["direction"] == "forward"])
    assert table[["reversed", "difference", "p_value", "p_holm"]].isna().all(axis=None)


def test_gaps_between_the_directions_of_a_dimension():
    rows = [
        ("a", "forward", 0.7),
        ("a", "reversed", 0.4),
        ("b", "forward", 0.2),
        ("b", "reversed", 0.6),
        ("one direction", "forward", 0.9),
    ]
    gaps = direction_gaps(pd.DataFrame(rows, columns=["dimension", "direction", "rate"]))
    assert gaps.to_dict() == {"a": 0.3, "b": 0.4, "one direction": 0.0}
    forward = pd.DataFrame(rows[-1:], columns=["dimension", "direction", "rate"])
    assert direction_gaps(forward).to_dict() == {"one direction": 0.0}


def test_control_gate_flags_and_keeps(agent_trials):
    table = control_gate(agent_trials).set_index("model")
    assert not table.loc["agent-value", "flagged"]
    assert table.loc["agent-first", ["accuracy", "flagged"]].tolist() == [0.5, True]
    assert len(table) == agent_trials["model"].nunique()
    cells = sorted(set(agent_trials["cell"]))[:4]
    few = agent_trials[agent_trials["cell"].isin(cells)]
    lucky = control_gate(few.assign(followed=few["cell"].isin(cells[:3]).astype(float)))
    assert (lucky["accuracy"] == 0.75).all() and lucky["flagged"].all()
    silent = control_gate(agent_trials.assign(followed=np.nan))
    assert silent["flagged"].all()


def test_control_gate_takes_the_control_at_one_n(agent_trials):
    own = agent_trials[agent_trials["model"] == "agent-value"]
    spoilt = own.assign(followed=own["followed"].where(own["n_examples"] == 20, 0.0))
    assert set(control_gate(spoilt)["items"]) == {800}
    assert control_gate(spoilt).loc[0, "accuracy"] == 1
    assert control_gate(spoilt, n_examples=4).loc[0, "accuracy"] == 0

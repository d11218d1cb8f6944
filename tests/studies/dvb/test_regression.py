"""Regressions: statsmodels' formulas, sandwich by hand, exact integrals, recovery, and separation."""

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from scipy.special import expit, logit
from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM
from statsmodels.tools.numdiff import approx_fprime, approx_hess

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.analysis import regression
from deepvalues.studies.dvb.analysis.regression import (
    adjusted_rates,
    clustered_logit,
    gee,
    log_likelihood,
    random_intercept,
    simulated_adjustment,
)

REFERENCES = {"model": "m0", "v1": "b"}
MODELS = {"model:m1": 0.6, "model:m2": -0.5, "model:m3": 0.1, "model:m4": 0.3}
TRUTH = {"intercept": -0.4, **MODELS, "v1:a": 0.8, "v1:c": -0.3, "n_examples": -0.02}
FORMULA = "followed ~ C(model, Treatment('m0')) + C(v1, Treatment('b')) + n_examples"


def simulated(cells=60, seed=0, tests=1):
    """Trials of five models on cells of three values at three N, from `TRUTH`; a few without an answer."""
    rows = [
        (f"m{m}", f"c{cell:02d}", "abc"[cell % 3], n)
        for m in range(5)
        for cell in range(cells)
        for n in (4, 20, 40)
        for _ in range(tests)
    ]
    frame = pd.DataFrame(rows, columns=["model", "cell", "v1", "n_examples"])
    rng = np.random.default_rng(seed)
    eta = TRUTH["intercept"] + TRUTH["n_examples"] * frame["n_examples"]
    for factor in ("model", "v1"):
        eta += (factor + ":" + frame[factor]).map(TRUTH).fillna(0)
    frame["followed"] = (rng.random(len(frame)) < expit(eta)).astype(float)
    frame.loc[rng.random(len(frame)) < 0.03, "followed"] = np.nan
    return frame


# ---- references ----


def outcomes(**followed):
    """Trials by model, one a character; their domains take turns."""
    rows = [(model, float(letter)) for model, letters in followed.items() for letter in letters]
    frame = pd.DataFrame(rows, columns=["model", "followed"]).assign(v1="x")
    return frame.assign(domain=np.resize(["legal", "finance"], len(frame)))


def test_the_middle_model_is_the_reference_of_the_others():
    frame = outcomes(a="1110", b="0100", c="1010", d="1000", e="1110")
    assert regression.references(frame)["model"] == "c"
    # Of an even number the upper one of the two in the middle.
    assert regression.references(frame[frame["model"] != "a"])["model"] == "c"
    assert regression.references(frame[frame["model"] != "c"])["model"] == "a"
    # A factor with one level is left out.
    assert regression.references(frame[frame["model"] == "a"].assign(domain="legal")) == {}
    assert regression.references(frame.assign(followed=np.nan)) == {}


def test_a_model_that_never_varies_is_the_reference_only_where_none_varies():
    constant = outcomes(a="1000", b="1111")
    assert regression.references(constant)["model"] == "a"
    assert regression.references(outcomes(a="0000", b="1111"))["model"] == "b"
    frame = simulated().query("model in ('m0', 'm1')")
    frame = frame.assign(followed=frame["followed"].where(frame["model"] == "m0", 1.0), domain="legal")
    found = clustered_logit(frame, regression.references(frame)).terms.set_index("term")
    assert np.isfinite(found.loc[["intercept", "v1:b", "v1:c"], "coefficient"]).all()


def test_the_level_in_print_is_the_reference_where_it_has_answers_and_else_the_commonest():
    frame = outcomes(a="11101000", b="01001101")
    assert regression.references(frame)["domain"] == "finance", "first by name of two as common"
    assert regression.references(frame.assign(domain=["legal"] * 5 + ["finance"] * 11))["domain"] == "finance"
    assert regression.references(frame.assign(domain=["legal"] * 11 + ["finance"] * 5))["domain"] == "legal"
    printed = frame.assign(v1=["reparation", "duty", "duty", "duty"] * 4)
    assert regression.references(printed)["v1"] == "reparation"
    unanswered = frame.assign(v1=["reparation", "duty", "hope", "duty"] * 4)
    unanswered.loc[unanswered["v1"] == "reparation", "followed"] = np.nan
    assert regression.references(unanswered)["v1"] == "duty"


def test_factors_of_several_regressions_stand_under_each_other():
    frame = simulated()
    fits = {"logit": clustered_logit(frame, REFERENCES), "gee": gee(frame, REFERENCES)}
    table = regression.factors_of(fits)
    assert list(table["regression"].unique()) == ["logit", "gee"]
    assert list(table)[-1] == "regression"
    for name, fit in fits.items():
        part = table[table["regression"] == name].drop(columns="regression").reset_index(drop=True)
        pd.testing.assert_frame_equal(part, fit.factors, check_dtype=False)


# ---- clustered logit and GEE ----


by_cell = partial(clustered_logit, cluster=("cell",))


def _statsmodels_logit(frame):
    answered = frame.dropna(subset="followed")
    groups = answered.groupby(["model", "cell"]).ngroup()
    return smf.logit(FORMULA, answered).fit(disp=False, cov_type="cluster", cov_kwds={"groups": groups})


def test_clustered_logit_is_statsmodels_formula():
    frame = simulated()
    found = clustered_logit(frame, REFERENCES, cluster=("model", "cell"))
    expected = _statsmodels_logit(frame)
    terms = found.terms.set_index("term")
    assert list(terms.index) == list(TRUTH)
    assert list(terms["coefficient"]) == pytest.approx(list(expected.params), abs=1e-6)
    assert list(terms["error"]) == pytest.approx(list(expected.bse), rel=1e-5)
    assert found.pseudo_r2 == pytest.approx(expected.prsquared)
    assert (found.trials, found.clusters) == (frame["followed"].notna().sum(), 300)


def test_errors_are_the_sandwich_and_intervals_students():
    """The definition: bread of −H⁻¹, meat of score sums by cluster, G/(G − 1) · (n − 1)/(n − k)."""
    frame = simulated().dropna(subset="followed")
    found = clustered_logit(frame, {"model": "m0"}, (), ("cell",))
    x = np.column_stack(
        [np.ones(len(frame)), *(frame["model"] == m for m in ("m1", "m2", "m3", "m4"))]
    ).astype(float)
    p = expit(x @ found.terms["coefficient"])
    bread = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)
    scores = (
        pd.DataFrame(x * (frame["followed"].to_numpy() - p)[:, None]).groupby(frame["cell"].to_numpy()).sum()
    )
    n, (groups, k) = len(frame), scores.shape
    v = bread @ scores.T.to_numpy() @ scores.to_numpy() @ bread * groups / (groups - 1) * (n - 1) / (n - k)
    assert list(found.terms["error"]) == pytest.approx(np.sqrt(np.diag(v)), rel=1e-5)
    half = stats.t.ppf(0.975, groups - 1) * found.terms["error"]
    assert list(found.terms["high"] - found.terms["coefficient"]) == pytest.approx(list(half))


def test_gee_is_statsmodels_formula():
    frame = simulated()
    answered = frame.dropna(subset="followed")
    expected = smf.gee(
        FORMULA, "cell", answered, family=sm.families.Binomial(), cov_struct=sm.cov_struct.Exchangeable()
    ).fit()
    found = gee(frame.sample(frac=1, random_state=1), REFERENCES)
    assert list(found.terms["coefficient"]) == pytest.approx(list(expected.params), abs=1e-6)
    assert list(found.terms["error"]) == pytest.approx(list(expected.bse), rel=1e-5)
    assert found.clusters == 60
    assert math.isnan(found.pseudo_r2)


@pytest.mark.parametrize("fit", [by_cell, gee], ids=["logit", "gee"])
def test_the_truth_is_recovered(fit):
    found = fit(simulated(cells=240, seed=3), REFERENCES).terms.set_index("term")
    assert found["error"].max() < 0.12
    for term, true in TRUTH.items():
        assert abs(found.loc[term, "coefficient"] - true) < 3.5 * found.loc[term, "error"]


def test_wald_tests_from_their_definition():
    frame = simulated()
    found = clustered_logit(frame, REFERENCES, cluster=("cell",))
    fit = smf.logit(FORMULA, frame.dropna(subset="followed")).fit(
        disp=False,
        cov_type="cluster",
        cov_kwds={"groups": frame.dropna(subset="followed")["cell"].factorize()[0]},
    )
    printed = fit.wald_test_terms(scalar=True, skip_single=False).table
    factors = found.factors.set_index("factor")
    for name, term in zip(factors.index, printed.index[1:], strict=True):
        assert factors.loc[name, "chi2"] == pytest.approx(printed.loc[term, "statistic"], rel=1e-4)
        assert factors.loc[name, "p_chi2"] == pytest.approx(printed.loc[term, "pvalue"], rel=1e-3, abs=1e-12)
        q, chi2 = factors.loc[name, "df"], factors.loc[name, "chi2"]
        f = chi2 * (60 - q) / (q * 59)
        assert factors.loc[name, "p_value"] == pytest.approx(stats.f.sf(f, q, 60 - q))
    # With one coefficient, F is the square of t.
    by_term = found.terms.set_index("term").loc["n_examples", "p_value"]
    assert factors.loc["n_examples", "p_value"] == pytest.approx(by_term)


def test_a_factor_that_nobody_heeds_has_a_statistic_of_zero_and_not_of_rounding():
    once = simulated().assign(position="A")
    both = pd.concat([once, once.assign(position="B")], ignore_index=True)
    row = clustered_logit(both, {"position": "A"}, (), ("cell",)).factors.set_index("factor").loc["position"]
    assert (row["chi2"], row["p_value"]) == (0, 1)


@pytest.mark.slow
def test_wald_by_f_rejects_about_as_often_as_stated_where_chi2_does_not():
    """Fifty levels of eight cells, as value pairs have; no effect, cells of very different rates."""
    rng = np.random.default_rng(5)
    rejected = np.zeros(2)
    cell = np.arange(400).repeat(3)
    frame = pd.DataFrame({"cell": cell, "level": (cell % 50).astype(str)})
    for _ in range(50):
        rates = rng.beta(2, 2, 400)[cell]
        frame["followed"] = (rng.random(1200) < rates).astype(float)
        row = clustered_logit(frame, {"level": "0"}, (), ("cell",)).factors.iloc[0]
        rejected += [row["p_value"] < 0.05, row["p_chi2"] < 0.05]
    assert rejected[1] / 50 > 0.15
    assert rejected[0] / 50 < 0.15


@pytest.mark.parametrize("fit", [clustered_logit, gee])
def test_a_level_that_never_varies_is_missing_and_leaves_the_others_as_they_are(fit):
    frame = simulated()
    sure = frame[frame["model"] == "m1"].assign(model="sure", followed=1.0)
    without = fit(frame, REFERENCES).terms.set_index("term")
    found = fit(pd.concat([frame, sure]), REFERENCES).terms.set_index("term")
    assert found.loc["model:sure"].isna().all()
    pd.testing.assert_frame_equal(found.drop(index="model:sure"), without)


def test_trials_of_a_constant_level_say_nothing_in_the_limit():
    """A coefficient fixed at 12 logits for the constant level leaves the others where leaving it out does."""
    frame = simulated()
    sure = frame[frame["model"] == "m1"].assign(model="sure", followed=1.0)
    both = pd.concat([frame, sure]).dropna(subset="followed")
    columns = {
        "intercept": np.ones(len(both)),
        **{f"model:{m}": both["model"] == m for m in ("m1", "m2", "m3", "m4")},
        **{f"v1:{v}": both["v1"] == v for v in "ac"},
        "n_examples": both["n_examples"],
    }
    x = np.column_stack(list(columns.values())).astype(float)
    offset = np.where(both["model"] == "sure", 12.0, 0.0)
    fixed = sm.GLM(both["followed"], x, family=sm.families.Binomial(), offset=offset).fit(
        start_params=np.zeros(8)
    )
    found = clustered_logit(pd.concat([frame, sure]), REFERENCES).terms.set_index("term").loc[list(columns)]
    assert list(found["coefficient"]) == pytest.approx(list(fixed.params), abs=1e-4)


def test_a_level_in_few_clusters_has_no_error_and_no_part_in_the_test():
    frame = simulated()
    few = frame["cell"].isin(["c00", "c03", "c06", "c09"])
    found = clustered_logit(frame.assign(v1=frame["v1"].mask(few, "rare")), REFERENCES, cluster=("cell",))
    terms = found.terms.set_index("term")
    assert np.isfinite(terms["coefficient"]).all()
    assert list(terms.index[terms["error"].isna()]) == ["v1:rare"]
    assert found.factors.set_index("factor").loc["v1", "df"] == 2


@pytest.mark.parametrize("fit", [by_cell, gee], ids=["logit", "gee"])
def test_a_factor_that_cannot_be_tested_keeps_its_row(fit):
    frame = simulated()
    tested = fit(frame, REFERENCES).factors.set_index("factor")
    assert list(tested.index) == ["model", "v1", "n_examples"]
    assert tested.notna().all(axis=None)
    # Two clusters a model, and four a value.
    few = frame[(frame["model"] != "m4") & frame["v1"].isin(["a", "b"])]
    few = few.assign(cell=few["model"] + few["v1"])
    found = fit(few, REFERENCES).factors.set_index("factor")
    assert list(found.index) == list(tested.index)
    assert found.loc[["model", "v1"]].isna().all(axis=None)
    assert found.loc["n_examples"].notna().all()


def test_as_many_levels_as_clusters_are_not_tested():
    frame = simulated(cells=6)
    letters = frame["cell"].str[-1]
    many = frame.assign(level=letters + (frame.index % 2).astype(str)).query("level != '51'")
    found = clustered_logit(many, {"level": "00"}, cluster=("model",))
    assert (found.clusters, len(found.terms)) == (5, 12)
    assert found.factors.set_index("factor").loc["level"].isna().all()
    assert found.terms["coefficient"].notna().all()


@pytest.mark.parametrize("fit", [clustered_logit, gee])
def test_separation_leaves_nothing_estimated(fit):
    frame = simulated()
    separated = frame.assign(followed=(frame["n_examples"] > 10).astype(float))
    constant = frame.assign(followed=frame["followed"].where(frame["model"] != "m0", 1.0))
    quasi = frame.assign(followed=frame["followed"].where(frame["n_examples"] < 40, 1.0))
    quasi["many"] = (quasi["n_examples"] == 40).astype(float)
    for found in (
        fit(separated, REFERENCES),
        fit(constant, REFERENCES),
        fit(quasi, REFERENCES, ("many",)),
        fit(frame.assign(followed=1.0), REFERENCES),
    ):
        assert found.terms.drop(columns="term").isna().all(axis=None)
        assert found.factors.drop(columns="factor").isna().all(axis=None)
        assert (found.trials, found.clusters) == (0, 0)


def test_faulty_input_is_named():
    frame = simulated()
    with pytest.raises(
        UserError, match="reference level 'm9' of model has no answered trials; there are m0, m1, m2, m3, m4"
    ):
        clustered_logit(frame, {"model": "m9"})
    with pytest.raises(UserError, match="there are none at all"):
        clustered_logit(frame.assign(followed=np.nan), REFERENCES)
    twin = frame.assign(twin=frame["v1"].str.upper())
    with pytest.raises(UserError, match="effects of v1, twin, n_examples apart"):
        clustered_logit(twin, {"v1": "a", "twin": "A"})


# ---- random intercepts ----


@given(
    k=st.lists(st.integers(0, 30), min_size=2, max_size=5),
    extra=st.integers(0, 400),
    beta=st.floats(-3, 3),
    tau=st.floats(0, 3),
)
@settings(max_examples=40)
def test_log_likelihood_is_the_exact_integral(k, extra, beta, tau):
    """scipy's adaptive quadrature, split at the mode, of the integrand scaled by its peak."""
    k, n = np.array(k, float), np.array(k, float) + extra + 1
    grid = np.linspace(-12, 12, 4801)
    total = 0.0
    for successes, size in zip(k, n, strict=True):

        def log_integrand(z, successes=successes, size=size):
            eta = beta + tau * z
            return successes * eta - size * np.logaddexp(0, eta) - z**2 / 2

        at = grid[np.argmax(log_integrand(grid))]
        peak = log_integrand(at)
        area, _ = quad(
            lambda z, peak=peak, f=log_integrand: math.exp(f(z) - peak),
            -12, 12, points=[at - 0.5, at, at + 0.5], limit=200,
        )  # fmt: skip
        total += peak + math.log(area) - math.log(2 * math.pi) / 2
    assert log_likelihood(k, n, beta, tau).value == pytest.approx(total, abs=1e-5)


def test_the_estimate_is_the_maximum():
    k, n = np.array([12, 40, 55, 70, 33.0]), np.full(5, 100.0)
    fit = random_intercept(k, n)
    best = log_likelihood(k, n, fit.intercept, fit.sd)
    for step in ((0.02, 0), (-0.02, 0), (0, 0.02), (0, -0.02), (0.02, 0.02)):
        assert log_likelihood(k, n, fit.intercept + step[0], fit.sd + step[1]).value < best.value
    # As near as the rounding of the spread lets it come.
    assert best.gradient == pytest.approx([0, 0], abs=1e-4)


@given(
    counts=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60)), min_size=2, max_size=5),
    beta=st.floats(-2, 2),
    tau=st.floats(-1.5, 1.5),
)
@settings(max_examples=40)
def test_derivatives_are_those_of_the_value(counts, beta, tau):
    """Against statsmodels' central differences."""
    k, rest = np.array(counts, dtype=float).T
    n, at = k + rest + 1, np.array([beta, tau])
    found = log_likelihood(k, n, beta, tau)

    def value(parameters):
        return log_likelihood(k, n, *parameters).value

    assert found.gradient == pytest.approx(approx_fprime(at, value, centered=True), abs=1e-4, rel=1e-5)
    assert found.hessian == pytest.approx(approx_hess(at, value), abs=0.02, rel=1e-4)


def test_slopes_of_the_rates_are_their_derivatives():
    at = np.array([-0.7, 0.9])
    for rate in (regression._conditional, regression._marginal):
        numeric = approx_fprime(at, lambda x, rate=rate: logit(rate(x)[0]), centered=True)
        assert rate(at)[1] == pytest.approx(numeric, abs=1e-8)


def test_conditional_and_marginal_from_their_definitions():
    fit = random_intercept([12, 40, 55, 70, 33], [100] * 5)
    assert fit.conditional == pytest.approx(expit(fit.intercept))
    mean, _ = quad(lambda z: expit(fit.intercept + fit.sd * z) * stats.norm.pdf(z), -10, 10)
    assert fit.marginal == pytest.approx(mean, abs=1e-8)
    assert fit.conditional_low < fit.conditional < fit.conditional_high
    assert fit.marginal_low < fit.marginal < fit.marginal_high


def test_close_to_statsmodels_variational_bayes():
    """BinomialBayesMixedGLM.fit_vb, under wide priors; it approximates, so only closeness is asked."""
    rng = np.random.default_rng(4)
    group = np.arange(11).repeat(120)
    followed = (rng.random(len(group)) < expit(-0.8 + rng.normal(0, 0.5, 11)[group])).astype(float)
    other = BinomialBayesMixedGLM(
        followed, np.ones((len(group), 1)), np.eye(11)[group], ident=np.zeros(11, int), vcp_p=3, fe_p=10
    ).fit_vb(mean=np.zeros(13), sd=np.full(13, 0.5))
    counts = pd.Series(followed).groupby(group).agg(["sum", "count"])
    fit = random_intercept(counts["sum"].to_numpy(), counts["count"].to_numpy())
    assert fit.intercept == pytest.approx(other.fe_mean[0], abs=0.01)
    assert fit.sd == pytest.approx(math.exp(other.vcp_mean[0]), rel=0.1)


def test_groups_that_do_not_differ_give_the_pooled_rate():
    fit = random_intercept([30, 60, 15], [100, 200, 50])
    assert fit.sd == pytest.approx(0, abs=1e-3)
    assert (fit.conditional, fit.marginal) == pytest.approx((0.3, 0.3), abs=1e-5)
    half = stats.t.ppf(0.975, 2) / math.sqrt(350 * 0.3 * 0.7)
    assert logit(fit.conditional_high) - logit(0.3) == pytest.approx(half, rel=1e-3)


def test_true_centre_and_spread_are_recovered():
    """100 groups of 60 trials; means of ten fits, within four standard errors of such a mean."""
    rng = np.random.default_rng(6)
    fits = []
    for _ in range(10):
        rates = expit(-0.7 + rng.normal(0, 0.6, 100))
        fits.append(random_intercept(rng.binomial(60, rates), [60] * 100))
    assert np.mean([fit.intercept for fit in fits]) == pytest.approx(-0.7, abs=4 * 0.067 / math.sqrt(10))
    assert np.mean([fit.sd for fit in fits]) == pytest.approx(0.6, abs=4 * 0.053 / math.sqrt(10))


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=3, max_size=8))
@settings(max_examples=20)
def test_mirrored_outcomes_mirror_the_fit(counts):
    k, rest = np.array(counts, dtype=float).T
    there, back = random_intercept(k, k + rest), random_intercept(rest, k + rest)
    assert back.marginal == pytest.approx(1 - there.marginal, abs=1e-8)
    assert back.sd == pytest.approx(there.sd, abs=1e-4)


@pytest.mark.parametrize(
    ("k", "n"), [([0, 0, 0], [9, 9, 9]), ([9, 0, 9], [9, 9, 9]), ([4], [9]), ([4, 0], [9, 0]), ([], [])]
)
def test_without_a_maximum_nothing_is_estimated(k, n):
    assert np.isnan(random_intercept(k, n)).all()


def test_adjusted_rates_have_a_row_per_model():
    frame = simulated(cells=90)
    sure = frame[frame["model"] == "m1"].assign(model="sure", followed=1.0)
    table = adjusted_rates(pd.concat([frame, sure])).set_index("model")
    answered = frame.dropna(subset="followed")
    for model, trials in answered.groupby("model"):
        counts = trials.groupby("v1")["followed"].agg(["sum", "count"])
        fit = random_intercept(counts["sum"].to_numpy(), counts["count"].to_numpy())
        row = table.loc[model]
        assert (row["answered"], row["groups"], row["raw"]) == (len(trials), 3, trials["followed"].mean())
        assert list(row[list(fit._fields)]) == pytest.approx(list(fit))
    assert table.loc["sure", "raw"] == 1
    assert table.loc["sure", ["conditional", "marginal"]].isna().all()


def test_published_cells_give_about_the_published_difference_between_adjusted_and_raw():
    """In print the mean absolute difference is .003."""
    cells, by_model, by_value = (
        pd.read_csv(paths.PUBLISHED / f"dvb_{name}.csv")
        for name in ("model_by_value", "by_model", "by_value")
    )
    found = simulated_adjustment(cells, by_model, by_value, runs=3, seed=1).set_index("adjusted")
    assert found.loc["conditional", "difference"] == pytest.approx(0.003, abs=0.001)
    assert found.loc["marginal", "difference"] > found.loc["conditional", "difference"]
    again = simulated_adjustment(cells, by_model, by_value, runs=3, seed=1).set_index("adjusted")
    pd.testing.assert_frame_equal(found, again)


def test_the_printed_model_has_the_printed_terms():
    """Names as in print, but for the column of the preferred value and dates in models' names."""
    printed = pd.read_csv(paths.PUBLISHED / "dvb_logit.csv")["term"]
    factors = printed.str.partition(":")[0].replace("value", "v1")
    assert set(factors) == {"intercept", *regression.PUBLISHED_REFERENCES, "n_examples"}
    assert not set(printed) & {f"{a}:{b}" for a, b in regression.PUBLISHED_REFERENCES.items()}

"""Tables of study 1: columns in their order, how cells are written, and what a missing one shows."""

import math

import pandas as pd
import pytest

from deepvalues.core import paths
from deepvalues.core.number_format import MISSING
from deepvalues.studies.dvb import tables
from deepvalues.studies.dvb.analysis import published
from deepvalues.studies.dvb.analysis.orders import PUBLISHED
from deepvalues.studies.dvb.analysis.verdict_errors import RESPONDENTS
from markdown_cells import head, rows, shown, to_the_right

NAN = math.nan


def read(table):
    """Rows of a Markdown table, with plain spaces, as mappings from head to cell."""
    plain = table.replace("\u00a0", " ")
    return [dict(zip(head(plain), row, strict=True)) for row in rows(plain)]


def frame(columns, *rows):
    return pd.DataFrame(rows, columns=columns.split())


def test_recovery():
    columns = "parameter true estimate low high held coverage"
    found = frame(
        columns, ("b0", 0.4, 0.436, 0.297, 0.5754, True, 0.94), ("d", -0.8, NAN, NAN, NAN, False, 0.96)
    )
    known, unknown = read(shown(tables.recovery(found), "dvb/simulated_coverage"))
    assert list(known.values()) == ["$b_0$", "0.400", "0.436", "[0.297, 0.575]", "yes", ".940"]
    assert list(known) == ["parameter", "true", "estimate", "95% interval", "covers truth", "coverage"]
    assert list(unknown.values()) == ["$d$", "−0.800", MISSING, MISSING, MISSING, ".960"]


def test_verdicts_of_simulated_respondents():
    verdicts = "value surface both layer_open prior place no_capability undecided"
    columns = f"truth cells scale {verdicts} right right_low right_high"
    shares = (0.9, 0, 0.02, 0.08, 0, 0, 0, 0)
    found = frame(
        columns,
        ("value", 50, "log odds", *shares, 0.9, 0.85, 0.93),
        ("coin", 200, "share − .5", *shares, 0.1, 0.05, 0.2),
    )
    value, coin = read(shown(tables.verdict_errors(found), "dvb/verdict_errors"))
    assert [
        value[name] for name in ("respondent", "cells", "judged by", "layer unclear", "right verdict")
    ] == [
        "learned the value",
        "50",
        "log odds",
        ".080",
        ".900",
    ]
    assert value["95% interval"] == "[.850, .930]"
    assert (coin["respondent"], coin["judged by"]) == ("tosses a coin", "choices")


def test_every_simulated_respondent_has_words():
    assert list(tables._TRUTHS) == list(RESPONDENTS)


# ---- rates ----

RATES = "model family size_tier answered dvgr wilson_low wilson_high clustered_low clustered_high"
RATES += " p_holm cohens_h cohens_g bound_low bound_high"


@pytest.fixture
def rates():
    def row(model, family, dvgr, clustered):
        return (
            model,
            family,
            "large",
            1200,
            dvgr,
            dvgr - 0.01,
            dvgr + 0.02,
            *clustered,
            *[0.0004, -0.4, dvgr - 0.5],
        )

    def bounded(*args):
        return (*row(*args), 0.2, 0.9)

    return frame(
        RATES,
        bounded("agent-value", "reference agent", 0.9, (NAN, NAN)),
        bounded("learner-b", "text learner", 0.3, (0.25, 0.35)),
        bounded("learner-a", "text learner", 0.3, (0.25, 0.35)),
        bounded("gpt-x", "language model", 0.1, (0.05, 0.15)),
        bounded("gpt-y", "language model", 0.2, (0.15, 0.25)),
    )


def test_dvgr_puts_language_models_first_and_rates_in_falling_order(rates):
    rows = read(shown(tables.dvgr(rates), "dvb/dvgr_by_model"))
    assert [row["model"] for row in rows] == ["gpt-y", "gpt-x", "learner-a", "learner-b", "agent-value"]
    assert rows[0] == {
        "model": "gpt-y",
        "n": "1,200",
        "DVGR": ".200",
        "Wilson": "[.190, .220]",
        "clustered": "[.150, .250]",
        "p (Holm)": "<.001",
        "h": "−0.40",
        "g": "−0.30",
        "bounds": "[.200, .900]",
    }
    assert rows[-1]["clustered"] == MISSING
    assert to_the_right(shown(tables.dvgr(rates), "dvb/dvgr_by_model")) == ["n", "DVGR", "p (Holm)", "h", "g"]


def test_the_public_prompts_put_the_published_models_last():
    columns = "model family prompts dvgr low high dvgr_first dvgr_swapped both consistency"
    found = frame(
        columns,
        ("learner-words", "text learner", 99, 49 / 99, 0.398, 0.592, 49 / 99, 49 / 99, 99, 1.0),
        ("qwen", "language model", 73, 0.5, 0.388, 0.612, 0.75, 0.25, 73, 0.26),
        (PUBLISHED, "language model", 12000, 0.302, 0.3, 0.305, 0.302, NAN, 0, NAN),
    )
    rows = read(shown(tables.authors(found), "models/public_prompts"))
    assert [row["respondent"] for row in rows] == ["qwen", "learner-words", "published models"]
    assert rows[1] == {
        "respondent": "learner-words",
        "prompts": "99",
        "DVGR": ".495",
        "interval": "[.398, .592]",
        "first order": ".495",
        "exchanged": ".495",
        "order consistency": "1.000",
    }
    assert (rows[2]["prompts"], rows[2]["exchanged"], rows[2]["order consistency"]) == (
        "12,000",
        MISSING,
        MISSING,
    )
    assert to_the_right(shown(tables.authors(found), "models/public_prompts")) == [
        head for head in rows[0] if head not in ("respondent", "interval")
    ]


def test_intervals_end_with_the_mean_of_the_models_rates():
    pooled = frame(
        "model method clusters crossed estimate low high",
        ("pooled", "wilson", 9600, NAN, 0.611, 0.602, 0.621),
        ("pooled", "crossed", 11, 40.0, 0.611, NAN, NAN),
    )
    mean = frame("clusters estimate low high", (400, 0.6, 0.58, 0.63))
    table = shown(
        tables.intervals(pooled, mean, {"wilson": "Wilson", "crossed": "by value and dimension"}),
        "dvb/intervals",
    )
    first, second, last = read(table)
    assert "clusters" in to_the_right(table)
    assert first == {
        "method": "Wilson",
        "clusters": "9,600",
        "estimate": ".611",
        "interval": "[.602, .621]",
        "width": ".019",
    }
    assert (second["interval"], second["width"]) == (MISSING, MISSING)
    assert second["clusters"] == "11 × 40"
    assert last["method"] == "mean of the models' rates, cells resampled"
    assert (last["clusters"], last["width"]) == ("400", ".050")


def test_control_says_who_is_flagged():
    columns = "model answered accuracy wilson_low wilson_high clustered_low clustered_high flagged"
    good, bad = read(
        shown(
            tables.control(
                frame(
                    columns,
                    ("a", 400, 1.0, 0.99, 1.0, NAN, NAN, False),
                    ("b", 400, 0.5, 0.4, 0.6, 0.3, 0.7, True),
                )
            ),
            "dvb/control",
        )
    )
    assert list(good.values()) == ["a", "400", "1.000", "[.990, 1.000]", MISSING, ""]
    assert (bad["clustered"], bad["flagged"]) == ("[.300, .700]", "flagged")


# ---- print ----


@pytest.fixture(scope="module")
def sides():
    return published.side_by_side(paths.PUBLISHED)


def test_classes_are_counts_with_their_sum(sides):
    rows = read(shown(tables.classes(published.classes(sides)), "dvb/print_classes"))
    named = [row["published numbers"] for row in rows]
    assert named[:2] == ["agreement of models", "by domain"]
    assert named[-1] == "all"
    assert MISSING not in named, "every file of print has a name in words"
    total = rows[-1]
    assert list(total)[1:] == ["exact", "within rounding", "differs", "not recomputable", "all"]
    for name in list(total)[1:]:
        assert int(total[name]) == sum(int(row[name]) for row in rows[:-1])


def test_every_figure_that_can_be_recomputed_stands_beside_print(sides):
    rows = read(
        shown(
            tables.side_by_side(sides, {"non_maleficence": "non-maleficence", "n_examples": "examples"}),
            "dvb/print_and_recomputation",
        )
    )
    assert len(rows) == (sides["class"] != "not recomputable").sum()
    assert list(rows[0]) == ["quantity", "of", "published", "recomputed", "range", "class"]
    found = {(row["quantity"], row["of"]): row for row in rows}
    exact = found["χ²", "model"]
    assert (exact["published"], exact["recomputed"], exact["range"]) == ("1918.04", "1,918.0361", MISSING)
    coarse = found["DVGR", "commerce"]
    assert coarse == {
        "quantity": "DVGR",
        "of": "commerce",
        "published": "0.36",
        "recomputed": "0.3650",
        "range": "0.3633 to 0.3666",
        "class": "within rounding",
    }
    assert ("DVGR", "non-maleficence") in found
    assert ("df", "examples") in found
    assert ("χ²", "preferred value") in found
    assert not any("-" in row["published"] for row in rows), "minus signs, no hyphens"
    # A bare number of examples says what it is.
    assert ("interval from", "N = 20") in found


# ---- comparisons ----


def test_factors():
    columns = "factor chi2 df p_value cramers_v cluster wald_chi2 wald_df wald_df_error wald_p wald_p_holm"
    table = shown(
        tables.factors(
            frame(
                columns,
                ("n_examples", 31.24, 2.0, 1e-6, 0.057, "cell", 9.0, 2.0, 398.0, 0.0004, 0.005),
                ("value", NAN, NAN, NAN, NAN, "target_value_wording", NAN, NAN, NAN, NAN, NAN),
            ),
            {"n_examples": "number of examples", "value": "preferred value"},
            {"cell": "cell", "target_value_wording": "test wording of the value"},
        ),
        "dvb/factor_tests",
    )
    first, second = read(table)
    assert list(first.values())[1:] == ["31.2", "2", "<.001", ".057", "cell", "398", "<.001", ".005"]
    assert list(first) == ["factor", "χ²", "df", "p", "V", "clusters", "df error", "p (Wald)", "p (Holm)"]
    assert (first["factor"], second["factor"]) == ("number of examples", "preferred value")
    assert second["clusters"] == "test wording of the value"
    assert [cell for cell in second.values() if cell == MISSING] == [MISSING] * 7
    assert "clusters" not in to_the_right(table)


def test_prior_keeps_models_of_either_table():
    corrected = frame(
        "model pairs prior difference clustered_low clustered_high",
        ("a", 400, 0.5, -0.211, -0.264, -0.157),
        ("b", 400, 0.5, 0.0, NAN, NAN),
        ("c", 0, NAN, NAN, NAN, NAN),
    )
    position = frame(
        "model chose_a gap gap_low gap_high",
        *[(model, 0.521, 0.042, -0.009, 0.093) for model in "abcd"],
    )
    a, b, c, d = read(shown(tables.prior(corrected, position), "dvb/prior_corrected"))
    assert a == {
        "model": "a",
        "prior": ".500",
        "DVGR − prior": "−.211 [−.264, −.157]",
        "chose A": ".521",
        "position gap": ".042 [−.009, .093]",
    }
    assert b["DVGR − prior"] == f".000 {MISSING}"
    for row in (c, d):
        assert (row["prior"], row["DVGR − prior"]) == (MISSING, MISSING)


def test_regression():
    found = frame(
        "factor chi2 df df_error p_value p_chi2 regression",
        ("v1", 58.71, 10.0, 78.0, 0.0001, 0.0001, "logit"),
        ("model", NAN, NAN, NAN, NAN, NAN, "gee"),
    )
    first, second = read(
        shown(tables.regression(found, {"v1": "preferred value", "model": "model"}), "dvb/regression_factors")
    )
    assert first == {
        "regression": "logit",
        "factor": "preferred value",
        "χ²": "58.7",
        "df": "10",
        "df error": "78",
        "p (F)": "<.001",
    }
    assert list(second.values()) == ["GEE", "model", *[MISSING] * 4]


# ---- ratings, validation, stimuli ----


def test_validation_puts_print_below():
    columns = "task stimulus model answered accuracy wilson_low wilson_high clustered_low clustered_high"
    ours = frame(columns, ("embodies_value", "test", "m", 200, 0.54, 0.471, 0.608, 0.47, 0.61))
    printed = frame(
        "task judges trials accuracy ci_low ci_high", ("predicts_choice", "people", 200, 0.91, 0.86, 0.94)
    )
    first, second = read(shown(tables.validation(ours, printed), "dvb/validation"))
    assert list(first) == ["task", "stimulus", "judges", "answered", "accuracy", "Wilson", "clustered"]
    assert list(first.values()) == [
        "embodies value",
        "test",
        "m",
        "200",
        ".540",
        "[.471, .608]",
        "[.470, .610]",
    ]
    assert list(second.values()) == [
        *["predicts choice", "training", "published: people", "200", ".910", "[.860, .940]", MISSING]
    ]

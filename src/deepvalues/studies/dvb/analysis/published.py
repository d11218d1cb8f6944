"""The published Deep Value Benchmark, recomputed from the figures in its paper.

Ashkinaze, Shen, Avula, Gilbert and Budak (2025), NeurIPS, arXiv 2511.02109. Counts reproduce a figure
digit by digit. Rounded rates give a range, from half a unit of their last printed digit on either side.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from deepvalues.core.errors import UserError
from deepvalues.stats.contrasts import (
    Range,
    chi_squared_range,
    corner_range,
    factor_test,
    rate_range,
    wilson_ranges,
)
from deepvalues.stats.rates import CONFIDENCE, cohens_h, exact_test, smallest_sample, wilson

#: The possible outcomes of recomputing a published figure.
CLASSES = ("exact", "within rounding", "differs", "not recomputable")
_BOUNDS = ("ci_low", "ci_high")


@dataclass(frozen=True)
class _Printed:
    """A figure as printed."""

    text: str
    value: float
    half: float
    at_most: bool

    @classmethod
    def read(cls, text: str, decimals: int | None = None) -> _Printed:
        """Read a figure; `decimals` restores trailing zeros that a CSV file drops."""
        bare = text.removeprefix("<")
        exponent = Decimal(bare).as_tuple().exponent
        digits = int(exponent) if decimals is None else -decimals
        return cls(text, float(bare), 0.5 * 10.0**digits, text.startswith("<"))

    @property
    def box(self) -> tuple[float, float]:
        return self.value, self.half

    def agrees(self, found: Range) -> bool:
        """Whether some value in a range prints as this figure; false for a range of NaN."""
        slack = self.half * (1 + 1e-9)
        if self.at_most:
            return found.high < self.value
        return found.low <= self.value + slack and found.high >= self.value - slack


def _row(
    name: str, quantity: str, where: str, printed: _Printed, found: float | Range | None, why: str
) -> dict[str, object]:
    """A row of `side_by_side`.

    Parameters
    ----------
    name
        Of the file, without ``dvb_`` and ``.csv``.
    found
        The figure from counts, the range that rounding of the inputs allows, or None.
    why
        What the figure was recomputed from, or why it was not.
    """
    at = found if isinstance(found, Range) else Range(*[math.nan if found is None else float(found)] * 3)
    if found is None:
        kind = "not recomputable"
    elif not printed.agrees(at):
        kind = "differs"
    else:
        kind = "within rounding" if isinstance(found, Range) else "exact"
    return {
        "source_file": f"dvb_{name}.csv",
        "quantity": quantity,
        "where": where,
        "printed": printed.text,
        "recomputed": at.estimate,
        "difference": math.nan if printed.at_most else at.estimate - printed.value,
        "unit": 2 * printed.half,
        "range_low": at.low,
        "range_high": at.high,
        "class": kind,
        "inputs": "" if found is None else why,
        "reason": why if found is None else "",
    }


_Rows = Iterator[dict[str, object]]


class _PublishedTables:
    """The published CSV files: as text for the digits, as numbers for calculation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def text(self, name: str) -> pd.DataFrame:
        path = self.folder / f"dvb_{name}.csv"
        try:
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        except FileNotFoundError:
            raise UserError(f"no {path.name} among the published figures in {self.folder}") from None

    def numbers(self, name: str) -> pd.DataFrame:
        self.text(name)
        return pd.read_csv(self.folder / f"dvb_{name}.csv")

    def statistic(self, quantity: str) -> _Printed:
        table = self.text("statistics")
        return _Printed.read(table.loc[table["quantity"] == quantity, "printed"].item())


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """The published tables of study 1, by file name without ``dvb_`` and ``.csv``."""
    return {path.stem.removeprefix("dvb_"): pd.read_csv(path) for path in sorted(folder.glob("dvb_*.csv"))}


#: All entries of these columns have as many decimals as the longest one shows.
_EVEN_COLUMNS = ("dvgr", "ci_low", "ci_high", "cramers_v", "difference")


def _column(table: pd.DataFrame, column: str) -> list[_Printed]:
    decimals = None
    if column in _EVEN_COLUMNS:
        decimals = max(len(text.partition(".")[2]) for text in table[column])
    return [_Printed.read(text, decimals) for text in table[column]]


def side_by_side(folder: Path) -> pd.DataFrame:
    """Every published figure, compared with its recomputation.

    Columns that serve only as inputs (numbers of prompts, replies, participants and trials) are left out,
    except for totals that are printed twice.

    Parameters
    ----------
    folder
        ``data/published``, with the ``dvb_*.csv`` files.

    Returns
    -------
    pandas.DataFrame
        source_file, quantity, where (the row), printed (text), recomputed, difference (recomputed minus
        printed; NaN for "<"), unit (of the last printed digit), range_low and range_high (allowed by rounding
        of the inputs and by counts known only within bounds), class, inputs (used for recomputing),
        reason (if it could not be recomputed). Classes: "exact", recomputed from counts and equal at the
        printed digits; "within rounding", some value in the range rounds to the printed one; "differs";
        "not recomputable".

    Raises
    ------
    UserError
        When a file is missing.
    """
    paper = _PublishedTables(folder)
    parts: Sequence[Callable[[_PublishedTables], _Rows]] = (
        _statistics,
        _by_level,
        _factor_tests,
        _size_pairs,
        _by_n_examples,
        _validation,
        _shallowness,
        _odds,
        _agreement,
        _logit,
        _not_recomputable,
    )
    table = pd.DataFrame([row for part in parts for row in part(paper)])
    return table.sort_values("source_file", kind="stable", ignore_index=True)


def classes(table: pd.DataFrame) -> pd.DataFrame:
    """Number of figures by source file and class; the last row is the total.

    Parameters
    ----------
    table
        From `side_by_side`.

    Returns
    -------
    pandas.DataFrame
        source_file, one column per class, figures.
    """
    counts = table.groupby(["source_file", "class"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=list(CLASSES), fill_value=0)
    counts.loc["all files"] = counts.sum()
    counts["figures"] = counts.sum(axis=1)
    return counts.rename_axis(columns=None).reset_index()


def _statistics(paper: _PublishedTables) -> _Rows:
    by_model, domains = paper.numbers("by_model"), paper.numbers("by_domain")
    deep, used = int(by_model["n_deep"].sum()), int(by_model["n_parsed"].sum())
    asked = int(by_model["n_prompts"].sum())
    value_sets = paper.text("by_value")["value_set"].value_counts()
    printed = {quantity: paper.statistic(quantity) for quantity in paper.text("statistics")["quantity"]}
    design = {name: figure.value for name, figure in printed.items()}
    p_values = dvgr_summary(by_model["n_deep"], by_model["n_parsed"])["p_value"]
    cells = design["tuples_per_domain"] * len(domains)
    sample = smallest_sample(design["sample_effect"], design["sample_power"], design["sample_alpha"])
    figures = {
        "pooled_dvgr": (deep / used, "n_deep, n_parsed by model"),
        "replies_used": (used, "n_parsed by model"),
        "replies_asked": (asked, "n_prompts by model"),
        "share_used": (used / asked, "n_parsed, n_prompts by model"),
        "p_value_of_each_model": (p_values.max(), "n_deep, n_parsed by model; the largest of the nine"),
        "value_pairs": (sum(size * (size - 1) for size in value_sets), "values of each set"),
        "cells": (cells, "tuples per domain, domains"),
        "stimuli": (cells * design["rows_per_cell"] * 2, "cells, rows per cell, two versions"),
        "prompts": (
            cells * design["items_per_cell"] * len(paper.text("by_n_examples")),
            "cells, test items per cell, numbers of examples",
        ),
        "sample_size": (sample, "its effect, power and alpha"),
    }
    for quantity, (exact, inputs) in figures.items():
        yield _row("statistics", quantity, "", printed[quantity], exact, inputs)
    unknown = "mixed_logit_difference"
    yield _row("statistics", unknown, "", printed[unknown], None, "needs the trials")


def _by_level(paper: _PublishedTables) -> _Rows:
    """Intervals by value and by domain, their totals, and the pooled DVGR, which is printed twice."""
    for factor in ("value", "domain"):
        name, text, numbers = f"by_{factor}", paper.text(f"by_{factor}"), paper.numbers(f"by_{factor}")
        n = numbers["n_parsed"].to_numpy(dtype=float)
        total = paper.statistic("replies_used")
        yield _row(name, "replies used, all levels", "", total, n.sum(), "n_parsed")
        rates, lows, highs = (_column(text, column) for column in ("dvgr", *_BOUNDS))
        half = rates[0].half
        pooled = float(numbers["dvgr"] @ n / n.sum())
        allowed = Range(pooled, pooled - half, pooled + half)
        yield _row(name, "pooled DVGR", "", paper.statistic("pooled_dvgr"), allowed, "rates and n_parsed")
        rows = zip(numbers[factor], numbers["n_parsed"].astype(int), rates, lows, highs, strict=True)
        for level, count, rate, low, high in rows:
            implied = rate_range(low.box, high.box, count)
            yield _row(name, "dvgr", level, rate, implied, "interval and n_parsed")
            ranges = wilson_ranges(*rate.box, count)
            for quantity, bound, found in zip(_BOUNDS, (low, high), ranges, strict=True):
                yield _row(name, quantity, level, bound, found, "rate and n_parsed")


def _by_n_examples(paper: _PublishedTables) -> _Rows:
    """Intervals by N. Replies by N are not printed, but each N has at most its share of the prompts."""
    by_model, text = paper.numbers("by_model"), paper.text("by_n_examples")
    used, levels = int(by_model["n_parsed"].sum()), len(text)
    most = int(by_model["n_prompts"].sum()) // levels
    sizes = (used - (levels - 1) * most, used // levels, most)
    rates, lows, highs = (_column(text, column) for column in ("dvgr", *_BOUNDS))
    for n_examples, rate, low, high in zip(text["n_examples"], rates, lows, highs, strict=True):
        ranges = zip(*[wilson_ranges(*rate.box, n) for n in sizes], strict=True)
        for quantity, bound, allowed in zip(_BOUNDS, (low, high), ranges, strict=True):
            inputs = "rate, and the replies that each N can have"
            yield _row("by_n_examples", quantity, str(n_examples), bound, _union(allowed), inputs)


def _factor_tests(paper: _PublishedTables) -> _Rows:
    by_model = paper.numbers("by_model")
    used, deep = int(by_model["n_parsed"].sum()), int(by_model["n_deep"].sum())
    text = paper.text("factor_tests")
    found = {column: _column(text, column) for column in ("chi2", "df", "p_value", "cramers_v")}
    printed = {factor: {c: found[c][i] for c in found} for i, factor in enumerate(text["factor"])}
    tested = factor_test(deep_and_shallow(by_model))
    for quantity, figure in printed["model"].items():
        yield _row("factor_tests", quantity, "model", figure, tested[quantity], "counts by model")
    for factor, name in (("preferred_value", "by_value"), ("domain", "by_domain")):
        rates, numbers = _column(paper.text(name), "dvgr"), paper.numbers(name)
        n = numbers["n_parsed"].to_numpy(dtype=float)
        chi2 = chi_squared_range(np.array([rate.value for rate in rates]), rates[0].half, n, deep)
        yield from _from_chi2(printed[factor], factor, chi2, len(numbers) - 1, used, "rates and n_parsed")
    figures = printed["n_examples"]
    printed_chi2 = figures.pop("chi2")
    yield _row("factor_tests", "chi2", "n_examples", printed_chi2, None, "counts by N are not printed")
    chi2 = corner_range(float, printed_chi2.box)
    levels = len(paper.text("by_n_examples"))
    yield from _from_chi2(figures, "n_examples", chi2, levels - 1, used, "printed chi2")


def _from_chi2(printed: dict[str, _Printed], factor: str, chi2: Range, df: int, n: int, inputs: str) -> _Rows:
    """Rows of one factor test, from a range of its chi-squared."""
    p_values = [float(stats.chi2.sf(x, df)) for x in chi2]
    found: dict[str, float | Range] = {
        "df": df,
        "chi2": chi2,
        "p_value": Range(p_values[0], p_values[2], p_values[1]),
        "cramers_v": Range(*[math.sqrt(x / n) for x in chi2]),
    }
    for quantity, figure in printed.items():
        why = "number of levels" if quantity == "df" else inputs
        yield _row("factor_tests", quantity, factor, figure, found[quantity], why)


def _size_pairs(paper: _PublishedTables) -> _Rows:
    text = paper.text("size_pairs")
    found = size_pairs(paper.numbers("by_model"), text)
    where = text["large"] + " against " + text["small"]
    for quantity in ("difference", "chi2", "p_value", "cramers_v"):
        for figure, exact, at in zip(_column(text, quantity), found[quantity], where, strict=True):
            yield _row("size_pairs", quantity, at, figure, exact, "counts by model")


def _validation(paper: _PublishedTables) -> _Rows:
    text = paper.text("human_validation")
    found = validation_accuracies(text).set_index("experiment")
    names = {"estimate": "accuracy", "ci_low": "wilson_low", "ci_high": "wilson_high"}
    for row in text.to_dict("records"):
        where = f"{row['experiment']}: {row['measure']}"
        for column, name in names.items():
            # The bounds of means are handled in `_shallowness`.
            if not row[column] or (column != "estimate" and "SD" in row["note"]):
                continue
            known = row["experiment"] in found.index
            exact = found.loc[row["experiment"], name] if known else None
            why = "correct and trials" if known else "needs the ratings"
            yield _row("human_validation", column, where, _Printed.read(row[column]), exact, why)


def _shallowness(paper: _PublishedTables) -> _Rows:
    """Shallowness of deep and shallow pairs, from means and standard deviations.

    The number of ratings of each kind is not printed. Every split of the total that reproduces the four
    bounds counts as possible. The printed t is Welch's, despite its degrees of freedom.
    """
    rows = [row for row in paper.text("human_validation").to_dict("records") if "SD" in row["note"]]
    rows = [row for row in rows if row["experiment"] == "shallowness rating"]
    where = [f"{row['experiment']}: {row['measure']}" for row in rows]
    groups = [
        (_Printed.read(row["estimate"]), _Printed.read(_noted(row["note"], r"SD (\d\.\d+)"))) for row in rows
    ]
    note, total = rows[1]["note"], int(rows[0]["trials"])
    bounds = [(q, at, _Printed.read(row[q])) for row, at in zip(rows, where, strict=True) for q in _BOUNDS]
    rest = [
        ("cohens_d", where[1], _Printed.read(_noted(note, r" d=(\d\.\d+)"))),
        ("t", where[1], _Printed.read(_noted(note, r"t\(\d+\)=(-?\d+\.\d+)"))),
    ]
    possible = [(n, total - n) for n in range(2, total - 1)]
    splits = [(split, _bounds_of_means(groups, split)) for split in possible]
    fitting = [
        [*found, *_difference_of_means(groups, split)]
        for split, found in splits
        if all(bound.agrees(each) for (_, _, bound), each in zip(bounds, found, strict=True))
    ]
    merged = [_union(ranges) for ranges in zip(*fitting, strict=True)] or [_union([])] * 6
    inputs = "means, SDs and the splits of the ratings that fit the intervals"
    for (quantity, at, figure), found in zip([*bounds, *rest], merged, strict=True):
        yield _row("human_validation", quantity, at, figure, found, inputs)
    df = _Printed.read(_noted(note, r"t\((\d+)\)"))
    yield _row("human_validation", "df", where[1], df, total - 2, "number of ratings")


def _union(ranges: Sequence[Range]) -> Range:
    """The smallest range that covers all ranges, with the middle one's estimate; NaN without any."""
    if not ranges:
        return Range(math.nan, math.nan, math.nan)
    middle = ranges[len(ranges) // 2].estimate
    return Range(middle, min(each.low for each in ranges), max(each.high for each in ranges))


_Groups = Sequence[tuple[_Printed, _Printed]]


def _bounds_of_means(groups: _Groups, sizes: tuple[int, int]) -> list[Range]:
    """Lower and upper bound of each group's mean by Student's t."""
    found = []
    for (mean, sd), n in zip(groups, sizes, strict=True):
        reach = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) / math.sqrt(n)
        for by in (-reach, reach):
            found.append(corner_range(lambda m, s, by=by: m + by * s, mean.box, sd.box))
    return found


def _difference_of_means(groups: _Groups, sizes: tuple[int, int]) -> list[Range]:
    """Cohen's d with pooled SD (second minus first group) and Welch's t (first minus second)."""
    n_1, n_2 = sizes

    def cohens_d(m_1: float, s_1: float, m_2: float, s_2: float) -> float:
        return (m_2 - m_1) / math.sqrt(((n_1 - 1) * s_1**2 + (n_2 - 1) * s_2**2) / (n_1 + n_2 - 2))

    def welch(m_1: float, s_1: float, m_2: float, s_2: float) -> float:
        return (m_1 - m_2) / math.sqrt(s_1**2 / n_1 + s_2**2 / n_2)

    boxes = [figure.box for group in groups for figure in group]
    return [corner_range(cohens_d, *boxes), corner_range(welch, *boxes)]


def _odds(paper: _PublishedTables) -> _Rows:
    """Odds ratio and p-value from the printed interval, which is Wald's on the log scale."""
    name = "value_disposition_odds"
    z = stats.norm.ppf((1 + CONFIDENCE) / 2)

    def p_value(ratio: float, low: float, high: float) -> float:
        return float(2 * stats.norm.sf(abs(math.log(ratio)) * 2 * z / math.log(high / low)))

    for row in paper.text(name).to_dict("records"):
        ratio, low, high = (_Printed.read(row[c], 2) for c in ("odds_ratio", *_BOUNDS))
        middle = corner_range(lambda a, b: math.sqrt(a * b), low.box, high.box)
        yield _row(name, "odds_ratio", row["rating"], ratio, middle, "middle of the interval")
        for quantity, bound in zip(_BOUNDS, (low, high), strict=True):
            yield _row(name, quantity, row["rating"], bound, None, "needs the trials")
        implied = corner_range(p_value, ratio.box, low.box, high.box)
        printed = _Printed.read(row["p_value"])
        yield _row(name, "p_value", row["rating"], printed, implied, "odds ratio and interval")


def _agreement(paper: _PublishedTables) -> _Rows:
    rows = paper.text("agreement").to_dict("records")
    percent = {str(row["comparison"]): _Printed.read(row["agreement_percent"]) for row in rows}
    every, same, different, effect = percent
    pairs, models = _Printed.read(_noted(rows[0]["note"], r"(\d+) pairs")), len(paper.text("by_model"))
    yield _row("agreement", "pairs of models", every, pairs, math.comb(models, 2), "models")
    boxes = percent[same].box, percent[different].box
    found = [
        corner_range(lambda a, b, share=share: share * a + (1 - share) * b, *boxes)
        for share in _shares_of_same_developer(paper.numbers("by_model"))
    ]
    pooled = _union(found)._replace(estimate=sum(each.estimate for each in found) / 2)
    yield _row("agreement", "agreement_percent", every, percent[every], pooled, "the other two, replies")
    for name in (same, different, effect):
        yield _row("agreement", "agreement_percent", name, percent[name], None, "needs the replies")


def _noted(note: str, pattern: str) -> str:
    found = re.search(pattern, note)
    if not found:
        raise UserError(f"the note {note!r} of the published figures lacks what {pattern!r} looks for")
    return found[1]


def _shares_of_same_developer(by_model: pd.DataFrame) -> tuple[float, float]:
    """Least and greatest possible share of reply pairs from two models of the same developer.

    If a and b of n prompts were read for two models, they share at least a + b − n and at most min(a, b).
    """
    first, second = np.triu_indices(len(by_model), k=1)
    developer, n = by_model["developer"].to_numpy(), by_model["n_parsed"].to_numpy(dtype=float)
    same = developer[first] == developer[second]
    least = n[first] + n[second] - by_model["n_prompts"].to_numpy(dtype=float)[first]
    most = np.minimum(n[first], n[second])
    low = least[same].sum() / (least[same].sum() + most[~same].sum())
    high = most[same].sum() / (most[same].sum() + least[~same].sum())
    return float(low), float(high)


def _logit(paper: _PublishedTables) -> _Rows:
    text = paper.text("logit").set_index("term", drop=False)
    used = paper.numbers("by_model")["n_parsed"].sum()
    trials = _Printed.read(_noted(text["note"].iloc[0], r"n=(\d+)"))
    yield _row("logit", "trials", "", trials, used, "n_parsed by model")
    slopes = {term: _Printed.read(coefficient) for term, coefficient in text["coefficient"].items()}
    for term, printed in slopes.items():
        yield _row("logit", "coefficient", str(term), printed, None, "needs the trials")
    note = text["note"]["n_examples"]
    error, p_value = (_Printed.read(_noted(note, pattern)) for pattern in (r"SE (\.\d+)", r"p=(\.\d+)"))
    found = corner_range(
        lambda b, se: float(2 * stats.norm.sf(abs(b) / se)), slopes["n_examples"].box, error.box
    )
    yield _row("logit", "p_value", "n_examples", p_value, found, "coefficient and standard error")


#: Files that have only rates and means: key columns, figures, and what is not published.
_NOT_RECOMPUTABLE = {
    "by_n_examples": (["n_examples"], ["dvgr"], "counts by N are not printed"),
    "model_by_value": (["model", "value"], ["dvgr"], "counts by model and value are not printed"),
    "prompt_variants": (["variant"], ["dvgr", "ci_low", "ci_high"], "counts by variant are not printed"),
    "value_dispositions": (
        ["value"],
        ["popularity", "distinctiveness", "predictiveness"],
        "needs the ratings of each model",
    ),
}


def _not_recomputable(paper: _PublishedTables) -> _Rows:
    for name, (keys, quantities, reason) in _NOT_RECOMPUTABLE.items():
        text = paper.text(name)
        where = text[keys].agg(", ".join, axis=1)
        for quantity in quantities:
            for figure, row in zip(_column(text, quantity), where, strict=True):
                yield _row(name, quantity, row, figure, None, reason)


# ---- counts ----


def dvgr_summary(deep: pd.Series[int], n: pd.Series[int]) -> pd.DataFrame:
    """DVGR of each model from counts alone, as published.

    Parameters
    ----------
    deep, n
        Replies that followed the value, and replies that could be read; aligned by name.

    Returns
    -------
    pandas.DataFrame
        One row per model: dvgr (a rate), wilson_low, wilson_high (95%), p_value (exact, two-sided,
        against .5) and cohens_h (radians, compared with .5); NaN if a model has no replies.

    Raises
    ------
    UserError
        When names differ, a count is negative or not whole, or there are more deep replies than replies.
    """
    counts = pd.DataFrame({"deep": deep, "n": n})
    rows = []
    for name, k, of in counts.itertuples(name=None):
        if not (k % 1 == 0 and of % 1 == 0 and 0 <= k <= of):
            raise UserError(f"{name} has {k} deep replies of {of}: no counts, or not of one model")
        dvgr = k / of if of else math.nan
        rows.append((dvgr, *wilson(int(k), int(of)), exact_test(int(k), int(of)), cohens_h(dvgr)))
    columns = ["dvgr", "wilson_low", "wilson_high", "p_value", "cohens_h"]
    return pd.DataFrame(rows, columns=columns, index=counts.index, dtype=float)


def deep_and_shallow(by_model: pd.DataFrame) -> pd.DataFrame:
    """Replies that followed the value (``deep``) and the surface (``shallow``), indexed by model."""
    deep = by_model.set_index("model")["n_deep"]
    return pd.DataFrame({"deep": deep, "shallow": by_model.set_index("model")["n_parsed"] - deep})


def size_pairs(by_model: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Larger compared with smaller model of each pair, by chi-squared with Yates' correction.

    Parameters
    ----------
    by_model
        As ``dvb_by_model.csv``: model, n_parsed, n_deep.
    pairs
        small and large, names of models.

    Returns
    -------
    pandas.DataFrame
        small, large, difference (of DVGRs, larger minus smaller), and the columns of `factor_test`.
    """
    counts = deep_and_shallow(by_model)
    dvgr = counts["deep"] / counts.sum(axis=1)
    rows = []
    for small, large in zip(pairs["small"], pairs["large"], strict=True):
        tested = factor_test(counts.loc[[small, large]])
        rows.append({"small": small, "large": large, "difference": dvgr[large] - dvgr[small], **tested})
    return pd.DataFrame(rows)


def large_against_small(by_model: pd.DataFrame) -> pd.DataFrame:
    """All large models pooled, compared with all small ones, with the middle tier counted each way.

    Returns
    -------
    pandas.DataFrame
        One row per middle_as ("large", "small", "left out"): n_large, n_small (replies), dvgr_large,
        dvgr_small, difference, and the columns of `factor_test`. As published, trials are pooled, which
        ignores other differences between models.
    """
    counts = deep_and_shallow(by_model)
    tier = by_model.set_index("model")["size_tier"]
    rows = []
    for middle_as in ("large", "small", "left out"):
        pooled = counts.groupby(tier.replace("middle", middle_as)).sum().loc[["large", "small"]]
        n, dvgr = pooled.sum(axis=1), pooled["deep"] / pooled.sum(axis=1)
        row = {"middle_as": middle_as, "n_large": n["large"], "n_small": n["small"]}
        row |= {"dvgr_large": dvgr["large"], "dvgr_small": dvgr["small"]}
        rows.append({**row, "difference": dvgr["large"] - dvgr["small"], **factor_test(pooled)})
    return pd.DataFrame(rows)


def validation_accuracies(validation: pd.DataFrame) -> pd.DataFrame:
    """Accuracies of the human and model validations, from the counts in their notes.

    Parameters
    ----------
    validation
        As ``dvb_human_validation.csv``; rows without "k of n" in their note are left out.

    Returns
    -------
    pandas.DataFrame
        experiment, correct, trials, accuracy, wilson_low, wilson_high, p_value (exact, against .5) and
        cohens_h. As published, an unsure answer counts as wrong.
    """
    found = validation["note"].astype(str).str.extract(r"^(\d+) of (\d+)")
    counted = found.dropna().astype(int).rename(columns={0: "correct", 1: "trials"})
    summary = dvgr_summary(counted["correct"], counted["trials"]).rename(columns={"dvgr": "accuracy"})
    named = validation.loc[counted.index, ["experiment"]]
    return pd.concat([named, counted, summary], axis=1).reset_index(drop=True)

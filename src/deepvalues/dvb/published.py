"""The published Deep Value Benchmark, recomputed from what its paper prints.

Ashkinaze, Shen, Avula, Gilbert and Budak (2025), NeurIPS, arXiv 2511.02109. Counts give a figure back
digit by digit. Rounded rates give a range, worked out from half a unit of their last printed digit.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

from deepvalues.errors import UserError
from deepvalues.statistics.factors import factor_test
from deepvalues.statistics.rates import CONFIDENCE, cohens_h, exact_test, wilson

#: What a recomputation can say about a printed figure.
CLASSES = ("exact", "within rounding", "differs", "not recomputable")


# ---- from counts ----


def dvgr_summary(deep: ArrayLike, n: ArrayLike) -> pd.DataFrame:
    """DVGR of each model from counts alone, as print has them.

    Parameters
    ----------
    deep
        Shape (models,): replies that followed the value. A Series or mapping names the models.
    n
        Shape (models,): replies that could be read; with two Series or mappings, aligned by name.

    Returns
    -------
    pandas.DataFrame
        One row per model: dvgr (a rate), wilson_low, wilson_high (95 %), p_value (exact, two-sided,
        against .5) and cohens_h (radians, against .5); NaN where a model has no replies.

    Raises
    ------
    UserError
        Where lengths or names differ, a count is negative or not whole, or deep replies outnumber replies.
    """
    followed, answered = _count_series(deep, "deep"), _count_series(n, "n")
    if len(followed) != len(answered):
        raise UserError(
            f"dvgr_summary got {len(followed)} counts of deep replies and {len(answered)} of replies"
        )
    if _is_named(deep) and _is_named(n):
        if not followed.index.is_unique or set(followed.index) != set(answered.index):
            raise UserError("dvgr_summary: deep and n name different models, or one of them twice")
        answered = answered.loc[followed.index]
    elif _is_named(n):
        followed.index = answered.index
    above = [str(name) for name, k, of in zip(followed.index, followed, answered, strict=True) if k > of]
    if above:
        raise UserError(f"dvgr_summary: more deep replies than replies for {', '.join(above)}")
    rows = [_summary(int(k), int(of)) for k, of in zip(followed, answered, strict=True)]
    columns = ["dvgr", "wilson_low", "wilson_high", "p_value", "cohens_h"]
    return pd.DataFrame(rows, columns=columns, index=followed.index, dtype=float)


def _summary(deep: int, n: int) -> tuple[float, ...]:
    dvgr = deep / n if n else math.nan
    return dvgr, *wilson(deep, n), exact_test(deep, n), cohens_h(dvgr)


def _is_named(counts: Any) -> bool:
    return isinstance(counts, (pd.Series, dict))


def _count_series(counts: Any, what: str) -> pd.Series[Any]:
    try:
        series = pd.Series(counts if _is_named(counts) else np.atleast_1d(np.asarray(counts)))
        numbers = series.astype(float)
    except (TypeError, ValueError):
        raise UserError(f"dvgr_summary: {what} holds entries that are no numbers") from None
    whole = np.isfinite(numbers.to_numpy()) & (numbers >= 0) & (numbers % 1 == 0)
    if not whole.all():
        name, count = next(iter(series[~whole].items()))
        raise UserError(f"dvgr_summary: {what} of {name} is {count}; counts are whole and not negative")
    return numbers


def _deep_and_shallow(by_model: pd.DataFrame) -> pd.DataFrame:
    deep = by_model.set_index("model")["n_deep"]
    return pd.DataFrame({"deep": deep, "shallow": by_model.set_index("model")["n_parsed"] - deep})


def size_pairs(by_model: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Larger against smaller model of each pair, tested by chi-squared with Yates' correction.

    Parameters
    ----------
    by_model
        As ``dvb_by_model.csv``: model, n_parsed, n_deep.
    pairs
        small and large, names of models.

    Returns
    -------
    pandas.DataFrame
        small, large, difference (of DVGRs, larger minus smaller), and as from `factor_test`.
    """
    counts = _deep_and_shallow(by_model)
    dvgr = counts["deep"] / counts.sum(axis=1)
    rows = []
    for small, large in zip(pairs["small"], pairs["large"], strict=True):
        tested = factor_test(counts.loc[[small, large]])
        rows.append({"small": small, "large": large, "difference": dvgr[large] - dvgr[small], **tested})
    return pd.DataFrame(rows)


def large_against_small(by_model: pd.DataFrame) -> pd.DataFrame:
    """All large models pooled against all small ones, with the middle tier counted each way.

    Returns
    -------
    pandas.DataFrame
        One row per middle_as ("large", "small", "left out"): n_large, n_small (replies), dvgr_large,
        dvgr_small, difference, and as from `factor_test`. Trials are pooled as in print, as if models
        did not matter otherwise.
    """
    counts = _deep_and_shallow(by_model)
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
    """Accuracies of the human and model validations from the counts in their notes.

    Parameters
    ----------
    validation
        As ``dvb_human_validation.csv``; rows without "k of n" in their note are left out.

    Returns
    -------
    pandas.DataFrame
        experiment, correct, trials, accuracy, wilson_low, wilson_high, p_value (exact, against .5) and
        cohens_h. An unsure answer counts as wrong, as in print.
    """
    found = validation["note"].astype(str).str.extract(r"^(\d+) of (\d+)")
    counted = found.dropna().astype(int).rename(columns={0: "correct", 1: "trials"})
    summary = dvgr_summary(counted["correct"], counted["trials"]).rename(columns={"dvgr": "accuracy"})
    named = validation.loc[counted.index, ["experiment"]]
    return pd.concat([named, counted, summary], axis=1).reset_index(drop=True)


def odds_as_percentages(odds: pd.DataFrame) -> pd.DataFrame:
    """Change of the odds per point of a rating, 100 · (OR − 1) percent, with its printed interval.

    Parameters
    ----------
    odds
        As ``dvb_value_disposition_odds.csv``: rating, odds_ratio, ci_low, ci_high.

    Returns
    -------
    pandas.DataFrame
        rating, percent, percent_low, percent_high.
    """
    columns = {"odds_ratio": "percent", "ci_low": "percent_low", "ci_high": "percent_high"}
    percent = 100 * (odds[list(columns)].astype(float) - 1)
    return pd.concat([odds[["rating"]], percent.rename(columns=columns)], axis=1)


def smallest_sample(effect: float, power: float, alpha: float) -> int:
    """Smallest n at which a two-sided exact binomial test against .5 first reaches a power.

    The test rejects outside [c + 1, n − c − 1], with c the largest count for which P(K ≤ c | .5) ≤ alpha/2.
    Power is a sawtooth in n, so that some larger samples fall short again; this is the first that does not.

    Parameters
    ----------
    effect
        Cohen's g, the distance of the true rate from .5; above 0, at most .5.
    power, alpha
        Both between 0 and 1.

    Raises
    ------
    UserError
        Where a parameter is out of its range, or no n up to 100,000 is enough.

    References
    ----------
    Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, chapter 5.
    """
    if not (0 < effect <= 0.5 and 0 < power < 1 and 0 < alpha < 1):
        raise UserError("smallest_sample: effect lies in (0, .5], power and alpha between 0 and 1")
    block = 2_000
    for first in range(1, 100_000, block):
        reached = exact_power(np.arange(first, first + block), effect, alpha) >= power
        if reached.any():
            return first + int(reached.argmax())
    raise UserError("smallest_sample: no sample up to 100,000 is enough")


def exact_power(n: NDArray[np.int64], effect: float, alpha: float) -> NDArray[np.float64]:
    """Power of the two-sided exact binomial test against .5 at each n; see `smallest_sample`."""
    critical = stats.binom.ppf(alpha / 2, n, 0.5)
    critical -= stats.binom.cdf(critical, n, 0.5) > alpha / 2
    low_tail = stats.binom.cdf(critical, n, 0.5 + effect)
    high_tail = stats.binom.sf(n - critical - 1, n, 0.5 + effect)
    return np.asarray(low_tail + high_tail, dtype=float)


# ---- from rounded rates ----


class Range(NamedTuple):
    """What a figure is at its inputs as printed, and the least and most that their rounding allows."""

    estimate: float
    low: float
    high: float


def corner_range(figure: Callable[..., float], *inputs: tuple[float, float]) -> Range:
    """Range of a figure that is monotone in each input: its least and most over the inputs' corners.

    Parameters
    ----------
    inputs
        Each an input as printed and half a unit of its last digit.
    """
    corners = itertools.product(*[(value - half, value + half) for value, half in inputs])
    reached = [figure(*corner) for corner in corners]
    return Range(figure(*[value for value, _ in inputs]), min(reached), max(reached))


def wilson_ranges(rate: float, half: float, n: int) -> tuple[Range, Range]:
    """Ranges of the two bounds of Wilson's interval when the rate is known to ± `half`."""
    least = max(math.ceil((rate - half) * n - 1e-9), 0)
    most = min(math.floor((rate + half) * n + 1e-9), n)
    at, lowest, highest = (wilson(k, n) for k in (round(rate * n), least, most))
    return Range(at.low, lowest.low, highest.low), Range(at.high, lowest.high, highest.high)


def rate_range(low: tuple[float, float], high: tuple[float, float], n: int) -> Range:
    """Range of the rate whose Wilson interval has the printed bounds; NaN where no count has both.

    Parameters
    ----------
    low, high
        Each a bound as printed and half a unit of its last digit.
    """
    counts = np.arange(n + 1)
    bounds = proportion_confint(counts, n, alpha=1 - CONFIDENCE, method="wilson")
    fits = np.ones(n + 1, dtype=bool)
    for bound, (printed, half) in zip(bounds, (low, high), strict=True):
        fits &= np.abs(bound - printed) <= half * (1 + 1e-9)
    if not fits.any():
        return Range(math.nan, math.nan, math.nan)
    least, most = counts[fits].min() / n, counts[fits].max() / n
    return Range(float(least + most) / 2, float(least), float(most))


def chi_squared_range(
    rates: NDArray[np.float64], half: float, n: NDArray[np.float64], successes: int
) -> Range:
    """Range of a factor's chi-squared when its rates are rounded and the sum of successes is known.

    With p = successes / Σ n fixed, χ² = Σ n (r − p)² / (p (1 − p)) is convex in the rates. Its least is
    where the rates are as near one another as rounding allows: all at one common rate, clipped to their
    boxes. Its most is at a corner, where all rates but one are at an end of their box.

    Parameters
    ----------
    rates, n
        Shape (levels,): printed rates and trials.
    half
        Half a unit of the rates' last digit.

    Raises
    ------
    UserError
        Where no rates that round to the printed ones add up to `successes`.
    """
    low, high = np.clip(rates - half, 0, 1), np.clip(rates + half, 0, 1)
    if not n @ low <= successes <= n @ high:
        raise UserError("chi_squared_range: the printed rates and the number of successes do not agree")
    p = successes / n.sum()

    def chi2(r: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((n * (r - p) ** 2).sum(axis=-1) / (p * (1 - p)))

    common = optimize.brentq(lambda r: n @ np.clip(r, low, high) - successes, 0, 1)
    corners = _corners(low, high, n, successes)
    at_printed = factor_test(np.column_stack([n * rates, n * (1 - rates)]))["chi2"]
    return Range(at_printed, float(chi2(np.clip(common, low, high))), float(chi2(corners).max()))


def _corners(
    low: NDArray[np.float64], high: NDArray[np.float64], n: NDArray[np.float64], successes: int
) -> NDArray[np.float64]:
    """Shape (corners, levels): the corners of the rates' boxes where they add up to the successes."""
    found = []
    for free in range(len(n)):
        others = np.delete(np.arange(len(n)), free)
        at_high = np.array(list(itertools.product((False, True), repeat=len(others))))
        rates = np.empty((len(at_high), len(n)))
        rates[:, others] = np.where(at_high, high[others], low[others])
        rates[:, free] = (successes - rates[:, others] @ n[others]) / n[free]
        fits = (rates[:, free] >= low[free] - 1e-12) & (rates[:, free] <= high[free] + 1e-12)
        found.append(rates[fits])
    return np.concatenate(found)


# ---- print beside recomputation ----


@dataclass(frozen=True)
class _Printed:
    """A figure as it stands in print."""

    text: str
    value: float
    half: float
    at_most: bool

    @classmethod
    def read(cls, text: str, decimals: int | None = None) -> _Printed:
        """Read a figure; `decimals` puts back the trailing zeros that a CSV file drops."""
        bare = text.removeprefix("<")
        exponent = Decimal(bare).as_tuple().exponent
        digits = int(exponent) if decimals is None else -decimals
        return cls(text, float(bare), 0.5 * 10.0**digits, text.startswith("<"))

    @property
    def box(self) -> tuple[float, float]:
        return self.value, self.half


@dataclass(frozen=True)
class _Cell:
    """A printed figure with its recomputation, or with the reason why there is none."""

    source_file: str
    quantity: str
    where: str
    printed: _Printed
    inputs: str = ""
    exact: float | None = None
    rounded: Range | None = None
    reason: str = ""

    def row(self) -> dict[str, object]:
        found = self.rounded or (None if self.exact is None else Range(self.exact, self.exact, self.exact))
        recomputed, low, high = found or (math.nan, math.nan, math.nan)
        difference = math.nan if self.printed.at_most else recomputed - self.printed.value
        return {
            "source_file": self.source_file,
            "quantity": self.quantity,
            "where": self.where,
            "printed": self.printed.text,
            "recomputed": recomputed,
            "difference": difference,
            "unit": 2 * self.printed.half,
            "range_low": low,
            "range_high": high,
            "class": self._class(found),
            "inputs": self.inputs,
            "reason": self.reason,
        }

    def _class(self, found: Range | None) -> str:
        if found is None:
            return "not recomputable"
        value, slack = self.printed.value, self.printed.half * (1 + 1e-9)
        if self.printed.at_most:
            agrees = found.high < value
        else:
            agrees = found.low <= value + slack and found.high >= value - slack
        if not agrees:
            return "differs"
        return "exact" if self.rounded is None else "within rounding"


class _Print:
    """The CSV files of print: as text for their digits, as numbers for the sums."""

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


#: Rates, their intervals and V have as many decimals in a column as its longest entry shows.
_EVEN_COLUMNS = ("dvgr", "ci_low", "ci_high", "cramers_v", "difference")


def _column(table: pd.DataFrame, column: str) -> list[_Printed]:
    decimals = None
    if column in _EVEN_COLUMNS:
        decimals = max(len(text.partition(".")[2]) for text in table[column])
    return [_Printed.read(text, decimals) for text in table[column]]


def side_by_side(folder: Path) -> pd.DataFrame:
    """Every printed figure beside its recomputation.

    Columns that only serve as inputs (numbers of prompts, replies, participants and trials) are left out,
    but for totals that are printed a second time.

    Parameters
    ----------
    folder
        ``data/published``, with the ``dvb_*.csv`` files.

    Returns
    -------
    pandas.DataFrame
        source_file, quantity, where (the row), printed (text), recomputed, difference (recomputed minus
        printed; NaN for "<"), unit (of the last printed digit), range_low and range_high (what rounding of
        the inputs allows), class, inputs (what it was recomputed from), reason (why it was not). Classes:
        "exact", equal at the printed digits when recomputed from counts; "within rounding", a value in
        the range rounds to the printed one; "differs"; "not recomputable".

    Raises
    ------
    UserError
        Where a file is missing.
    """
    paper = _Print(folder)
    rooms: Sequence[Callable[[_Print], Iterable[_Cell]]] = (
        _statistics,
        _by_level,
        _factor_tests,
        _size_pairs,
        _validation,
        _odds,
        _agreement,
        _logit,
        _beyond_reach,
    )
    cells = [cell.row() for room in rooms for cell in room(paper)]
    table = pd.DataFrame(cells)
    return table.sort_values("source_file", kind="stable", ignore_index=True)


def classes(table: pd.DataFrame) -> pd.DataFrame:
    """Number of figures per source file and class, with their sum in the last row.

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


def _statistics(paper: _Print) -> Iterator[_Cell]:
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
        yield _Cell("dvb_statistics.csv", quantity, "", printed[quantity], inputs, exact=float(exact))
    unknown = "mixed_logit_difference"
    yield _Cell("dvb_statistics.csv", unknown, "", printed[unknown], reason="needs the trials")


def _by_level(paper: _Print) -> Iterator[_Cell]:
    """Intervals by value and by domain; their totals; the pooled DVGR a second time."""
    for factor in ("value", "domain"):
        name, numbers = f"by_{factor}", paper.numbers(f"by_{factor}")
        source = f"dvb_{name}.csv"
        n = numbers["n_parsed"].to_numpy(dtype=float)
        yield _Cell(
            source,
            "replies used, all levels",
            "",
            paper.statistic("replies_used"),
            "n_parsed",
            exact=n.sum(),
        )
        text = paper.text(name)
        rates = _column(text, "dvgr")
        half = rates[0].half
        pooled = float(numbers["dvgr"] @ n / n.sum())
        yield _Cell(
            source,
            "pooled DVGR",
            "",
            paper.statistic("pooled_dvgr"),
            "rates and n_parsed",
            rounded=Range(pooled, pooled - half, pooled + half),
        )
        rows = zip(
            numbers[factor],
            numbers["n_parsed"],
            rates,
            _column(text, "ci_low"),
            _column(text, "ci_high"),
            strict=True,
        )
        for level, count, rate, low, high in rows:
            implied = rate_range(low.box, high.box, int(count))
            yield _Cell(source, "dvgr", level, rate, "interval and n_parsed", rounded=implied)
            ranges = wilson_ranges(*rate.box, int(count))
            for quantity, bound, allowed in zip(("ci_low", "ci_high"), (low, high), ranges, strict=True):
                yield _Cell(source, quantity, level, bound, "rate and n_parsed", rounded=allowed)


def _factor_tests(paper: _Print) -> Iterator[_Cell]:
    by_model = paper.numbers("by_model")
    used, deep = int(by_model["n_parsed"].sum()), int(by_model["n_deep"].sum())
    text = paper.text("factor_tests").set_index("factor", drop=False)
    found = {column: _column(text, column) for column in ("chi2", "df", "p_value", "cramers_v")}
    printed = {factor: {c: found[c][i] for c in found} for i, factor in enumerate(text["factor"])}

    tested = factor_test(_deep_and_shallow(by_model))
    for quantity, figure in printed["model"].items():
        yield _Cell(_TESTS, quantity, "model", figure, "counts by model", exact=tested[quantity])
    for factor, name in (("preferred_value", "by_value"), ("domain", "by_domain")):
        rates, numbers = _column(paper.text(name), "dvgr"), paper.numbers(name)
        n = numbers["n_parsed"].to_numpy(dtype=float)
        chi2 = chi_squared_range(np.array([rate.value for rate in rates]), rates[0].half, n, deep)
        yield from _from_chi2(printed[factor], factor, chi2, len(numbers) - 1, used, "rates and n_parsed")
    figures = printed["n_examples"]
    yield _Cell(_TESTS, "chi2", "n_examples", figures["chi2"], reason="counts by N are not printed")
    chi2 = corner_range(float, figures["chi2"].box)
    levels = len(paper.text("by_n_examples"))
    rest = {quantity: figure for quantity, figure in figures.items() if quantity != "chi2"}
    yield from _from_chi2(rest, "n_examples", chi2, levels - 1, used, "printed chi2")


_TESTS = "dvb_factor_tests.csv"


def _from_chi2(
    printed: dict[str, _Printed], factor: str, chi2: Range, df: int, n: int, inputs: str
) -> Iterator[_Cell]:
    """Cells of one factor test whose chi-squared is known as a range."""
    p_values = [float(stats.chi2.sf(x, df)) for x in chi2]
    ranges = {
        "chi2": chi2,
        "p_value": Range(p_values[0], p_values[2], p_values[1]),
        "cramers_v": Range(*[math.sqrt(x / n) for x in chi2]),
    }
    for quantity, figure in printed.items():
        if quantity == "df":
            yield _Cell(_TESTS, quantity, factor, figure, "number of levels", exact=float(df))
        else:
            yield _Cell(_TESTS, quantity, factor, figure, inputs, rounded=ranges[quantity])


def _size_pairs(paper: _Print) -> Iterator[_Cell]:
    text = paper.text("size_pairs")
    found = size_pairs(paper.numbers("by_model"), text)
    for quantity in ("difference", "chi2", "p_value", "cramers_v"):
        for figure, exact, small, large in zip(
            _column(text, quantity), found[quantity], text["small"], text["large"], strict=True
        ):
            where = f"{large} against {small}"
            yield _Cell("dvb_size_pairs.csv", quantity, where, figure, "counts by model", exact=float(exact))


def _validation(paper: _Print) -> Iterator[_Cell]:
    source, text = "dvb_human_validation.csv", paper.text("human_validation")
    found = validation_accuracies(text).set_index("experiment")
    names = {"estimate": "accuracy", "ci_low": "wilson_low", "ci_high": "wilson_high"}
    for row in text.to_dict("records"):
        where = f"{row['experiment']}: {row['measure']}"
        for column, name in names.items():
            if not row[column]:
                continue
            printed = _Printed.read(row[column])
            if row["experiment"] in found.index:
                exact = float(found.loc[row["experiment"], name])
                yield _Cell(source, column, where, printed, "correct and trials", exact=exact)
            else:
                yield _Cell(source, column, where, printed, reason="needs the ratings")


def _odds(paper: _Print) -> Iterator[_Cell]:
    """Odds ratio and p-value from the printed interval, which Wald's method makes on the log scale."""
    source, text = "dvb_value_disposition_odds.csv", paper.text("value_disposition_odds")
    z = stats.norm.ppf((1 + CONFIDENCE) / 2)

    def p_value(ratio: float, low: float, high: float) -> float:
        return float(2 * stats.norm.sf(abs(math.log(ratio)) * 2 * z / math.log(high / low)))

    for row in text.to_dict("records"):
        ratio, low, high = (_Printed.read(row[c], 2) for c in ("odds_ratio", "ci_low", "ci_high"))
        middle = corner_range(lambda a, b: math.sqrt(a * b), low.box, high.box)
        yield _Cell(source, "odds_ratio", row["rating"], ratio, "middle of the interval", rounded=middle)
        for quantity, bound in (("ci_low", low), ("ci_high", high)):
            yield _Cell(source, quantity, row["rating"], bound, reason="needs the trials")
        implied = corner_range(p_value, ratio.box, low.box, high.box)
        printed = _Printed.read(row["p_value"])
        yield _Cell(source, "p_value", row["rating"], printed, "odds ratio and interval", rounded=implied)


def _agreement(paper: _Print) -> Iterator[_Cell]:
    source = "dvb_agreement.csv"
    rows = paper.text("agreement").to_dict("records")
    percent = {str(row["comparison"]): _Printed.read(row["agreement_percent"]) for row in rows}
    every, same, different, effect = percent
    pairs = _Printed.read(_noted(rows[0]["note"], r"(\d+) pairs"))
    models = len(paper.text("by_model"))
    yield _Cell(source, "pairs of models", every, pairs, "models", exact=float(math.comb(models, 2)))
    shares = _shares_of_same_developer(paper.numbers("by_model"))
    found = [
        corner_range(
            lambda a, b, share=share: share * a + (1 - share) * b, percent[same].box, percent[different].box
        )
        for share in shares
    ]
    pooled = Range(
        sum(each.estimate for each in found) / 2, min(r.low for r in found), max(r.high for r in found)
    )
    yield _Cell(source, "agreement_percent", every, percent[every], "the other two, replies", rounded=pooled)
    for name in (same, different, effect):
        yield _Cell(source, "agreement_percent", name, percent[name], reason="needs the replies")


def _noted(note: str, pattern: str) -> str:
    found = re.search(pattern, note)
    if not found:
        raise UserError(f"the note {note!r} of the published figures lacks what {pattern!r} looks for")
    return found[1]


def _shares_of_same_developer(by_model: pd.DataFrame) -> tuple[float, float]:
    """Least and most share of pairs of replies that two models of one developer can have.

    Two models that were read on a and b of n prompts share at least a + b − n and at most min(a, b).
    """
    first, second = np.triu_indices(len(by_model), k=1)
    developer, n = by_model["developer"].to_numpy(), by_model["n_parsed"].to_numpy(dtype=float)
    same = developer[first] == developer[second]
    least = n[first] + n[second] - by_model["n_prompts"].to_numpy(dtype=float)[first]
    most = np.minimum(n[first], n[second])
    low = least[same].sum() / (least[same].sum() + most[~same].sum())
    high = most[same].sum() / (most[same].sum() + least[~same].sum())
    return float(low), float(high)


def _logit(paper: _Print) -> Iterator[_Cell]:
    source, text = "dvb_logit.csv", paper.text("logit")
    used = int(paper.numbers("by_model")["n_parsed"].sum())
    trials = _Printed.read(_noted(text["note"].iloc[0], r"n=(\d+)"))
    yield _Cell(source, "trials", "", trials, "n_parsed by model", exact=float(used))
    for row in text.to_dict("records"):
        printed = _Printed.read(row["coefficient"])
        yield _Cell(source, "coefficient", row["term"], printed, reason="needs the trials")
    slope = text[text["term"] == "n_examples"].iloc[0]
    error = _Printed.read(_noted(slope["note"], r"SE (\.\d+)"))
    p_value = _Printed.read(_noted(slope["note"], r"p=(\.\d+)"))
    found = corner_range(
        lambda b, se: float(2 * stats.norm.sf(abs(b) / se)),
        _Printed.read(slope["coefficient"]).box,
        error.box,
    )
    yield _Cell(source, "p_value", "n_examples", p_value, "coefficient and standard error", rounded=found)


#: Files of rates and means alone: key columns, figures, and what print would have to say besides.
_OUT_OF_REACH = {
    "by_n_examples": (["n_examples"], ["dvgr", "ci_low", "ci_high"], "counts by N are not printed"),
    "model_by_value": (["model", "value"], ["dvgr"], "counts by model and value are not printed"),
    "prompt_variants": (["variant"], ["dvgr", "ci_low", "ci_high"], "counts by variant are not printed"),
    "value_dispositions": (
        ["value"],
        ["popularity", "distinctiveness", "predictiveness"],
        "needs the ratings of each model",
    ),
}


def _beyond_reach(paper: _Print) -> Iterator[_Cell]:
    for name, (keys, quantities, reason) in _OUT_OF_REACH.items():
        text = paper.text(name)
        where = text[keys].agg(", ".join, axis=1)
        for quantity in quantities:
            for figure, row in zip(_column(text, quantity), where, strict=True):
                yield _Cell(f"dvb_{name}.csv", quantity, row, figure, reason=reason)

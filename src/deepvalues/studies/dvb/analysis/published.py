"""The published Deep Value Benchmark, recomputed from what its paper prints.

Ashkinaze, Shen, Avula, Gilbert and Budak (2025), NeurIPS, arXiv 2511.02109. Counts give a figure back
digit by digit. Rounded rates give a range, worked out from half a unit of their last printed digit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from deepvalues.core.errors import UserError
from deepvalues.stats.factors import factor_test
from deepvalues.stats.rates import CONFIDENCE
from deepvalues.stats.rounded import Range, chi_squared_range, corner_range, rate_range, wilson_ranges
from deepvalues.stats.sample_size import smallest_sample
from deepvalues.studies.dvb.analysis.counts import (
    deep_and_shallow,
    dvgr_summary,
    size_pairs,
    validation_accuracies,
)

#: What a recomputation can say about a printed figure.
CLASSES = ("exact", "within rounding", "differs", "not recomputable")


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

    def agrees(self, found: Range) -> bool:
        """Whether anything in a range prints as this figure; never for a range of NaN."""
        slack = self.half * (1 + 1e-9)
        if self.at_most:
            return found.high < self.value
        return found.low <= self.value + slack and found.high >= self.value - slack


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
        if not self.printed.agrees(found):
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


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """The printed tables of the study, by the name of their file without ``dvb_`` and ``.csv``."""
    return {path.stem.removeprefix("dvb_"): pd.read_csv(path) for path in sorted(folder.glob("dvb_*.csv"))}


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
        the inputs, and counts that are only bounded, allow), class, inputs (what it was recomputed from),
        reason (why it was not). Classes:
        "exact", equal at the printed digits when recomputed from counts; "within rounding", a value in
        the range rounds to the printed one; "differs"; "not recomputable".

    Raises
    ------
    UserError
        Where a file is missing.
    """
    paper = _Print(folder)
    parts: Sequence[Callable[[_Print], Iterable[_Cell]]] = (
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
        _beyond_reach,
    )
    cells = [cell.row() for part in parts for cell in part(paper)]
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


def _by_n_examples(paper: _Print) -> Iterator[_Cell]:
    """Intervals by N. Replies by N are not printed, but each N has its share of the prompts at most."""
    by_model, text = paper.numbers("by_model"), paper.text("by_n_examples")
    used, levels = int(by_model["n_parsed"].sum()), len(text)
    most = int(by_model["n_prompts"].sum()) // levels
    sizes = (used - (levels - 1) * most, used // levels, most)
    rates, lows, highs = (_column(text, column) for column in ("dvgr", *_BOUNDS))
    for n_examples, rate, low, high in zip(text["n_examples"], rates, lows, highs, strict=True):
        ranges = zip(*[wilson_ranges(rate.value, rate.half, n) for n in sizes], strict=True)
        for quantity, bound, allowed in zip(_BOUNDS, (low, high), ranges, strict=True):
            inputs = "rate, and the replies that each N can have"
            where, found = str(n_examples), _union(allowed)
            yield _Cell("dvb_by_n_examples.csv", quantity, where, bound, inputs, rounded=found)


def _factor_tests(paper: _Print) -> Iterator[_Cell]:
    by_model = paper.numbers("by_model")
    used, deep = int(by_model["n_parsed"].sum()), int(by_model["n_deep"].sum())
    text = paper.text("factor_tests").set_index("factor", drop=False)
    found = {column: _column(text, column) for column in ("chi2", "df", "p_value", "cramers_v")}
    printed = {factor: {c: found[c][i] for c in found} for i, factor in enumerate(text["factor"])}

    tested = factor_test(deep_and_shallow(by_model))
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


_HUMAN = "dvb_human_validation.csv"
_BOUNDS = ("ci_low", "ci_high")


def _validation(paper: _Print) -> Iterator[_Cell]:
    source, text = _HUMAN, paper.text("human_validation")
    found = validation_accuracies(text).set_index("experiment")
    names = {"estimate": "accuracy", "ci_low": "wilson_low", "ci_high": "wilson_high"}
    for row in text.to_dict("records"):
        where = f"{row['experiment']}: {row['measure']}"
        for column, name in names.items():
            if not row[column]:
                continue
            printed = _Printed.read(row[column])
            if column != "estimate" and "SD" in row["note"]:
                continue  # see _shallowness
            if row["experiment"] in found.index:
                exact = float(found.loc[row["experiment"], name])
                yield _Cell(source, column, where, printed, "correct and trials", exact=exact)
            else:
                yield _Cell(source, column, where, printed, reason="needs the ratings")


def _shallowness(paper: _Print) -> Iterator[_Cell]:
    """Shallowness of deep against shallow pairs, from means and standard deviations.

    How many ratings each kind got is not printed. The splits of all ratings that give back the four
    bounds count as possible; the printed t is Welch's, in spite of its degrees of freedom.
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
        yield _Cell(_HUMAN, quantity, at, figure, inputs, rounded=found)
    df = _Printed.read(_noted(note, r"t\((\d+)\)"))
    yield _Cell(_HUMAN, "df", where[1], df, "number of ratings", exact=float(total - 2))


def _union(ranges: Sequence[Range]) -> Range:
    """All that any of the ranges allows, at the estimate of the middle one; NaN without any."""
    if not ranges:
        return Range(math.nan, math.nan, math.nan)
    middle = ranges[len(ranges) // 2].estimate
    return Range(middle, min(each.low for each in ranges), max(each.high for each in ranges))


_Groups = Sequence[tuple[_Printed, _Printed]]


def _bounds_of_means(groups: _Groups, sizes: tuple[int, int]) -> list[Range]:
    """Low and high bound of each group's mean by Student's t."""
    found = []
    for (mean, sd), n in zip(groups, sizes, strict=True):
        reach = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) / math.sqrt(n)
        for by in (-reach, reach):
            found.append(corner_range(lambda m, s, by=by: m + by * s, mean.box, sd.box))
    return found


def _difference_of_means(groups: _Groups, sizes: tuple[int, int]) -> list[Range]:
    """Cohen's d on the pooled SD, second minus first group, and Welch's t, first minus second."""
    n_1, n_2 = sizes

    def cohens_d(m_1: float, s_1: float, m_2: float, s_2: float) -> float:
        return (m_2 - m_1) / math.sqrt(((n_1 - 1) * s_1**2 + (n_2 - 1) * s_2**2) / (n_1 + n_2 - 2))

    def welch(m_1: float, s_1: float, m_2: float, s_2: float) -> float:
        return (m_1 - m_2) / math.sqrt(s_1**2 / n_1 + s_2**2 / n_2)

    boxes = [figure.box for group in groups for figure in group]
    return [corner_range(cohens_d, *boxes), corner_range(welch, *boxes)]


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
    "by_n_examples": (["n_examples"], ["dvgr"], "counts by N are not printed"),
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

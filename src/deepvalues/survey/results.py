"""What completed forms say: who is left out and why, rates, means, and agreement."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd
import pingouin as pg
from scipy import stats

from deepvalues.stats.agreement import Agreement, fleiss_kappa, icc, krippendorff_alpha, raw_agreement
from deepvalues.stats.clusters import clustered, mean
from deepvalues.stats.rates import CONFIDENCE, NO_INTERVAL, exact_test, t_interval, wilson

ALL = "all"


@dataclass(frozen=True)
class Rules:
    """Who is left out: people who fail more checks, or leave open a larger share of questions, than this."""

    failed_checks: int = 0
    missing: float = 0.1


def respondents(answers: pd.DataFrame, rules: Rules | None = None) -> pd.DataFrame:
    """Apply the rules of exclusion to each respondent.

    A check without an answer is a failed check. A ranking or allocation counts as one question.

    Returns
    -------
    pandas.DataFrame
        respondent, checks, failed_checks, questions (checks aside), missing, excluded (the reason, empty for
        those who stay; failed checks go first).
    """
    rules = rules or Rules()
    rows = []
    for respondent, given in answers.groupby("respondent", sort=True):
        checks = given[given["check"]]
        failed = int((checks["right"] != 1).sum())
        by_question = given[~given["check"]].groupby("question")["answer"].first()
        missing = int((by_question == "").sum())
        reason = "too many missing" if missing > rules.missing * len(by_question) else ""
        reason = "failed checks" if failed > rules.failed_checks else reason
        rows.append((respondent, len(checks), failed, len(by_question), missing, reason))
    columns = ["respondent", "checks", "failed_checks", "questions", "missing", "excluded"]
    return pd.DataFrame(rows, columns=columns)


def exclusions(people: pd.DataFrame, rules: Rules | None = None) -> pd.DataFrame:
    """Count who was left out by which rule; `people` comes from `respondents`.

    Returns
    -------
    pandas.DataFrame
        rule, limit (in words), respondents: a row for each rule, zeros included, and for those who stay; then
        the answers that those who stay left open, which are left out one by one.
    """
    rules = rules or Rules()
    counts = people["excluded"].value_counts()
    stay = people[people["excluded"] == ""]
    rows = [
        ("failed checks", f"more than {rules.failed_checks} failed", int(counts.get("failed checks", 0))),
        ("too many missing", f"more than {rules.missing:.0%} open", int(counts.get("too many missing", 0))),
        ("included", "", len(stay)),
        ("included, with open questions", "only what is open is left out", int((stay["missing"] > 0).sum())),
    ]
    return pd.DataFrame(rows, columns=["rule", "limit", "respondents"])


def included(answers: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """The answers of those who stay, checks and open questions aside."""
    stay = people.loc[people["excluded"] == "", "respondent"]
    return answers[answers["respondent"].isin(stay) & ~answers["check"] & (answers["answer"] != "")]


class Statistic(NamedTuple):
    """A line of the results; ``n`` counts answers."""

    measure: str
    stratum: str
    statistic: str
    estimate: float
    low: float
    high: float
    p: float
    n: int
    respondents: int
    questions: int


def statistics(answers: pd.DataFrame) -> pd.DataFrame:
    """Rates, means and agreement for each measure, in each stratum and in all.

    Parameters
    ----------
    answers
        Those that count, from `included`.

    Returns
    -------
    pandas.DataFrame
        measure, stratum (or ``all``), statistic, estimate, low, high, p, n (answers), respondents, questions.
        Choices with a right answer: ``accuracy`` (Wilson's interval, and the exact test against .5, take
        answers as independent), ``accuracy, clustered`` (by respondent), ``raw agreement``, ``Fleiss'
        kappa``, ``Krippendorff's alpha``. Ratings: ``mean`` (clustered by respondent), ``SD``, ``ICC(A,1)``,
        ``ICC(A,k)``, ``Krippendorff's alpha`` (interval); where a side of the middle is right, ``accuracy``
        without the answers in the middle; between two strata ``difference`` (paired within respondents,
        Student's t) and ``Cohen's d`` (of answers). Rankings and allocations: ``Krippendorff's alpha``
        (ordinal, interval). Intervals of agreement coefficients are the bootstrap's over questions.
    """
    rows: list[Statistic] = []
    for (measure, kind), of_measure in answers.groupby(["measure", "type"], sort=False):
        strata = [stratum for stratum in of_measure["stratum"].unique() if stratum]
        for stratum in [*strata, ALL] if len(strata) > 1 else [ALL]:
            chosen = of_measure if stratum == ALL else of_measure[of_measure["stratum"] == stratum]
            found = _of_type(str(kind), chosen)
            rows += [_line(str(measure), stratum, name, numbers, chosen) for name, numbers in found]
        if kind == "rating" and len(strata) == 2:
            found = _between(*(of_measure[of_measure["stratum"] == stratum] for stratum in strata))
            label = " - ".join(strata)
            rows += [_line(str(measure), label, name, numbers, of_measure) for name, numbers in found]
    return pd.DataFrame(rows, columns=list(Statistic._fields))


#: Estimate, low, high, p.
_Numbers = tuple[float, float, float, float]


def _line(measure: str, stratum: str, name: str, numbers: _Numbers, chosen: pd.DataFrame) -> Statistic:
    used = chosen[chosen["right"].notna()] if name.startswith("accuracy") else chosen
    return Statistic(
        measure, stratum, name, *numbers, len(used), used["respondent"].nunique(), used["question"].nunique()
    )


def _of_type(kind: str, chosen: pd.DataFrame) -> Iterator[tuple[str, _Numbers]]:
    if kind == "choice":
        yield from _accuracy(chosen)
        yield from _choice_agreement(chosen)
    elif kind == "rating":
        yield from _ratings(chosen)
        yield from _accuracy(chosen)
        yield from _rating_agreement(chosen)
    elif kind in ("ranking", "allocation"):
        level = "ordinal" if kind == "ranking" else "interval"
        yield from _alpha(_units(chosen, "number"), level)


def _accuracy(chosen: pd.DataFrame) -> Iterator[tuple[str, _Numbers]]:
    scored = chosen[chosen["right"].notna()]
    if scored.empty:
        return
    right, n = int(scored["right"].sum()), len(scored)
    yield "accuracy", (right / n, *wilson(right, n), exact_test(right, n))
    around = clustered(scored["right"], scored["respondent"])
    yield "accuracy, clustered", (right / n, *around, math.nan)


def _units(chosen: pd.DataFrame, column: str) -> pd.DataFrame:
    """A row for each question or part, a column for each respondent."""
    return chosen.pivot(index=["question", "part"], columns="respondent", values=column)


def _numbers(agreement: Agreement) -> _Numbers:
    return agreement.estimate, agreement.low, agreement.high, math.nan


def _choice_agreement(chosen: pd.DataFrame) -> Iterator[tuple[str, _Numbers]]:
    units = _units(chosen, "answer")
    if units.shape[1] < 2:
        return
    yield "raw agreement", _numbers(raw_agreement(units))
    yield "Fleiss' kappa", _numbers(fleiss_kappa(units))
    yield from _alpha(units, "nominal")


def _alpha(units: pd.DataFrame, level: str) -> Iterator[tuple[str, _Numbers]]:
    if units.shape[1] > 1:
        yield "Krippendorff's alpha", _numbers(krippendorff_alpha(units, level))


def _ratings(chosen: pd.DataFrame) -> Iterator[tuple[str, _Numbers]]:
    numbers = chosen["number"]
    around = mean(numbers.to_numpy(dtype=float), chosen["respondent"]).interval
    yield "mean", (float(numbers.mean()), *around, math.nan)
    yield "SD", (float(numbers.std(ddof=1)), *NO_INTERVAL, math.nan)


def _rating_agreement(chosen: pd.DataFrame) -> Iterator[tuple[str, _Numbers]]:
    units = _units(chosen, "number")
    if units.shape[1] < 2:
        return
    for kind in ("ICC(A,1)", "ICC(A,k)"):
        yield kind, _numbers(icc(units, kind))
    yield from _alpha(units, "interval")


def _between(first: pd.DataFrame, second: pd.DataFrame) -> Iterator[tuple[str, _Numbers]]:
    means = [stratum.groupby("respondent")["number"].mean() for stratum in (first, second)]
    differences = (means[0] - means[1]).dropna()
    low, high, p = *NO_INTERVAL, math.nan
    if differences.nunique() > 1:
        # SciPy: pingouin rounds the interval to two decimals.
        test = stats.ttest_1samp(differences, 0)
        (low, high), p = test.confidence_interval(CONFIDENCE), float(test.pvalue)
    yield "difference", (float(differences.mean()), float(low), float(high), p)
    d = float(pg.compute_effsize(first["number"], second["number"], eftype="cohen"))
    yield "Cohen's d", (d, *NO_INTERVAL, math.nan)


def by_question(answers: pd.DataFrame) -> pd.DataFrame:
    """Summarize each question, or each part of it; open questions show in ``n``.

    Parameters
    ----------
    answers
        Those that count, from `included`.

    Returns
    -------
    pandas.DataFrame
        measure, stratum, subject, question, part, type, n, statistic (``mean`` or ``accuracy``), estimate,
        low, high (Student's t over respondents, or Wilson), sd. Texts, and choices without a right answer,
        have no row.
    """
    keys = ["measure", "stratum", "subject", "question", "part", "type"]
    rows: list[dict[str, Any]] = []
    for key, chosen in answers[answers["type"] != "text"].groupby(keys, sort=False):
        described = dict(zip(keys, key, strict=True))
        if described["type"] != "choice":
            numbers = chosen["number"]
            summary = {"statistic": "mean", "estimate": numbers.mean(), **t_interval(numbers)._asdict()}
        elif chosen["right"].notna().any():
            right, n = int(chosen["right"].sum()), len(chosen)
            summary = {"statistic": "accuracy", "estimate": right / n, **wilson(right, n)._asdict()}
        else:
            continue
        rows.append({**described, "n": len(chosen), **summary, "sd": chosen["number"].std(ddof=1)})
    return pd.DataFrame(rows, columns=[*keys, "n", "statistic", "estimate", "low", "high", "sd"])


def checks(answers: pd.DataFrame) -> pd.DataFrame:
    """How many of all respondents passed each comprehension check.

    Returns
    -------
    pandas.DataFrame
        question, n, right, accuracy, low, high (Wilson); a check without an answer is not passed.
    """
    rows = []
    for question, given in answers[answers["check"]].groupby("question", sort=False):
        right, n = int((given["right"] == 1).sum()), len(given)
        rows.append((question, n, right, right / n, *wilson(right, n)))
    return pd.DataFrame(rows, columns=["question", "n", "right", "accuracy", "low", "high"])

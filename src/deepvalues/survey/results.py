"""Results of completed forms: exclusions, rates, means, and agreement."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pingouin as pg
from scipy import stats

from deepvalues.stats.agreement import (
    ICC_KINDS,
    Agreement,
    fleiss_kappa,
    icc,
    krippendorff_alpha,
    raw_agreement,
)
from deepvalues.stats.clusters import clustered, mean
from deepvalues.stats.rates import CONFIDENCE, NO_INTERVAL, exact_test, t_interval, wilson
from deepvalues.survey.questions import Survey
from deepvalues.survey.reading import read_answers

ALL = "all"
#: Respondents who fail more checks, or leave a larger share of questions open, are excluded.
MOST_FAILED, MOST_MISSING = 0, 0.1


def respondents(answers: pd.DataFrame) -> pd.DataFrame:
    """Apply the exclusion rules to each respondent.

    An unanswered check is a failed check. A ranking or allocation counts as one question.

    Returns
    -------
    pandas.DataFrame
        respondent, checks, failed_checks, questions (without checks), missing, excluded (the reason, empty if
        included; failed checks take precedence).
    """
    rows = []
    for respondent, given in answers.groupby("respondent", sort=True):
        checks = given[given["check"]]
        failed = int((checks["right"] != 1).sum())
        by_question = given[~given["check"]].groupby("question")["answer"].first()
        missing = int((by_question == "").sum())
        reason = "too many missing" if missing > MOST_MISSING * len(by_question) else ""
        reason = "failed checks" if failed > MOST_FAILED else reason
        rows.append((respondent, len(checks), failed, len(by_question), missing, reason))
    columns = ["respondent", "checks", "failed_checks", "questions", "missing", "excluded"]
    return pd.DataFrame(rows, columns=columns)


def exclusions(people: pd.DataFrame) -> pd.DataFrame:
    """Count the respondents excluded by each rule; ``people`` comes from `respondents`.

    Returns
    -------
    pandas.DataFrame
        rule, limit (in words), respondents: a row for each rule (zeros included), for those included, and for
        those of them with open questions, which are left out individually.
    """
    counts = people["excluded"].value_counts()
    stay = people[people["excluded"] == ""]
    rows = [
        ("failed checks", f"more than {MOST_FAILED} failed", int(counts.get("failed checks", 0))),
        ("too many missing", f"more than {MOST_MISSING:.0%} open", int(counts.get("too many missing", 0))),
        ("included", "", len(stay)),
        ("included, with open questions", "only what is open is left out", int((stay["missing"] > 0).sum())),
    ]
    return pd.DataFrame(rows, columns=["rule", "limit", "respondents"])


def included(answers: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """The answers of included respondents, without checks and open questions."""
    stay = people.loc[people["excluded"] == "", "respondent"]
    return answers[answers["respondent"].isin(stay) & ~answers["check"] & (answers["answer"] != "")]


def statistics(answers: pd.DataFrame) -> pd.DataFrame:
    """Rates, means and agreement for each measure, by stratum and overall.

    Parameters
    ----------
    answers
        From `included`.

    Returns
    -------
    pandas.DataFrame
        measure, stratum (or ``all``), statistic, estimate, low, high, p, n (answers), respondents, questions.
        Choices with a correct answer: ``accuracy`` (Wilson's interval and the exact test against .5, both
        for independent answers), ``accuracy, clustered`` (by respondent), ``raw agreement``, ``Fleiss'
        kappa``, ``Krippendorff's alpha``. Ratings: ``mean`` (clustered by respondent), ``SD``, ``ICC(A,1)``,
        ``ICC(A,k)``, ``Krippendorff's alpha`` (interval); with a correct side, ``accuracy`` without middle
        answers; between two strata, ``difference`` (paired within respondents, Student's t) and ``Cohen's
        d`` (of answers). Rankings and allocations: ``Krippendorff's alpha`` (ordinal, interval). Intervals
        of agreement coefficients are bootstrapped over questions.
    """
    rows: list[tuple[object, ...]] = []
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
    counts = ["n", "respondents", "questions"]
    columns = ["measure", "stratum", "statistic", "estimate", "low", "high", "p", *counts]
    return pd.DataFrame(rows, columns=columns)


#: Estimate, low, high, p.
_Numbers = tuple[float, float, float, float]


def _line(measure: str, stratum: str, name: str, numbers: _Numbers, chosen: pd.DataFrame) -> tuple[Any, ...]:
    used = chosen[chosen["right"].notna()] if name.startswith("accuracy") else chosen
    counts = (len(used), used["respondent"].nunique(), used["question"].nunique())
    return measure, stratum, name, *numbers, *counts


#: Level of measurement, by type of question.
_LEVELS = {"choice": "nominal", "rating": "interval", "ranking": "ordinal", "allocation": "interval"}


def _of_type(kind: str, chosen: pd.DataFrame) -> Iterator[tuple[str, _Numbers]]:
    if kind not in _LEVELS:
        return
    if kind == "rating":
        numbers = chosen["number"]
        around = mean(numbers.to_numpy(dtype=float), chosen["respondent"]).interval
        yield "mean", (float(numbers.mean()), *around, math.nan)
        yield "SD", (float(numbers.std(ddof=1)), *NO_INTERVAL, math.nan)
    scored = chosen[chosen["right"].notna()]
    if len(scored):
        right, n = int(scored["right"].sum()), len(scored)
        yield "accuracy", (right / n, *wilson(right, n), exact_test(right, n))
        around = clustered(scored["right"], scored["respondent"])
        yield "accuracy, clustered", (right / n, *around, math.nan)
    # One row per question or part, one column per respondent.
    values = "answer" if kind == "choice" else "number"
    units = chosen.pivot(index=["question", "part"], columns="respondent", values=values)
    if units.shape[1] < 2:
        return
    found: dict[str, Agreement] = {}
    if kind == "choice":
        found = {"raw agreement": raw_agreement(units), "Fleiss' kappa": fleiss_kappa(units)}
    if kind == "rating":
        found = {form: icc(units, form) for form in ICC_KINDS}
    found["Krippendorff's alpha"] = krippendorff_alpha(units, _LEVELS[kind])
    for name, agreement in found.items():
        yield name, (agreement.estimate, agreement.low, agreement.high, math.nan)


def _between(first: pd.DataFrame, second: pd.DataFrame) -> Iterator[tuple[str, _Numbers]]:
    means = [stratum.groupby("respondent")["number"].mean() for stratum in (first, second)]
    differences = (means[0] - means[1]).dropna()
    low, high, p = *NO_INTERVAL, math.nan
    if differences.nunique() > 1:
        # From SciPy, because pingouin rounds the interval to two decimals.
        test = stats.ttest_1samp(differences, 0)
        (low, high), p = test.confidence_interval(CONFIDENCE), float(test.pvalue)
    yield "difference", (float(differences.mean()), float(low), float(high), p)
    d = float(pg.compute_effsize(first["number"], second["number"], eftype="cohen"))
    yield "Cohen's d", (d, *NO_INTERVAL, math.nan)


def by_question(answers: pd.DataFrame) -> pd.DataFrame:
    """Summarize each question or part; ``n`` counts its answers.

    Parameters
    ----------
    answers
        From `included`.

    Returns
    -------
    pandas.DataFrame
        measure, stratum, subject, question, part, type, n, statistic (``mean`` or ``accuracy``), estimate,
        low, high (Student's t over respondents, or Wilson), sd. Texts, and choices without a correct answer,
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
    """Count the respondents, included or not, who passed each comprehension check.

    Returns
    -------
    pandas.DataFrame
        question, n, right, accuracy, low, high (Wilson); an unanswered check is failed.
    """
    rows = []
    for question, given in answers[answers["check"]].groupby("question", sort=False):
        right, n = int((given["right"] == 1).sum()), len(given)
        rows.append((question, n, right, right / n, *wilson(right, n)))
    return pd.DataFrame(rows, columns=["question", "n", "right", "accuracy", "low", "high"])


def results_of(survey: Survey, files: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Read completed forms and compute all their results.

    Returns
    -------
    dict
        ``answers`` (all), ``respondents``, ``exclusions``, ``checks``, and ``statistics`` and ``questions``
        (included respondents only), from the functions of this module.

    Raises
    ------
    UserError
        When a form cannot be read.
    """
    answers = read_answers(survey, files)
    people = respondents(answers)
    counting = included(answers, people)
    return {
        "answers": answers,
        "respondents": people,
        "exclusions": exclusions(people),
        "checks": checks(answers),
        "statistics": statistics(counting),
        "questions": by_question(counting),
    }

"""What the text says of study 3: its numbers, and the sentences that turn with the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from deepvalues.core import number_format
from deepvalues.paper.keeping import Numbers
from deepvalues.studies.profiles.analysis.reference import label

#: The mode whose fidelity the text reports.
MODE = "rating"


def keep_runs(numbers: Numbers, runs: pd.DataFrame, families: Sequence[str]) -> None:
    """Keep how many runs and models there are, and of which families the models are.

    Parameters
    ----------
    runs
        From `analysis.responses.runs`.
    families
        Of each model, in the order of the models.
    """
    numbers.count("runs", len(runs))
    numbers.count("models", len(families))
    counted = Counter(families).items()
    numbers.text("text.models", "; ".join(f"{n} {number_format.plural(family, n)}" for family, n in counted))


def runs_sentence(missing: pd.DataFrame) -> str:
    """How many runs of how many models there are, and how many have no answer.

    Parameters
    ----------
    missing
        From `analysis.responses.missing`.
    """
    asked, lost, models = missing["runs"].sum(), missing["missing"].sum(), missing["model"].nunique()
    return (
        f"Runs: {number_format.count(asked)}, of {models} {number_format.plural('model', models)}; "
        f"without an answer: {number_format.count(lost)}."
    )


def keep_reference(numbers: Numbers, reference: pd.DataFrame, ceiling: pd.DataFrame) -> None:
    """Keep what the reference is called, its respondents, and how faithful they are to each other.

    Parameters
    ----------
    reference
        From `analysis.reference.check_reference`.
    ceiling
        From `analysis.comparison.human_ceiling`; that of `MODE` is numbers.
    """
    top = ceiling[ceiling["mode"] == MODE].iloc[0]
    numbers.text("reference", label(reference))
    numbers.count("respondents", reference["respondent"].nunique())
    numbers.decimals("ceiling.mean", top["mean"])
    numbers.interval("ceiling.interval", top["low"], top["high"], 2, bounded=False)


def keep_recovery(numbers: Numbers, recovery: pd.DataFrame) -> None:
    """Keep how many of the agents' known fidelities and spreads lie in their intervals.

    Parameters
    ----------
    recovery
        From `analysis.recovery.recovery`.
    """
    numbers.count("instrument.compared", len(recovery))
    numbers.count("instrument.held", recovery["held"].sum())


def recovery_sentence(recovery: pd.DataFrame) -> str:
    """How many of the agents' known fidelities and spreads lie in their intervals."""
    held, compared = int(recovery["held"].sum()), len(recovery)
    if not compared:
        return "No reference agent is among the models, so that nothing is known in advance."
    return f"Of {compared} fidelities and spreads known in advance, in their 95% intervals: {held}."


def extremes(table: pd.DataFrame) -> dict[str, tuple[float, str]]:
    """The lowest and the highest fidelity of `MODE`, each with the models that share it as it is written.

    Parameters
    ----------
    table
        From `analysis.comparison.fidelity_table`, of the models in focus.
    """
    chosen = table[table["mode"] == MODE].round({"fidelity": 9})
    found = {}
    for end, value in (("lowest", chosen["fidelity"].min()), ("highest", chosen["fidelity"].max())):
        as_far = chosen["fidelity"].map(number_format.logit) == number_format.logit(value)
        found[end] = (float(value), number_format.listed(list(chosen.loc[as_far, "model"])))
    return found


def fidelity_sentence(table: pd.DataFrame) -> str:
    """Between which models fidelity lies, and to which reference."""
    table = table.dropna(subset="fidelity")
    if table[table["mode"] == MODE].empty:
        return f"No model has a fidelity in the {MODE} mode"
    (reference,) = set(table["reference"])
    (low, lowest), (high, highest) = extremes(table).values()
    about = f"In the {MODE} mode fidelity to the {reference}"
    if lowest == highest:
        return f"{about} is {number_format.logit(low)} ({lowest})"
    return (
        f"{about} runs from {number_format.logit(low)} ({lowest}) to {number_format.logit(high)} ({highest})"
    )


def keep_coding(numbers: Numbers, sentences: pd.DataFrame, agreement: pd.DataFrame) -> None:
    """Keep how many sentences the open answers have, and how far their coders agree.

    Parameters
    ----------
    sentences
        From `analysis.sentences.sentences_of`.
    agreement
        From `analysis.coders.coder_agreement`.
    """
    numbers.count("open.sentences", len(sentences))
    numbers.count("open.different", sentences["id"].nunique())
    numbers.count("open.coded", agreement["units"].max())
    for measure, estimate, low, high in agreement[["measure", "estimate", "low", "high"]].itertuples(
        index=False, name=None
    ):
        key = measure.lower().replace("'", "").replace(" ", "_")
        written = number_format.number(estimate, 2, bounded=True)
        numbers.text(f"open.{key}", f"{written} {number_format.interval(low, high, 2)}")


def limitation(reference: pd.DataFrame) -> str:
    """What the reference limits.

    Parameters
    ----------
    reference
        From `analysis.reference.check_reference`.
    """
    if reference["synthetic"].all():
        return (
            "The reference of this build is synthetic: what the study shows so far is that known profiles "
            "are recovered, and nothing about people."
        )
    return "The reference is as good as the sample of people that was given."


def abstract(language_models: int, reference: pd.DataFrame) -> str:
    """What the abstract says of the study.

    Parameters
    ----------
    language_models
        How many have answered.
    reference
        From `analysis.reference.check_reference`.
    """
    asked = f"{language_models} {number_format.plural('language model', language_models)}"
    return (
        f"A third study holds the value priorities of {asked if language_models else 'reference agents'} "
        f"against a {label(reference)}, in order and in spacing."
    )


def joint_sentence(models: int) -> str:
    """How many models took part in more than one study."""
    if not models:
        return (
            "In this build no model took part in more than one study, so that there is nothing to join yet."
        )
    return f"In this build {models} {number_format.plural('model', models)} took part in more than one study."


def keep_joint(numbers: Numbers, together: pd.DataFrame) -> None:
    """Say how many models took part in more than one study.

    Parameters
    ----------
    together
        From `across_studies.in_several`.
    """
    numbers.text("text.joint", joint_sentence(len(together)))

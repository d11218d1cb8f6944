"""Sentences of the manuscript on language models: who was asked, what they do, what can be read from them.

Like those of `prose.sentences` they turn with the results, and hold for any number of models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from deepvalues.ask.registry import FREE, HEAD
from deepvalues.core.number_format import MISSING, count, interval, listed, number, plural, share
from deepvalues.studies.dvb.analysis.asked_read import ASKED, NULL
from deepvalues.studies.dvb.analysis.public_prompt_rates import PUBLISHED
from deepvalues.studies.dvb.analysis.several_sets import MODES
from deepvalues.studies.dvb.analysis.verdicts import LEXICAL, MORE, N, facts

LANGUAGE_MODEL = "language model"


# ---- small parts ----


def _estimate(row: Mapping[Any, Any], name: str) -> str:
    """A measure with its interval: ".512 [.470, .554]"."""
    ends = interval(row[f"{name}_low"], row[f"{name}_high"])
    return share(row[name]) if ends == MISSING else f"{share(row[name])} {ends}"


def _runs(table: pd.DataFrame, name: str) -> str:
    """From the least to the most of a measure, each with its interval and its model; not asked: "unknown"."""
    known = table.dropna(subset=name).sort_values([name, "model"]).to_dict("records")
    if not known:
        return "is not known"
    ends = [f"{_estimate(row, name)} ({row['model']})" for row in (known[0], known[-1])]
    if len(known) == 1:
        return f"is {ends[0]}"
    least, most = (share(row[name]) for row in (known[0], known[-1]))
    return f"is {least} for all" if least == most else f"runs from {ends[0]} to {ends[1]}"


def _range(values: pd.Series[Any]) -> str:
    """From the least to the most of some rates, which may be one; "unknown" without any."""
    if values.isna().all():
        return "unknown"
    least, most = share(values.min()), share(values.max())
    return least if least == most else f"{least} to {most}"


def _of(number_of: int, total: int) -> str:
    return f"{count(number_of) if number_of else 'none'} of {count(total)}"


# ---- the paper as a whole ----


def title(language_models: Sequence[str], heads: Sequence[str]) -> str:
    """The title: without a language model this is a paper about an instrument.

    Parameters
    ----------
    language_models, heads
        Those that answered.
    """
    if language_models and heads:
        about = "what language models choose when asked, and what can be read from them"
    elif language_models:
        about = "what language models learn from watching a person choose"
    else:
        about = "a reproducible instrument, checked with agents and text learners"
    return f"Deep values or the surface of choices: {about}"


def scope(how: pd.DataFrame, controls: Sequence[str]) -> str:
    """What the finding is about.

    Parameters
    ----------
    how
        From `analysis.several_sets.how_asked`.
    controls
        The other families that have answered.
    """
    if how.empty:
        described = "These numbers describe the instrument and the stimuli."
        return f"{described} They are no finding about language models."
    if not controls:
        return "No local model stands beside them as a control."
    others = listed([plural(family, 2) for family in controls])
    beside = f"{others[0].upper()}{others[1:]}, which are not language models, stand beside them as controls."
    return f"{_sizes(how)}{beside}"


def _sizes(how: pd.DataFrame) -> str:
    """How large the models are, where that is known of all of them."""
    billions = how["billions"]
    if billions.isna().any():
        return ""
    most = number(billions.max(), 1)
    return (
        f"These models are small, of {most} billion parameters at most. " if billions.max() < _SMALL else ""
    )


#: Models of fewer billions of parameters are called small.
_SMALL = 3.0


def limitation(how: pd.DataFrame, cells: int) -> str:
    """What the choice of models limits.

    Parameters
    ----------
    how
        From `analysis.several_sets.how_asked`.
    cells
        Of the design.
    """
    if how.empty:
        return (
            "Study 1 has no language model: this build asks local models only. Its results describe the "
            "instrument and the stimuli, and are no finding about language models. With one command "
            "the same pages are about language models."
        )
    asked = f"{count(len(how))} {plural(LANGUAGE_MODEL, len(how))}"
    fewer = how["cells"].min() < cells
    part = f", on {_counted(how['cells'])} of {count(cells)} cells" if fewer else ""
    return (
        f"Models are a choice. Study 1 asks {asked}{part}, in the version and with the parameters that the "
        f"record names; of others it says nothing. {_sizes(how)}".strip()
    )


def _counted(numbers: pd.Series[Any]) -> str:
    least, most = count(numbers.min()), count(numbers.max())
    return least if least == most else f"{least} to {most}"


# ---- who was asked ----


def asked(how: pd.DataFrame, not_asked: Sequence[str]) -> str:
    """Who was asked, how, and who was not.

    Parameters
    ----------
    how
        From `analysis.several_sets.how_asked`.
    not_asked
        Language models on the paper's list whose records answer none of its sets.
    """
    waiting = f"{count(len(not_asked))} {plural(LANGUAGE_MODEL, len(not_asked))}"
    were = "was" if len(not_asked) == 1 else "were"
    others = f" Of the paper's list {waiting} {were} not asked." if not_asked else ""
    if how.empty:
        return f"No language model was asked in Study 1.{others}"
    names = [
        f"{row['model']} ({count(row['cells'])} cells, {count(row['items'])} items)"
        for row in how.to_dict("records")
    ]
    was = "was" if len(how) == 1 else "were"
    who = f"{count(len(how))} {plural(LANGUAGE_MODEL, len(how))} {was} asked: {listed(names)}."
    by_letters = how[how["mode"] != MODES[FREE]]
    if by_letters.empty:
        return f"{who}{others}"
    few = f"{_of(len(by_letters), len(how))} {'was' if len(by_letters) == 1 else 'were'}"
    letters = f"{'It was' if len(how) == 1 else few} asked by letter probability"
    if by_letters["letter_mass"].notna().any():
        letters += f"; the letters have a mean probability of {_range(by_letters['letter_mass'])} together"
    anew = by_letters["read_anew"].dropna()
    read = f", and {_range(anew)} of the prompts' tokens had to be read anew" if len(anew) else ""
    return f"{who} {letters}{read}.{others}"


# ---- what they do ----


def verdicts(table: pd.DataFrame) -> str:
    """The verdicts on the language models, in the order of the rules.

    Parameters
    ----------
    table
        From `analysis.verdicts.verdicts`.
    """
    given = [fact for fact in facts(table).values() if fact.size]
    if not given:
        return "There is no language model to give a verdict on."
    each = [f"“{fact.name}” for {listed(fact.models)}" for fact in given]
    meanings = " ".join(
        f"{fact.name.capitalize()}: {fact.meaning[0].lower()}{fact.meaning[1:]}" for fact in given
    )
    are = "verdict is" if len(each) == 1 else "verdicts are"
    return f"At N = {N} the {are} {listed(each)}. {meanings}"


def places(table: pd.DataFrame) -> str:
    """What language models do with a place, from `analysis.verdicts.verdicts`."""
    own = _language_models(table)
    if own.empty:
        return "What a language model does with a place is not known."
    by_place = _range(own["by_place"])
    beside = "" if by_place == "unknown" else f", where going by place alone would give {by_place}"
    return (
        "The share of tests on which the two orders have the same option chosen "
        f"{_runs(own, 'order_consistency')}{beside}; "
        f"the rate of first options {_runs(own, 'first_option_rate')}."
    )


def without_evidence(table: pd.DataFrame) -> str:
    """What language models do where there is nothing to learn, or only an example to find again."""
    own = _language_models(table)
    if own.empty:
        return "What a language model does without evidence is not known."
    return (
        f"Without examples the rate of deep options {_runs(own, 'prior')}, and with shuffled ones it "
        f"{_runs(own, 'shuffled')}. Where the test is one of the examples, in the same order, the rate at "
        f"which its choice is found again {_runs(own, 'repeat_copy')}; with its options exchanged it "
        f"{_runs(own, 'repeat_swapped')}."
    )


#: From so many cells that are all alike on, Wilson's interval lies above one half; see `verdicts.above`.
_ENOUGH, _ROUNDING = 4, 1e-9
#: What may be above, and what it is called.
_LEANS = {
    "control_lean": "the control",
    "probe_value_lean": "the value probe",
    "probe_surface_lean": "the surface probe",
}


def learned(table: pd.DataFrame) -> str:
    """What language models learned from the examples."""
    own = _language_models(table)
    if own.empty:
        return "What a language model learns is not known."
    parts = [
        f"At N = {N} the DVGR {_runs(own, 'dvgr')}; the value probe {_runs(own, 'probe_value')}, the surface "
        f"probe {_runs(own, 'probe_surface')} and the control {_runs(own, 'control')}.",
        f"Averaged over both orders, the right option is preferred for certain {_preferring(own)}.",
    ]
    if own["dvgr_minus_lexical"].notna().any():
        parts.append(f"The DVGR less that of the lexical learners {_runs(own, 'dvgr_minus_lexical')}.")
    if own[f"dvgr_n{MORE}"].notna().any():
        deep, value, surface = (
            _runs(own, f"{name}_n{MORE}") for name in ("dvgr", "probe_value", "probe_surface")
        )
        parts.append(
            f"At N = {MORE} the DVGR {deep}, the value probe {value} and the surface probe {surface}."
        )
    return " ".join(parts)


def _preferring(own: pd.DataFrame) -> str:
    """By how many language models, or by the one where, the right option is preferred for certain."""
    certain = {arm: int(_above(own, lean).sum()) for lean, arm in _LEANS.items()}
    if not any(certain.values()):
        return "nowhere"
    if len(own) == 1:
        return f"on {listed([arm for arm, models in certain.items() if models])} alone"
    return f"by {listed([f'{_of(models, len(own))} on {arm}' for arm, models in certain.items()])}"


def _above(own: pd.DataFrame, lean: str) -> pd.Series[bool]:
    """Whose lean lies above 0 for certain; one that is the same in every cell has no interval."""
    alike = own[f"{lean}_low"].isna() & (own[lean] > _ROUNDING) & (own["cells"] >= _ENOUGH)
    return (own[f"{lean}_low"] > 0) | alike


def _language_models(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["family"] == LANGUAGE_MODEL]


# ---- what can be read ----


def read(rates: pd.DataFrame) -> str:
    """What heads on hidden states find, beside the models when asked and beside shuffled choices.

    Parameters
    ----------
    rates
        From `analysis.asked_read.asked_against_read`.
    """
    heads = rates[~rates["respondent"].isin([ASKED, NULL])]
    if heads.empty:
        return "No head on hidden states is on record."
    steps = sorted(heads["n_examples"].unique())
    ends = steps if len(steps) < 3 else [steps[0], steps[-1]]
    return " ".join(
        _read_at(rates[rates["n_examples"] == n], heads[heads["n_examples"] == n], n) for n in ends
    )


def _read_at(rates: pd.DataFrame, heads: pd.DataFrame, n: int) -> str:
    def of(rows: pd.DataFrame, arm: str) -> str:
        return _range(rows.loc[rows["arm"] == arm, "rate"])

    whose = listed(sorted(heads["model"].unique()))
    found = (
        f"With N = {n}, heads on the hidden states of {whose} have a DVGR of "
        f"{of(heads, 'deconfounded')}, a value probe of {of(heads, 'probe_value')} and a surface probe of "
        f"{of(heads, 'probe_surface')}"
    )
    null, asked = (rates[rates["respondent"] == name] for name in (NULL, ASKED))
    beside = [
        f"{what} {of(rows, 'deconfounded')}, {of(rows, 'probe_value')} and {of(rows, 'probe_surface')}"
        for what, rows in (("shuffled choices leave", null), ("the models when asked have", asked))
        if len(rows)
    ]
    return f"{found}{'; ' if beside else ''}{'; '.join(beside)}."


def public_prompts(table: pd.DataFrame) -> str:
    """What respondents make of the public prompts.

    Parameters
    ----------
    table
        From `analysis.public_prompt_rates.beside_published`.
    """
    published = table[table["model"] == PUBLISHED].to_dict("records")[0]
    ours = table[table["model"] != PUBLISHED].rename(
        columns={"wilson_low": "dvgr_low", "wilson_high": "dvgr_high"}
    )
    groups = {
        "the lexical learners": ours[ours["model"].isin(LEXICAL)],
        "the language models asked": _language_models(ours),
        "the heads": ours[(ours["family"] == HEAD) & ~ours["model"].str.endswith("-shuffled")],
    }
    parts = [f"of {who} {_runs(rows, 'dvgr')}" for who, rows in groups.items() if len(rows)]
    if not parts:
        return "Nobody was asked the public prompts."
    return (
        f"On public prompts of the published kind the DVGR {'; that '.join(parts)}; the published language "
        f"models have {share(published['dvgr'])} on theirs."
    )


# ---- in short ----


def finding(how: pd.DataFrame, table: pd.DataFrame, rates: pd.DataFrame) -> str:
    """What was found about language models, for the abstract.

    Parameters
    ----------
    how
        From `analysis.several_sets.how_asked`.
    table
        From `analysis.verdicts.verdicts`.
    rates
        From `analysis.asked_read.asked_against_read`.
    """
    own = _language_models(table)
    if own.empty:
        return "No language model was asked in Study 1."
    names = listed(list(how["model"]))
    each = listed(
        [f"“{fact.name}” for {_who(fact.models, len(own))}" for fact in facts(table).values() if fact.size]
    )
    asked_ = (
        f"The {plural(LANGUAGE_MODEL, len(own))} asked ({names}) met every test in both orders of its "
        f"options. By rules fixed before the answers came the verdict is {each}. "
        f"{_in_short(own)}"
    )
    return f"{asked_}{_read_in_short(rates)}"


def _in_short(own: pd.DataFrame) -> str:
    if own[["dvgr", "order_consistency"]].isna().all(axis=None):
        return f"With {N} examples no reply could be read."
    agree = _range(own["order_consistency"])
    alike = "" if agree == "unknown" else f", and the two orders agree on {agree} of the tests"
    return f"With {N} examples the DVGR is {_range(own['dvgr'])}{alike}."


def _who(models: Sequence[str], total: int) -> str:
    return ("all" if total > 1 else "it") if len(models) == total else listed(models)


def _read_in_short(rates: pd.DataFrame) -> str:
    heads = rates[~rates["respondent"].isin([ASKED, NULL])]
    if heads.empty:
        return ""
    n = heads["n_examples"].max()
    deep, null = (
        rows.loc[(rows["arm"] == "deconfounded") & (rows["n_examples"] == n), "rate"]
        for rows in (heads, rates[rates["respondent"] == NULL])
    )
    beside = "" if null.empty or math.isnan(null.max()) else f", where shuffled choices leave {_range(null)}"
    return (
        " Linear heads fitted to the hidden states of these models, on the same examples, have a DVGR of "
        f"{_range(deep)} with {n} examples{beside}."
    )

"""The soft DVGR: the mean probability of the deep option, from the log probabilities of replies.

With ``logprobs: true`` and ``top_logprobs: 20`` among a model's parameters, endpoints return for each token
its log probability and those of the most probable alternatives, and the record keeps them unchanged. Only
the token that decides between the options is used. For models that are asked by letter probability
(`deepvalues.ask.letters`), the record holds only the letters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from deepvalues.ask.letters import is_kept
from deepvalues.ask.questions import Questions
from deepvalues.ask.record import Answer
from deepvalues.ask.spelling import spelled
from deepvalues.stats import clusters
from deepvalues.studies.dvb.items.prompts import LETTERS

_THOUGHT = re.compile(r".*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
COLUMNS = ("item", "repeat", "turn", "letter", "p_a", "p_a_low", "p_a_high", "mass", "covered")


class Weighed(NamedTuple):
    """The probabilities at the deciding token.

    ``letter`` is the sampled letter or, if letters were asked for, the more probable one (None in a tie).
    ``p_a`` is the probability of A among A and B, NaN unless both letters are listed (``covered``).
    ``p_a_low`` and ``p_a_high`` are its bounds: a letter that is not listed has at most the probability that
    the list leaves over. ``mass`` is the probability of the listed letters before normalization.
    """

    letter: str | None
    p_a: float
    p_a_low: float
    p_a_high: float
    mass: float
    covered: bool


#: For a reply without log probabilities or without a deciding token.
UNKNOWN = Weighed(None, math.nan, 0.0, 1.0, math.nan, False)


def weigh(logprobs: Mapping[str, Any] | None) -> Weighed:
    """Read the probabilities of A and B from the first token of a reply that is one of the two letters.

    Parameters
    ----------
    logprobs
        As in a choice of the chat-completions protocol: ``content``, a list of {token, logprob,
        top_logprobs}, where spellings of a letter (``A``, `` A``, ``(A``) are added up; or the short form of
        `deepvalues.ask.letters.condensed`.

    Returns
    -------
    Weighed
        `UNKNOWN` without log probabilities or a deciding token. Anything up to ``</think>`` is skipped.
    """
    if logprobs and is_kept(logprobs):
        return _of_letters(logprobs)
    content = (logprobs or {}).get("content") or ()
    thought = _THOUGHT.match("".join(token["token"] for token in content))
    begin, before = thought.end() if thought else 0, ""
    for token in content:
        letter = spelled(token["token"], before, LETTERS)
        if letter and len(before) >= begin:
            return _weighed(token, letter, before)
        before += token["token"]
    return UNKNOWN


def _weighed(token: Mapping[str, Any], letter: str, before: str) -> Weighed:
    listed = [token, *(token.get("top_logprobs") or ())]
    p = {entry["token"]: math.exp(entry["logprob"]) for entry in listed}
    sums: dict[str, float] = {}
    for text, probability in p.items():
        if named := spelled(text, before, LETTERS):
            sums[named] = sums.get(named, 0.0) + probability
    return _between(sums, letter, max(0.0, 1 - sum(p.values())))


def _of_letters(logprobs: Mapping[str, Any]) -> Weighed:
    """Read the short form; a missing letter says only that it was not listed."""
    p = {letter: math.exp(logprob) for letter, logprob in logprobs["letters"].items()}
    most_probable = [letter for letter in p if p[letter] == max(p.values())]
    found = _between(p, most_probable[0] if len(most_probable) == 1 else None, logprobs.get("unlisted", 0.0))
    return found._replace(mass=sum(p.values()))


def _between(p: Mapping[str, float], letter: str | None, unlisted: float) -> Weighed:
    """Weigh A against B; a letter that is not listed has at most the probability ``unlisted``."""
    mass = sum(p.values())
    if not mass > 0:
        return UNKNOWN._replace(letter=letter)
    if len(p) == len(LETTERS):
        p_a = p["A"] / mass
        return Weighed(letter, p_a, p_a, p_a, mass, True)
    sure = mass / (mass + unlisted)
    low, high = (sure, 1.0) if "A" in p else (0.0, 1 - sure)
    return Weighed(letter, math.nan, low, high, mass, False)


def probabilities(answers: Iterable[Answer]) -> pd.DataFrame:
    """The probabilities of option A in recorded answers.

    Parameters
    ----------
    answers
        Answers of one model to the items at hand, from `deepvalues.ask.questions.Questions.recorded`. A
        whole record may also hold answers to earlier versions of the prompts.

    Returns
    -------
    pandas.DataFrame
        item, repeat, turn and the fields of `Weighed`, one row per answer.
    """
    rows = [(answer.item, answer.repeat, answer.turn, *weigh(answer.logprobs)) for answer in answers]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def soft_trials(frame: pd.DataFrame, weighed: pd.DataFrame, model: str) -> pd.DataFrame:
    """A model's answered trials with the probability of the target option.

    Parameters
    ----------
    frame
        Trials, of one or more models.
    weighed
        From `probabilities`, of ``model``.

    Returns
    -------
    pandas.DataFrame
        The answered trials of the model with ``soft`` (probability of the target, NaN where not covered),
        ``soft_low``, ``soft_high``, ``mass`` and ``covered``. If the deciding token names another option than
        the one read from the whole reply, the answer is not covered and its bounds are 0 and 1.
    """
    own = frame[(frame["model"] == model) & frame["followed"].notna()]
    joined = own.merge(weighed, on=["item", "repeat", "turn"], how="left", validate="one_to_one")
    # Tied letters name no option, so they contradict no choice.
    tied = joined["letter"].isna() & joined["covered"].eq(True)
    sound = (tied | (joined["letter"] == joined["choice"])).to_numpy()
    at_a = (joined["right"] == "A").to_numpy()
    p, low, high = (joined[name].to_numpy(dtype=float) for name in ("p_a", "p_a_low", "p_a_high"))
    joined["covered"] = sound & joined["covered"].eq(True).to_numpy()
    joined["soft"] = np.where(joined["covered"], np.where(at_a, p, 1 - p), np.nan)
    joined["soft_low"] = np.where(sound, np.where(at_a, low, 1 - high), 0.0)
    joined["soft_high"] = np.where(sound, np.where(at_a, high, 1 - low), 1.0)
    return joined.drop(columns=["letter", "p_a", "p_a_low", "p_a_high"])


def all_soft_trials(frame: pd.DataFrame, asked: Iterable[Questions]) -> pd.DataFrame:
    """`soft_trials` of every model whose record holds log probabilities, concatenated.

    Parameters
    ----------
    frame
        Trials of the models.
    asked
        The items of the trials as each model was asked them.
    """
    found = []
    for each in asked:
        answers = (answer for _, _, turns in each.recorded() for answer in turns)
        weighed = probabilities(answer for answer in answers if answer.logprobs)
        if len(weighed):
            found.append(soft_trials(frame, weighed, each.model.name))
    # With no such model, return the columns without rows.
    return pd.concat(found) if found else soft_trials(frame.iloc[:0], probabilities(()), "")


def soft_dvgr(trials: pd.DataFrame) -> pd.DataFrame:
    """Soft DVGR of each model, compared with the DVGR of the same trials.

    Parameters
    ----------
    trials
        From `soft_trials`, of one or more models; only the deconfounded ones are used.

    Returns
    -------
    pandas.DataFrame
        model, answered, covered (number), coverage (share), mass (mean), soft with clustered_low and
        clustered_high (by cell) over the covered trials, hard (DVGR of the same trials), difference = soft −
        hard with difference_low and difference_high (paired, clustered by cell), bound_low and bound_high
        (the soft DVGR of all answered trials with the uncovered ones at their lower or upper bounds).
    """
    rows = []
    for model, group in trials[trials["arm"] == "deconfounded"].groupby("model"):
        covered = group[group["covered"]]
        soft = clusters.mean(covered["soft"].to_numpy(), covered["cell"])
        paired = clusters.mean((covered["soft"] - covered["followed"]).to_numpy(), covered["cell"])
        counts = (len(group), len(covered), len(covered) / len(group), float(covered["mass"].mean()))
        hard = (float(covered["followed"].mean()), paired.value, *paired.interval)
        bounds = (float(group["soft_low"].mean()), float(group["soft_high"].mean()))
        rows.append((model, *counts, soft.value, *soft.rate_interval, *hard, *bounds))
    columns = ["answered", "covered", "coverage", "mass", "soft", "clustered_low", "clustered_high"]
    ends = ["hard", "difference", "difference_low", "difference_high", "bound_low", "bound_high"]
    return pd.DataFrame(rows, columns=["model", *columns, *ends])

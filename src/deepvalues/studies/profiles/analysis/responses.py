"""From items and answers to responses: each run's number for each theme, and the codes of open answers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray

from deepvalues.ask.reading import without_thinking
from deepvalues.core import stable_random
from deepvalues.core.errors import UserError
from deepvalues.stats.agreement import cohens_kappa, krippendorff_alpha, raw_agreement
from deepvalues.studies.profiles.analysis.measures import THEMES
from deepvalues.studies.profiles.reading import parse
from deepvalues.studies.profiles.stimuli import Stimuli
from deepvalues.studies.shared import stop_if_stray

#: Columns of the responses; place is that of the theme in the prompt, from 0, or -1 if it names no themes.
COLUMNS = ["model", "mode", "wording", "run", "item", "turn", "theme", "place", "response", "priority"]


def priority(mode: str, response: float) -> float:
    """The priority of a theme by a response: 7 − rank in a ranking, else the response itself."""
    return THEMES + 1 - response if mode == "ranking" else response


def runs(stimuli: Stimuli, items: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """One row per model and item: the reading of its last turn, the number of repairs, and why it is missing.

    Parameters
    ----------
    answers
        From `Questions.answers` for ``profiles``.

    Returns
    -------
    pandas.DataFrame
        model, item, mode, wording, run, order, turn (number of repairs), status, choice, and reason (empty if
        answered, else why the reply could not be read, or the status).

    Raises
    ------
    UserError
        When an answer belongs to no item.
    """
    last = answers.sort_values("turn", kind="stable").groupby(["model", "item"], as_index=False).last()
    stop_if_stray(last, items)
    frame = last.merge(items[["id", "mode", "wording", "run", "order"]], left_on="item", right_on="id")
    names = [theme.name for theme in stimuli.themes]
    columns = frame[["status", "reply", "mode"]].itertuples(index=False, name=None)
    frame["reason"] = [
        parse(reply, mode, names).reason if status == "unparsable" and isinstance(reply, str) else status
        for status, reply, mode in columns
    ]
    frame.loc[frame["status"] == "answered", "reason"] = ""
    kept = ["model", "item", "mode", "wording", "run", "order", "turn", "status", "choice", "reason"]
    return frame.sort_values(["model", "mode", "run"], ignore_index=True)[kept]


def responses(runs: pd.DataFrame, themes: Sequence[str]) -> pd.DataFrame:
    """One row per answered run and theme.

    Parameters
    ----------
    runs
        From `runs`.
    themes
        Keys of the themes in their fixed order, as in the choices.

    Returns
    -------
    pandas.DataFrame
        model, mode, wording, run, item, turn, theme, place (of the theme in the prompt, from 0), response (as
        given) and priority (7 − rank in a ranking, else the response).
    """
    answered = runs[runs["status"] == "answered"]
    columns = ["model", "mode", "wording", "run", "item", "turn"]
    rows = [
        (*row, theme, order.split().index(theme), float(number), priority(row[1], float(number)))
        for *row, order, choice in answered[[*columns, "order", "choice"]].itertuples(index=False, name=None)
        for theme, number in zip(themes, choice.split(), strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def missing(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs per model and mode: model, mode, runs, answered, repaired (of these), missing, share (missing)."""
    answered = runs["status"] == "answered"
    counts = runs.assign(
        answered=answered, repaired=answered & (runs["turn"] > 0), missing=~answered, runs=True
    )
    table = counts.groupby(["model", "mode"])[["runs", "answered", "repaired", "missing"]].sum().astype(int)
    return table.assign(share=table["missing"] / table["runs"]).reset_index()


def over_modes(missing: pd.DataFrame) -> pd.DataFrame:
    """The counts of `missing` over all modes: model, runs, answered, repaired, missing."""
    counts = ["runs", "answered", "repaired", "missing"]
    return missing.groupby("model")[counts].sum().reset_index()


def reasons(runs: pd.DataFrame) -> pd.DataFrame:
    """Why runs are missing: model, mode, status, reason, runs."""
    lost = runs[runs["status"] != "answered"]
    by = ["model", "mode", "status", "reason"]
    return lost.groupby(by).size().rename("runs").reset_index()


def matrices(responses: pd.DataFrame, themes: Sequence[str]) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Priorities by mode and model, sorted: each of shape (runs, 6), with runs in order."""
    found = {}
    for (mode, model), group in responses.groupby(["mode", "model"], sort=True):
        wide = group.pivot(index="run", columns="theme", values="priority").reindex(columns=list(themes))
        found[str(mode), str(model)] = wide.to_numpy(dtype=float)
    return found


# ---- open answers: sentences, their codes, and the agreement of coders ----

_MARKER = re.compile(r"^\s*(?:[-*•–]|\d{1,2}[.)])\s+")
_HEADING = re.compile(r"^\s*#{1,6}\s")
_BOLD_LINE = re.compile(r"^\s*(\*\*|__)[^*_]+(\*\*|__):?\s*$")
_MARKUP = re.compile(r"\*\*|__|`|(?<!\w)[*_](?=\w)|(?<=[\w.!?,])[*_](?!\w)")
#: The end of a sentence: a stop, optional closing marks, a space, and a possible beginning of a sentence.
_END = re.compile(r"([.!?…]+[\"'”’)\]]*)\s+(?=[\"'“‘(\[]*[A-Z0-9])")
_FINISHED = re.compile(r"[.!?…:;][\"'”’)\]]*$")
#: Abbreviations whose stop does not end a sentence, including single capitals except "I".
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'“‘])(?:e\.g|i\.e|cf|vs|approx|no|fig|dr|mr|mrs|ms|prof|st|al|(?-i:[A-HJ-Z])|(?-i:[A-Z]\.)+(?-i:[A-Z]))\.$",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[^\W\d_]")

#: The items of the coding: every distinct sentence once.
UNIQUE = pa.DataFrameSchema(
    {"id": pa.Column(str, unique=True), "sentence": pa.Column(str, unique=True)},
    strict=True,
    ordered=True,
    name="items",
)


def _paragraphs(text: str) -> list[str]:
    """Lines without markers and headings, joined if a sentence continues on the next line."""
    found: list[str] = []
    open_line = False
    for line in text.splitlines():
        heading = _HEADING.match(line) or _BOLD_LINE.match(line)
        if heading or not line.strip():
            open_line = False
            continue
        marked = _MARKER.match(line)
        words = _MARKUP.sub("", _MARKER.sub("", line)).strip()
        if open_line and not marked and words[:1].islower():
            found[-1] += " " + words
        else:
            found.append(words)
        open_line = not _FINISHED.search(words)
    return found


def split_sentences(text: str) -> list[str]:
    """Split an answer into sentences by rules.

    List markers, headings and emphasis are removed; a list entry is a separate sentence. A sentence ends with
    a stop, question or exclamation mark or ellipsis, and any closing quotes and brackets, before a space and
    a capital or digit. Stops after abbreviations ("e.g.", "Dr.", "U.S.") and single capitals don't end one.
    Pieces without a letter are dropped.

    Returns
    -------
    list of str
        In the order of the text, with single spaces between words.
    """
    sentences = []
    for paragraph in _paragraphs(without_thinking(text)):
        start = 0
        for end in _END.finditer(paragraph):
            if not _ABBREVIATION.search(paragraph[start : end.end(1)]):
                sentences.append(paragraph[start : end.end(1)])
                start = end.end()
        sentences.append(paragraph[start:])
    tidy = (" ".join(sentence.split()) for sentence in sentences)
    return [sentence for sentence in tidy if _LETTER.search(sentence)]


def sentence_id(sentence: str) -> str:
    """The id of a sentence, from its text alone, so that equal sentences are coded once."""
    return f"s{stable_random.integer('sentence', sentence):016x}"


def sentences_of(answers: pd.DataFrame) -> pd.DataFrame:
    """Sentences of open answers.

    Parameters
    ----------
    answers
        From `Questions.answers` for ``profiles-open``; only those with status answered are used.

    Returns
    -------
    pandas.DataFrame
        model, item, repeat, place (position in the answer, from 0), id, sentence.
    """
    columns = ["model", "item", "repeat", "reply"]
    answered = answers.loc[answers["status"] == "answered", columns]
    rows = [
        (model, item, repeat, place, sentence_id(sentence), sentence)
        for model, item, repeat, reply in answered.itertuples(index=False, name=None)
        for place, sentence in enumerate(split_sentences(reply))
    ]
    return pd.DataFrame(rows, columns=["model", "item", "repeat", "place", "id", "sentence"])


def unique_sentences(sentences: pd.DataFrame) -> pd.DataFrame:
    """Every distinct sentence once: id and sentence, sorted by id to hide the authors.

    Raises
    ------
    UserError
        When there are no sentences.
    """
    if sentences.empty:
        raise UserError(
            "no open answers to code are on record; ask for them first with: "
            "deepvalues query --study profiles-open --model NAME"
        )
    unique = sentences[["id", "sentence"]].drop_duplicates("id").sort_values("id", ignore_index=True)
    return UNIQUE.validate(unique)


def codes_of(answers: pd.DataFrame) -> pd.DataFrame:
    """The codes that coder models gave.

    Parameters
    ----------
    answers
        From `Questions.answers` for ``profiles-coding``; the last turn of an item counts.

    Returns
    -------
    pandas.DataFrame
        id, coder, code (key of a theme or ``none``; missing if the reply could not be read), status.
    """
    last = answers.sort_values("turn", kind="stable").groupby(["model", "item"], as_index=False).last()
    codes = last.rename(columns={"item": "id", "model": "coder", "choice": "code"})
    return codes[["id", "coder", "code", "status"]]


def open_responses(
    items: pd.DataFrame, sentences: pd.DataFrame, codes: pd.DataFrame, themes: Sequence[str]
) -> pd.DataFrame:
    """Profiles of the open mode: each theme's share of the coded sentences of a run, in per cent.

    Sentences coded ``none`` or without a code are left out; a run with no others has no profile. All runs
    have equal weight, whatever their length.

    Parameters
    ----------
    items
        Items of ``profiles-open``.
    codes
        id and code, from one coder.

    Returns
    -------
    pandas.DataFrame
        As from `analysis.responses.responses`; response and priority are the share.

    Raises
    ------
    UserError
        When there is more than one coder.
    """
    if codes["id"].duplicated().any():
        raise UserError("the open profiles need the codes of one coder; there are several, so choose one")
    coded = sentences.merge(codes[["id", "code"]], on="id")
    coded = coded[coded["code"].isin(themes)]
    counts = coded.groupby(["model", "item"])["code"].value_counts().unstack(fill_value=0)
    shares = 100 * counts.reindex(columns=list(themes), fill_value=0).div(counts.sum(axis=1), axis=0)
    long = shares.reset_index().melt(["model", "item"], var_name="theme", value_name="response")
    joined = long.merge(items, left_on="item", right_on="id").assign(turn=0, place=-1)
    joined["priority"] = joined["response"]
    joined["theme"] = pd.Categorical(joined["theme"], list(themes), ordered=True)
    joined = joined.sort_values(["model", "run", "theme"], ignore_index=True)
    return joined[COLUMNS].astype({"theme": "str"})


def code_table(codes: pd.DataFrame, coders: Sequence[str]) -> pd.DataFrame:
    """One row per sentence seen by any coder, one column per coder; NaN if a code is missing."""
    chosen = codes[codes["coder"].isin(coders)]
    wide = chosen.pivot(index="id", columns="coder", values="code")
    return wide.reindex(columns=list(coders))


def coder_agreement(codes: pd.DataFrame, coders: Sequence[str], draws: int, seed: int) -> pd.DataFrame:
    """Agreement of coders, with intervals over sentences.

    Returns
    -------
    pandas.DataFrame
        measure (raw agreement; Cohen's kappa, with two coders; Krippendorff's alpha, which allows missing
        codes), estimate, low, high, units, raters.
    """
    table = code_table(codes, coders)
    found = {"raw agreement": raw_agreement(table, draws, seed)}
    if len(coders) == 2:
        found["Cohen's kappa"] = cohens_kappa(table, draws, seed)
    found["Krippendorff's alpha"] = krippendorff_alpha(table, "nominal", draws, seed)
    rows = [(measure, *agreement) for measure, agreement in found.items()]
    return pd.DataFrame(rows, columns=["measure", "estimate", "low", "high", "units", "raters"])

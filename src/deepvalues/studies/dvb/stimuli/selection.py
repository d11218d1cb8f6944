"""Choosing the bank's wordings from a larger pool, so that words alone favour neither layer.

A learner that knows only words follows the layer that repeats its words more often. The pool has more
wordings of each trait than the bank needs. A seeded search chooses among them and assigns them to training
or test, so that text learners find value and pole equally easy to learn, and neither very easy.

The search compares wordings pair by pair (`_Search.margins`). The bank is judged by a different measure: what
the learners choose in prompts, in designs with seeds that the search never saw (`learner_rates`). A few
rounds of both set `OFFSETS`, the difference between the layers' margins at which learners favour neither.
"""

from __future__ import annotations

import multiprocessing
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import combinations
from math import comb, exp
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pandera.pandas as pa
import yaml
from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm import tqdm

from deepvalues.ask.processes import processors
from deepvalues.core import stable_random
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml, writing
from deepvalues.core.number_format import listed, share
from deepvalues.core.paths import shown
from deepvalues.studies.dvb.items.items import Asked, ItemSet, items_of
from deepvalues.studies.dvb.items.prompts import parse_prompt
from deepvalues.studies.dvb.respondents.learners import LEARNERS as TEXT_LEARNERS
from deepvalues.studies.dvb.stimuli.bank import MINIMUM_WORDINGS, SPLITS, Bank, numbered
from deepvalues.studies.dvb.stimuli.design import ARMS, EXAMPLES, build_design

#: Number of wordings of each trait in the bank.
TRAIN, TEST = (MINIMUM_WORDINGS[split] for split in SPLITS)
SEED = 20251102
#: Steps of the search; each swaps two wordings of one trait.
STEPS = 12_000
#: Margins are divided by this, so that they are comparable for words, characters and nearest wordings.
SCALE = np.array([0.06, 0.05, 0.20, 0.25])
#: Target for the mean margin of both layers, in units of `SCALE`.
LEVEL = 0.55
#: Target for the margin of values minus that of poles, in units of `SCALE`.
OFFSETS = np.array([-0.15, -0.03, -0.02, 0.0])
#: At the start, a step that increases the loss by this much is kept with probability 1/e; at the end, never.
_TEMPERATURE = 0.02
#: Decimals of the loss: processors differ in later ones.
_DIGITS = 9

#: The learners for which the bank must favour neither layer.
LEARNERS = ("learner-words", "learner-characters", "learner-nearest")
#: Seeds of the designs in which the bank is judged.
SEEDS = (2001, 2002, 2003)
#: Arms and numbers of examples for judging it, and tests of each cell there.
JUDGED = (*(("deconfounded", n) for n in EXAMPLES), ("value_only", 20), ("surface_only", 20))
TESTS = 10
#: Limits on means over the seeds: distance of a DVGR from .5, and between the accuracies on the layers.
DVGR_WITHIN, LAYERS_WITHIN = 0.02, 0.03

RATES = pa.DataFrameSchema(
    {
        "seed": pa.Column("int64"),
        "model": pa.Column(str, pa.Check.isin(LEARNERS)),
        "arm": pa.Column(str, pa.Check.isin(list(ARMS))),
        "n_examples": pa.Column("int64", pa.Check.isin(EXAMPLES)),
        "items": pa.Column("int64", pa.Check.ge(1)),
        "rate": pa.Column(float, pa.Check.in_range(0, 1)),
        # Checksum of the bank that was measured.
        "bank": pa.Column(str, pa.Check.str_length(64, 64)),
    },
    unique=["seed", "model", "arm", "n_examples"],
    strict=True,
    ordered=True,
    name="the rates of learners",
)

BLIND = pa.DataFrameSchema(
    {
        "read": pa.Column("int64", pa.Check.gt(0)),
        "right": pa.Column("int64", pa.Check.ge(0)),
        "dropped": pa.Column("int64", pa.Check.ge(0)),
    },
    strict=True,
    name="blind reading",
)

#: Wordings by trait id.
Pool: TypeAlias = Mapping[str, Sequence[str]]
Matrix: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


def read_pool(folder: Path) -> dict[str, list[str]]:
    """Wordings by trait, from ``values/*.yml`` (lists) and ``dimensions/*.yml`` (one list per pole).

    Raises
    ------
    UserError
        When the folder has no such files, or one has another structure.
    """
    pool = {path.stem: _wordings(path, read_yaml(path)) for path in sorted((folder / "values").glob("*.yml"))}
    for path in sorted((folder / "dimensions").glob("*.yml")):
        poles = read_yaml(path)
        if not isinstance(poles, dict):
            raise UserError(f"{shown(path)}: a pool of a dimension has the names of its poles, and lists")
        pool |= {f"{path.stem}.{pole}": _wordings(path, texts) for pole, texts in poles.items()}
    if not pool:
        raise UserError(f"{shown(folder)}: no pool of wordings found there")
    return pool


def _wordings(path: Path, texts: Any) -> list[str]:
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UserError(f"{shown(path)}: a pool is a list of wordings, and something there is not")
    return texts


def _cosines(texts: Sequence[str]) -> tuple[Matrix, Matrix]:
    """Cosines of all pairs of texts, by TF-IDF of words and of 3 to 5 characters, without braces."""
    plain = [re.sub(r"[{}]", "", text) for text in texts]
    words = TfidfVectorizer(token_pattern=r"\w+").fit_transform(plain)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)).fit_transform(plain)
    return (words @ words.T).toarray(), (characters @ characters.T).toarray()


def expected_max_weights(size: int, drawn: int) -> Matrix:
    """Weights for sorted numbers, whose weighted sum is the expected maximum of a random draw from them.

    Parameters
    ----------
    size
        Number of numbers, sorted from the smallest.
    drawn
        Number drawn without replacement; if there are fewer, all are drawn.

    Returns
    -------
    numpy.ndarray
        Shape (size,): the probability of each to be the maximum, C(index, drawn - 1) / C(size, drawn).
    """
    drawn = min(drawn, size)
    return np.array([comb(index, drawn - 1) / comb(size, drawn) for index in range(size)])


class _Search:
    """The state of the search.

    ``indices`` holds, for each trait, the indices in ``texts`` of its training, test and unused wordings;
    ``near`` the similarity of each trait to itself and to its rivals (`_similarity`); ``loss`` the
    quantity to minimize (`_loss`).
    """

    def __init__(self, bank: Bank, pool: Pool, seed: int) -> None:
        self.seed = seed
        self.texts = [text for texts in pool.values() for text in texts]
        self.words, self.characters = _cosines(self.texts)
        self.indices: dict[str, list[list[int]]] = {}
        begin = 0
        for trait, texts in pool.items():
            order = stable_random.shuffled(range(begin, begin + len(texts)), seed, "start", trait)
            self.indices[trait] = [order[:TRAIN], order[TRAIN : TRAIN + TEST], order[TRAIN + TEST :]]
            begin += len(texts)
        rivals = [(a, b) for a, b in combinations(bank.traits, 2) if a.group == b.group]
        self.pairs = {kind: [(a.id, b.id) for a, b in rivals if a.kind == kind] for kind in ("value", "pole")}
        both_ways = [pair for a, b in rivals for pair in ((a.id, b.id), (b.id, a.id))]
        self.near = {
            pair: self._similarity(*pair) for pair in [*((trait, trait) for trait in pool), *both_ways]
        }
        self.loss = self._loss()

    def _similarity(self, a: str, b: str) -> Matrix:
        """Similarity of one trait's test wordings to another trait's training wordings.

        Returns
        -------
        numpy.ndarray
            Shape (4,), in units of `SCALE`: the mean cosine by words and by characters; the mean cosine, by
            words, to the nearest of four training wordings and of all.
        """
        index = np.ix_(self.indices[a][1], self.indices[b][0])
        words, characters = self.words[index], self.characters[index]
        ordered = np.sort(words, axis=1).mean(axis=0)
        nearest = [float(ordered @ expected_max_weights(TRAIN, drawn)) for drawn in (min(EXAMPLES), TRAIN)]
        near: Matrix = np.array([words.mean(), characters.mean(), *nearest]) / SCALE
        return near

    def margins(self, kind: str) -> Matrix:
        """How much closer test wordings are to their own trait than to the rival: shape (pairs, 4)."""
        near = self.near
        return np.array([near[a, a] - near[a, b] + near[b, b] - near[b, a] for a, b in self.pairs[kind]])

    def _loss(self) -> float:
        """Squared distance of the margins from their targets, and their spread within each layer.

        Values minus poles should be at `OFFSETS`, the mean of both at `LEVEL`. Level and spread use only
        words and characters.
        """
        values, poles = self.margins("value"), self.margins("pole")
        apart = values.mean(axis=0) - poles.mean(axis=0) - OFFSETS
        level = (values.mean(axis=0) + poles.mean(axis=0))[:2] / 2 - LEVEL
        spread = values.std(axis=0)[:2].sum() + poles.std(axis=0)[:2].sum()
        return round(float(20 * (apart**2).sum() + 5 * (level**2).sum() + 0.3 * spread), _DIGITS)

    def step(self, number: int, temperature: float) -> None:
        """Swap two wordings of a trait; reverse the swap if the loss increases by more than chance allows.

        Parameters
        ----------
        number
            Of the step; with the seed, it determines the draws.
        temperature
            Increase of the loss that is accepted with probability 1/e.
        """
        trait = list(self.indices)[stable_random.integer(self.seed, "trait", number) % len(self.indices)]
        parts = [part for part in self.indices[trait] if part]
        first, second = stable_random.shuffled(parts, self.seed, "parts", number)[:2]
        a = stable_random.integer(self.seed, "first", number) % len(first)
        b = stable_random.integer(self.seed, "second", number) % len(second)
        first[a], second[b] = second[b], first[a]
        before = {pair: near for pair, near in self.near.items() if trait in pair}
        self.near |= {pair: self._similarity(*pair) for pair in before}
        loss = self._loss()
        worse = loss - self.loss
        if worse <= 0 or stable_random.uniform(self.seed, "keep", number) < exp(-worse / temperature):
            self.loss = loss
        else:
            first[a], second[b] = second[b], first[a]
            self.near |= before


def select(bank: Bank, pool: Pool, seed: int = SEED, steps: int = STEPS) -> Bank:
    """Choose a bank's wordings from a pool by simulated annealing; the same seed gives the same bank.

    Parameters
    ----------
    bank
        Supplies traits, names, definitions and families; its wordings are ignored.
    pool
        At least `TRAIN` + `TEST` wordings of each trait of the bank.

    Raises
    ------
    UserError
        When the pool lacks a trait or has too few wordings of one.
    """
    for trait in bank.traits:
        have = len(pool.get(trait.id, ()))
        if have < TRAIN + TEST:
            raise UserError(f"the pool has {have} wordings of {trait.id}, and the bank needs {TRAIN + TEST}")
    search = _Search(bank, {trait.id: pool[trait.id] for trait in bank.traits}, seed)
    for number in range(steps):
        search.step(number, _TEMPERATURE * (1 - number / steps))
    # In the order of the pool, so that the files are easy to compare.
    chosen = {}
    for trait, parts in zip(bank.traits, search.indices.values(), strict=True):
        texts = [[search.texts[index] for index in sorted(part)] for part in parts[:2]]
        wordings = numbered(trait.id, dict(zip(SPLITS, texts, strict=True)))
        chosen[trait.id] = replace(trait, wordings=wordings)
    return replace(
        bank, values={id: chosen[id] for id in bank.values}, poles={id: chosen[id] for id in bank.poles}
    )


def write_wordings(bank: Bank, folder: Path) -> None:
    """Write a bank's wordings into a folder's files of values and dimensions, and change nothing else there.

    Raises
    ------
    UserError
        When a file can't be read or written.
    """
    for trait in bank.traits:
        path = folder / trait.file
        content = read_yaml(path)
        entry = content if trait.kind == "value" else content["poles"][trait.id.partition(".")[2]]
        entry |= {split: [wording.template for wording in trait.wordings[split]] for split in SPLITS}
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=110)
        with writing(path):
            path.write_text(text, encoding="utf-8")


def learner_rates(
    bank: Bank,
    seed: int,
    tests: int = TESTS,
    names: Sequence[str] = LEARNERS,
    judged: Sequence[tuple[str, int]] = JUDGED,
) -> pd.DataFrame:
    """What text learners choose with a bank in a new design: DVGR, and accuracy on single layers.

    Parameters
    ----------
    seed
        Of the design: the shipped one, or others that no search has seen.
    tests
        Tests per cell, arm and number of examples, at most ten.
    names
        Of the learners.
    judged
        Arms and numbers of examples.

    Returns
    -------
    pandas.DataFrame
        seed, model, arm, n_examples, items, rate (of right answers; a tie counts one half): one row for
        each of ``judged`` and ``names``, in this order.
    """
    asked = tuple(Asked(ARMS[arm], n, test, False) for arm, n in judged for test in range(tests))
    design = build_design(bank, seed)
    items = items_of(bank, design, ItemSet(asked, len(design.cells)))
    rights: dict[tuple[str, int, str], list[float]] = {(*part, name): [] for part in judged for name in names}
    columns = items[["arm", "n_examples", "right", "prompt"]].itertuples(index=False, name=None)
    for arm, n, right, prompt in columns:
        task = parse_prompt(prompt)
        for name in names:
            score = TEXT_LEARNERS[name].score(task) * (1 if right == "A" else -1)
            rights[arm, n, name].append((np.sign(score) + 1) / 2)
    rows = [(seed, name, arm, n, len(r), float(np.mean(r))) for (arm, n, name), r in rights.items()]
    return pd.DataFrame(rows, columns=["seed", "model", "arm", "n_examples", "items", "rate"])


def measure(
    bank: Bank,
    checksum: str,
    seeds: Sequence[int] = SEEDS,
    tests: int = TESTS,
    names: Sequence[str] = LEARNERS,
    judged: Sequence[tuple[str, int]] = JUDGED,
) -> pd.DataFrame:
    """`learner_rates` in several designs, in parallel, with at most one process per design or processor.

    Shows progress as one line on a terminal.

    Parameters
    ----------
    checksum
        That of the bank's files, which is written into every row.

    Returns
    -------
    pandas.DataFrame
        A frame that meets `RATES`.
    """
    parts = [(seed, part) for seed in seeds for part in judged]
    processes = min(processors(), len(seeds))
    # Not forked, because libraries below have threads.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        try:
            found = pool.map(partial(_part, bank, tests, names), parts)
            hidden = not sys.stderr.isatty()
            rates = list(tqdm(found, "measured", len(parts), unit="part", disable=hidden))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return RATES.validate(pd.concat(rates, ignore_index=True).assign(bank=checksum))


def _part(bank: Bank, tests: int, names: Sequence[str], part: tuple[int, tuple[str, int]]) -> pd.DataFrame:
    seed, judged = part
    return learner_rates(bank, seed, tests, names, [judged])


def read_rates(file: Path) -> pd.DataFrame:
    """The shipped rates: a frame that meets `RATES`.

    Raises
    ------
    UserError
        When the file is missing or not such a table.
    """
    return _table(file, RATES, "write it with `deepvalues select`")


def read_blind_reading(file: Path) -> pd.DataFrame:
    """Numbers of wordings read blind, named correctly, and dropped as unsure or odd; the frame meets `BLIND`.

    Raises
    ------
    UserError
        When the file is missing or not such a table.
    """
    return _table(file, BLIND, "restore it from git")


def _table(file: Path, schema: pa.DataFrameSchema, remedy: str) -> pd.DataFrame:
    try:
        return schema.validate(pd.read_csv(file))
    except FileNotFoundError:
        raise UserError(f"{shown(file)}: missing; {remedy}") from None
    except (ValueError, pa.errors.SchemaError, pa.errors.SchemaErrors):
        # What pandas can't parse raises a ValueError.
        raise UserError(f"{shown(file)}: not a table of {schema.name}; {remedy}") from None


def write_rates(rates: pd.DataFrame, file: Path) -> None:
    """Write the rates from `measure`.

    Raises
    ------
    UserError
        When the file can't be written.
    """
    with writing(file):
        rates.to_csv(file, index=False, lineterminator="\n")


def mean_rates(rates: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds, and whether they are within the limits.

    Returns
    -------
    pandas.DataFrame
        By model, in the order of `LEARNERS`: dvgr (a list, by number of examples), value_only, surface_only,
        kept (whether `DVGR_WITHIN` and `LAYERS_WITHIN` hold).
    """
    means = rates.groupby(["model", "arm", "n_examples"])["rate"].mean()
    rows = []
    for model in rates["model"].unique():
        dvgr = [float(rate) for rate in means.loc[model, "deconfounded"]]
        value, surface = (float(means.loc[model, arm].mean()) for arm in ("value_only", "surface_only"))
        # Rounded, because a rate at the limit is within it, and the last bits of a mean are arbitrary.
        off = max(round(abs(rate - 0.5), _DIGITS) for rate in dvgr)
        kept = off <= DVGR_WITHIN and round(abs(value - surface), _DIGITS) <= LAYERS_WITHIN
        rows.append((model, dvgr, value, surface, kept))
    return pd.DataFrame(rows, columns=["model", "dvgr", "value_only", "surface_only", "kept"])


def over_designs(rates: pd.DataFrame) -> pd.DataFrame:
    """Rates of each learner, arm and N over the designs in which the bank is judged.

    Parameters
    ----------
    rates
        From `read_rates`.

    Returns
    -------
    pandas.DataFrame
        model, arm, n_examples, designs (number), items (over all designs), rate (mean over the designs),
        least and most.
    """
    return rates.groupby(["model", "arm", "n_examples"], sort=False, as_index=False).agg(
        designs=("rate", "size"),
        items=("items", "sum"),
        rate=("rate", "mean"),
        least=("rate", "min"),
        most=("rate", "max"),
    )


def summary_lines(means: pd.DataFrame) -> list[str]:
    """The results of `mean_rates` in words, one line per learner."""
    return [
        f"{model}: DVGR {listed([share(rate) for rate in dvgr])}; "
        f"value only {share(value)}, surface only {share(surface)}: "
        f"{'within' if kept else 'outside'} the limits"
        for model, dvgr, value, surface, kept in means.itertuples(index=False, name=None)
    ]

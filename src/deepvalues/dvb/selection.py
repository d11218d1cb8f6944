"""Choosing the bank's wordings from a larger pool, so that words alone favour neither layer.

A learner of words follows whichever layer repeats its words more. The pool has more wordings of each trait
than the bank needs. A seeded search chooses among them, and settles which of them train and which test, so
that text learners find the value and the pole equally easy to pick up, and neither very easy.

What the search looks at is not what the bank is judged by. The search compares wordings pair by pair
(`_Search.margins`). The bank is judged by what the learners choose in prompts, in designs of seeds that the
search has not seen (`learner_rates`). A few rounds of both set `OFFSETS`: how far apart the margins of the
two layers must lie for the learners to favour neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import comb, exp
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import yaml
from sklearn.feature_extraction.text import TfidfVectorizer

from deepvalues import draw
from deepvalues.dvb import learners
from deepvalues.dvb.arms import ARMS, EXAMPLES
from deepvalues.dvb.bank import SPLITS, Bank, Trait, Wording
from deepvalues.dvb.design import build_design
from deepvalues.dvb.items import Asked, ItemSet, items_of
from deepvalues.dvb.parsing import parse_prompt
from deepvalues.errors import UserError
from deepvalues.files import read_yaml

#: Wordings that the bank takes of each trait.
TRAIN, TEST = 14, 10
SEED = 20251102
#: Steps of the search; each exchanges two wordings of one trait.
STEPS = 12_000
#: What a margin is divided by, so that one means much the same for words, characters and nearest wordings.
SCALE = np.array([0.06, 0.05, 0.20, 0.25])
#: The mean margin of both layers that the search aims at, in units of `SCALE`.
LEVEL = 0.55
#: Margin of values less that of poles that the search aims at, in units of `SCALE`.
OFFSETS = np.array([-0.15, -0.03, -0.02, 0.0])
#: A step that makes the loss worse by this much is kept one time in e at the start, and never at the end.
_TEMPERATURE = 0.02
#: Differences of the loss below this are rounding.
_DIGITS = 9
#: The learners that the bank must not favour a layer for.
LEARNERS = ("learner-words", "learner-characters", "learner-nearest")

Pool: TypeAlias = Mapping[str, Sequence[str]]
Matrix: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


def read_pool(folder: Path) -> dict[str, list[str]]:
    """Wordings by trait, from ``values/*.yml`` (lists) and ``dimensions/*.yml`` (a list for each pole).

    Raises
    ------
    UserError
        When the folder has no such files, or one is no YAML.
    """
    pool = {path.stem: list(read_yaml(path)) for path in sorted((folder / "values").glob("*.yml"))}
    for path in sorted((folder / "dimensions").glob("*.yml")):
        pool |= {f"{path.stem}.{pole}": list(texts) for pole, texts in read_yaml(path).items()}
    if not pool:
        raise UserError(f"{folder}: no pool of wordings found there")
    return pool


def _likeness(texts: Sequence[str]) -> tuple[Matrix, Matrix]:
    """Cosines of all pairs of texts, by TF-IDF of words and of 3 to 5 characters; slots are their names."""
    plain = [re.sub(r"[{}]", "", text) for text in texts]
    words = TfidfVectorizer(token_pattern=r"\w+").fit_transform(plain)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)).fit_transform(plain)
    return (words @ words.T).toarray(), (characters @ characters.T).toarray()


def largest_weights(size: int, drawn: int) -> Matrix:
    """Weights of ``size`` sorted numbers, smallest first, in the expected largest of ``drawn`` of them."""
    drawn = min(drawn, size)
    return np.array([comb(place, drawn - 1) / comb(size, drawn) for place in range(size)])


class _Search:
    """The state of the search: of each trait the places of its wordings that train, test and stay out."""

    def __init__(self, bank: Bank, pool: Pool, seed: int) -> None:
        self.seed = seed
        self.texts = [text for texts in pool.values() for text in texts]
        self.words, self.characters = _likeness(self.texts)
        self.rivals = {
            trait.id: [
                other.id for other in bank.traits if other.group == trait.group and other.id != trait.id
            ]
            for trait in bank.traits
        }
        self.pairs = {
            kind: [
                (a.id, b.id)
                for a, b in combinations((t for t in bank.traits if t.kind == kind), 2)
                if a.group == b.group
            ]
            for kind in ("value", "pole")
        }
        self.places: dict[str, list[list[int]]] = {}
        begin = 0
        for trait, texts in pool.items():
            order = draw.shuffled(range(begin, begin + len(texts)), seed, "start", trait)
            self.places[trait] = [order[:TRAIN], order[TRAIN : TRAIN + TEST], order[TRAIN + TEST :]]
            begin += len(texts)
        self.near = {(a, b): self._near(a, b) for a in self.places for b in (a, *self.rivals[a])}
        self.loss = self._loss()

    def _near(self, a: str, b: str) -> Matrix:
        """How near the test wordings of one trait are to the training wordings of another, in four ways.

        Mean cosine of words and of characters; mean cosine of words to the nearest of four and of all.
        """
        place = np.ix_(self.places[a][1], self.places[b][0])
        words, characters = self.words[place], self.characters[place]
        ordered = np.sort(words, axis=1).mean(axis=0)
        nearest = [float(ordered @ largest_weights(TRAIN, drawn)) for drawn in (4, TRAIN)]
        return np.array([words.mean(), characters.mean(), *nearest]) / SCALE

    def margins(self, kind: str) -> Matrix:
        """How much nearer test wordings are to their own trait than to the rival's: shape (pairs, 4)."""
        near = self.near
        return np.array([near[a, a] - near[a, b] + near[b, b] - near[b, a] for a, b in self.pairs[kind]])

    def _loss(self) -> float:
        """Squared distance from `OFFSETS` and `LEVEL`, and the spread of the margins within each layer."""
        values, poles = self.margins("value"), self.margins("pole")
        apart = values.mean(axis=0) - poles.mean(axis=0) - OFFSETS
        level = (values.mean(axis=0) + poles.mean(axis=0))[:2] / 2 - LEVEL
        spread = values.std(axis=0)[:2].sum() + poles.std(axis=0)[:2].sum()
        return round(float(20 * (apart**2).sum() + 5 * (level**2).sum() + 0.3 * spread), _DIGITS)

    def step(self, number: int, temperature: float) -> None:
        """Exchange two wordings of a trait, and take it back if that is worse by more than chance allows."""
        trait = list(self.places)[draw.integer(self.seed, "trait", number) % len(self.places)]
        parts = [part for part in self.places[trait] if part]
        first, second = draw.shuffled(parts, self.seed, "parts", number)[:2]
        a = draw.integer(self.seed, "first", number) % len(first)
        b = draw.integer(self.seed, "second", number) % len(second)
        first[a], second[b] = second[b], first[a]
        changed = [
            (trait, trait),
            *((trait, r) for r in self.rivals[trait]),
            *((r, trait) for r in self.rivals[trait]),
        ]
        before = {key: self.near[key] for key in changed}
        self.near |= {key: self._near(*key) for key in changed}
        worse = self._loss() - self.loss
        if worse <= 0 or draw.uniform(self.seed, "keep", number) < exp(-worse / temperature):
            self.loss = self._loss()
        else:
            first[a], second[b] = second[b], first[a]
            self.near |= before


def select(bank: Bank, pool: Pool, seed: int = SEED, steps: int = STEPS) -> Bank:
    """Choose a bank's wordings from a pool by simulated annealing; the same seed gives the same bank.

    Parameters
    ----------
    bank
        Gives traits, names, definitions and families; its wordings are left aside.
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

    def chosen(trait: Trait) -> Trait:
        parts = dict(zip(SPLITS, search.places[trait.id], strict=False))
        # In the order of the pool, so that the files are easy to compare.
        wordings = {
            split: tuple(
                Wording(f"{trait.id}.{split}.{number:02d}", search.texts[place])
                for number, place in enumerate(sorted(places), start=1)
            )
            for split, places in parts.items()
        }
        return replace(trait, wordings=wordings)

    values = {id: chosen(trait) for id, trait in bank.values.items()}
    return replace(bank, values=values, poles={id: chosen(trait) for id, trait in bank.poles.items()})


def write_wordings(bank: Bank, folder: Path) -> None:
    """Put a bank's wordings into the files of values and dimensions of a folder; all else in them stays."""
    for trait in bank.traits:
        path = folder / trait.file
        content = read_yaml(path)
        entry = content if trait.kind == "value" else content["poles"][trait.id.partition(".")[2]]
        entry |= {split: [wording.template for wording in trait.wordings[split]] for split in SPLITS}
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=110)
        path.write_text(text, encoding="utf-8")


def learner_rates(bank: Bank, seed: int, tests: int = 10, names: Sequence[str] = LEARNERS) -> pd.DataFrame:
    """What text learners make of a bank, in a design of its own: DVGR by N, and accuracy on single layers.

    Parameters
    ----------
    seed
        Of the design; that of the shipped one, or others that no search has seen.
    tests
        Tests of each cell and arm, at most ten.

    Returns
    -------
    pandas.DataFrame
        model, arm (deconfounded, value_only, surface_only), n_examples, items, rate (of right answers; a tie
        counts one half).
    """
    arms = [("deconfounded", n) for n in EXAMPLES] + [("value_only", 20), ("surface_only", 20)]
    asked = tuple(Asked(ARMS[arm], n, test, False) for arm, n in arms for test in range(tests))
    items = items_of(bank, build_design(bank, seed), ItemSet(asked, 400))
    rights: dict[tuple[str, str, int], list[float]] = {}
    for item in items.itertuples():
        task = parse_prompt(item.prompt)
        for name in names:
            score = learners.LEARNERS[name].score(task) * (1 if item.right == "A" else -1)
            rights.setdefault((name, item.arm, item.n_examples), []).append((np.sign(score) + 1) / 2)
    rows = [(*key, len(found), float(np.mean(found))) for key, found in rights.items()]
    return pd.DataFrame(rows, columns=["model", "arm", "n_examples", "items", "rate"])

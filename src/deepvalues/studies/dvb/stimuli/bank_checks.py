"""Can the bank's test wordings be classified from its training wordings, and by which features?

Whoever learns a value or pole from training wordings must be able to recognize it in test wordings, or no
model could generalize at all. How far plain word statistics get shows how much of a model's result they
could explain. All measures compare training with test wordings of one bank.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from deepvalues.stats.clusters import clustered
from deepvalues.stats.rates import CONFIDENCE, wilson
from deepvalues.studies.dvb.stimuli.bank import SPLITS, Bank, Trait, words

#: What is classified: all values; two values of one set; the two poles of a dimension.
LAYERS = ("value", "value pair", "pole")
#: Inverse strength of the ridge penalty, the same as for the text learners.
C = 1.0
PERMUTATIONS = 10_000

Classifier: TypeAlias = Any


def wordings(bank: Bank) -> pd.DataFrame:
    """All wordings of values and poles, one per row, with slots replaced by their names.

    Returns
    -------
    pandas.DataFrame
        id, split, layer (value or pole), trait, group (the set of a value,
        the dimension of a pole), text.
    """
    rows = [
        (wording.id, split, trait.kind, trait.id, trait.group, re.sub(r"[{}]", "", wording.template))
        for trait in bank.traits
        for split in SPLITS
        for wording in trait.wordings[split]
    ]
    return pd.DataFrame(rows, columns=["id", "split", "layer", "trait", "group", "text"])


def _lengths(texts: Sequence[str]) -> np.ndarray:
    """Words and characters of each text, shape (texts, 2)."""
    return np.array([(len(words(text)), len(text)) for text in texts], dtype=float)


#: Classifiers by name: TF-IDF of words, TF-IDF of 3 to 5 characters, the nearest wording by cosine of
#: words' TF-IDF, and word and character counts alone.
CLASSIFIERS: dict[str, Callable[[], Classifier]] = {
    "words": lambda: make_pipeline(_words(), LogisticRegression(C=C, max_iter=1000)),
    "characters": lambda: make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)), LogisticRegression(C=C, max_iter=1000)
    ),
    "nearest": lambda: make_pipeline(
        _words(), KNeighborsClassifier(n_neighbors=1, metric="cosine", algorithm="brute")
    ),
    "length": lambda: make_pipeline(FunctionTransformer(_lengths), StandardScaler(), LogisticRegression(C=C)),
}


def _words() -> TfidfVectorizer:
    return TfidfVectorizer(token_pattern=r"\w+")


def tasks(bank: Bank, layer: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (name, traits) of the classification tasks on a layer of `LAYERS`.

    One task with eleven classes for ``value``; 25 with two classes for ``value pair`` (the pairs within the
    two sets, as in the items); 20 with two classes for ``pole``.
    """
    if layer == "value":
        yield "all", tuple(bank.values)
    elif layer == "value pair":
        for first, second in combinations(bank.values.values(), 2):
            if first.group == second.group:
                yield f"{first.id} / {second.id}", (first.id, second.id)
    else:
        for dimension in bank.dimensions.values():
            yield dimension.id, dimension.poles


def predictions(bank: Bank, layer: str, classifier: str) -> pd.DataFrame:
    """Fit a classifier on the training wordings of each task and predict its test wordings.

    Returns
    -------
    pandas.DataFrame
        One row per task and test wording: layer, task, wording, trait, predicted, right, classes (number
        of traits; all have equally many wordings, so chance is 1 / classes).
    """
    frame = wordings(bank)
    found = []
    for task, traits in tasks(bank, layer):
        chosen = frame[frame["trait"].isin(traits)]
        train, test = (chosen[chosen["split"] == split] for split in SPLITS)
        model = CLASSIFIERS[classifier]().fit(train["text"].tolist(), train["trait"].tolist())
        classified = test[["id", "trait"]].rename(columns={"id": "wording"})
        predicted = model.predict(test["text"].tolist())
        found.append(classified.assign(layer=layer, task=task, predicted=predicted, classes=len(traits)))
    classified = pd.concat(found, ignore_index=True)
    return classified.assign(right=classified["trait"] == classified["predicted"])


def permutation_p(classified: pd.DataFrame, seed: int, permutations: int = PERMUTATIONS) -> float:
    """One-sided p-value of the number right, from shuffling the true traits within each task.

    The fitted classifier stays the same; under the null, a test wording's trait is unrelated to its
    prediction. p = (1 + shuffles with as many right or more) / (1 + shuffles).

    If a wording occurs in several tasks (value pairs), its traits are shuffled independently in each, so the
    p-value is too small: `separability` omits it.

    References
    ----------
    Phipson and Smyth (2010), Statistical Applications in Genetics and Molecular Biology 9.
    """
    rng = np.random.default_rng(seed)
    right = np.zeros(permutations, dtype=int)
    for _, rows in classified.groupby("task", sort=True):
        codes = pd.Categorical(rows["trait"])
        predicted = pd.Categorical(rows["predicted"], categories=codes.categories).codes
        shuffled = rng.permuted(np.tile(codes.codes, (permutations, 1)), axis=1)
        right += (shuffled == predicted).sum(axis=1)
    return float((1 + (right >= classified["right"].sum()).sum()) / (1 + permutations))


def separability(bank: Bank, seed: int, permutations: int = PERMUTATIONS) -> pd.DataFrame:
    """How often each classifier gets the value, value pair or pole of the test wordings right.

    Returns
    -------
    pandas.DataFrame
        layer, classifier, n, right, accuracy, low, high (Wilson), clustered_low, clustered_high (clusters are
        the true values; for poles, the dimensions), chance, p (`permutation_p`; NaN for value pairs, where
        wordings recur).
    """
    dimension = {pole: trait.group for pole, trait in bank.poles.items()}
    rows = []
    for layer in LAYERS:
        for classifier in CLASSIFIERS:
            classified = predictions(bank, layer, classifier)
            owners = classified["trait"].map(lambda trait: dimension.get(trait, trait))
            p = np.nan if layer == "value pair" else permutation_p(classified, seed, permutations)
            around = clustered(classified["right"].astype(float), owners)
            chance = 1 / int(classified["classes"].iloc[0])
            n, right = len(classified), int(classified["right"].sum())
            rows.append((layer, classifier, n, right, right / n, *wilson(right, n), *around, chance, p))
    columns = ["layer", "classifier", "n", "right", "accuracy", "low", "high"]
    columns += ["clustered_low", "clustered_high", "chance", "p"]
    return pd.DataFrame(rows, columns=columns)


def _rivals(bank: Bank, trait: Trait) -> list[str]:
    """The other traits of a trait's group."""
    return [other.id for other in bank.traits if other.group == trait.group and other.id != trait.id]


def vocabulary_overlap(bank: Bank) -> pd.DataFrame:
    """How many word types of a trait's test wordings also occur in its training wordings.

    Returns
    -------
    pandas.DataFrame
        layer, group, trait, train_types, test_types, shared (types), share (shared / test_types), jaccard
        (shared / types in either), rivals (mean share for the training wordings of the group's other
        traits).
    """
    frame = wordings(bank)
    types = {
        key: frozenset(word for text in texts for word in words(text))
        for key, texts in frame.groupby(["trait", "split"], sort=False)["text"]
    }
    rows = []
    for trait in bank.traits:
        train, test = types[trait.id, "train"], types[trait.id, "test"]
        shares = [len(types[rival, "train"] & test) / len(test) for rival in _rivals(bank, trait)]
        shared = len(train & test)
        counts = (len(train), len(test), shared, shared / len(test), shared / len(train | test))
        rows.append((trait.kind, trait.group, trait.id, *counts, float(np.mean(shares))))
    columns = ["layer", "group", "trait", "train_types", "test_types", "shared", "share", "jaccard", "rivals"]
    return pd.DataFrame(rows, columns=columns)


def trait_similarity(bank: Bank) -> pd.DataFrame:
    """Mean cosine of a trait's test wordings with its own and with its rivals' training wordings.

    TF-IDF of words, fitted to the whole bank. Rivals are the alternatives in a test: the other values of the
    set, the other pole of the dimension.

    Returns
    -------
    pandas.DataFrame
        layer, group, trait, same, rivals, difference (same - rivals).
    """
    frame = wordings(bank)
    rows = _words().fit_transform(frame["text"])
    # All vectors have length 1, so the mean cosine of all pairs is the product of the mean vectors.
    means = {
        key: np.asarray(rows[indices].mean(axis=0)).ravel()
        for key, indices in frame.groupby(["trait", "split"], sort=False).indices.items()
    }
    found = []
    for trait in bank.traits:
        test = means[trait.id, "test"]
        same = float(test @ means[trait.id, "train"])
        against = float(np.mean([test @ means[rival, "train"] for rival in _rivals(bank, trait)]))
        found.append((trait.kind, trait.group, trait.id, same, against, same - against))
    return pd.DataFrame(found, columns=["layer", "group", "trait", "same", "rivals", "difference"])


def similarity(bank: Bank) -> pd.DataFrame:
    """How much more similar a trait's test and training wordings are than those of rivals, by layer.

    Word learners depend on this: if the difference is larger for values than for poles, they follow values
    without any notion of a value.

    Returns
    -------
    pandas.DataFrame
        layer, traits, same, rivals, difference, low, high, p. Rows ``value`` and ``pole``: means over traits
        (for poles over dimensions, whose two poles are not independent), with Student's t interval against
        0. Row ``value - pole``: the difference of these two differences, with Welch's interval.
    """
    by_trait = trait_similarity(bank)
    unit = by_trait["trait"].where(by_trait["layer"] == "value", by_trait["group"])
    by_unit = by_trait.assign(unit=unit).groupby(["layer", "unit"], sort=False)
    table = by_unit[["same", "rivals", "difference"]].mean().reset_index()
    layers = {layer: table[table["layer"] == layer] for layer in ("value", "pole")}
    rows = []
    for layer, units in layers.items():
        means = units[["same", "rivals"]].mean()
        test = _t_test(units["difference"])
        rows.append((layer, (by_trait["layer"] == layer).sum(), means["same"], means["rivals"], *test))
    gap = _t_test(layers["value"]["difference"], layers["pole"]["difference"])
    rows.append(("value - pole", len(by_trait), np.nan, np.nan, *gap))
    columns = ["layer", "traits", "same", "rivals", "difference", "low", "high", "p"]
    return pd.DataFrame(rows, columns=columns)


def _t_test(x: pd.Series[float], y: pd.Series[float] | None = None) -> tuple[float, float, float, float]:
    """(difference of means, low, high, p); without ``y``, the mean of ``x`` against 0."""
    # SciPy, because pingouin rounds intervals to two decimals, and these differences are hundredths.
    test = stats.ttest_1samp(x, 0) if y is None else stats.ttest_ind(x, y, equal_var=False)
    low, high = test.confidence_interval(CONFIDENCE)
    estimate = x.mean() - (0 if y is None else y.mean())
    return float(estimate), float(low), float(high), float(test.pvalue)

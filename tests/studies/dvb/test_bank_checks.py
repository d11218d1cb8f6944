import math
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from deepvalues.studies.dvb.stimuli import bank_checks
from deepvalues.studies.dvb.stimuli.bank import SPLITS, Wording, words

SEED = 20251102


def with_texts(bank, write):
    """The bank with ``write(trait, split, number)`` in place of every wording."""

    def rewritten(trait):
        texts = {
            split: tuple(
                Wording(wording.id, write(trait, split, number))
                for number, wording in enumerate(trait.wordings[split])
            )
            for split in SPLITS
        }
        return replace(trait, wordings=texts)

    return replace(
        bank,
        values={id: rewritten(trait) for id, trait in bank.values.items()},
        poles={id: rewritten(trait) for id, trait in bank.poles.items()},
    )


def telling_word(trait, split, number):
    """Wordings that share one word with all of their trait and nothing with any other."""
    return f"own{trait.id.replace('.', '').replace('_', '')} {split}{number}{trait.id[:3]} filler"


@pytest.fixture(scope="module")
def telling(bank):
    return with_texts(bank, telling_word)


@pytest.fixture(scope="module")
def mute(bank):
    """A bank whose wordings have no word in common with any other."""
    return with_texts(
        bank, lambda trait, split, number: f"{split}{number}{trait.id.replace('.', '').replace('_', '')}"
    )


@pytest.fixture(scope="module")
def separability(bank):
    return bank_checks.separability(bank, SEED, permutations=1000).set_index(["layer", "classifier"])


def test_all_wordings_are_listed(bank):
    frame = bank_checks.wordings(bank)
    assert len(frame) == sum(len(trait.wordings[split]) for trait in bank.traits for split in SPLITS)
    assert not frame["text"].str.contains("[{}]").any()


def test_tasks_are_those_of_the_design(bank):
    counts = {layer: len(list(bank_checks.tasks(bank, layer))) for layer in bank_checks.LAYERS}
    assert counts == {"value": 1, "value pair": 25, "pole": 20}
    for _, traits in bank_checks.tasks(bank, "value pair"):
        assert len({bank.values[value].group for value in traits}) == 1


@pytest.mark.parametrize("layer", bank_checks.LAYERS)
@pytest.mark.parametrize("classifier", ["words", "nearest"])
def test_a_word_that_tells_is_found(telling, layer, classifier):
    assert bank_checks.predictions(telling, layer, classifier)["right"].all()


def test_characters_find_a_word_that_tells_too(telling):
    assert bank_checks.predictions(telling, "pole", "characters")["right"].mean() > 0.9


def test_length_alone_is_found_by_the_length_classifier_only(bank):
    second_poles = {dimension.poles[1] for dimension in bank.dimensions.values()}
    long_and_short = with_texts(
        bank, lambda trait, split, number: " ".join(["same"] * (9 if trait.id in second_poles else 3))
    )
    told = bank_checks.predictions(long_and_short, "pole", "length")
    assert told["right"].all()
    assert bank_checks.predictions(long_and_short, "pole", "words")["right"].mean() == 0.5


def test_without_shared_words_nothing_is_told(mute):
    told = bank_checks.predictions(mute, "pole", "words")
    assert told["right"].mean() == 0.5
    assert bank_checks.permutation_p(told, SEED, 500) > 0.4


def test_the_real_bank(separability):
    """What the paper says of it: words tell values and poles about as well, and lengths tell little."""
    accuracy = separability["accuracy"]
    assert separability.loc[("value", "words"), "low"] > 1 / 11
    pair, pole = (separability.loc[(layer, "words")] for layer in ("value pair", "pole"))
    assert min(pair["clustered_low"], pole["clustered_low"]) > 0.5
    assert pair["clustered_low"] < pole["accuracy"] < pair["clustered_high"]
    for layer in bank_checks.LAYERS:
        assert accuracy[layer, "length"] < accuracy[layer, "words"]
    assert list(separability.index) == list(product(bank_checks.LAYERS, bank_checks.CLASSIFIERS))
    assert (separability["low"] <= separability["accuracy"]).all()
    assert (separability["accuracy"] <= separability["high"]).all()
    pairs = separability.index.get_level_values("layer") == "value pair"
    assert (separability["p"].isna() == pairs).all()


def test_permutation_p_against_the_exact_distribution():
    """All four right: one of the six arrangements of aabb is as good. Two such tasks: one of 36."""
    one = pd.DataFrame({"trait": list("aabb"), "predicted": list("aabb"), "right": True, "task": "t"})
    assert bank_checks.permutation_p(one, SEED, 20_000) == pytest.approx(1 / 6, abs=0.01)
    two = pd.concat([one, one.assign(task="u")])
    assert bank_checks.permutation_p(two, SEED, 20_000) == pytest.approx(1 / 36, abs=0.005)


def test_permutation_p_is_that_of_fishers_test_for_two_classes():
    """With both margins fixed, the number right is hypergeometric (Fisher, 1935)."""
    rng = np.random.default_rng(1)
    trait = np.array(["a"] * 10 + ["b"] * 10)
    predicted = np.where(rng.random(20) < 0.75, trait, np.where(trait == "a", "b", "a"))
    told = pd.DataFrame({"trait": trait, "predicted": predicted, "right": trait == predicted, "task": "t"})
    exact = stats.fisher_exact(pd.crosstab(trait, predicted), alternative="greater").pvalue
    assert bank_checks.permutation_p(told, SEED, 20_000) == pytest.approx(exact, abs=0.01)


def test_the_same_seed_gives_the_same_p(bank):
    told = bank_checks.predictions(bank, "pole", "words")
    assert bank_checks.permutation_p(told, 3, 500) == bank_checks.permutation_p(told, 3, 500)


def test_vocabulary_overlap_by_hand(bank):
    overlap = bank_checks.vocabulary_overlap(bank).set_index("trait")
    trait = bank.values["justice"]
    train, test = (
        {word for wording in trait.wordings[split] for word in words(wording.template)} for split in SPLITS
    )
    row = overlap.loc["justice"]
    assert row["shared"] == len(train & test)
    assert row["share"] == pytest.approx(len(train & test) / len(test))
    assert row["jaccard"] == pytest.approx(len(train & test) / len(train | test))
    assert len(overlap) == 51


def test_no_overlap_in_a_mute_bank(mute):
    overlap = bank_checks.vocabulary_overlap(mute)
    assert (overlap[["shared", "rivals"]] == 0).all(axis=None)


def test_similarity_by_hand(bank):
    """The mean over all pairs of wordings, cosine by cosine."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics.pairwise import cosine_similarity

    frame = bank_checks.wordings(bank)
    rows = TfidfVectorizer(token_pattern=r"\w+").fit_transform(frame["text"])

    def mean_cosine(trait, other):
        test = (frame["trait"] == trait) & (frame["split"] == "test")
        train = (frame["trait"] == other) & (frame["split"] == "train")
        return cosine_similarity(rows[test.to_numpy()], rows[train.to_numpy()]).mean()

    found = bank_checks.trait_similarity(bank).set_index("trait")
    first, second = bank.dimensions["humor"].poles
    assert found.loc[first, "same"] == pytest.approx(mean_cosine(first, first))
    assert found.loc[first, "rivals"] == pytest.approx(mean_cosine(first, second))


def test_similarity_of_banks_with_known_answers(telling, mute):
    told = bank_checks.similarity(telling).set_index("layer")
    assert (told.loc[["value", "pole"], "difference"] > 0.1).all()
    silent = bank_checks.similarity(mute).set_index("layer")
    assert (silent.loc[["value", "pole"], "same"] == 0).all()


def test_similarity_of_the_real_bank(bank):
    found = bank_checks.similarity(bank).set_index("layer")
    assert ((found["low"] < found["difference"]) & (found["difference"] < found["high"])).all()
    gap = found.loc["value", "difference"] - found.loc["pole", "difference"]
    assert found.loc["value - pole", "difference"] == pytest.approx(gap)
    assert found.loc["value", "difference"] == pytest.approx(
        found.loc["value", "same"] - found.loc["value", "rivals"]
    )
    assert math.isnan(found.loc["value - pole", "same"])

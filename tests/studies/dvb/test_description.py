"""What bank, design and items are said to be: counted another way, on the project's own bank."""

import re

import pandas as pd
import pytest

from deepvalues.studies.dvb.stimuli import description
from deepvalues.studies.dvb.stimuli.bank import word_count
from deepvalues.studies.dvb.stimuli.design import ARMS


@pytest.fixture(scope="module")
def table(bank):
    return description.wordings(bank)


def test_wordings_are_counted_by_trait_and_split(table, bank):
    assert len(table) == 2 * (len(bank.values) + len(bank.poles))
    row = table[(table["trait"] == "beneficence") & (table["split"] == "test")].iloc[0]
    listed = bank.values["beneficence"].wordings["test"]
    assert (row["kind"], row["wordings"]) == ("value", len(listed))
    assert row["mean_words"] == pytest.approx(sum(map(word_count, listed)) / len(listed))


def test_by_split_means_are_over_traits_and_the_ends_are_traits():
    table = pd.DataFrame(
        [("value", "a", "train", 2, 10.0), ("value", "b", "train", 4, 13.0), ("pole", "c", "test", 1, 9.0)],
        columns=["kind", "trait", "split", "wordings", "mean_words"],
    )
    pole, value = description.wordings_by_split(table).to_dict("records")
    assert value == {
        **{"kind": "value", "split": "train", "traits": 2, "wordings": 6},
        **{"mean_words": 11.5, "shortest": 10.0, "longest": 13.0},
    }
    assert (pole["traits"], pole["mean_words"]) == (1, 9.0)


def test_scenes_are_those_of_all_activities(bank):
    listed = [
        scene.id
        for domain in bank.domains.values()
        for activity in domain.activities.values()
        for scenes in activity.scenes.values()
        for scene in scenes
    ]
    assert description.scenes(bank) == len(set(listed)) == len(listed)


def test_values_are_sorted_by_set_and_their_wordings_have_no_slot_left(bank):
    table = description.values(bank, "commerce")
    assert set(table["value"]) == {value.name for value in bank.values.values()}
    assert table[["set", "value"]].apply(tuple, axis=1).is_monotonic_increasing
    first = bank.values["justice"].wordings["train"][0].fill(bank.domains["commerce"].nouns)
    assert table.set_index("value").loc["Justice", "wording"] == f"… {first}"
    assert not table["wording"].str.contains("[{}]").any()


def test_dimensions_name_their_poles_in_the_order_of_the_published_list(bank):
    table = description.dimensions(bank).set_index("dimension")
    assert list(table.index) == [dimension.name for dimension in bank.dimensions.values()]
    for dimension in bank.dimensions.values():
        names = [table.loc[dimension.name, pole].split(": ")[0] for pole in ("first_pole", "second_pole")]
        assert names == [bank.poles[pole].name for pole in dimension.poles]


def test_arms_are_written_by_roles():
    table = description.arms(ARMS.values()).set_index("arm")
    assert len(table) == len(ARMS)
    assert tuple(table.loc["deconfounded", ["examples", "test", "n_examples"]]) == (
        "(v1, s1) / (v2, s2)",
        "(v1, s2) / (v2, s1)",
        "4, 20, 40",
    )
    assert table.loc["prior", "examples"] == "none"
    assert table.loc["probe surface", "test"] == "(v=, s1) / (v=, s2)"
    assert (table.loc["value only", "always_value"], table.loc["value only", "always_surface"]) == (1, 0.5)


def test_items_are_counted_by_arm_and_number_of_examples():
    items = pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "arm": ["prior", "control", "prior"],
            "n_examples": [0, 20, 0],
            "right": ["A", "B", "B"],
            "clause_order": ["value_first", "pole_first", "value_first"],
            "prompt": ["xx", "xxxxx", "xxxx"],
        }
    )
    prior, control = description.item_counts(items).to_dict("records")
    assert prior == {
        **{"arm": "prior", "n_examples": 0, "items": 2},
        **{"right_is_a": 0.5, "value_first": 1.0, "mean_characters": 3.0},
    }
    assert (control["right_is_a"], control["value_first"], control["mean_characters"]) == (0.0, 0.0, 5.0)


def test_the_items_balance_what_the_notebook_says_they_balance(items_standard):
    table = description.item_counts(items_standard)
    assert table["items"].sum() == len(items_standard)
    assert table["right_is_a"].tolist() == [0.5] * len(table)
    # The repeated examples keep the order of their clauses, which is balanced over examples.
    assert table.loc[table["arm"] != "repeat", "value_first"].eq(0.5).all()
    assert table.loc[table["arm"] == "repeat", "value_first"].between(0.4, 0.6).all()


def test_balance_is_what_the_design_promises(design):
    table = description.balance(design).set_index("within")
    assert table.loc["all cells"].tolist() == [10, 10]
    assert table.loc["each domain"].tolist() == [1, 2]
    assert table.loc["each preferred value"].tolist() == [0, 1]
    assert not [within for within in table.index if re.search(r"\d", within)]

"""Tables of the stimuli: columns, formats, and what is emphasized."""

import pandas as pd

from deepvalues.studies.dvb.stimuli import description
from deepvalues.studies.dvb.stimuli.arms import ARMS
from deepvalues.studies.dvb.stimuli.bank import VALUE_SETS
from deepvalues.studies.dvb.tables import stimuli as tables
from markdown_cells import column, head, rows


def test_wordings_show_lengths_in_hundredths():
    frame = pd.DataFrame(
        [("pole", "train", 40, 1400, 12.181, 11.8, 12.5)],
        columns=["kind", "split", "traits", "wordings", "mean_words", "shortest", "longest"],
    )
    assert rows(tables.wordings(frame)) == [["pole", "train", "40", "1,400", "12.18", "11.80", "12.50"]]


def test_values_stand_beside_a_wording_as_an_agent_shows_it(bank):
    table = tables.values(description.values(bank), description.SET_NAMES)
    assert head(table)[-1] == "an agent that …"
    assert all(wording.startswith("… ") for wording in column(table, "an agent that …"))
    assert len(rows(table)) == len(bank.values)
    assert sorted(set(column(table, "set"))) == ["Ross", "Schwartz"]


def test_every_set_of_values_has_a_name():
    assert tuple(description.SET_NAMES) == VALUE_SETS


def test_names_of_poles_are_emphasised_and_colons_in_wordings_stay():
    frame = pd.DataFrame(
        {"dimension": ["Voice"], "first_pole": ["human: … says: so"], "second_pole": ["robotic: … beeps"]}
    )
    assert rows(tables.dimensions(frame)) == [["Voice", "*human*: … says: so", "*robotic*: … beeps"]]
    assert list(frame) == ["dimension", "first_pole", "second_pole"], "the frame itself stays plain"


def test_arms_show_the_rates_that_agents_must_reach():
    table = tables.arms(description.arms(ARMS.values()))
    assert column(table, "arm") == [name.replace("_", " ") for name in ARMS]
    assert column(table, "value agent") == [f"{arm.always_value:.1f}" for arm in ARMS.values()]
    assert column(table, "surface agent") == [f"{arm.always_surface:.1f}" for arm in ARMS.values()]


def test_roles_are_set_as_mathematics():
    arms = description.arms(ARMS.values())
    by_arm = dict(zip(ARMS, rows(tables.arms(arms)), strict=True))
    deconfounded, prior, surface_only = (by_arm[name] for name in ("deconfounded", "prior", "surface_only"))
    assert deconfounded[1] == "$(v_1, s_1)$ / $(v_2, s_2)$"
    assert prior[1] == "none"
    assert prior[4] == "$v_1$ and $s_2$ are liked without evidence"
    assert surface_only[1] == "$(v_{=}, s_1)$ / $(v_{=}, s_2)$"
    assert not arms["test"].str.contains("$", regex=False).any(), "the frame itself stays plain"


def test_sets_are_listed_with_the_number_of_their_items():
    built = {("dvb", "smoke"): pd.DataFrame({"id": range(1200)}), ("svo", "smoke"): pd.DataFrame({"id": []})}
    table = tables.item_sets(built, {"dvb": "Study 1", "svo": "Study 2"})
    assert rows(table) == [["Study 1", "dvb", "smoke", "1,200"], ["Study 2", "svo", "smoke", "0"]]


def test_items_show_shares_and_whole_characters():
    frame = pd.DataFrame(
        [("probe_value", 20, 400, 0.5, 0.4975, 10976.2)],
        columns=["arm", "n_examples", "items", "right_is_a", "value_first", "mean_characters"],
    )
    assert rows(tables.items(frame)) == [["probe value", "20", "400", "0.50", "0.50", "10,976"]]


def test_balance_shows_whole_numbers(design):
    table = tables.balance(description.balance(design))
    assert head(table)[1:] == ["least", "most"]
    assert ["each domain", "1", "2"] in rows(table)

"""Tables of the stimuli: columns, formats, and what is emphasized."""

import pandas as pd

from deepvalues.studies.dvb.stimuli import description, tables
from deepvalues.studies.dvb.stimuli.bank import VALUE_SETS
from deepvalues.studies.dvb.stimuli.design import ARMS
from markdown_cells import column, head, rows, shown


def test_every_set_of_values_has_a_name():
    assert tuple(description.SET_NAMES) == VALUE_SETS


def test_names_of_poles_are_emphasised_and_colons_in_wordings_stay():
    frame = pd.DataFrame(
        {"dimension": ["Voice"], "first_pole": ["human: … says: so"], "second_pole": ["robotic: … beeps"]}
    )
    assert rows(shown(tables.dimensions(frame), "stimuli/dimensions")) == [
        ["Voice", "*human*: … says: so", "*robotic*: … beeps"]
    ]
    assert list(frame) == ["dimension", "first_pole", "second_pole"], "the frame itself stays plain"


def test_arms_show_the_rates_that_agents_must_reach():
    table = shown(tables.arms(description.arms(ARMS.values())), "stimuli/arms")
    assert column(table, "arm") == [tables.arm_name(name) for name in ARMS]
    assert column(table, "value agent") == [f"{arm.always_value:.1f}" for arm in ARMS.values()]
    assert column(table, "surface agent") == [f"{arm.always_surface:.1f}" for arm in ARMS.values()]


def test_arms_are_called_what_the_text_calls_them():
    names = {
        "probe_value": "value probe",
        "shuffled_probe_surface": "shuffled surface probe",
        "value_only": "value only",
    }
    assert {name: tables.arm_name(name) for name in names} == names


def test_roles_are_set_as_mathematics():
    arms = description.arms(ARMS.values())
    by_arm = dict(zip(ARMS, rows(shown(tables.arms(arms), "stimuli/arms")), strict=True))
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


def test_balance_shows_whole_numbers(design):
    table = tables.balance(description.balance(design))
    assert head(table)[1:] == ["least", "most"]
    assert ["each domain", "1", "2"] in rows(table)

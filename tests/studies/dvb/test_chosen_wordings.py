"""How the wordings were chosen: rates over designs, the blind reading, and whether limits are kept."""

import pandas as pd
import pytest

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper.results import Results
from deepvalues.studies.dvb import numbers
from deepvalues.studies.dvb.stimuli import selection
from deepvalues.studies.dvb.stimuli.selection import mean_rates
from kept_numbers import kept


def rates(shift=0.0):
    arms = (
        ("deconfounded", 4, 0.5),
        ("deconfounded", 20, 0.49),
        ("value_only", 20, 0.7),
        ("surface_only", 20, 0.69),
    )
    return pd.DataFrame(
        [
            (seed, "learner-words", arm, n, 40, rate + end + (shift if arm == "deconfounded" else 0))
            for seed, end in ((1, -0.01), (2, 0.01))
            for arm, n, rate in arms
        ],
        columns=["seed", "model", "arm", "n_examples", "items", "rate"],
    )


def test_rates_over_designs():
    table = selection.over_designs(rates())
    assert list(table["designs"]) == [2] * 4
    assert list(table["items"]) == [80] * 4
    assert list(table["rate"]) == pytest.approx([0.5, 0.49, 0.7, 0.69])
    assert list(table["least"]) == pytest.approx([0.49, 0.48, 0.69, 0.68])
    assert list(table["most"]) == pytest.approx([0.51, 0.5, 0.71, 0.7])


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (
            0.0,
            "search never saw, all lexical learners keep to the intended limits (a DVGR within .50 ± .02,",
        ),
        (
            0.05,
            "the search never saw, learner-words exceeds at least one of the intended limits (a DVGR within "
            ".50 ± .02,",
        ),
    ],
)
def test_a_missed_limit_is_said(shift, words):
    assert words in numbers.limits(mean_rates(rates(shift)))


def test_the_numbers_of_the_text(tmp_path):
    results = Results("models", tmp_path)
    blind = pd.DataFrame({"read": [1000], "right": [999], "dropped": [7]})
    numbers.wordings(results, mean_rates(rates()), selection.over_designs(rates()), blind)
    found = kept(results)
    assert found.pop("text.limits").startswith(
        "On designs that the search never saw, all lexical learners keep"
    )
    assert found == {
        "stimuli.least": ".490",
        "stimuli.most": ".500",
        "stimuli.largest_gap": ".010",
        "stimuli.designs": "2",
        "stimuli.read": "1,000",
        "stimuli.right": "999",
        "stimuli.dropped": "7",
        "claims.wordings_named": "false",
    }


def test_the_shipped_blind_reading_can_be_read():
    blind = selection.read_blind_reading(paths.BLIND_READING)
    assert (blind["right"] <= blind["read"]).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "missing"), ("", "not a table"), ("read,right\n1,1\n", "not a table"), ("\0", "not")],
)
def test_a_damaged_blind_reading_is_one_message(tmp_path, content, words):
    file = tmp_path / "blind.csv"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=rf"blind\.csv: {words}.*restore it from git"):
        selection.read_blind_reading(file)

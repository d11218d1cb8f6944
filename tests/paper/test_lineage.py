"""What a call of a notebook rests on: its variables and theirs, and nothing that lies between them."""

import pytest

from deepvalues.paper.lineage import lineage

CELLS = [
    "import pandas as pd\nresults = Results('x')\nseed = 3",
    "frame = read(seed)\nother = read(4)",
    "rates = frame.mean()\nresults.table(rates, 'rates')\nresults.table(other, 'others')",
]


def statements(call, *more):
    return lineage([*CELLS, *more], call).statements


def test_the_way_back_leaves_out_what_is_not_on_it():
    found = lineage(CELLS, "results.number('a', rates.iloc[0])")
    assert found.statements == ["seed = 3", "frame = read(seed)", "rates = frame.mean()"]
    assert found.tables == ["rates"]


def test_a_table_may_be_published_with_what_is_shown_of_it():
    cells = [*CELLS, "results.publish(rates, 'shown', rates.head(), nobody='None.')"]
    assert lineage(cells, "results.number('a', rates)").tables == ["rates", "shown"]


def test_what_is_kept_with_rests_on_nothing():
    assert lineage(CELLS, "results.number('a', 0.5)") == ([], [])


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        # Made anew: what the name stood for before does not matter.
        ("rates = other", ["other = read(4)", "rates = other"]),
        # Changed in part: it does.
        (
            "rates['b'] = other",
            [
                "seed = 3",
                "frame = read(seed)",
                "other = read(4)",
                "rates = frame.mean()",
                "rates['b'] = other",
            ],
        ),
        (
            "rates += other",
            ["seed = 3", "frame = read(seed)", "other = read(4)", "rates = frame.mean()", "rates += other"],
        ),
        # A later cell of which the call makes no use.
        ("later = other", ["seed = 3", "frame = read(seed)", "rates = frame.mean()"]),
        # The name in a comprehension is another one.
        ("later = [rates for rates in other]", ["seed = 3", "frame = read(seed)", "rates = frame.mean()"]),
    ],
)
def test_names_that_are_made_anew_changed_or_reused(cell, expected):
    assert statements("results.number('a', rates)", cell) == expected


def test_loops_and_several_targets_are_followed():
    cells = ["low, high = ends(1)", "for end in (low, 2):\n    total = add(end)"]
    assert lineage(cells, "results.count('n', total)").statements == [
        "low, high = ends(1)",
        "for end in (low, 2): total = add(end)",
    ]


def test_a_call_over_several_lines_and_several_calls():
    assert statements("results.number(\n    'a',\n    frame)\nresults.number('b', other)") == [
        *["seed = 3", "frame = read(seed)", "other = read(4)"]
    ]

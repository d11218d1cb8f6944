"""The rates of the main table, recomputed from the lines of the record without the package's statistics."""

import csv
import json
from collections import defaultdict
from statistics import fmean

import pytest

from deepvalues.core import paths

ARMS = {
    "control": "control",
    "probe_value": "probe_value",
    "probe_surface": "probe_surface",
    "dvgr": "deconfounded",
}
FAMILIES = ("language model", "head on hidden states", "text learner")
#: What was answered at N = 4 and at N = 20, by number of cells.
SETS = {"": {"100": "n4-100", "200": "n4-200"}, "_n20": dict.fromkeys(("100", "200"), "n20-50")}


def recorded_choices(model):
    """The letter that each line of a record chooses, by item."""
    found = {}
    with (paths.RESPONSES / "dvb" / f"{model}.jsonl").open(encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            letters = (line["logprobs"] or {}).get("letters")
            # A reply in words says nothing but "Option A" or "Option B" here; any other fails the comparison.
            found[line["item"]] = max(letters, key=letters.get) if letters else line["text"][-1]
    return found


def recomputed(choices, items):
    """Rates of the right option by arm, of tests answered alike in both orders, and of first options."""
    right, orders, first = defaultdict(list), defaultdict(set), []
    for item in items.itertuples():
        if item.arm in ARMS.values():
            right[item.arm].append(choices[item.id] == item.right)
            orders[item.id[:-1]].add(choices[item.id] == item.right)
            first.append(choices[item.id] == "A")
    rates = {column: fmean(right[arm]) for column, arm in ARMS.items()}
    consistency = fmean(len(each) == 1 for each in orders.values())
    return {**rates, "order_consistency": consistency, "first_option_rate": fmean(first)}


def rows():
    with (paths.RESULTS / "models" / "verdicts.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["family"] in FAMILIES]


def test_the_table_has_language_models_heads_and_learners():
    assert {row["family"] for row in rows()} == set(FAMILIES)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SETS)
def test_rates_of_the_verdict_table_are_those_of_the_recorded_lines(study, suffix):
    items = {name: study.items(name) for name in set(SETS[suffix].values())}
    compared = 0
    for row in rows():
        if row[f"dvgr{suffix}"]:
            expected = recomputed(recorded_choices(row["model"]), items[SETS[suffix][row["cells"]]])
            found = {column: float(row[column + suffix]) for column in expected}
            assert found == pytest.approx(expected, abs=1e-6), row["model"]
            compared += 1
    assert compared >= 10

"""The set with more examples than language models get: nested, balanced, and no example twice."""

from collections import Counter

import pytest

from deepvalues.ask import catalogue
from deepvalues.studies.dvb.items.items import _wording_shift
from deepvalues.studies.dvb.items.prompts import parse_prompt, situations
from deepvalues.studies.dvb.stimuli.design import LADDER


@pytest.fixture(scope="module")
def ladder():
    return catalogue.study("dvb").items("ladder")


@pytest.fixture(scope="module")
def longest(ladder):
    """The prompt with most examples of each cell."""
    most = ladder[(ladder["n_examples"] == max(LADDER)) & (ladder["arm"] == "control") & ~ladder["swapped"]]
    return dict(zip(most["cell"], most["prompt"], strict=True))


def test_four_arms_are_asked_in_both_orders_at_each_number_of_50_cells(ladder):
    assert set(
        Counter(zip(ladder["arm"], ladder["n_examples"], ladder["swapped"], strict=True)).values()
    ) == {50}
    assert len(ladder) == 4 * len(LADDER) * 2 * 50
    assert set(ladder["arm"]) == {"deconfounded", "control", "probe_value", "probe_surface"}
    assert (ladder.groupby("domain")["cell"].nunique() >= 6).all()


def test_smaller_sets_are_the_beginning_of_the_longest_down_to_4(ladder, longest):
    fewer = [catalogue.study("dvb").items(f"{name}-50") for name in ("n4", "n40")]
    of_cells = [frame[(frame["arm"] == "deconfounded") & ~frame["swapped"]] for frame in (*fewer, ladder)]
    compared = 0
    for frame in of_cells:
        for item in frame.itertuples():
            assert longest[item.cell].startswith(item.prompt[: item.prefix_chars]), item.id
            assert len(parse_prompt(item.prompt).examples) == item.n_examples
            compared += 1
    assert compared == 50 * (2 + len(LADDER))


@pytest.mark.slow
def test_tests_are_those_of_fewer_examples(ladder):
    fewer = catalogue.study("dvb").items("n20-50")
    key = ["cell", "arm", "swapped"]
    both = ladder.merge(fewer, on=key, suffixes=("", "_20"), validate="many_to_one")
    assert len(both) == len(ladder)
    for item in both.itertuples():
        test, known = (parse_prompt(prompt)[1:] for prompt in (item.prompt, item.prompt_20))
        assert test == known and item.right == item.right_20


def test_no_example_is_told_twice_and_letters_stay_balanced(longest):
    for cell, prompt in longest.items():
        examples = parse_prompt(prompt).examples
        assert len(set(examples)) == len(examples) == max(LADDER), cell
        letters = [each.right for each in situations(prompt)[:-1]]
        for start in range(0, len(letters), 4):
            assert sorted(letters[start : start + 4]) == ["A", "A", "B", "B"]


@pytest.mark.parametrize(("values", "poles"), [(14, 10), (10, 10), (9, 8), (6, 4)])
def test_options_come_back_as_late_and_meet_as_rarely_as_they_can(values, poles):
    def told(number, other):
        value = number + _wording_shift(number, values, poles, "value", other=other)
        pole = number + _wording_shift(number, values, poles, "pole", other=other)
        return value % values, pole % poles

    every = values * poles
    targets, others = ([told(number, other) for number in range(3 * every)] for other in (False, True))
    for options in (targets, others):
        assert len(set(options[:every])) == len(set(options[every : 2 * every])) == every
    assert len(set(zip(targets, others, strict=True))) == 3 * every

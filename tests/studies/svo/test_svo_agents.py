"""Reference agents of study 2: known before the run, however options are ordered."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.ask.reading import Received
from deepvalues.core import paths
from deepvalues.studies.svo.analysis import scoring
from deepvalues.studies.svo.analysis.instrument import by_agent, instrument, trial_moments
from deepvalues.studies.svo.respondents import (
    INEQUALITY_AVERSE,
    PROSE,
    REFUSAL,
    UTILITIES,
    WEIGHTS,
    best,
    logit,
    reference_agents,
)
from deepvalues.studies.svo.stimuli import IDEAL_ANSWERS, LETTERS, Coins, option_lines
from deepvalues.studies.svo.study import SocialValues, read
from svo_trials import scored

STUDY = SocialValues(paths.STIMULI / "svo.yml", trials=2)
AGENTS = reference_agents(STUDY.wording)
ITEMS = STUDY.items("standard")
PRINTED = [(item, LETTERS) for item in range(1, 7)]
ORDERS = st.permutations(LETTERS).map("".join)


def question(item, shown=LETTERS):
    return STUDY.wording.question(item - 1, item, shown, STUDY.wording.texts["no_goal"])


def reply(agent, *turns, seed=1):
    return agent.reply([{"role": "user", "content": turn} for turn in turns], seed)


@pytest.mark.parametrize(("kind", "answers"), [*IDEAL_ANSWERS.items(), (INEQUALITY_AVERSE, "AIIDEI")])
@given(order=ORDERS, item=st.integers(1, 6))
def test_ideal_types_give_the_ideal_answers_in_any_order(kind, answers, order, item):
    letter = best(option_lines(question(item, order)), kind)
    assert order[LETTERS.index(letter)] == answers[item - 1]


def test_secondary_answers_of_the_ideal_types():
    ideals = {
        "altruistic": "altruist",
        "prosocial": "joint gain",
        "individualistic": "individualist",
        INEQUALITY_AVERSE: "inequality averse",
    }
    for kind, name in ideals.items():
        for item, ideal in enumerate(scoring.SECONDARY_IDEALS[name], start=7):
            letter = best(option_lines(question(item)), kind)
            assert np.isnan(ideal) or LETTERS.index(letter) + 1 == ideal, (kind, item)


@given(
    st.dictionaries(
        st.sampled_from(LETTERS), st.builds(Coins, st.integers(0, 100), st.integers(0, 100)), min_size=1
    ),
    st.sampled_from(list(UTILITIES)),
)
def test_the_best_option_is_within_rounding_of_the_most(options, kind):
    merits = {letter: UTILITIES[kind](coins) for letter, coins in options.items()}
    assert merits[best(options, kind)] >= max(merits.values()) - 1


@given(st.floats(-90, 180), st.floats(0, 1), ORDERS)
def test_logit_shares(weight, precision, order):
    options = option_lines(question(4, order))
    shares = logit(options, weight, precision)
    assert sum(shares.values()) == pytest.approx(1)
    angle = np.radians(weight)
    utility = {k: np.cos(angle) * c.own + np.sin(angle) * c.other for k, c in options.items()}
    for a, b in pairwise(LETTERS):
        if min(shares[a], shares[b]) > 1e-12:
            odds = np.log(shares[a] / shares[b])
            assert odds == pytest.approx(precision * (utility[a] - utility[b]), abs=1e-6)


def test_a_value_is_recognised_in_either_mode():
    for mode in ("faithful", "controlled"):
        for value, answers in IDEAL_ANSWERS.items():
            opening = STUDY.wording.openings(mode, value)[0]
            assert reply(AGENTS["agent-svo-follower"], opening, question(3)).text == answers[2]
            assert reply(AGENTS["agent-svo-altruist"], opening, question(3)).text == "A"
            assert option_lines(reply(AGENTS["agent-svo-follower"], opening).text) == {}


def test_other_studies_are_not_answered():
    with pytest.raises(ValueError, match="not a turn of the study of social values: 'Hello'"):
        reply(AGENTS["agent-svo-follower"], "Hello")


@given(st.integers(0, 2**31), st.integers(1, 6), ORDERS)
def test_prose_means_what_the_follower_says(seed, item, order):
    opening, asked = STUDY.wording.openings("faithful", "competitive")[0], question(item, order)
    prose, plain = (
        reply(AGENTS[name], opening, asked, seed=seed) for name in ("agent-svo-prose", "agent-svo-follower")
    )
    assert read(Received(prose.text, None, "stop", asked)) == ("answered", plain.text)


def test_every_form_of_prose_is_used():
    texts = {reply(AGENTS["agent-svo-prose"], question(1), seed=seed).text for seed in range(100)}
    assert len(texts) == len(PROSE)


def test_refusing_is_for_competitors_alone():
    for value in IDEAL_ANSWERS:
        text = reply(
            AGENTS["agent-svo-refusing"], STUDY.wording.openings("faithful", value)[0], question(1)
        ).text
        assert (text == REFUSAL) == (value == "competitive")
    assert read(Received(REFUSAL, None, "stop", question(1))) == ("refused", None)


def test_all_chance_comes_from_the_seed():
    for agent in AGENTS.values():
        first, second = (reply(agent, question(4), seed=7) for _ in range(2))
        assert first == second
        assert sum((first.alternatives or {"": 1}).values()) == pytest.approx(1)
        assert (first.alternatives is None) == (agent.name == "agent-svo-prose")


def test_random_answers_are_even():
    letters = [reply(AGENTS["agent-svo-random"], question(2), seed=seed).text for seed in range(1800)]
    counts = np.array([letters.count(letter) for letter in LETTERS])
    assert (abs(counts - 200) < 5 * np.sqrt(200)).all()


def test_moments_agree_with_enumerating_all_answers():
    angles = scoring.angles(scoring.all_answers())
    for value in ("competitive", "altruistic"):
        shares = [
            list(logit(option_lines(question(item)), WEIGHTS[value], 0.12).values()) for item in range(1, 7)
        ]
        mass = np.prod(
            [np.array(part)[column] for part, column in zip(shares, scoring.all_answers().T, strict=True)],
            axis=0,
        )
        mean = mass @ angles
        found = trial_moments(AGENTS["agent-svo-noisy"], value, PRINTED)
        assert found.mean == pytest.approx(mean, abs=1e-8)
        assert found.variance == pytest.approx(mass @ (angles - mean) ** 2, abs=1e-6)
    assert trial_moments(AGENTS["agent-svo-random"], "none", PRINTED).mean == pytest.approx(angles.mean())


@pytest.fixture(scope="module")
def trials():
    return scored(STUDY, AGENTS.values(), ITEMS)[1]


def test_every_agent_comes_to_its_angle(trials):
    table = instrument(trials, ITEMS, AGENTS)
    assert len(table) == len(AGENTS) * 20 and table["agrees"].all()
    certain = table[table["standard_error"] == 0]
    assert {"agent-svo-altruist", "agent-svo-follower", "agent-svo-prose", "agent-svo-first"} <= set(
        certain["model"]
    )
    assert certain["off"].abs().max() < 1e-6
    refused = table[table["expected"].isna()]
    assert set(refused["model"]) == {"agent-svo-refusing"} and set(refused["value"]) == {"competitive"}
    first = table[(table["model"] == "agent-svo-first") & (table["mode"] == "faithful")]
    assert first["angle"].tolist() == pytest.approx([30.4655] * 10, abs=5e-5)


def test_the_check_can_fail(trials):
    wrong = trials.assign(angle=trials["angle"] + 0.01)
    table = instrument(wrong, ITEMS, AGENTS).set_index("model")
    assert not table.loc["agent-svo-altruist", "agrees"].any()
    answered = trials.assign(angle=trials["angle"].fillna(0.0))
    table = instrument(answered, ITEMS, AGENTS)
    assert not table[(table["model"] == "agent-svo-refusing") & (table["value"] == "competitive")][
        "agrees"
    ].any()


def test_conditions_of_an_agent_are_summed_up():
    rows = [
        ("agent-svo-first", True, 0.5),
        ("agent-svo-first", False, -7.0),
        ("agent-svo-refusing", True, np.nan),
    ]
    table = by_agent(pd.DataFrame(rows, columns=["model", "agrees", "off"]), AGENTS)
    assert table["rule"].tolist() == [
        "always the option shown first",
        "as the follower, but refuses to compete",
    ]
    assert table[["conditions", "agree"]].to_numpy().tolist() == [[2, 1], [1, 1]]
    assert table["largest"].iloc[0] == 7 and np.isnan(table["largest"].iloc[1])


def test_no_agent_no_row(trials):
    check = instrument(trials.assign(model="a language model"), ITEMS, {})
    assert check.empty and by_agent(check, {}).empty

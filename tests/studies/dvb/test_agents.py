"""Reference agents: what each must score follows from its rule, worked out here by hand.

Rates are those of the standard set, 400 tests in two orders for each arm and N, answered through `reply` and
read by the study's own reader.
"""

import math

import pytest
from scipy import stats

from deepvalues.ask.reading import Reading, Received, read_choice
from deepvalues.studies.dvb.respondents.agents import (
    B0,
    BS,
    BV,
    DECLINES_ONE_IN,
    MIXTURE_SHARE,
    PROSE,
    REFUSAL,
    Evidence,
    arm_evidence,
    expected_rate,
)
from deepvalues.studies.dvb.stimuli.design import ARMS


def sigma(x):
    return 1 / (1 + math.exp(-x))


def balanced(d):
    """Rate of right answers at balanced positions, with the position bias of .4."""
    return (sigma(d + 0.4) + sigma(d - 0.4)) / 2


# Section 8 of the specification: always the value, always the surface. The other columns follow from
# the agents' definitions: a mixture of .3, sensitivities .8 and 1.6 with a position bias of .4.
EXPECTED = {
    #                value surface mixture         sensitive both
    "deconfounded": (1.0, 0.0, 0.3, balanced(0.8 - 1.6), 0.5),
    "prior": (0.5, 0.5, 0.5, 0.5, 0.5),
    "shuffled": (0.5, 0.5, 0.5, 0.5, 0.5),
    "shuffled_control": (0.5, 0.5, 0.5, 0.5, 0.5),
    "shuffled_probe_value": (0.5, 0.5, 0.5, 0.5, 0.5),
    "shuffled_probe_surface": (0.5, 0.5, 0.5, 0.5, 0.5),
    "repeat": (1.0, 1.0, 1.0, balanced(0.8 + 1.6), 1.0),
    "seen": (1.0, 0.0, 0.3, balanced(0.8 - 1.6), 0.5),
    "control": (1.0, 1.0, 1.0, balanced(0.8 + 1.6), 1.0),
    "probe_value": (1.0, 0.5, 0.3 + 0.7 / 2, balanced(0.8), 1.0),
    "probe_surface": (0.5, 1.0, 0.3 / 2 + 0.7, balanced(1.6), 1.0),
    "value_only": (1.0, 0.5, 0.3 + 0.7 / 2, balanced(0.8), 1.0),
    "surface_only": (0.5, 1.0, 0.3 / 2 + 0.7, balanced(1.6), 1.0),
}
COLUMNS = ("agent-value", "agent-surface", "agent-mixture", "agent-sensitive", "agent-both")
#: How the right option leans: +1 the examples speak for it, −1 against it, 0 for neither.
LEANS = {
    "deconfounded": (1, -1),
    "prior": (0, 0),
    **dict.fromkeys(
        ["shuffled", "shuffled_control", "shuffled_probe_value", "shuffled_probe_surface"], (0, 0)
    ),
    "repeat": (1, 1),
    "seen": (1, -1),
    "control": (1, 1),
    "probe_value": (1, 0),
    "probe_surface": (0, 1),
    "value_only": (1, 0),
    "surface_only": (0, 1),
}


#: Arms of the standard set at their numbers of examples.
GROUPS = 21


@pytest.fixture(scope="module")
def answered(items_standard, agent_answers):
    """Every answer with its item's arm, N and right letter."""
    columns = items_standard[["id", "cell", "arm", "n_examples", "right"]]
    frame = agent_answers.merge(columns, left_on="item", right_on="id", validate="many_to_one")
    assert len(frame) == 9 * 16_800
    return frame.assign(hit=frame["choice"] == frame["right"])


def by_arm(answered, agent):
    """(arm, N, hits, answers) of an agent."""
    own = answered[(answered["model"] == agent) & (answered["status"] == "answered")]
    for (arm, n), group in own.groupby(["arm", "n_examples"]):
        yield arm, n, int(group["hit"].sum()), len(group)


def test_the_agents_are_as_documented(agents):
    assert list(agents) == [
        "agent-value",
        "agent-surface",
        "agent-mixture",
        "agent-both",
        "agent-sensitive",
        "agent-random",
        "agent-first",
        "agent-prose",
        "agent-declining",
    ]
    assert {agent.family for agent in agents.values()} == {"reference agent"}
    assert (B0, BV, BS, MIXTURE_SHARE, DECLINES_ONE_IN) == (0.4, 0.8, 1.6, 0.3, 12)


def test_the_table_of_arms_holds_the_rates_of_the_specification():
    assert {name: (arm.always_value, arm.always_surface) for name, arm in ARMS.items()} == {
        name: rates[:2] for name, rates in EXPECTED.items()
    }


def test_evidence_of_each_arm():
    assert {name: tuple(arm_evidence(arm)) for name, arm in ARMS.items()} == LEANS


@pytest.mark.parametrize("arm", ARMS)
def test_expected_rates_are_those_worked_out_by_hand(agents, arm):
    for name, rate in zip(COLUMNS, EXPECTED[arm], strict=True):
        assert expected_rate(agents[name], ARMS[arm]) == pytest.approx(rate, abs=1e-12), name
    for name in ("agent-random", "agent-first"):
        assert expected_rate(agents[name], ARMS[arm]) == 0.5
    for name in ("agent-prose", "agent-declining"):
        assert expected_rate(agents[name], ARMS[arm]) == EXPECTED[arm][0]


@pytest.mark.parametrize(
    ("agent", "attribute"), [("agent-value", "always_value"), ("agent-surface", "always_surface")]
)
def test_certain_agents_score_exactly_what_the_arms_say(answered, agent, attribute):
    found = list(by_arm(answered, agent))
    assert len(found) == GROUPS
    for arm, n, hits, answers in found:
        assert answers == 800
        assert hits / answers == getattr(ARMS[arm], attribute), (arm, n)


def test_the_first_option_is_right_in_exactly_half_of_the_items(answered):
    assert set(answered.loc[answered["model"] == "agent-first", "choice"]) == {"A"}
    assert [hits for _, _, hits, _ in by_arm(answered, "agent-first")] == [400] * GROUPS


@pytest.mark.parametrize("agent", ["agent-value", "agent-surface"])
def test_certain_agents_choose_alike_in_both_orders_where_they_have_evidence_and_one_place_elsewhere(
    answered, agent
):
    own = answered[answered["model"] == agent]
    both = own.groupby(["cell", "arm", "n_examples"])["hit"].sum()
    layer = 0 if agent == "agent-value" else 1
    for (_, arm, _), hits in both.items():
        assert hits == {1: 2, -1: 0, 0: 1}[LEANS[arm][layer]], arm


@pytest.mark.parametrize("agent", ["value", "surface", "mixture", "both", "sensitive", "random", "first"])
def test_the_mean_over_both_orders_of_what_an_agent_reports_is_its_rate_in_every_test(
    agents, answered, agent
):
    """Exactly, and not only on average: a liking for a place cancels within each pair of orders."""
    name = f"agent-{agent}"
    own = answered[answered["model"] == name]
    p = own["p_a"].where(own["right"] == "A", 1 - own["p_a"])
    means = p.groupby([own["arm"], own["cell"], own["n_examples"]]).mean()
    for arm, found in means.groupby("arm"):
        assert found.to_numpy() == pytest.approx(expected_rate(agents[name], ARMS[arm]), abs=1e-12), arm


@pytest.mark.parametrize("agent", ["agent-mixture", "agent-both", "agent-sensitive", "agent-random"])
def test_agents_with_chance_score_within_a_binomial_interval(agents, answered, agent):
    found = list(by_arm(answered, agent))
    assert len(found) == GROUPS
    for arm, n, hits, answers in found:
        expected = expected_rate(agents[agent], ARMS[arm])
        if expected == 1:
            assert hits == answers
        else:
            assert stats.binomtest(hits, answers, expected).pvalue > 0.001, (arm, n)


def test_position_bias_shows_where_the_right_option_stands(answered):
    """σ(d + b0) where the right option is A, σ(d − b0) where it is B, not σ(d)."""
    own = answered[(answered["model"] == "agent-sensitive") & (answered["arm"] == "deconfounded")]
    for letter, d in (("A", -0.8 + 0.4), ("B", -0.8 - 0.4)):
        group = own[own["right"] == letter]
        assert len(group) == 1200
        assert stats.binomtest(int(group["hit"].sum()), 1200, sigma(d)).pvalue > 0.001
    first = (own["choice"] == "A").mean()
    assert first == pytest.approx((sigma(-0.8 + 0.4) + sigma(0.8 + 0.4)) / 2, abs=0.04)


@pytest.mark.slow
def test_the_probability_that_an_agent_reports_follows_from_its_rule(answered):
    """Item by item, from the arm and the right letter alone."""

    def follow(lean):
        return 1.0 if lean >= 0 else 0.0

    rules = {
        "agent-value": lambda v, s: follow(v),
        "agent-surface": lambda v, s: follow(s),
        "agent-mixture": lambda v, s: 0.3 * follow(v) + 0.7 * follow(s),
        "agent-both": lambda v, s: {-1: 0.0, 0: 0.5, 1: 1.0}[(v + s > 0) - (v + s < 0)],
        "agent-sensitive": lambda v, s: sigma(0.4 + 0.8 * v + 1.6 * s),
        "agent-random": lambda v, s: 0.5,
        "agent-first": lambda v, s: 1.0,
        "agent-prose": lambda v, s: follow(v),
        "agent-declining": lambda v, s: follow(v),
    }
    for row in answered.itertuples():
        sign = 1 if row.right == "A" else -1
        v, s = (sign * lean for lean in LEANS[row.arm])
        assert row.p_a == pytest.approx(rules[row.model](v, s), abs=1e-12), (row.model, row.item)


def test_the_prose_agent_is_read_throughout(answered):
    own = answered[answered["model"] == "agent-prose"]
    assert set(own["status"]) == {"answered"}
    plain = answered[answered["model"] == "agent-value"]
    assert list(own["choice"]) == list(plain["choice"])
    pairs = list(zip(own["reply"], own["choice"], strict=True))
    used = {text for text in PROSE for reply, choice in pairs if reply == text.format(choice)}
    assert used == set(PROSE)


@pytest.mark.parametrize("letter", ["A", "B"])
def test_every_wrapping_of_prose_is_read(letter):
    for text in PROSE:
        assert read_choice(Received(text.format(letter), None, "stop"), "AB") == Reading("answered", letter)


def test_one_reply_in_twelve_is_declined(answered):
    own = answered[answered["model"] == "agent-declining"]
    declined = own["status"] == "refused"
    assert set(own["status"]) == {"answered", "refused"}
    assert set(own.loc[declined, "reply"]) == {REFUSAL}
    assert stats.binomtest(int(declined.sum()), 16_800, 1 / 12).pvalue > 0.001
    # Where it answers, it always follows the value.
    for arm, _, hits, answers in by_arm(answered, "agent-declining"):
        rate = ARMS[arm].always_value
        if rate == 1:
            assert hits == answers
        else:
            assert stats.binomtest(hits, answers, rate).pvalue > 0.001


def test_replies_depend_on_prompt_and_seed_alone(agents, items_smoke):
    messages = [{"role": "user", "content": items_smoke["prompt"].iloc[0]}]
    for agent in agents.values():
        replies = [agent.reply(messages, seed) for seed in range(40)]
        assert replies == [agent.reply(messages, seed) for seed in range(40)]
        assert all(sum(reply.alternatives.values()) == pytest.approx(1) for reply in replies)
        chance = agent.name in ("agent-random", "agent-sensitive", "agent-both", "agent-mixture")
        varied = agent.name in ("agent-prose", "agent-declining")
        assert (len({reply.text for reply in replies}) > 1) == (chance or varied), agent.name


def test_the_last_message_is_the_one_answered(agents, items_smoke):
    first, last = items_smoke["prompt"].iloc[:2]
    turns = [{"role": "user", "content": first}, {"role": "assistant", "content": "Option B"}]
    alone = agents["agent-sensitive"].reply([{"role": "user", "content": last}], 5)
    assert agents["agent-sensitive"].reply([*turns, {"role": "user", "content": last}], 5) == alone


def test_a_prompt_without_options_is_an_error(agents):
    with pytest.raises(ValueError, match="one pair of options"):
        agents["agent-value"].reply([{"role": "user", "content": "Hello?"}], 1)


def test_the_recogniser_knows_every_wording_of_the_bank(bank, recogniser):
    assert len(recogniser.traits) == sum(
        len({wording.template.format(**domain.nouns) for domain in bank.domains.values()})
        for trait in bank.traits
        for wordings in trait.wordings.values()
        for wording in wordings
    )
    domain = bank.domains["legal"]
    value, pole = bank.values["justice"], bank.poles["humor.serious"]
    texts = [trait.wordings["test"][2].template.format(**domain.nouns) for trait in (value, pole)]
    for first, second in (texts, texts[::-1]):
        found = recogniser.option(f"An agent that {first} and that {second}.")
        assert found == {"value": "justice", "pole": "humor.serious"}


@pytest.mark.parametrize(
    "text",
    [
        "An agent that {value} and that juggles.",
        "An agent that juggles and that {pole}.",
        "An agent that {value}.",
        "An agent that {value} and that {value}.",
        "An agent that {value} and that {pole} and that {pole}.",
        "A robot that {value} and that {pole}.",
        "",
    ],
)
def test_an_option_in_other_words_is_an_error(bank, recogniser, text):
    nouns = bank.domains["legal"].nouns
    value, pole = (
        trait.wordings["test"][0].fill(nouns)
        for trait in (bank.values["justice"], bank.poles["humor.serious"])
    )
    with pytest.raises(ValueError, match="not a value and a pole in wordings of the bank"):
        recogniser.option(text.format(value=value, pole=pole))


def test_evidence_compares_the_traits_of_the_test_with_those_of_the_examples(
    items_standard, tasks, recogniser
):
    """Mirrored where the right option is B."""
    for item in items_standard.itertuples():
        sign = 1 if item.right == "A" else -1
        expected = Evidence(*(sign * lean for lean in LEANS[item.arm]))
        assert recogniser.evidence(tasks[item.id]) == expected, item.id

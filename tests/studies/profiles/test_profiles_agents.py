"""Reference, agents, open text and coding: what is known in advance comes back."""

import math
from functools import cache
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deepvalues.ask.reading import Received
from deepvalues.core import stable_random
from deepvalues.core.errors import UserError
from deepvalues.studies.profiles.analysis.measures import fidelity
from deepvalues.studies.profiles.analysis.reference import (
    RESPONDENTS,
    check_reference,
    label,
    mean_profiles,
    read_reference,
    synthetic_reference,
    whole_parts,
)
from deepvalues.studies.profiles.analysis.responses import (
    code_table,
    coder_agreement,
    codes_of,
    matrices,
    missing,
    open_responses,
    over_modes,
    reasons,
    responses,
    runs,
    sentence_id,
    sentences_of,
    split_sentences,
    unique_sentences,
)
from deepvalues.studies.profiles.reading import off_scale
from deepvalues.studies.profiles.respondents import (
    CENTRES,
    MALFORMED_FIRST,
    MALFORMED_REPAIR,
    ORDERS,
    CoderAgent,
    coder_agents,
    order_weights,
)
from deepvalues.studies.profiles.stimuli import CLOSED_MODES, MODES, OPEN, load_codebook
from deepvalues.studies.profiles.study import ProfileCoding
from profile_runs import (
    AGENTS,
    BANK,
    CODEBOOK,
    FILE,
    KEYS,
    OPENED,
    STIMULI,
    STUDY,
    held,
    hold,
    opened,
    reference,
)


@cache
def codes():
    study = ProfileCoding(FILE, CODEBOOK, lambda _: opened())
    agents = coder_agents(study.codebook, BANK).values()
    return codes_of(pd.concat([hold(study, agent, study.items("full")) for agent in agents]))


# The reference.


def rows(**changes):
    frame = pd.DataFrame(
        {"respondent": "p1", "mode": "rating", "theme": KEYS, "response": [5, 4, 6, 7, 4, 1]}
    )
    return frame.assign(**changes)


def test_the_synthetic_reference_says_what_it_is():
    frame = reference()
    assert label(frame) == "synthetic reference"
    assert frame["synthetic"].all() and frame["respondent"].str.startswith("synthetic-").all()
    assert len(frame) == RESPONDENTS * len(MODES) * 6
    assert frame.equals(synthetic_reference(KEYS))
    assert not frame.equals(synthetic_reference(KEYS, seed=1))


def test_the_synthetic_reference_follows_its_rule():
    for mode, mean in mean_profiles(reference(), KEYS).items():
        order = [KEYS[place] for place in np.argsort(-mean)]
        assert order[:3] == ["ethics_responsibility", "social_good", "performance"], mode
        assert order[-1] == "agency"


def test_a_reference_comes_back_from_its_file(tmp_path):
    path = tmp_path / "people.csv"
    people = reference().drop(columns=["priority"]).assign(synthetic="False")
    people["theme"] = people["theme"].map({theme.key: theme.name.upper() for theme in STIMULI.themes})
    people.sample(frac=1, random_state=1).to_csv(path, index=False)
    read = read_reference(path, KEYS)
    assert read.drop(columns="synthetic").equals(reference().drop(columns="synthetic"))
    assert label(read) == "human reference"


def test_a_file_without_a_word_on_it_is_of_people():
    assert label(check_reference(rows(), KEYS)) == "human reference"
    both = pd.concat([rows(synthetic=True), rows(respondent="p2", synthetic="false")])
    assert label(check_reference(both, KEYS)) == "partly synthetic reference"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mode": "vote"}, r"line 2 has a mode other than ranking"),
        ({"theme": "beauty"}, "line 2 has a theme other than"),
        ({"theme": "agency"}, "line 3 repeats a theme"),
        ({"response": ["x", *"12345"]}, "line 2 has a response that is not a number: p1, rating, p.*, x"),
        ({"respondent": " "}, "line 2 names no respondent"),
        ({"response": [5, 4, 6, 8, 4, 1]}, "p1, rating: a rating is not a whole number from 1 to 7"),
        ({"mode": "ranking"}, "p1, ranking: the ranks are not 1 to 6, each once"),
        ({"mode": "allocation"}, "p1, allocation: the points sum to 27, not 100"),
    ],
)
def test_what_breaks_the_contract_is_told(changes, told):
    with pytest.raises(UserError, match=told):
        check_reference(rows(**changes), KEYS)


def test_what_is_missing_is_told(tmp_path):
    with pytest.raises(UserError, match="no response to agency"):
        check_reference(rows().iloc[:5], KEYS)
    with pytest.raises(UserError, match="the column 'mode' is missing"):
        check_reference(rows().drop(columns="mode"), KEYS)
    with pytest.raises(UserError, match="no responses"):
        check_reference(rows().iloc[:0], KEYS)
    with pytest.raises(UserError, match="cannot be read as CSV"):
        read_reference(tmp_path / "none.csv", KEYS)


@given(st.lists(st.floats(0, 30), min_size=2, max_size=6), st.integers())
def test_parts_are_whole_and_sum_to_the_total(shares, seed):
    assume(sum(shares) > 1)
    scaled = [100 * share / sum(shares) for share in shares]
    parts = whole_parts(scaled, 100, [seed])
    assert sum(parts) == 100
    assert all(abs(part - share) < 1 + 1e-6 for part, share in zip(parts, scaled, strict=True))


def test_parts_are_right_on_average():
    shares = [0.4, 1.7, 5.9]
    mean = np.mean([whole_parts(shares, 8, [number]) for number in range(4000)], axis=0)
    assert mean == pytest.approx(shares, abs=0.03)


# The agents.


@settings(max_examples=30)
@given(st.lists(st.permutations(range(1, 7)), min_size=3, max_size=6))
def test_orders_have_the_mean_asked_for(orders):
    target = 0.9 * np.mean(orders, axis=0) + 0.1 * 3.5
    weights = order_weights(target)
    assert weights.min() >= 0
    assert weights @ ORDERS == pytest.approx(target, abs=1e-8)


def test_a_mean_that_no_orders_have_is_refused():
    with pytest.raises(ValueError, match="no mixture of rankings"):
        order_weights([7, 5, 4, 3, 2, 0])
    assert len(set(map(tuple, ORDERS))) == len(list(permutations(range(6))))


def test_known_fidelities_are_those_stated():
    means = mean_profiles(reference(), KEYS)
    for mode, h in means.items():
        stated = {name: fidelity(agent.expected(mode), h) for name, agent in AGENTS.items()}
        assert stated["agent-profile-reference"].fidelity == pytest.approx(1)
        assert stated["agent-profile-exaggerating"][["v", "fidelity"]].tolist() == pytest.approx([2, 0.8])
        assert stated["agent-profile-flattening"][["v", "fidelity"]].tolist() == pytest.approx([0.5, 0.8])
        assert stated["agent-profile-reversed"].fidelity == pytest.approx(-1)
        assert stated["agent-profile-swapping"].v == pytest.approx(1)
        assert 0.9 < stated["agent-profile-swapping"].r < 0.99
        assert stated["agent-profile-random"].fidelity == 0
        assert stated["agent-profile-drifting"].v == pytest.approx(0.2)


@pytest.mark.parametrize("name", AGENTS)
def test_answers_have_the_known_mean(name):
    frame = responses(held(name), KEYS)
    for (mode, _), x in matrices(frame, KEYS).items():
        error = np.maximum(x.std(axis=0, ddof=1), 0.2) / math.sqrt(len(x))
        z = (x.mean(axis=0) - AGENTS[name].expected(mode)) / error
        assert np.abs(z).max() < 3.9, mode
        assert not any(off_scale(list(row), mode) for row in (7 - x if mode == "ranking" else x))


@pytest.mark.parametrize("name", AGENTS)
def test_the_known_share_is_missing(name):
    table, agent = missing(held(name)), AGENTS[name]
    # Unread in the end is what is malformed at first and at both repairs.
    unread = MALFORMED_FIRST * MALFORMED_REPAIR**2 if agent.malformed else 0.0
    expected, n = max(unread, agent.refused), table["runs"].sum()
    assert table["missing"].sum() == pytest.approx(n * expected, abs=4 * math.sqrt(n * 0.25))
    assert table["missing"].sum() == 0 or expected > 0


def test_what_is_missing_says_why():
    malformed = reasons(held("agent-profile-malformed"))
    assert set(malformed["status"]) == {"unparsable"}
    assert "no JSON with the themes" in set(malformed["reason"])
    assert set(reasons(held("agent-profile-refusing"))["reason"]) == {"refused"}
    table = missing(held("agent-profile-malformed"))
    assert (table["repaired"] > 50).all(), "six first replies in ten need a repair"
    assert missing(held("agent-profile-refusing"))["repaired"].sum() == 0, "a refusal is not asked again"


def test_missing_over_all_modes_is_the_sum_of_the_modes():
    table = pd.DataFrame(
        [
            ("b", "rating", 30, 29, 3, 1, 1 / 30),
            ("a", "rating", 30, 30, 0, 0, 0),
            ("b", "open", 5, 4, 1, 1, 0.2),
        ],
        columns=["model", "mode", "runs", "answered", "repaired", "missing", "share"],
    )
    found = over_modes(table)
    assert found.to_numpy().tolist() == [["a", 30, 30, 0, 0], ["b", 35, 33, 4, 2]]
    assert list(found) == ["model", "runs", "answered", "repaired", "missing"]


def test_responses_keep_place_and_rank():
    frame = responses(held("agent-profile-reference"), KEYS)
    first = frame[frame["item"] == "ranking-000"]
    order = STUDY.items("smoke").set_index("id").loc["ranking-000", "order"].split()
    assert [order[place] for place in first["place"]] == KEYS
    assert (first["priority"] == 7 - first["response"]).all()
    rated = frame[frame["mode"] == "rating"]
    assert rated["priority"].equals(rated["response"])


def test_nothing_answered_gives_no_responses():
    none = held("agent-profile-refusing")[held("agent-profile-refusing")["status"] == "refused"]
    assert responses(none, KEYS).empty


def test_answers_of_other_items_are_told():
    answers = hold(STUDY, AGENTS["agent-profile-reference"], STUDY.items("smoke"))
    with pytest.raises(UserError, match="1 answers belong to no item"):
        runs(STIMULI, STUDY.items("smoke"), answers.replace({"item": {"rating-001": "old-001"}}))


def test_agents_draw_from_the_seed_alone_and_each_for_itself():
    talk = STUDY.conversations(STUDY.items("smoke"))[0].messages([])
    one, other = AGENTS["agent-profile-reference"], AGENTS["agent-profile-malformed"]
    assert one.reply(talk, 5) == one.reply(talk, 5)
    assert len({one.reply(talk, seed).text for seed in range(40)}) > 10
    ranks = [
        [json_of(agent.reply(talk, seed).text) for agent in (one, AGENTS["agent-profile-refusing"])]
        for seed in range(40)
    ]
    assert any(a != b for a, b in ranks)
    assert other.family == one.family == "reference agent"


def json_of(text):
    return STUDY.read(Received(text, question=STUDY.items("smoke")["prompt"][0])).choice


def test_a_question_of_another_study_is_refused():
    for agent in (AGENTS["agent-profile-reference"], coder()):
        with pytest.raises(ValueError, match="not a"):
            agent.reply([{"role": "user", "content": "Which option?"}], 1)


def test_centres_leave_room_for_exaggeration():
    for mode, centre in CENTRES.items():
        targets = AGENTS["agent-profile-exaggerating"].targets[mode]
        low, high = {"ranking": (1, 6), "rating": (1, 7)}.get(mode, (0, 100))
        assert low <= targets.min() and targets.max() <= high
        assert targets.mean() == pytest.approx(centre)


# Open text.


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It works. It helps!", ["It works.", "It helps!"]),
        ("Is it right? Yes, e.g. here. Good.", ["Is it right?", "Yes, e.g. here.", "Good."]),
        (
            "It costs 3.5 cents. Dr. Lee and J. Smith agree.",
            ["It costs 3.5 cents.", "Dr. Lee and J. Smith agree."],
        ),
        ("So do I. You too.", ["So do I.", "You too."]),
        ("In the U.S. it works.", ["In the U.S. it works."]),
        (
            'She said: "Fine." Then it left (fast.) Good.',
            ['She said: "Fine."', "Then it left (fast.)", "Good."],
        ),
        ("It waits… And goes on... Then it ends.", ["It waits…", "And goes on...", "Then it ends."]),
        (
            "# Title\n\n**Bold line**\n- It **works** well\n- It _helps_.\n1. It learns.",
            ["It works well", "It helps.", "It learns."],
        ),
        ("It works and\nhelps people. It\nlearns.", ["It works and helps people.", "It learns."]),
        ("<think>Hm. Well.</think>It works.", ["It works."]),
        ("It works.\n\n---\n\n42.\n", ["It works."]),
        ("At 5 p.m. it stops. 7 people see it.", ["At 5 p.m. it stops.", "7 people see it."]),
        ("", []),
    ],
)
def test_sentences(text, sentences):
    assert split_sentences(text) == sentences


@given(
    st.lists(
        st.sampled_from([s for listed in BANK.sentences.values() for s in listed]), min_size=1, max_size=12
    )
)
def test_sentences_of_the_bank_come_back_whole(chosen):
    assert split_sentences(" ".join(chosen)) == chosen


@given(st.text())
def test_no_text_breaks_the_rules(text):
    for sentence in split_sentences(text):
        assert sentence == " ".join(sentence.split())


def test_open_answers_have_the_known_shares():
    items, sentences = OPENED.items("full"), sentences_of(opened())
    exact = codes().query("coder == 'agent-coder-exact'")
    frame = open_responses(items, sentences, exact, KEYS)
    for (_, name), x in matrices(frame, KEYS).items():
        assert x.sum(axis=1) == pytest.approx(100)
        error = x.std(axis=0, ddof=1) / math.sqrt(len(x))
        assert (np.abs(x.mean(axis=0) - AGENTS[name].expected(OPEN)) / error).max() < 3.9, name
    with pytest.raises(UserError, match="codes of one coder"):
        open_responses(items, sentences, codes(), KEYS)


def test_sentences_are_coded_once_and_nothing_shows_whose_they_are():
    sentences = sentences_of(opened())
    unique = unique_sentences(sentences)
    assert len(unique) == sentences["sentence"].nunique() < len(sentences)
    assert list(unique.columns) == ["id", "sentence"]
    assert unique["id"].is_monotonic_increasing
    assert sentence_id("It works.") == sentence_id("It works.") != sentence_id("It works!")


def test_without_open_answers_there_is_nothing_to_code():
    study = ProfileCoding(FILE, CODEBOOK, lambda _: opened().query("status == 'refused'"))
    with pytest.raises(UserError, match="deepvalues query --study profiles-open"):
        study.items("smoke")


def test_the_exact_coder_knows_every_sentence_and_the_erring_one_does_not():
    table = code_table(codes(), ["agent-coder-exact", "agent-coder-erring"])
    known = {sentence_id(s): code for code, listed in BANK.sentences.items() for s in listed}
    assert table["agent-coder-exact"].to_dict() == {id: known[id] for id in table.index}
    wrong = (
        table["agent-coder-erring"].dropna()
        != table["agent-coder-exact"][table["agent-coder-erring"].notna()]
    ).mean()
    assert 0 < wrong < 0.35
    assert table["agent-coder-erring"].isna().any()


def coder(error=0.0, unreadable=0.0):
    codebook = load_codebook(CODEBOOK, STIMULI.themes)
    return CoderAgent("coder", "", codebook, BANK, error, unreadable)


def test_kappa_of_a_known_error_is_recovered():
    """Of a coder that errs in a share e of sentences, evenly over the other six codes."""
    e, repeats = 0.15, 12
    study = ProfileCoding(FILE, CODEBOOK, lambda _: opened())
    talks = study.conversations(unique_sentences(sentences_of(opened())))
    frames = []
    for name, agent in {"exact": coder(), "erring": coder(error=e)}.items():
        given = [
            (
                f"{talk.item}-{n}",
                name,
                study.read(
                    Received(agent.reply(talk.messages([]), stable_random.integer(talk.item, n)).text)
                ).choice,
                "answered",
            )
            for talk in talks
            for n in range(repeats)
        ]
        frames.append(pd.DataFrame(given, columns=["id", "coder", "code", "status"]))
    both = pd.concat(frames)
    shares = frames[0]["code"].value_counts(normalize=True)
    chance = float((shares * (shares * (1 - e) + (1 - shares) * e / 6)).sum())
    table = coder_agreement(both, ["exact", "erring"], 2000, 0).set_index("measure")
    row = table.loc["Cohen's kappa"]
    assert row["low"] < ((1 - e) - chance) / (1 - chance) < row["high"]
    assert table.loc["Krippendorff's alpha", "estimate"] == pytest.approx(row["estimate"], abs=0.02)
    assert table.loc["raw agreement", "low"] < 1 - e < table.loc["raw agreement", "high"]


def test_missing_codes_are_left_to_alpha():
    found = coder_agreement(codes(), ["agent-coder-exact", "agent-coder-erring"], 200, 0)
    table = found.set_index("measure")
    assert (
        table.loc["Cohen's kappa", "units"]
        == code_table(codes(), ["agent-coder-exact", "agent-coder-erring"]).dropna().shape[0]
    )
    three = pd.concat([codes(), codes().query("coder == 'agent-coder-exact'").assign(coder="third")])
    measures = coder_agreement(three, ["agent-coder-exact", "agent-coder-erring", "third"], 200, 0)["measure"]
    assert list(measures) == ["raw agreement", "Krippendorff's alpha"]


def test_a_target_for_every_mode():
    assert all(set(agent.targets or MODES) == set(MODES) for agent in AGENTS.values())
    assert set(CLOSED_MODES) | {OPEN} == set(CENTRES)

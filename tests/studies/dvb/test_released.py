"""The published prompts as items: what the columns hold, and what every kind of bad row is told."""

import hashlib

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import released_prompts as made
from deepvalues import cli
from deepvalues.ask import catalogue, on_record, run_query
from deepvalues.ask.catalogue import read_items_file
from deepvalues.ask.study import REGISTERED
from deepvalues.core import paths
from deepvalues.core.downloads import Store
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.analysis import statistics
from deepvalues.studies.dvb.analysis.simulation import Truth, agent_coverage
from deepvalues.studies.dvb.items.items import CONTRACT
from deepvalues.studies.dvb.items.prompts import parse_prompt, parse_with_end
from deepvalues.studies.dvb.items.released import read_released
from deepvalues.studies.dvb.study import DeepValueBenchmark

FIRST = made.CELLS[0]


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    return made.write(tmp_path_factory.mktemp("released") / "prompts.json", made.rows())


@pytest.fixture(scope="session")
def items(file, bank):
    return read_released(file, bank)


@pytest.fixture
def store(tmp_path, file):
    """A store that has the two released sets, put there by hand."""
    rest = "url: 'http://127.0.0.1:9/', sha256: null, what: w, cite: c, licence: l"
    names = ("released", "released-1302")
    entries = "".join(f"{name}: {{file: {name}.json, {rest}}}\n" for name in names)
    (tmp_path / "sources.yml").write_text(entries)
    store = Store(tmp_path / "sources.yml", tmp_path / "sources.lock", tmp_path / "downloads")
    store.folder.mkdir()
    for name in store.sources:
        store.path(name).write_bytes(file.read_bytes())
        store.fetch(name)
    return store


@pytest.fixture
def project(store, bank, monkeypatch):
    """The whole program with that store in place of the clone's."""
    study = DeepValueBenchmark(paths.BANK, paths.DESIGNS, downloads=store)
    # Read once for all tests.
    vars(study)["bank"] = bank
    monkeypatch.setitem(REGISTERED, "dvb", study)
    return study


def fault(entries, bank, tmp_path):
    """The message that faulty entries get."""
    with pytest.raises(UserError) as caught:
        read_released(made.write(tmp_path / "bad.json", entries), bank)
    return str(caught.value)


# What the columns hold


def test_items_meet_the_contract_in_the_order_of_the_file(items):
    CONTRACT.validate(items)
    assert list(items["id"]) == [entry["prompt_id"] for entry in made.rows()]


def test_prompts_are_kept_byte_for_byte(items):
    sent = [entry["prompt"] for entry in made.rows()]
    assert list(items["prompt"]) == sent
    assert all("  \n" in prompt for prompt in sent)
    assert list(items["hash"]) == [hashlib.sha256(text.encode()).hexdigest()[:16] for text in sent]


def test_the_number_of_examples_is_counted_in_the_prompt(items):
    assert items["n_examples"].value_counts().to_dict() == {4: 8, 20: 8, 40: 8}


def test_names_become_ids_of_the_bank_whatever_their_case_and_punctuation(items, bank):
    first, second = items.iloc[0], items.iloc[-1]
    assert tuple(first[["v1", "v2", "dimension", "s1", "s2", "domain"]]) == (
        "justice",
        "self_improvement",
        "language_style",
        "language_style.formal",
        "language_style.colloquial",
        "communication",
    )
    assert tuple(second[["v1", "v2", "dimension", "domain"]]) == (
        "non_maleficence",
        "fidelity",
        "response_speed",
        "customer_service",
    )
    assert set(items["direction"]) == {"forward"} and set(items["arm"]) == {"deconfounded"}
    assert set(items["value_set"]) == {"ross_duty"}
    assert set(items["activity"]) == {"organizing_work"}


def test_a_cell_is_value_pair_pole_and_domain_and_stands_in_for_the_wordings(items):
    assert set(items["cell"]) == {
        "justice/self_improvement/language_style.formal/communication",
        "non_maleficence/fidelity/response_speed.fast/customer_service",
    }
    for layer in ("target_value", "target_pole", "other_value", "other_pole"):
        assert (items[f"{layer}_wording"] == items["cell"]).all()
    assert (items[["clause_order", "scene", "example_activities"]] == "").all(axis=None)


def test_tests_are_numbered_within_cell_and_size(items):
    assert (items.groupby(["cell", "n_examples"])["test"].apply(list).map(tuple) == (0, 1, 2, 3)).all()


def test_right_is_the_letter_of_the_expected_choice(items):
    expected = [entry["expected_deep_value_choice"] for entry in made.rows()]
    assert list("Option " + items["right"]) == expected


def test_examples_that_several_prompts_share_are_their_prefix(items):
    for _, group in items.groupby(["cell", "n_examples"]):
        assert len({p[:n] for p, n in zip(group["prompt"], group["prefix_chars"], strict=True)}) == 1
    for prompt, n in zip(items["prompt"], items["prefix_chars"], strict=True):
        assert "Here comes another scenario" in prompt[n:] and "chose:" not in prompt[n:]


def test_examples_that_no_other_prompt_shares_are_no_prefix(bank, tmp_path):
    file = made.write(tmp_path / "few.json", [made.row(cell, 4, 0) for cell in made.CELLS])
    assert list(read_released(file, bank)["prefix_chars"]) == [0, 0]


def test_cells_are_the_same_in_a_sample_as_in_the_whole(items, bank, tmp_path):
    sample = read_released(made.write(tmp_path / "sample.json", made.rows()[5::7]), bank)
    both = sample.merge(items, on="id")
    assert len(both) == len(sample) and (both["cell_x"] == both["cell_y"]).all()


@pytest.mark.parametrize(
    "choice",
    [
        "{user} chose: Option {letter}",
        "**{user} selected option {letter}.**",
        "Choice: {letter}",
        "  > The choice was Option {letter}!",
    ],
)
def test_choices_in_other_words_are_counted(choice, bank, tmp_path):
    text = made.prompt(FIRST, 4, 0, "A", choice)
    file = made.write(tmp_path / "other.json", [made.row(FIRST, 4, 0, prompt=text)])
    assert read_released(file, bank)["n_examples"].tolist() == [4]
    assert parse_prompt(text) == parse_prompt(made.prompt(FIRST, 4, 0, "A"))


def poles(bank, tmp_path, preferred, less, explained=("a", "b")):
    entry = made.row(FIRST, 4, 0)
    keys = ("preferred", "less_preferred", "preferred_definition", "less_preferred_definition")
    entry["shallow_preferences"] = dict(zip(keys, (preferred, less, *explained), strict=True))
    row = read_released(made.write(tmp_path / "poles.json", [entry]), bank).iloc[0]
    return row["dimension"], row["direction"], row["s1"], row["s2"]


def test_every_dimension_of_the_bank_is_known_by_its_poles_in_either_direction(bank, tmp_path):
    for dimension in bank.dimensions.values():
        first, second = (bank.poles[pole].name for pole in dimension.poles)
        named = f"{first.title()} {dimension.name}", f"{second.title()} {dimension.name}"
        assert poles(bank, tmp_path, *named) == (dimension.id, "forward", *dimension.poles)
        assert poles(bank, tmp_path, *named[::-1]) == (dimension.id, "reversed", *dimension.poles[::-1])


def test_poles_of_one_name_in_two_dimensions_are_told_apart_or_left_as_they_are(bank, tmp_path):
    told = poles(bank, tmp_path, "Frequent", "Infrequent", ("It is updated often.", "Its updates are rare."))
    assert told[0] == "update_frequency"
    assert poles(bank, tmp_path, "frequent interactions", "infrequent ones")[0] == "interaction_frequency"
    assert poles(bank, tmp_path, "frequent", "infrequent")[0] == "frequent/infrequent"


def test_unknown_poles_keep_their_names(bank, tmp_path):
    found = poles(bank, tmp_path, "Bright Colours", "dull colours")
    assert found == ("bright_colours/dull_colours", "forward", "bright_colours", "dull_colours")


def test_an_unknown_activity_keeps_its_words(bank, tmp_path):
    entry = made.row(FIRST, 4, 0, context={"name": "legal", "activity": "Walking the dog"})
    row = read_released(made.write(tmp_path / "a.json", [entry]), bank).iloc[0]
    assert (row["domain"], row["activity"]) == ("legal", "Walking the dog")


def test_columns_beyond_the_documented_ones_are_left_aside(items, bank, tmp_path):
    file = made.write(
        tmp_path / "more.json",
        [
            {**e, "split": 1, "n_training_examples": n}
            for e, n in zip(made.rows(), items["n_examples"].tolist(), strict=True)
        ],
    )
    pd.testing.assert_frame_equal(read_released(file, bank), items)


# What a bad row is told


def changed(**changes):
    return made.row(FIRST, 4, 0, prompt_id="p-bad", **changes)


def without(column, key=None):
    entry = changed()
    del (entry if key is None else entry[column])[column if key is None else key]
    return entry


def inside(column, key, thing):
    entry = changed()
    entry[column] = {**entry[column], key: thing}
    return entry


BAD = {
    "no prompt": (without("prompt"), "has no prompt"),
    "no values": (without("deep_values"), "has no deep_values"),
    "a number for a prompt": (changed(prompt=7), "prompt is not a text but 7"),
    "empty prompt": (changed(prompt=" \n"), "prompt is empty"),
    "half a character": (changed(prompt="\ud800"), "half a character"),
    "a text for an object": (changed(context="legal"), "context is not an object but 'legal'"),
    "no name": (without("context", "name"), "context has no name"),
    "no definition": (
        without("shallow_preferences", "less_preferred_definition"),
        "less_preferred_definition",
    ),
    "null for a name": (
        inside("deep_values", "preferred", None),
        "deep_values.preferred is not a text but None",
    ),
    "unknown letter": (changed(expected_deep_value_choice="Option C"), "'Option C', neither"),
    "bare letter": (changed(expected_deep_value_choice="A"), "expected_deep_value_choice is 'A'"),
    "unknown value": (inside("deep_values", "less_preferred", "fairness"), "unknown value 'fairness'"),
    "unknown domain": (inside("context", "name", "sports"), "unknown domain 'sports'"),
    "one value twice": (inside("deep_values", "less_preferred", "Justice"), "are both justice"),
    "one pole twice": (inside("shallow_preferences", "preferred", "colloquial language"), "not two poles"),
    "no options": (changed(prompt="Guess!"), "does not end with one pair of options"),
    "no test": (changed(prompt=made.prompt(FIRST, 4, 0, "A").partition("Here comes")[0]), "a choice made"),
    "no examples": (changed(prompt=made.prompt(FIRST, 0, 0, "A")), "no examples with a choice"),
    "five examples": (changed(prompt=made.prompt(FIRST, 5, 0, "A")), "5 examples"),
    "a choice of both": (
        changed(prompt=made.prompt(FIRST, 4, 0, "A", "either Option A or Option B")),
        "the choice after pair 1 cannot be told",
    ),
    "no choice": (changed(prompt=made.prompt(FIRST, 4, 0, "A", "who knows")), "the choice after pair 1"),
    "another count": (changed(n_training_examples=20), "n_training_examples is 20, but the prompt has 4"),
    "no count": (changed(n_training_examples=None), "n_training_examples is None"),
    "a repeated prompt": (
        changed(prompt=made.rows()[1]["prompt"]),
        "its prompt is that of prompt_id p-0-4-1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_with_its_fault(case, bank, tmp_path):
    entry, reason = BAD[case]
    message = fault([*made.rows()[1:], entry], bank, tmp_path)
    assert "bad.json: 1 of 24 prompts cannot be used:\n  prompt_id p-bad: " in message
    assert reason in message and message.count("\n") == 1


def test_a_prompt_id_twice_is_named(bank, tmp_path):
    again = made.row(FIRST, 4, 1, prompt_id="p-0-4-0")
    assert "prompt_id p-0-4-0: an earlier row has this prompt_id" in fault(
        [made.row(FIRST, 4, 0), again], bank, tmp_path
    )


@pytest.mark.parametrize("entry", [without("prompt_id"), changed() | {"prompt_id": 3}, [], None, "text"])
def test_a_row_without_a_prompt_id_is_named_by_its_place(entry, bank, tmp_path):
    assert "row 2, without a prompt_id: " in fault([made.row(FIRST, 4, 0), entry], bank, tmp_path)


def test_many_bad_rows_are_counted(bank, tmp_path):
    message = fault([{**e, "prompt": ""} for e in made.rows()], bank, tmp_path)
    assert "24 of 24" in message and message.count("is empty") == 10 and message.endswith("… and 14 more")


@pytest.mark.parametrize("content", ['{"prompt": 1}', "[]", "3", "null"])
def test_a_file_that_is_no_array_of_prompts_is_refused(content, bank, tmp_path):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(UserError, match="not a JSON array of prompts"):
        read_released(tmp_path / "bad.json", bank)


@pytest.mark.parametrize("content", [b"", b"[{", b"\xff\xfe\x00", b"<html>"])
def test_a_file_that_is_no_json_is_refused(content, bank, tmp_path):
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.json:.* not JSON: .*make data"):
        read_released(tmp_path / "bad.json", bank)


def test_a_missing_file_names_the_command(bank, tmp_path):
    with pytest.raises(UserError, match="make data"):
        read_released(tmp_path / "none.json", bank)


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
        max_leaves=4,
    ),
    st.sampled_from(
        [
            "prompt_id",
            "prompt",
            "expected_deep_value_choice",
            "deep_values",
            "shallow_preferences",
            "context",
            "n_training_examples",
        ]
    ),
)
def test_whatever_stands_in_a_column_is_read_or_told(bank, tmp_path_factory, thing, column):
    path = tmp_path_factory.mktemp("any") / "any.json"
    try:
        CONTRACT.validate(
            read_released(
                made.write(
                    path,
                    [changed(**{column: thing})]
                    if column != "prompt_id"
                    else [{**changed(), "prompt_id": thing}],
                ),
                bank,
            )
        )
    except UserError as error:
        assert "prompt_id p-bad: " in str(error) or "row 1, without a prompt_id" in str(error)


# Reading a prompt's text


def test_the_reader_finds_the_examples_end_where_the_builder_put_it(items_smoke):
    for prompt, n in items_smoke[["prompt", "prefix_chars"]].itertuples(index=False, name=None):
        _, end = parse_with_end(prompt)
        # The builder's prefix has the empty line after the last example as well.
        assert prompt[end:n].strip() == "" and n - end in (0, 1)


@given(st.lists(st.sampled_from("AB"), min_size=1, max_size=6))
def test_chosen_and_rejected_are_told_apart_in_any_order_of_letters(letters):
    text = (
        "".join(
            f"Option A: a{n}.  \nOption B: b{n}.  \nu chose: Option {letter}  \n\n"
            for n, letter in enumerate(letters)
        )
        + "Option A: x\nOption B: y\n\nWhich?"
    )
    task = parse_prompt(text)
    assert [(e.chosen[0], e.rejected[0]) for e in task.examples] == [
        (letter.lower(), "ab"[letter == "A"]) for letter in letters
    ]
    assert (task.option_a, task.option_b) == ("x", "y")


# The way through the program


def test_the_study_reads_released_sets_and_asks_them_like_its_own(project, items):
    for name in ("released", "released-1302"):
        pd.testing.assert_frame_equal(project.items(name), items)
    conversations = project.conversations(project.items("released"))
    assert [c.turns[0] for c in conversations] == list(items["prompt"])
    assert len({c.prefix for c in conversations}) == 6


def test_without_the_file_the_study_says_make_data(project, store):
    store.path("released").unlink()
    with pytest.raises(UserError, match=r"is missing; run: make data"):
        project.items("released")


def test_a_file_changed_after_it_was_fetched_is_not_read(project, store):
    store.path("released").write_text("[]")
    with pytest.raises(UserError, match=r"is not the expected file.*deepvalues data released"):
        project.items("released")


def test_unknown_sets_are_told_with_the_released_ones(study):
    with pytest.raises(UserError, match=r"standard.*released, released-1302"):
        study.items("nonsense")


def test_a_dry_run_counts_the_released_prompts(project, capsys, tmp_path):
    command = [
        "query",
        "--set",
        "released",
        "--dry-run",
        "--model",
        "learner-words",
        "--record",
        str(tmp_path),
    ]
    assert cli.main(command) == 0
    assert "24" in capsys.readouterr().out


def test_items_survive_parquet(items, tmp_path):
    items.to_parquet(tmp_path / "items.parquet", index=False)
    pd.testing.assert_frame_equal(read_items_file(tmp_path / "items.parquet", CONTRACT), items)


def test_learners_and_reference_agents_are_asked_the_same_way_and_agents_say_what_they_need(
    project, items, tmp_path, capsys
):
    models = [catalogue.registry().model(name) for name in ("learner-words", "agent-value")]
    done = run_query.query("dvb", models, items, record_folder=tmp_path)
    assert list(done["asked"]) == [24, 0] and list(done["failed"]) == [0, 24]
    assert "agent-value: 24 failed; last error: " in (out := capsys.readouterr().out)
    assert "not a value and a pole in wordings of the bank, which is all that reference agents know" in out
    answers = on_record.answers("dvb", models[:1], items, record_folder=tmp_path)
    trials = statistics.trials(items, answers)
    assert trials["followed"].notna().all() and statistics.dvgr_by_model(trials)["answered"].tolist() == [24]


@pytest.fixture(scope="module")
def trials(items):
    """A model that errs in a pattern, and one that says nothing."""
    choices = ["AABAB"[place % 5] for place in range(len(items))]
    frame = pd.DataFrame({"item": items["id"], "model": "m", "status": "answered", "choice": choices})
    silent = frame.assign(model="silent", status="refused", choice=None)
    return statistics.trials(items, pd.concat([frame, silent], ignore_index=True))


def test_rates_of_released_prompts_need_no_other_arm(trials):
    by_arm = statistics.rates(trials, ["model", "arm", "n_examples"])
    assert set(by_arm["arm"]) == {"deconfounded"} and by_arm["answered"].tolist() == [8, 8, 8, 0, 0, 0]
    dvgr = statistics.dvgr_by_model(trials).set_index("model")
    right = trials.loc[trials["model"] == "m", "followed"].mean()
    assert dvgr.loc["m", "dvgr"] == right and 0 < right < 1
    assert (dvgr.loc["silent", "bound_low"], dvgr.loc["silent", "bound_high"]) == (0, 1)


def test_intervals_by_wording_are_those_by_cell(trials):
    by_wording = statistics.rates_by_wording(trials, ["model"])
    pd.testing.assert_frame_equal(by_wording, statistics.rates(trials, ["model"], cluster="cell"))
    assert by_wording.loc[0, ["clustered_low", "clustered_high"]].notna().all()


@pytest.mark.parametrize("sizes", [(4, 20, 40), (4,)])
def test_what_only_probes_tell_is_missing_and_not_wrong(trials, items, sizes):
    found = statistics.sensitivities(trials[trials["n_examples"].isin(sizes)])
    assert found.drop(columns="model").isna().all(axis=None)
    asked = items[items["n_examples"].isin(sizes)]
    coverage = agent_coverage(asked, Truth(0.4, 0.8, 1.6), runs=2, seed=1)
    assert coverage["coverage"].isna().all() and list(coverage["true"]) == pytest.approx(
        [0.4, 0.8, 1.6, -0.8]
    )


def test_no_reference_agent_is_no_instrument_to_check(trials):
    assert statistics.instrument_check(statistics.rates(trials, ["model", "arm", "n_examples"]), []).empty

"""The public prompts: read from files of their build, asked with them, and replayed without them."""

import hashlib
import json
import socket

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import authors_prompts as made
from deepvalues import cli
from deepvalues.ask import catalogue, on_record, run_query
from deepvalues.ask.catalogue import read_items_file
from deepvalues.ask.conversation import Withheld, digest
from deepvalues.ask.study import REGISTERED
from deepvalues.core import paths
from deepvalues.core.downloads import Store
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.analysis import statistics
from deepvalues.studies.dvb.items import public_prompts
from deepvalues.studies.dvb.items.items import CONTRACT
from deepvalues.studies.dvb.items.prompts import exchanged, parse_prompt
from deepvalues.studies.dvb.study import DeepValueBenchmark


@pytest.fixture
def store(tmp_path):
    """A store that has the three files, put there by hand."""
    files = made.texts()
    (tmp_path / "sources.yml").write_text(made.sources(files))
    store = Store(tmp_path / "sources.yml", tmp_path / "sources.lock", tmp_path / "downloads")
    store.folder.mkdir()
    for name, text in files.items():
        store.path(name).write_text(text)
    return store


@pytest.fixture
def facts_file(store, bank, tmp_path):
    """The facts about these files, as the first run writes them."""
    public_prompts.check(store, tmp_path / "facts.csv", bank)
    return tmp_path / "facts.csv"


@pytest.fixture
def fresh(store, bank, facts_file, monkeypatch):
    """Puts a study that has read nothing yet in place of the program's own, as a new process would."""

    def make():
        study = DeepValueBenchmark(paths.BANK, paths.DESIGNS, downloads=store, public_prompts=facts_file)
        vars(study)["bank"] = bank
        monkeypatch.setitem(REGISTERED, "dvb", study)
        return study

    return make


@pytest.fixture
def project(fresh):
    return fresh()


def without_files(store):
    for name in public_prompts.FILES:
        store.path(name).unlink()


def replaced(store, changed):
    """Another content of some files, with the list of sources that expects it."""
    files = {**made.texts(), **changed}
    store.sources_file.write_text(made.sources(files))
    for name, text in files.items():
        store.path(name).write_text(text)
    return Store(store.sources_file, store.lock_file, store.folder)


# Reading the files


def test_items_meet_the_contract_and_are_the_same_with_and_without_the_files(fresh, store):
    items = fresh().items("authors")
    CONTRACT.validate(items)
    without_files(store)
    pd.testing.assert_frame_equal(fresh().items("authors"), items)
    few = items[items["n_examples"] <= 20].reset_index(drop=True)
    pd.testing.assert_frame_equal(fresh().items("authors-20"), few)
    assert items["swapped"].tolist() == [False, True] * 6 and set(items["arm"]) == {"deconfounded"}
    assert items["n_examples"].tolist()[::2] == [4, 20, 40, 4, 30, 5]
    assert items["right"].tolist() == list("ABBAABABBABA")


def test_no_sentence_of_a_prompt_is_in_the_facts_or_in_the_items(project, facts_file, tmp_path):
    items = project.items("authors")
    items.to_parquet(tmp_path / "items.parquet")
    pd.testing.assert_frame_equal(read_items_file(tmp_path / "items.parquet", CONTRACT), items)
    kept = facts_file.read_text() + items.to_csv()
    for text in project.authors.texts.values():
        for line in filter(None, map(str.strip, text.splitlines())):
            assert line not in kept


def test_the_exchanged_prompt_differs_in_the_places_of_the_test_options_alone(project):
    texts = project.authors.texts
    assert len(texts) == 12
    for id in [id for id in texts if id.endswith("a")]:
        one, other = parse_prompt(texts[id]), parse_prompt(texts[f"{id[:-1]}b"])
        assert one.examples == other.examples
        assert (one.option_a, one.option_b) == (other.option_b, other.option_a) != ("", "")
        assert exchanged(texts[f"{id[:-1]}b"]) == texts[id]
        lines = zip(texts[id].splitlines(), texts[f"{id[:-1]}b"].splitlines(), strict=True)
        assert sum(line != its for line, its in lines) == 2


option = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1)


@given(st.lists(st.tuples(option, option), min_size=1, max_size=4), st.sampled_from(["\n", "  \n"]))
def test_exchanging_twice_gives_the_prompt_back(pairs, end):
    chosen = f"{end}CHOICE: Option B{end}{end}"
    text = chosen.join(f"Option A: {a}{end}Option B: {b}" for a, b in pairs) + f"{end}{end}Which?"
    once = exchanged(text)
    assert exchanged(once) == text and parse_prompt(once).option_a == pairs[-1][1]


def test_options_that_read_otherwise_in_the_other_place_are_refused():
    with pytest.raises(ValueError, match="cannot be exchanged"):
        exchanged("Option A: one**\nOption B: two\n\nWhich?")


def test_names_become_ids_of_the_bank_and_early_values_keep_theirs(project):
    items = project.items("authors").set_index("id")
    assert items.loc["authors.debugfull.t01a", ["v1", "s1", "domain", "activity"]].tolist() == [
        "justice",
        "language_style.formal",
        "communication",
        "organizing_work",
    ]
    assert items.loc["authors.debug.t02a", ["v1", "value_set"]].tolist() == ["gratitude", "ross_duty"]
    assert (items["target_value_wording"] == items["cell"]).all()


def test_both_orders_of_a_test_are_known_by_cell_size_and_number(project):
    items = project.items("authors")
    orders = items.groupby(["cell", "n_examples", "test"])["swapped"].apply(sorted)
    assert (orders.map(tuple) == (False, True)).all() and len(orders) == 6


def test_what_cannot_be_parsed_is_listed_with_its_reason(store, bank, facts_file):
    told = public_prompts.check(store, facts_file, bank).splitlines()
    assert told[0] == "authors: 6 of 7 prompts, each in both orders"
    assert told[1].startswith("  left out: sample.md, test 2: ") and len(told) == 2
    assert "the choice after pair 1 cannot be told for certain" in told[1]


NO_SIDES = {"values": "{'preferred': 'justice'}"}
FAULTS = {
    "another count": (
        made.block(1, n=4, prompt=made.made.prompt(made.made.CELLS[0], 5, 1, "A")),
        "4 examples",
    ),
    "no prompt": (made.block(1, prompt=""), "one pair of options"),
    "no heading": (made.block(1).replace("### PROMPT", ""), "one pair of options"),
    "letters": (made.block(1, other="A"), "not options A and B"),
    "no letter": (made.block(1).replace("**Expected", "Expected"), "has no line 'Expected choice"),
    "no code": (made.block(1, values="justice over all"), "does not name two sides"),
    "one side": (made.block(1, **NO_SIDES), "does not name two sides"),
    "a call": (made.block(1, values="print(1)"), "does not name two sides"),
    "domain": (made.block(1, domain="sports"), "unknown domain 'sports'"),
    "value": (
        made.block(1, values=made.made.row(made.made.CELLS[0], 4, 1)["deep_values"] | {"preferred": "fame"}),
        "unknown value 'fame'",
    ),
    "two sets": (
        made.block(
            1, values=made.made.row(made.made.CELLS[0], 4, 1)["deep_values"] | {"preferred": "security"}
        ),
        "not two values of one set",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_faulty_test_is_left_out_with_its_fault_and_the_others_stay(case, store, bank):
    block, reason = FAULTS[case]
    store = replaced(store, {made.DEBUG: block + made.block(2)})
    facts = public_prompts.read_files(store, bank)
    rows = facts[facts["file"] == "tests.md"]
    assert rows["test"].tolist() == ["1", "2", "2"] and rows["id"].ne("").tolist() == [False, True, True]
    assert reason in rows["left_out"].iloc[0] and rows["left_out"].tolist()[1:] == ["", ""]


def test_a_file_without_tests_is_told(store, bank):
    with pytest.raises(UserError, match=r"tests\.md: no tests in it"):
        public_prompts.read_files(replaced(store, {made.DEBUG: "# Nothing\n"}), bank)


def test_a_missing_file_names_the_command(store, bank):
    store.path(made.DEBUG).unlink()
    with pytest.raises(UserError, match=r"tests\.md is missing; run: make data"):
        public_prompts.read_files(store, bank)


def test_a_file_of_another_sum_is_not_read(fresh, store, bank):
    store.path(made.DEBUG).write_text(made.texts()[made.DEBUG] + " ")
    study = fresh()
    items = study.items("authors")
    for read in (lambda: public_prompts.read_files(store, bank), lambda: study.conversations(items)):
        with pytest.raises(UserError, match=r"tests\.md is not the expected file"):
            read()


# The facts


def test_facts_that_say_otherwise_than_the_files_are_told_and_kept(store, bank, facts_file):
    wrong = facts_file.read_text().replace(
        "authors.debug.t01b,tests.md,1,30", "authors.debug.t01b,tests.md,1,20"
    )
    facts_file.write_text(wrong)
    with pytest.raises(UserError, match=r"does not say what the files say, first of tests\.md, test 1\."):
        public_prompts.check(store, facts_file, bank)
    assert facts_file.read_text() == wrong


def test_facts_that_lack_rows_are_told(store, bank, facts_file):
    facts_file.write_text("\n".join(facts_file.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(UserError, match="does not say what the files say"):
        public_prompts.check(store, facts_file, bank)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "not a table"), (b"a,b\n1,2\n", "its columns are not id, file"), (b"\xff\xfe\x00", "not a table")],
)
def test_a_damaged_table_of_facts_is_told(content, reason, tmp_path):
    (tmp_path / "facts.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"facts\.csv.*{reason}.*restore it from git"):
        public_prompts.read_facts(tmp_path / "facts.csv")


def test_a_missing_table_of_facts_is_told(tmp_path):
    with pytest.raises(UserError, match="file not found; restore it from git"):
        public_prompts.read_facts(tmp_path / "facts.csv")


def test_a_text_that_is_not_the_one_of_the_facts_is_not_asked(fresh, facts_file):
    facts = public_prompts.read_facts(facts_file)
    facts.loc[0, "sha256"] = hashlib.sha256(b"another").hexdigest()
    facts.to_csv(facts_file, index=False)
    study = fresh()
    with pytest.raises(UserError, match=r"authors\.debugfull\.t01a is not what full\.md has"):
        study.conversations(study.items("authors"))


def test_an_item_that_the_facts_do_not_have_is_told(project):
    items = project.items("authors").assign(id="authors.debugfull.t99a")
    with pytest.raises(UserError, match=r"has no prompt authors\.debugfull\.t99a"):
        project.conversations(items)


def test_the_committed_facts_are_those_of_the_spec():
    facts = public_prompts.read_facts(paths.PUBLIC_PROMPTS)
    used = facts[facts["left_out"] == ""]
    assert len(facts) == 200 and used["order"].value_counts().to_dict() == dict.fromkeys(
        public_prompts.ORDERS, 99
    )
    assert facts[["file", "test"]].drop_duplicates()["file"].value_counts().to_dict() == {
        "debug_tests_debugfull.md": 40,
        "debug_tests_debugsample.md": 40,
        "debug_tests.md": 21,
    }
    assert set(used["n_examples"]) == {"4", "5", "15", "20", "30", "40"}
    CONTRACT.validate(catalogue.study("dvb").items("authors"))


# Asking and replaying


def test_digests_are_those_of_the_messages_of_both_ways_of_asking(fresh, store):
    study = fresh()
    items = study.items("authors")
    told = study.conversations(items)
    without_files(store)
    withheld = fresh().conversations(items)
    assert all(isinstance(each, Withheld) for each in withheld)
    for one, other in zip(told, withheld, strict=True):
        assert one.first_digest == other.first_digest and one.first_length == other.first_length
        begun = [*one.messages(()), {"role": "assistant", "content": "Option"}]
        assert other.beginning("Option").first_digest == digest(begun) != one.first_digest
        assert other.beginning("Option").item == one.item


def test_both_orders_share_the_examples_as_their_prefix(project):
    conversations = project.conversations(project.items("authors"))
    for one, other in zip(conversations[::2], conversations[1::2], strict=True):
        assert one.prefix == other.prefix and one.prefix.rstrip().endswith(("Option A", "Option B"))
    assert len({each.prefix for each in conversations}) == 6


def test_answers_are_replayed_without_the_files_and_nobody_can_be_asked(fresh, store, tmp_path, capsys):
    study, models = fresh(), [catalogue.registry().model("learner-words")]
    items = study.items("authors")
    done = run_query.query("dvb", models, items, record_folder=tmp_path / "record")
    assert (done["asked"][0], done["failed"][0]) == (12, 0)
    with_files = on_record.answers("dvb", models, items, tmp_path / "record")
    without_files(store)
    fresh()
    pd.testing.assert_frame_equal(on_record.answers("dvb", models, items, tmp_path / "record"), with_files)
    again = run_query.query("dvb", models, items, record_folder=tmp_path / "record")
    assert (again["replayed"][0], again["asked"][0], again["orphans"][0]) == (12, 0, 0)
    others = [catalogue.registry().model("learner-style")]
    with pytest.raises(UserError, match=r"not on this machine\. Fetch them with: make data; or put a copy"):
        run_query.query("dvb", others, items, record_folder=tmp_path / "record")
    assert not (tmp_path / "record/dvb/learner-style.jsonl").exists()
    # What a notebook completes by itself it leaves as it is, and the plan needs no text.
    chosen = on_record.Chosen("dvb", "authors", items, models + others)
    assert run_query.complete_local([chosen], tmp_path / "record").empty
    assert on_record.coverage([chosen], tmp_path / "record")["state"].tolist() == ["complete", "not asked"]
    assert run_query.plans("dvb", others, items, tmp_path / "record")[0].requests == 12


def test_with_one_file_its_prompts_can_be_asked_and_the_others_are_named(fresh, store):
    store.path(made.DEBUG).unlink()
    conversations = fresh().conversations(fresh().items("authors"))
    withheld = [each for each in conversations if isinstance(each, Withheld)]
    assert {each.item.split(".")[1] for each in withheld} == {"debug"} and len(withheld) == 4
    with pytest.raises(UserError, match=r"^tests\.md: .*downloads/"):
        withheld[0].messages(())
    with pytest.raises(UserError, match="make data"):
        withheld[0].beginning("Well,")


def test_learners_choose_the_same_option_in_both_orders(project, tmp_path):
    models = [catalogue.registry().model(f"learner-{name}") for name in ("words", "nearest", "style")]
    items = project.items("authors")
    run_query.query("dvb", models, items, record_folder=tmp_path)
    trials = statistics.trials(items, on_record.answers("dvb", models, items, tmp_path))
    orders = trials.pivot(index=["model", "cell", "n_examples", "test"], columns="swapped", values="followed")
    assert len(orders) == 18 and (orders[False] == orders[True]).all()


# The command


@pytest.fixture
def command(store, project, facts_file, monkeypatch, capsys):
    for name, path in (("SOURCES", store.sources_file), ("SOURCES_LOCK", store.lock_file)):
        monkeypatch.setattr(paths, name, path)
    monkeypatch.setattr(paths, "DOWNLOADS", store.folder)
    monkeypatch.setattr(paths, "PUBLIC_PROMPTS", facts_file)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def run(*names):
        return cli.main(["data", *names]), *capsys.readouterr()

    return run


def test_the_command_holds_the_facts_to_copies_put_there_by_hand(command, facts_file):
    before = facts_file.read_bytes()
    status, out, err = command()
    assert (status, err) == (0, "") and out.count("already there") == 3
    assert "authors: 6 of 7 prompts" in out and "left out: sample.md, test 2" in out
    assert facts_file.read_bytes() == before


def test_one_named_file_is_only_verified(command):
    status, out, _ = command(made.DEBUG)
    assert status == 0 and out.count("\n") == 1


def test_without_a_network_each_line_says_where_a_copy_would_do(command, store):
    without_files(store)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/{{file}}"
        store.sources_file.write_text(made.sources(made.texts(), url))
        status, out, err = command()
    assert status == 2 and out == ""
    lines = err.removeprefix("deepvalues: ").splitlines()
    for name, line in zip(public_prompts.FILES, lines, strict=True):
        assert line.startswith(f"{name}: {paths.shown(store.path(name))} is missing, and could not be")
        assert ": no connection)" in line and "save the file there and run this again" in line


def test_a_copy_of_another_sum_is_not_used_and_the_facts_are_not_touched(command, store, facts_file):
    before = facts_file.read_bytes()
    store.path(made.DEBUG).write_text("something else")
    status, out, err = command()
    assert status == 2 and "tests.md is not the expected file" in err and "authors:" not in out
    assert store.path(made.DEBUG).read_text() == "something else" and facts_file.read_bytes() == before


def test_the_record_holds_no_sentence_of_a_prompt(project, tmp_path):
    models = [catalogue.registry().model("learner-words")]
    run_query.query("dvb", models, project.items("authors"), record_folder=tmp_path)
    lines = (tmp_path / "dvb/learner-words.jsonl").read_text().splitlines()
    assert {json.loads(line)["text"] for line in lines} <= {"Option A", "Option B"} and len(lines) == 12

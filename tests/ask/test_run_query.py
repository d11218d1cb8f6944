"""Asking the smoke set: recorded answers are replayed, and incomplete records are reported."""

import functools
import re
import shlex
import subprocess
import sys
from dataclasses import replace

import pytest

from deepvalues.ask import catalogue, on_record, run_query
from deepvalues.ask.questions import record_path
from deepvalues.ask.record import Record
from deepvalues.ask.registry import HEAD, Endpoint, Model
from deepvalues.ask.settings import Settings
from deepvalues.ask.study import Study
from deepvalues.ask.weights import serve
from deepvalues.cli.command import parser
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.study import DeepValueBenchmark
from deepvalues.studies.profiles.study import open_answers

NAMES = ("agent-value", "agent-declining", "learner-words")


@pytest.fixture(autouse=True, scope="module")
def built_once():
    """Build sets of thousands of items, which many tests here count, and their conversations only once."""
    kept, conversations = {}, DeepValueBenchmark.conversations

    def remembered(study, items):
        # Not those of small sets, because a test is about who shares them.
        if len(items) < 1000:
            return conversations(study, items)
        # By identity: a frame that is kept keeps its id to itself.
        if id(items) not in kept:
            kept[id(items)] = items, conversations(study, items)
        return kept[id(items)][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "items", functools.cache(Study.items))
        patch.setattr(DeepValueBenchmark, "conversations", remembered)
        yield


@pytest.fixture(scope="module")
def items(items_smoke):
    return items_smoke


@pytest.fixture(scope="module")
def models():
    return catalogue.registry().choose(NAMES, "dvb")


@pytest.fixture(scope="module")
def answered(items, models, tmp_path_factory):
    """A folder with answers to the whole smoke set, and the outcome of the run that wrote it."""
    folder = tmp_path_factory.mktemp("responses")
    return folder, run_query.query("dvb", models, items, record_folder=folder)


@pytest.fixture
def nobody_asked(monkeypatch):
    """Asking anything fails the test."""
    monkeypatch.setattr(run_query, "run", lambda *_: pytest.fail("something was asked"))


@pytest.fixture
def ask(tmp_path):
    """Ask models, by name, about items, with a record for this test."""

    def ask(names, items, **named):
        return run_query.query(
            "dvb", catalogue.registry().choose(names, "dvb"), items, record_folder=tmp_path, **named
        )

    return ask


def lines(folder, name):
    return record_path(folder, "dvb", name).read_bytes().splitlines(keepends=True)


def test_a_first_run_asks_everything(answered):
    folder, table = answered
    assert list(table.columns) == list(run_query.Outcome._fields)
    assert list(table["model"]) == list(NAMES)
    assert list(table["family"]) == ["reference agent", "reference agent", "text learner"]
    assert (table["items"] == 130).all()
    assert (table["asked"] == 130).all()
    assert (table[["replayed", "failed", "orphans"]] == 0).all(axis=None)
    for name in NAMES:
        assert len(lines(folder, name)) == 130


def test_a_second_run_replays(answered, items, models, nobody_asked):
    folder, _ = answered
    before = {name: lines(folder, name) for name in NAMES}
    table = run_query.query("dvb", models, items, record_folder=folder)
    assert (table["replayed"] == 130).all()
    assert (table[["asked", "failed", "orphans"]] == 0).all(axis=None)
    assert {name: lines(folder, name) for name in NAMES} == before


@pytest.mark.slow
def test_local_models_are_completed_several_at_a_time(answered, items, models, tmp_path, monkeypatch):
    folder, _ = answered
    monkeypatch.setattr(run_query, "processors", lambda: 2)
    paid = Model("paid", Endpoint("openai", "https://example.org/v1", "KEY"), "paid")
    sets = [
        on_record.Chosen("dvb", "smoke", items.head(20), [*models[::-1], paid]),
        on_record.Chosen("dvb", "more", items, models[:1]),
    ]
    table = run_query.complete_local(sets, tmp_path).set_index(["model", "items"])
    assert table["asked"].to_dict() == {
        ("learner-words", 20): 20,
        ("agent-declining", 20): 20,
        ("agent-value", 20): 20,
        ("agent-value", 130): 110,
    }
    assert not table["failed"].any()
    assert lines(tmp_path, "agent-value") == lines(folder, "agent-value")
    assert set(lines(tmp_path, "learner-words")) < set(lines(folder, "learner-words"))


def test_complete_local_models_are_not_asked(answered, items, models, monkeypatch):
    folder, _ = answered
    monkeypatch.setattr(run_query, "query", lambda *_, **__: pytest.fail("a model was asked"))
    table = run_query.complete_local([on_record.Chosen("dvb", "smoke", items, models)], folder)
    assert table.empty and list(table.columns) == list(run_query.Outcome._fields)


@pytest.mark.slow
def test_a_failure_in_another_process_is_reported(items, models, tmp_path, monkeypatch):
    monkeypatch.setattr(run_query, "processors", lambda: 2)
    chosen = [on_record.Chosen("dvb", "smoke", items.head(3), models)]
    busy = Record(record_path(tmp_path, "dvb", "agent-value")).writing()
    with busy, pytest.raises(UserError, match="another run"):
        run_query.complete_local(chosen, tmp_path)
    monkeypatch.setattr(run_query, "processors", lambda: 1)
    assert not run_query.complete_local(chosen, tmp_path)["failed"].any()
    assert len(lines(tmp_path, "agent-value")) == 3


def test_only_missing_answers_are_requested(ask, items, tmp_path):
    few = ask(["agent-value"], items.head(20))
    assert list(few["asked"]) == [20]
    some = lines(tmp_path, "agent-value")
    rest = ask(["agent-value"], items)
    assert list(rest[["items", "replayed", "asked"]].iloc[0]) == [130, 20, 110]
    assert set(some) < set(lines(tmp_path, "agent-value"))


def test_orphaned_answers_are_counted_and_kept(answered, items, models, nobody_asked):
    folder, _ = answered
    table = run_query.query("dvb", models[:1], items.head(40), record_folder=folder)
    assert list(table[["items", "replayed", "orphans"]].iloc[0]) == [40, 40, 90]
    assert len(lines(folder, NAMES[0])) == 130


def test_the_record_is_the_same_at_any_concurrency(answered, ask, items, tmp_path):
    folder, _ = answered
    ask(NAMES, items.sample(frac=1, random_state=1), settings=Settings(concurrency=1))
    for name in NAMES:
        assert lines(tmp_path, name) == lines(folder, name)


def test_a_half_written_line_is_reported_and_requested_again(ask, items, tmp_path, capsys):
    ask(["agent-first"], items.head(5))
    path = record_path(tmp_path, "dvb", "agent-first")
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    table = ask(["agent-first"], items.head(5))
    assert list(table[["replayed", "asked"]].iloc[0]) == [4, 1]
    assert capsys.readouterr().out == "agent-first.jsonl: dropped a half-written last line (line 5)\n"
    assert path.read_bytes() == whole


def test_a_damaged_line_stops_the_run(ask, items, tmp_path, nobody_asked):
    path = record_path(tmp_path, "dvb", "agent-first")
    path.parent.mkdir()
    path.write_bytes(b'{"v":1}\n')
    with pytest.raises(UserError, match=r"agent-first\.jsonl, line 1: .* truncated or altered"):
        ask(["agent-first"], items)


def test_declined_answers_can_be_asked_again(ask, items, tmp_path):
    ask(["agent-declining"], items)
    before = lines(tmp_path, "agent-declining")
    frame = on_record.answers("dvb", catalogue.registry().choose(["agent-declining"], "dvb"), items, tmp_path)
    declined = int((frame["status"] == "refused").sum())
    assert declined > 0
    again = ask(["agent-declining"], items, retry=frozenset({"refused"}))
    assert list(again[["asked", "failed"]].iloc[0]) == [declined, 0]
    assert lines(tmp_path, "agent-declining") == before, "the same seed, the same reply"


@pytest.mark.parametrize("status", ["anwered", "", "REFUSED"])
def test_an_unknown_status_is_reported_with_the_known_ones(ask, items, nobody_asked, status):
    with pytest.raises(UserError, match=f"unknown status '{status}'; there are answered, refused, .*failed"):
        ask(["agent-first"], items, retry=frozenset({status, "refused"}))


@pytest.mark.parametrize("concurrency", [0, -3])
def test_zero_concurrency_is_rejected(ask, items, nobody_asked, concurrency):
    with pytest.raises(UserError, match=f"concurrency must be at least 1, not {concurrency}"):
        ask(["agent-first"], items, settings=Settings(concurrency=concurrency))


def test_an_unknown_study_is_reported_with_the_known_ones(items, models, tmp_path):
    with pytest.raises(UserError, match="unknown study 'dbv'; there are dvb"):
        run_query.query("dbv", models, items, record_folder=tmp_path)


def test_a_missing_key_is_reported_before_anything_is_sent(ask, items, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match=r"gpt-4o-2024-08-06: no API key: .*OPENAI_API_KEY \(130 answers"):
        ask(["gpt-4o-2024-08-06"], items)
    assert list(tmp_path.iterdir()) == []


def test_a_local_model_that_no_study_has_is_reported(items, tmp_path):
    ghost = Model("ghost", Endpoint("local", None, None), "ghost")
    with pytest.raises(UserError, match="ghost: its endpoint is local, but no study has this local model"):
        run_query.query("dvb", [ghost], items, record_folder=tmp_path)


def test_an_endpoint_without_a_url_is_reported(items, tmp_path):
    nowhere = Model("ghost", Endpoint("openai", None, None), "ghost")
    with pytest.raises(UserError, match="ghost: its endpoint openai has no base_url"):
        run_query.query("dvb", [nowhere], items, record_folder=tmp_path)


# Coverage.


@pytest.mark.slow
def test_coverage_distinguishes_complete_partial_and_not_asked(ask, items, tmp_path):
    ask(["agent-value"], items)
    ask(["agent-first"], items.head(30))
    chosen = catalogue.registry().choose(["agent-value", "agent-first", "agent-prose"], "dvb")
    table = on_record.coverage([on_record.Chosen("dvb", "smoke", items, chosen)], tmp_path)
    assert list(table.columns) == ["study", "item_set", "model", "family", "items", "recorded", "state"]
    assert list(table["recorded"]) == [130, 30, 0]
    assert list(table["state"]) == ["complete", "partial", "not asked"]
    assert list(table["items"]) == [130] * 3
    each = on_record.Chosen("dvb", "smoke", items, chosen)
    assert [model.name for model in on_record.complete(each, table)] == ["agent-value"]
    assert on_record.complete(each._replace(item_set="standard"), table) == []


@pytest.mark.slow
def test_a_set_with_answers_to_shared_items_only_was_not_asked(ask, items, tmp_path):
    ask(["agent-value"], items.head(30))
    models = catalogue.registry().choose(["agent-value"], "dvb")
    first = on_record.Chosen("dvb", "first", items.head(30), models)
    shared, beyond = (first._replace(items=items.iloc[start:45]) for start in (20, 25))
    assert list(on_record.coverage([first, shared], tmp_path)["state"]) == ["complete", "not asked"]
    assert list(on_record.coverage([first._replace(items=items.head(28)), beyond], tmp_path)["state"]) == [
        "complete",
        "partial",
    ]
    assert (
        list(on_record.coverage([first._replace(study="dvb-cot"), shared], tmp_path)["state"])[1] == "partial"
    )


def test_unlisted_models_with_answers_are_named(tmp_path):
    for study, name in (("dvb", "agent-value"), ("dvb", "me/my.model"), ("svo", "agent-value")):
        path = record_path(tmp_path, study, name)
        path.parent.mkdir(exist_ok=True)
        path.touch()
        path.with_suffix(".log.jsonl").touch()
    assert on_record.unlisted(tmp_path).to_numpy().tolist() == [
        ["dvb", "me/my.model"],
        ["svo", "agent-value"],
    ]
    assert on_record.unlisted(tmp_path / "none").empty


@pytest.mark.slow
@pytest.mark.parametrize("study", sorted({place.partition("/")[0] for place in catalogue.registry().paper}))
def test_a_record_of_an_unlisted_model_changes_nothing(study, tmp_path, monkeypatch):
    """Neither items nor answers change, from which all results follow."""
    registry = catalogue.registry()
    listed = registry.of_paper(study)
    local = [model for model in registry.models.values() if model.is_local and model.family != HEAD]
    whose = next((model for model in local if model in listed), registry.model("agent-first"))
    recorded = functools.partial(open_answers, record_folder=tmp_path)
    found = catalogue.study(study)
    if study == "profiles-coding":
        opened = catalogue.study("profiles-open")
        profile = registry.model("agent-profile-reference")
        run_query.query(opened.name, [profile], opened.items("standard").head(3), record_folder=tmp_path)
        found = replace(found, open_answers=recorded)
    items = found.items("subset" if study in ("dvb-explicit", "dvb-cot") else "standard").head(4)
    run_query.query(study, [whose], items, record_folder=tmp_path)

    def state():
        chosen = [on_record.Chosen(study, "standard", items, listed)]
        table = on_record.coverage(chosen, tmp_path)
        answers = [each.answers() for each in on_record.answered(chosen, table, tmp_path)]
        return [each.to_csv() for each in (table, *answers, recorded("standard"))]

    before = state()
    stranger = "stranger"
    for name in (study, "profiles-open"):
        record = record_path(tmp_path, name, whose.name)
        path = record_path(tmp_path, name, stranger)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(record.read_bytes() if record.exists() else b"")
    models = {**registry.models, stranger: replace(whose, name=stranger)}
    monkeypatch.setattr(catalogue, "registry", lambda: replace(registry, models=models))
    assert state() == before
    assert stranger in set(on_record.unlisted(tmp_path)["model"])


@pytest.mark.slow
def test_asking_a_subset_does_not_make_a_set_partial(ask, items, items_standard, study, tmp_path):
    """Whether or not the smaller set is listed too, in any order."""
    ask(["agent-value"], items)
    ask(["agent-first"], study.items("subset"))
    models = catalogue.registry().choose(["agent-value", "agent-first"], "dvb")
    standard = on_record.Chosen("dvb", "standard", items_standard, models)
    beside = [standard, on_record.Chosen("dvb", "subset", study.items("subset"), models)]
    both = int(beside[1].items["id"].isin(items_standard["id"]).sum())
    assert both > 100
    for sets in ([standard], beside, beside[::-1]):
        table = on_record.coverage(sets, tmp_path)
        of_standard = table[table["item_set"] == "standard"]
        assert list(of_standard["recorded"]) == [130, both]
        assert set(of_standard["state"]) == {"not asked"}
        on_record.stop_if_partial(table, tmp_path)
    # With one answer more than the smaller set, or one less than all of it, the set is partial.
    ask(["agent-value"], items_standard[~items_standard["id"].isin(items["id"])].head(1))
    path = record_path(tmp_path, "dvb", "agent-first")
    path.write_bytes(b"".join(lines(tmp_path, "agent-first")[1:]))
    assert list(on_record.coverage([standard], tmp_path)["state"]) == ["partial", "partial"]


def test_incomplete_conversations_make_a_set_partial(tmp_path):
    items = catalogue.study("svo").items("smoke")
    models = catalogue.registry().choose(["agent-svo-follower"], "svo")
    run_query.query("svo", models, items, record_folder=tmp_path)
    each = on_record.Chosen("svo", "smoke", items, models)
    assert list(on_record.coverage([each], tmp_path)["state"]) == ["complete"]
    record = Record(record_path(tmp_path, "svo", "agent-svo-follower"))
    kept = [line for line in record.path.read_bytes().splitlines(keepends=True) if b'"turn":0' in line]
    assert len(kept) == len(items)
    record.path.write_bytes(b"".join(kept))
    table = on_record.coverage([each], tmp_path)
    assert list(table["recorded"]) == [0]
    with pytest.raises(UserError, match="20 of 20 items are not answered in full"):
        on_record.stop_if_partial(table, tmp_path)


def test_coverage_sends_and_writes_nothing(items, models, tmp_path, nobody_asked):
    table = on_record.coverage([on_record.Chosen("dvb", "smoke", items, models)], tmp_path)
    assert set(table["state"]) == {"not asked"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_incomplete_record_stops_with_study_model_count_and_command(ask, items, tmp_path):
    ask(["agent-first"], items.head(30))
    ask(["agent-prose"], items.head(129))
    chosen = catalogue.registry().choose(["agent-first", "agent-value", "agent-prose"], "dvb")
    table = on_record.coverage([on_record.Chosen("dvb", "smoke", items, chosen)], tmp_path)
    with pytest.raises(UserError) as caught:
        on_record.stop_if_partial(table, tmp_path)
    _, first, prose = str(caught.value).splitlines()
    assert first.strip() == (
        "dvb: agent-first: 100 of 130 items are not answered in full; "
        f"deepvalues query --study dvb --set smoke --model agent-first --record {tmp_path}"
    )
    assert "agent-prose: 1 of 130" in prose
    assert "agent-value" not in str(caught.value), "not asked is not partial"


def test_complete_and_unasked_records_do_not_stop(answered, items, nobody_asked):
    folder, _ = answered
    chosen = catalogue.registry().choose([*NAMES, "agent-prose", "gpt-4o-2024-08-06"], "dvb")
    table = on_record.coverage([on_record.Chosen("dvb", "smoke", items, chosen)], folder)
    assert set(table["state"]) == {"complete", "not asked"}
    on_record.stop_if_partial(table, folder)


def test_a_set_that_no_model_has_answered_stops_with_set_folder_and_command(answered, items, nobody_asked):
    folder, _ = answered
    each = on_record.Chosen(
        "dvb",
        "smoke",
        items,
        catalogue.registry().choose(["gpt-4o-2024-08-06", "agent-prose", *NAMES], "dvb"),
    )
    on_record.stop_if_unanswered(each, on_record.coverage([each], folder), folder)
    nowhere = folder / "none"
    with pytest.raises(UserError) as caught:
        on_record.stop_if_unanswered(each, on_record.coverage([each], nowhere), nowhere)
    command = f"deepvalues query --study dvb --set smoke --model agent-prose --record {nowhere}"
    assert str(caught.value) == f"no model has answered dvb/smoke in {nowhere}; to ask one: {command}"
    with pytest.raises(UserError, match=r"in data/responses; to ask one: .* --model agent-prose$"):
        on_record.stop_if_unanswered(each, on_record.coverage([each], nowhere), paths.RESPONSES)


def test_a_notebooks_sets_are_read_with_the_models_that_answered(answered, monkeypatch, items):
    folder, _ = answered
    monkeypatch.setattr(catalogue, "read_items", lambda *_: items)
    (main,) = on_record.read({"dvb": ["smoke"]}, [*NAMES, "gpt-4o-2024-08-06"], folder)
    assert tuple(model.name for model in main.models) == NAMES
    assert len(main.answers()) == len(items) * len(NAMES)
    with pytest.raises(UserError, match="no model has answered dvb/smoke"):
        on_record.read({"dvb": ["smoke"]}, NAMES, folder / "none")


def test_to_ask_is_the_plan_of_models_that_were_not_asked(ask, items, tmp_path):
    ask(["agent-value"], items.head(2))
    names = ["agent-value", "gpt-4o-2024-08-06", "agent-prose"]
    each = on_record.Chosen("dvb", "smoke", items, catalogue.registry().choose(names, "dvb"))
    table = on_record.to_ask([each], on_record.coverage([each], tmp_path), tmp_path).set_index("model")
    assert list(table.index) == names[1:], "a record that is partial is completed, not asked from the start"
    (plan,) = run_query.plans("dvb", each.models[1:2], items, tmp_path)
    row = table.loc["gpt-4o-2024-08-06"]
    assert (row["requests"], row["input_tokens"]) == (130, round(plan.usage.input))
    assert row["dollars"] == pytest.approx(plan.usage.uncached().cost(plan.price))
    assert 0 < row["dollars_cached"] < row["dollars"]
    assert table.loc["agent-prose", ["dollars", "dollars_cached"]].isna().all(), "it has no price"


def test_nothing_remains_for_models_that_have_answered(answered, items, models):
    folder, _ = answered
    each = on_record.Chosen("dvb", "smoke", items, models)
    assert on_record.to_ask([each], on_record.coverage([each], folder), folder).empty


def test_orphans_are_counted_over_all_sets_of_a_study(ask, items, tmp_path):
    ask(["agent-value"], items)
    models = catalogue.registry().choose(["agent-value", "agent-prose"], "dvb")
    sets = [on_record.Chosen("dvb", "a", part, models) for part in (items.head(20), items.iloc[15:40])]
    table = on_record.holdings(sets, tmp_path).orphans
    assert dict(zip(table["model"], table["orphans"], strict=True)) == {"agent-value": 90, "agent-prose": 0}
    assert list(table["answers"]) == [130, 0]
    assert list(on_record.holdings(sets[:1], tmp_path).orphans["orphans"]) == [110, 0]


def test_a_set_may_have_its_own_models():
    paper = catalogue.registry().paper
    assert set(paper["dvb/subset"]) < set(paper["dvb/standard"])


# Readings of answers.


def test_answers_are_read_one_row_per_item_and_model(answered, items, models, nobody_asked):
    folder, _ = answered
    frame = on_record.answers("dvb", models, items, folder)
    assert list(frame.columns) == ["model", "item", "repeat", "turn", "status", "choice", "reply", "error"]
    assert list(frame["model"].unique()) == list(NAMES)
    for _, of_model in frame.groupby("model"):
        assert list(of_model["item"]) == list(items["id"])
    assert (frame["choice"].notna() == (frame["status"] == "answered")).all()
    assert frame.loc[frame["choice"].notna(), "choice"].isin(["A", "B"]).all()


def test_answers_are_those_of_the_model(answered, items, models, nobody_asked):
    folder, _ = answered
    frame = on_record.answers("dvb", models[:1], items, folder).merge(items, left_on="item", right_on="id")
    deconfounded = frame[frame["arm"] == "deconfounded"]
    assert len(deconfounded) > 0
    assert (deconfounded["choice"] == deconfounded["right"]).all(), "agent-value follows the value"


def test_answers_of_several_sets_are_those_of_complete_records(answered, items, models, nobody_asked):
    folder, _ = answered
    sets = [
        on_record.Chosen("dvb", name, part, [*models, *catalogue.registry().choose(["agent-prose"], "dvb")])
        for name, part in (("smoke", items), ("half", items.head(20)))
    ]
    found = on_record.answered(sets, on_record.coverage(sets, folder), folder)
    assert [(each.study, each.item_set) for each in found] == [("dvb", "smoke"), ("dvb", "half")]
    for each, whole in zip(found, sets, strict=True):
        assert each.items is whole.items
        assert [model.name for model in each.models] == list(NAMES), "agent-prose was not asked"
        assert each.answers().equals(on_record.answers("dvb", models, whole.items, folder))
    assert found[0].family == {model.name: model.family for model in models}


def test_a_set_that_no_model_answered_has_no_answers(items, models, tmp_path, nobody_asked):
    sets = [on_record.Chosen("dvb", "smoke", items, models)]
    (found,) = on_record.answered(sets, on_record.coverage(sets, tmp_path), tmp_path)
    assert found.models == []
    assert len(found.answers()) == 0
    assert list(found.answers()) == list(on_record.answers("dvb", models, items, tmp_path))


def test_unasked_questions_have_status_failed(items, models, tmp_path, nobody_asked):
    frame = on_record.answers("dvb", models, items, tmp_path)
    assert len(frame) == 3 * 130
    assert set(frame["status"]) == {"failed"}
    assert frame[["reply", "error"]].isna().all(axis=None)


def test_models_share_conversations_but_not_records(items, models, tmp_path):
    asked = list(on_record.questions_by_model("dvb", models, items, tmp_path))
    assert len({id(each.conversations) for each in asked}) == 1
    assert [each.record.path for each in asked] == [tmp_path / "dvb" / f"{name}.jsonl" for name in NAMES]


def test_the_papers_record_is_the_default(items):
    (asked,) = on_record.questions_by_model("dvb", catalogue.registry().choose(["agent-value"], "dvb"), items)
    assert asked.record.path == paths.ROOT / "data" / "responses" / "dvb" / "agent-value.jsonl"


def test_a_second_run_at_the_same_time_is_refused(ask, items, tmp_path):
    with (
        Record(record_path(tmp_path, "dvb", "agent-first")).writing(),
        pytest.raises(UserError, match="another run is writing"),
    ):
        ask(["agent-first"], items.head(3))


def test_reading_a_record_loads_no_statistics_library():
    code = """
import sys
from deepvalues.ask import on_record, run_query
from deepvalues.ask import catalogue
catalogue.study("dvb"), catalogue.registry()
heavy = {"scipy", "sklearn", "statsmodels", "pingouin", "matplotlib", "openai"}
print(sorted(heavy & set(sys.modules)))
assert list(catalogue.studies()) == [catalogue.study(name).name for name in catalogue.studies()]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", "they take seconds and hundreds of megabytes"


def test_help_loads_no_api_client():
    code = """
import sys
from deepvalues import cli
try:
    cli.main(["--help"])
except SystemExit:
    print(sorted({"openai", "pandas", "numpy"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_every_study_has_a_unique_title_with_its_number():
    titles = catalogue.titles()
    assert list(titles) == list(catalogue.studies())
    assert len(set(titles.values())) == len(titles)
    numbers = {"dvb": "1", "svo": "2", "profiles": "3"}
    for name, title in titles.items():
        assert re.match(rf"Study {numbers[name.partition('-')[0]]}[:,] \w", title)
    # Titles of main studies have a colon, those of side studies a comma.
    assert [name for name, title in titles.items() if ":" in title] == list(numbers)


def test_a_parameter_without_a_needed_study_is_reported():
    for given in ({}, {"dvb": ["subset"], "dvb-cot": []}):
        with pytest.raises(
            UserError, match=r"^other_sets names no set of .*dvb-cot, which this notebook needs: "
        ):
            on_record.stop_if_left_out("other_sets", given, ["dvb", "dvb-cot"])
    on_record.stop_if_left_out("other_sets", {"dvb": ["subset"]}, ["dvb"])


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (("gpt-4o-2024-08-06",), "--model gpt-4o-2024-08-06"),
        (("m", "http://h/v1"), "--model m --base-url http://h/v1"),
        (("m", "http://h/v1", "MINE"), "--model m --base-url http://h/v1 --key-variable MINE"),
        (
            ("gpt-4o-2024-08-06", "https://api.openai.com/v1", "MINE"),
            "--model gpt-4o-2024-08-06 --base-url https://api.openai.com/v1 --key-variable MINE",
        ),
    ],
)
def test_suggested_commands_use_the_same_endpoint(given, shown, tmp_path):
    model = catalogue.registry().model(*given)
    line = on_record.command_line("query", "dvb", model, tmp_path / "of mine", "smoke")
    assert line == f"deepvalues query --study dvb --set smoke {shown} --record '{tmp_path}/of mine'"
    arguments = parser().parse_args(shlex.split(line)[1:])
    again = catalogue.registry().model(arguments.model[0], arguments.base_url, arguments.key_variable)
    assert again == model


@pytest.mark.parametrize(
    ("model", "missing", "extra"),
    [
        ("learner-encoder", "torch", "encoder"),
        ("smollm2-135m", "xllamacpp", "open"),
        ("head-smollm2-135m-mean", "xllamacpp", "open"),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    model, missing, extra, items, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(serve, "find_spec", lambda _: None)
    monkeypatch.setenv("DEEPVALUES_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError) as caught:
        run_query.query("dvb", [catalogue.registry().model(model)], items, record_folder=tmp_path)
    told = str(caught.value)
    assert f"the extra `{extra}`" in told
    assert f'python -m pip install -e ".[{extra}]"' in told
    assert "endpoint" not in told and "http" not in told

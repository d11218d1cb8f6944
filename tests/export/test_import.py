"""Logs of other harnesses: read back as respondents of their own, or told what is wrong with them.

The logs are real ones, of three tests put to reference agents on loopback; see logs/README.md.
"""

import json
import math
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from deepvalues import cli
from deepvalues.ask import catalogue
from deepvalues.ask.questions import Questions, record_path
from deepvalues.ask.record import Record
from deepvalues.ask.registry import load_registry
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.export import importing

LOGS = Path(__file__).parent / "logs"
INSPECT = ("inspect_free", "inspect_letters")
NAMES = {
    "lm_eval_free": "agent-prose-lm-eval",
    "lm_eval_letters": "agent-sensitive-lm-eval-letters",
    "inspect_free": "agent-prose-inspect",
    "inspect_letters": "agent-sensitive-inspect-letters",
}


@pytest.fixture(params=NAMES)
def log(request, tmp_path):
    """A copy of a log: its file of results, or the log itself."""
    folder = tmp_path / request.param
    shutil.copytree(LOGS / request.param, folder)
    (file,) = [path for path in folder.glob("*.json") if not path.name.startswith("samples")]
    return file


def bring_in(file, record, name=None):
    (found,) = importing.read(file)
    return importing.bring_in(found, name, record)


def edited(file, edit):
    """Change a log's JSON in its place."""
    content = json.loads(file.read_text(encoding="utf-8"))
    edit(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def samples_of(file):
    """The files or the place where the samples of a log are."""
    return sorted(file.parent.glob("samples_*.jsonl")) or [file]


def scores(file):
    """What the harness itself made of each item: 1, 0 or nothing."""
    if file.name.startswith("results"):
        lines = [json.loads(line) for path in samples_of(file) for line in path.read_text().splitlines()]
        return {line["doc"]["id"]: line["dvgr"][0] for line in lines}
    content = json.loads(file.read_text(encoding="utf-8"))
    found = {each["id"]: each["scores"]["chosen_target"]["value"] for each in content["samples"]}
    return {item: None if math.isnan(score) else score for item, score in found.items()}


def test_a_log_becomes_a_respondent_of_its_own(log, study, tmp_path):
    brought = bring_in(log, tmp_path / "record")
    assert (brought.new, brought.known, brought.differ, brought.left) == (3, 0, 0, 0)
    assert brought.model.name == NAMES[log.parent.name]
    record = Record(record_path(tmp_path / "record", "dvb", brought.model.name))
    items = study.items("n4-50").set_index("id")
    questions = Questions(study, study.conversations(items.reset_index()), brought.model, record)
    answers = questions.answers()
    answers = answers[answers["status"] != "failed"].set_index("item")["choice"]
    right = items["right"]
    assert scores(log) == {
        item: None if choice is None else float(choice == right[item]) for item, choice in answers.items()
    }
    assert sum(choice is not None for choice in answers) >= 2
    for attempt in record.received().values():
        assert attempt["imported_from"] in ("lm-eval 0.4.13", "inspect 0.3.285")
        assert attempt["date"].startswith("2026-11-")


def test_once_listed_its_answers_are_found(log, study, tmp_path):
    """In the paper only if listed: the line that is printed is the one that it takes."""
    brought = bring_in(log, tmp_path / "record")
    registry = yaml.safe_load(paths.MODELS.read_text(encoding="utf-8"))
    registry["models"] += yaml.safe_load(brought.entry())
    (tmp_path / "models.yml").write_text(yaml.safe_dump(registry), encoding="utf-8")
    model = load_registry(tmp_path / "models.yml").model(brought.model.name)
    record = Record(record_path(tmp_path / "record", "dvb", model.name))
    asked = study.conversations(study.items("n4-50"))
    assert len(Questions(study, asked, model, record).recorded_keys()) == 3
    assert brought.model.name not in catalogue.registry().models


def test_a_second_import_changes_nothing(log, tmp_path):
    first = bring_in(log, tmp_path / "record")
    path = record_path(tmp_path / "record", "dvb", first.model.name)
    before = path.read_bytes()
    again = bring_in(log, tmp_path / "record")
    assert (again.new, again.known, again.differ) == (0, 3, 0)
    assert path.read_bytes() == before


def test_another_reply_to_the_same_request_is_left(log, tmp_path):
    first = bring_in(log, tmp_path / "record")
    path = record_path(tmp_path / "record", "dvb", first.model.name)
    before = path.read_bytes()
    for file in samples_of(log):
        text = file.read_text(encoding="utf-8")
        for old, new in (("-0.5", "-0.6"), ("I would", "I wouldn't"), ("Option B", "Option C")):
            text = text.replace(old, new) if old.startswith("-") == ("letters" in log.parent.name) else text
        file.write_text(text, encoding="utf-8")
    (found,) = importing.read(log)
    # The messages are those of the first log: only replies are to be others.
    (original,) = importing.read(LOGS / log.parent.name / log.name)
    changed = tuple(
        new._replace(messages=old.messages) for new, old in zip(found.samples, original.samples, strict=True)
    )
    again = importing.bring_in(found._replace(samples=changed), None, tmp_path / "record")
    assert again.differ > 0 and again.new == 0
    assert "another reply to the same request is recorded (--model names another respondent)" in str(again)
    assert path.read_bytes() == before
    other = importing.bring_in(found._replace(samples=changed), "mine", tmp_path / "record")
    assert (other.new, other.model.name) == (3, "mine")


def test_other_messages_are_left(log, tmp_path):
    (found,) = importing.read(log)
    first, *others = found.samples
    system = [{"role": "system", "content": "Be brave."}, *first.messages]
    for messages in (system, None):
        changed = found._replace(samples=(first._replace(messages=messages), *others))
        brought = importing.bring_in(changed, None, tmp_path / f"record {messages is None}")
        assert (brought.new, brought.left) == (2, 1)
        assert "1 skipped, as the messages sent were not the study's" in str(brought)


def test_a_log_of_which_nothing_was_asked_as_here_is_an_error(log, tmp_path):
    (found,) = importing.read(log)
    bare = found._replace(samples=tuple(each._replace(messages=None) for each in found.samples))
    with pytest.raises(UserError, match=r"none of the 3 samples .* --apply_chat_template"):
        importing.bring_in(bare, None, tmp_path / "record")
    assert not (tmp_path / "record").exists()


@pytest.mark.parametrize(
    ("tokens", "choice", "reason"), [(10, None, "length"), (9, None, "stop"), (10, "letters", "stop")]
)
def test_a_free_reply_of_the_maximum_length_counts_as_cut(tokens, choice, reason, study):
    message = {"content": "user1 chose Option A.", "role": "assistant"}
    first = {"message": message, "stop_reason": "stop"}
    if choice:
        both = [{"token": letter, "logprob": -0.7} for letter in "AB"]
        first["logprobs"] = {"content": [{"token": "A", "logprob": -0.7, "top_logprobs": both}]}
    output = {"choices": [first], "usage": {"input_tokens": 99, "output_tokens": tokens}}
    letters = study.letter_choice if choice else None
    answer = importing.answer_of("item", output, letters, {"max_tokens": 10})
    assert answer.finish_reason == reason


def test_what_the_log_lacks_is_said(log, tmp_path, capsys):
    assert cli.main(["import", str(log), "--record", str(tmp_path / "record")]) == 0
    out = capsys.readouterr().out
    assert f"dvb/n4-50: {NAMES[log.parent.name]}, by" in out and ": 3 read. The log lacks " in out
    assert ("the seed" in out) == log.name.startswith("results")
    assert "For the paper, list it in data/models.yml" in out


@pytest.mark.parametrize("log", INSPECT, indirect=True)
def test_a_sample_without_a_reply_is_counted(log, tmp_path):
    edited(log, lambda content: content["samples"][0]["output"].update(choices=[]))
    brought = bring_in(log, tmp_path / "record")
    assert (brought.new, brought.log.unusable) == (2, 1)
    assert "1 samples without a reply" in str(brought)


@pytest.mark.parametrize("log", INSPECT, indirect=True)
def test_further_epochs_are_no_samples_without_a_reply(log, tmp_path):
    def edit(content):
        content["samples"] += [{**each, "epoch": 2} for each in content["samples"]]
        content["results"]["total_samples"] = len(content["samples"])

    edited(log, edit)
    brought = bring_in(log, tmp_path / "record")
    assert (brought.new, brought.log.unusable) == (3, 0)


def test_parameters_are_those_that_were_sent(log):
    (found,) = importing.read(log)
    model = importing._model(found, catalogue.study("dvb"), None)
    assert (
        model.parameters
        == {
            "lm_eval_free": {"seed": 1234, "temperature": 1.0, "stop": ["<|no reply ends with this|>"]},
            "lm_eval_letters": {"seed": None},
            "inspect_free": {"seed": 1234},
            "inspect_letters": {"seed": None},
        }[log.parent.name]
    )


# What is wrong with a log.


def told(file, record, *arguments):
    """The one line that tells of a fault; nothing is written."""
    with pytest.raises(UserError) as error:
        for found in importing.read(file):
            importing.bring_in(found, *arguments, record_folder=record)
    assert not record.exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_log_that_is_cut(log, tmp_path):
    (file, *_) = samples_of(log)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 2 // 3])
    message = told(log, tmp_path / "record")
    assert file.name in message and ("is incomplete" in message or "the log may be incomplete" in message)
    if file != log:
        file.write_bytes(whole[:-50] + b"\n")
        assert "line 3 is cut off; let the task finish" in told(log, tmp_path / "record")
        file.unlink()
        assert "missing; run lm_eval with --log_samples" in told(log, tmp_path / "record")


def test_a_run_that_did_not_end(log, tmp_path):
    if log.parent.name in INSPECT:
        edited(log, lambda content: content.update(status="cancelled", samples=content["samples"][:1]))
        message = told(log, tmp_path / "record")
        assert "its status is cancelled, and it has 1 of 3 samples" in message
    else:
        (file,) = samples_of(log)
        file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))
        assert "it has 2 samples, but" in told(log, tmp_path / "record")


@pytest.mark.parametrize("version", ["0.5.0", "1.0", ""])
def test_a_harness_of_another_version(log, tmp_path, version):
    def edit(content):
        if "eval" in content:
            content["eval"]["packages"]["inspect_ai"] = version.replace("0.5", "0.4")
        else:
            content["lm_eval_version"] = version

    edited(log, edit)
    message = told(log, tmp_path / "record")
    assert "written by " in message and "x can be read: run the task with `pip install " in message


def test_a_log_of_another_task(log, tmp_path):
    def edit(content):
        for about in [content["eval"]] if "eval" in content else content["configs"].values():
            about["metadata"] = {"version": 1}

    edited(log, edit)
    assert "a log of another task" in told(log, tmp_path / "record")


def test_items_of_other_stimuli(log, tmp_path):
    (found,) = importing.read(log)
    first, *others = found.samples
    changed = found._replace(samples=(first._replace(item="c999.deconfounded.n04.t0a"), *others))
    with pytest.raises(UserError, match=r"is not an item of dvb/n4-50: the log is of another task, or of"):
        importing.bring_in(changed, None, tmp_path / "record")
    assert not (tmp_path / "record").exists()


def test_a_set_that_is_unknown(log, tmp_path):
    (found,) = importing.read(log)
    with pytest.raises(UserError, match="unknown item set 'n5'"):
        importing.bring_in(found._replace(item_set="n5"), None, tmp_path / "record")


def test_what_came_in_before_a_fault_is_told(tmp_path, capsys):
    shutil.copytree(LOGS / "lm_eval_free", folder := tmp_path / "log")
    (file,) = folder.glob("results_*.json")
    (samples,) = folder.glob("*.jsonl")
    task = samples.name.removeprefix("samples_").rpartition("_")[0]
    shutil.copy(samples, folder / samples.name.replace(task, "other"))

    def edit(content):
        metadata = content["configs"][task]["metadata"] | {"item_set": "n5"}
        content["configs"]["other"] = {"metadata": metadata}
        content["n-samples"]["other"] = content["n-samples"][task]

    edited(file, edit)
    assert cli.main(["import", str(file), "--record", str(tmp_path / "record")]) == 2
    out, err = capsys.readouterr()
    assert "dvb/n4-50: agent-prose-lm-eval" in out and "3 read" in out and "unknown item set 'n5'" in err


def test_the_name_of_a_listed_model(log, tmp_path):
    message = told(log, tmp_path / "record", "smollm2-135m")
    assert (
        "data/models.yml has another model of this name; use --model to name the respondent of the log"
        in message
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "neither a results file of lm_eval (results_….json) nor a log of Inspect"),
        ("[1]", "neither a results file"),
        ("no JSON", "not JSON"),
        ('{"lm_eval_version": "0.4.13", "configs": 3}', "not a log that this version can read"),
        ('{"eval": {}}', "written by inspect_ai of an unknown version"),
    ],
)
def test_what_is_no_log(tmp_path, text, expected):
    (file := tmp_path / "log.json").write_text(text)
    assert expected in told(file, tmp_path / "record")


def test_no_log_and_several(tmp_path):
    assert "missing" in told(tmp_path / "none.json", tmp_path / "record")
    (tmp_path / "empty").mkdir()
    assert "no log: name a file" in told(tmp_path / "empty", tmp_path / "record")
    for name in ("one", "two"):
        shutil.copytree(LOGS / "lm_eval_free", tmp_path / "both" / name)
    assert "2 results files: name one of them" in told(tmp_path / "both", tmp_path / "record")
    found = importing.read(tmp_path / "both" / "one")
    assert [each.served_as for each in found] == ["agent-prose"]


# Inspect's compressed logs.


def test_a_compressed_log_needs_inspect(tmp_path, monkeypatch):
    for name in ("inspect_ai", "inspect_ai.log"):
        monkeypatch.setitem(sys.modules, name, None)
    (file,) = LOGS.glob("*.eval")
    message = told(file, tmp_path / "record")
    assert "only Inspect reads its compressed logs; it comes with the extra `inspect`" in message
    assert '-m pip install -e ".[inspect]"' in message and "--log-format json" in message


def test_a_compressed_log_is_read_by_inspect(tmp_path):
    pytest.importorskip("inspect_ai", reason="the extra inspect is not installed")
    (file,) = LOGS.glob("*.eval")
    (plain,) = (LOGS / "inspect_letters").glob("*.json")
    (one,), (other,) = importing.read(file), importing.read(plain)
    assert one.samples == other.samples
    (cut := tmp_path / "cut.eval").write_bytes(file.read_bytes()[:2000])
    assert "the log is incomplete: Inspect can't read it" in told(cut, tmp_path / "record")

"""The record: what is written is read back, nothing is lost, and damage is reported with file and line."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepvalues.ask import record as record_module
from deepvalues.ask.questions import record_path
from deepvalues.ask.record import SCHEMA, Answer, Record, read_line
from deepvalues.core.errors import UserError


def answer(number, text="Option A", **fields):
    """An answer to item ``number``."""
    defaults = {
        "key": f"{number:032x}",
        "item": f"c{number:03d}",
        "repeat": 0,
        "turn": 0,
        "text": text,
        "refusal": None,
        "finish_reason": "stop",
        "prompt_tokens": 100,
        "completion_tokens": 2,
        "logprobs": None,
        "model": "m",
    }
    return Answer(**{**defaults, **fields})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "dvb" / "m.jsonl"


def write(path, *answers):
    """Write answers in one run; returns the record's bytes."""
    record = Record(path)
    with record.writing() as journal:
        for each in answers:
            journal.append(each)
    return path.read_bytes() if path.exists() else b""


def logged(record):
    return [json.loads(line) for line in record.log_path.read_text(encoding="utf-8").splitlines()]


#: Any text that JSON can contain, including half a surrogate pair, as in a truncated reply.
JSON_TEXTS = st.text(st.characters(), max_size=40).filter(lambda text: json.loads(json.dumps(text)) == text)
AWKWARD = st.sampled_from(
    ["", "\n", "a\r\nb", "\u2028", "\x00", '","check":"00000000"}', "\ud83d", "😀 é 你好"]
)
MAYBE = st.none() | JSON_TEXTS | AWKWARD
COUNTS = st.none() | st.integers(0, 10**9)
LOGPROBS = st.none() | st.fixed_dictionaries(
    {
        "content": st.lists(
            st.fixed_dictionaries({"token": JSON_TEXTS, "logprob": st.floats(-99, 0)}), max_size=2
        )
    }
)
ANSWERS = st.builds(
    Answer,
    key=st.text("0123456789abcdef", min_size=32, max_size=32),
    item=st.sampled_from(["c001", "c002", "ä/x"]),
    repeat=st.integers(0, 2),
    turn=st.integers(0, 2),
    text=MAYBE,
    refusal=MAYBE,
    finish_reason=MAYBE,
    prompt_tokens=COUNTS,
    completion_tokens=COUNTS,
    logprobs=LOGPROBS,
    model=MAYBE,
    more=st.none() | st.dictionaries(JSON_TEXTS, MAYBE, min_size=1, max_size=2),
)
ANSWER_LISTS = st.lists(ANSWERS, max_size=6, unique_by=lambda each: each.key)


@given(ANSWERS)
def test_a_line_is_read_back(answer):
    line = answer.line()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    line.decode("utf-8")
    assert json.loads(line)["v"] == SCHEMA
    assert read_line(line[:-1], "here") == answer


@given(ANSWER_LISTS)
@settings(max_examples=30)
def test_a_record_is_read_back(answers):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.jsonl"
        write(path, *answers)
        again = Record(path)
    assert again.answers == {each.key: each for each in answers}
    assert again.notices == []


@given(ANSWER_LISTS, st.randoms(use_true_random=False), st.integers(0, 6))
@settings(max_examples=30)
def test_the_bytes_do_not_depend_on_order_or_runs(answers, random, cut):
    shuffled = random.sample(answers, len(answers))
    with tempfile.TemporaryDirectory() as folder:
        once = write(Path(folder) / "once.jsonl", *answers)
        twice = Path(folder) / "twice.jsonl"
        write(twice, *shuffled[:cut])
        assert write(twice, *shuffled[cut:]) == once
    read = [read_line(line, "") for line in once.splitlines()]
    places = [(each.item, each.repeat, each.turn, each.key) for each in read]
    assert places == sorted(places)


def test_the_format_of_a_line_is_fixed():
    # A change here would rewrite every existing record.
    assert (
        answer(1, "Größe\n").line()
        == (
            '{"v":1,"key":"00000000000000000000000000000001","item":"c001","repeat":0,"turn":0,'
            '"text":"Größe\\n","refusal":null,"finish_reason":"stop","prompt_tokens":100,'
            '"completion_tokens":2,"logprobs":null,"model":"m","check":"fda8a723"}\n'
        ).encode()
    )


def test_answers_are_in_the_file_as_soon_as_they_are_appended(path):
    record = Record(path)
    with record.writing() as journal:
        appended = set()
        for number in (2, 1):
            journal.append(answer(number))
            appended.add(answer(number).key)
            assert Record(path).answers.keys() == appended, "readable by others at once"
        assert [json.loads(line)["item"] for line in path.read_bytes().splitlines()] == ["c002", "c001"]
    assert [json.loads(line)["item"] for line in path.read_bytes().splitlines()] == ["c001", "c002"]


def test_a_run_that_crashes_keeps_what_it_received(path):
    record = Record(path)
    with pytest.raises(RuntimeError, match="crash"), record.writing() as journal:
        journal.append(answer(2))
        journal.append(answer(1))
        raise RuntimeError("crash")
    assert list(Record(path).answers.values()) == [answer(1), answer(2)]
    write(path, answer(3))
    assert len(Record(path).answers) == 3


KILLED = """
import os, signal, sys
from pathlib import Path
from deepvalues.ask.record import Record, read_line
record = Record(Path(sys.argv[1]))
with record.writing() as journal:
    for line in sys.stdin.buffer:
        journal.append(read_line(line[:-1], "stdin"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_loses_no_line(path):
    old, new = answer(2, "old"), answer(2, "new")
    lines = old.line() + answer(1).line() + new.line()
    killed = subprocess.run([sys.executable, "-c", KILLED, path], input=lines, check=False)
    assert killed.returncode == -9
    assert path.read_bytes() == lines
    assert write(path, answer(0)) == answer(0).line() + answer(1).line() + new.line()
    assert logged(Record(path)) == [{"key": old.key, "replaced": old._asdict()}], "not even the replaced"


@given(st.integers(1, 400))
@settings(max_examples=30)
def test_a_half_written_last_line_is_dropped_and_overwritten(cut):
    whole, last = answer(1).line(), answer(2).line()
    half = last[: cut % (len(last) - 1)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.jsonl"
        path.write_bytes(whole + half)
        record = Record(path)
        assert list(record.answers.values()) == [answer(1)]
        assert record.notices == (["m.jsonl: dropped a half-written last line (line 2)"] if half else [])
        assert path.read_bytes() == whole + half, "reading changes nothing"
        with record.writing() as journal:
            journal.append(answer(3))
            assert path.read_bytes() == whole + answer(3).line()
        assert len(record.notices) <= 1, "one notice for one line"
        assert Record(path).notices == []
        assert list(Record(path).answers.values()) == [answer(1), answer(3)]


def test_a_last_line_without_line_end_is_complete(path):
    path.parent.mkdir()
    path.write_bytes(answer(1).line() + answer(2).line()[:-1])
    record = Record(path)
    assert list(record.answers.values()) == [answer(1), answer(2)]
    assert record.notices == []
    assert write(path, answer(3)) == answer(1).line() + answer(2).line() + answer(3).line()


def test_converted_line_endings_are_reported(path):
    path.parent.mkdir()
    path.write_bytes((answer(1).line() + answer(2).line()).replace(b"\n", b"\r\n"))
    with pytest.raises(UserError, match=r"m\.jsonl, line 1: the line endings .* core\.autocrlf=false"):
        Record(path)


@pytest.mark.parametrize("mark", ["<<<<<<< HEAD", "||||||| 1a2b3c", "=======", ">>>>>>> other"])
def test_merge_markers_are_reported(path, mark):
    path.parent.mkdir()
    path.write_bytes(answer(1).line() + f"{mark}\n".encode() + answer(2).line())
    with pytest.raises(
        UserError, match=r"m\.jsonl, line 2: a git merge left a conflict marker\. Delete the lines"
    ):
        Record(path)


@pytest.mark.parametrize("other", ["x.part1", "x.part", "x.part0.part", "x.partial", "x.lock", "x.y"])
def test_models_with_a_common_prefix_have_separate_records(path, other):
    folder = path.parent.parent
    longer, shorter = (record_path(folder, "dvb", name) for name in (other, "x"))
    write(longer, answer(1))
    write(shorter, answer(2))
    Record(longer).part(0).write_bytes(answer(3).line())
    assert list(Record(shorter).answers.values()) == [answer(2)]
    assert list(Record(longer).answers.values()) == [answer(1), answer(3)]
    assert write(shorter) == answer(2).line()
    assert write(longer) == answer(1).line() + answer(3).line()


def test_a_models_name_that_looks_like_a_log_is_rejected(tmp_path):
    with pytest.raises(UserError, match=r"a\.log: a model's name can't end with \.log"):
        record_path(tmp_path, "dvb", "a.log")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_the_run_warns_and_continues(path, monkeypatch, capsys, number):
    monkeypatch.setattr(fcntl, "flock", Mock(side_effect=OSError(number, os.strerror(number))))
    assert write(path, answer(1)) == answer(1).line()
    assert "this file system has no locks" in capsys.readouterr().err


def test_other_lock_errors_stop_the_run(path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", Mock(side_effect=OSError(errno.EIO, os.strerror(errno.EIO))))
    with pytest.raises(UserError, match="can't lock the record"):
        write(path, answer(1))


def test_a_missing_record_stops_reading(path):
    record = Record(path)
    with record.writing() as journal:
        for number in (1, 2):
            journal.append(answer(number))
            journal.log({"key": answer(number).key, "fingerprint": None})
        journal.log({"key": "k", "error": "APITimeoutError"})
    path.unlink()
    with pytest.raises(
        UserError, match=r"m\.jsonl: the record is missing, .*m\.log\.jsonl, mentions 2 answers"
    ):
        Record(path)
    record.log_path.unlink()
    assert Record(path).answers == {}


def test_a_log_of_failures_mentions_no_answers(path):
    with Record(path).writing() as journal:
        journal.log({"key": "k", "error": "APITimeoutError"})
    assert Record(path).answers == {}


def test_a_half_written_only_line_leaves_no_record(path):
    path.parent.mkdir()
    path.write_bytes(b'{"v":1,"key')
    assert Record(path).answers == {}
    assert write(path) == b""
    assert not path.exists()


LINES = [answer(number, text).line() for number, text in enumerate(["Option A", None, "Größe\n😀"])]


@given(st.data())
def test_an_altered_line_is_reported_with_file_and_number(data):
    number = data.draw(st.integers(0, len(LINES) - 1))
    place = data.draw(st.integers(0, len(LINES[number]) - 2))
    before = LINES[number][place]
    after = data.draw(st.integers(0, 255).filter(lambda byte: byte != before))
    altered = LINES[number][:place] + bytes([after]) + LINES[number][place + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.jsonl"
        path.write_bytes(b"".join([*LINES[:number], altered, *LINES[number + 1 :]]))
        with pytest.raises(UserError) as caught:
            Record(path)
    assert f"{path}, line {number + 1}: this line of the record was truncated or altered" in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[:40] + b"\n",
        lambda line: line[40:],
        lambda line: b"\n",
        lambda line: line.replace(b"Option A", b"Option B"),
        lambda line: line.replace(b'"check":"', b'"check":"0', 1),
        lambda line: json.dumps(json.loads(line)).encode() + b"\n",
        lambda line: b"{}\n",
        lambda line: b"not JSON\n",
    ],
)
def test_a_damaged_line_stops_reading_with_advice(path, damage):
    path.parent.mkdir()
    damaged = answer(1).line() + damage(answer(2).line()) + answer(3).line()
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"m\.jsonl, line 2: .*Restore the file from git"):
        Record(path)
    assert path.read_bytes() == damaged


def test_damage_between_reading_and_writing_stops_the_run(path):
    write(path, answer(1))
    record = Record(path)
    path.write_bytes(path.read_bytes().replace(b"Option A", b"Option B"))
    damaged = path.read_bytes()
    with pytest.raises(UserError, match="line 1"), record.writing():
        pytest.fail("a damaged record must not be written to")
    assert path.read_bytes() == damaged


def test_a_deleted_line_is_requested_again(path):
    write(path, answer(1), answer(2))
    path.write_bytes(answer(2).line())
    assert list(Record(path).answers.values()) == [answer(2)]


def test_another_schema_is_not_read(path, monkeypatch):
    monkeypatch.setattr(record_module, "SCHEMA", SCHEMA + 1)
    path.parent.mkdir()
    path.write_bytes(answer(1).line())
    monkeypatch.undo()
    with pytest.raises(UserError, match=rf"m\.jsonl, line 1: schema {SCHEMA + 1}, .* reads schema {SCHEMA}$"):
        Record(path)


def test_a_newer_answer_replaces_the_old_one_which_goes_to_the_log(path):
    old, new = answer(1, "Größe"), answer(1, "Option B")
    write(path, old, answer(2))
    assert write(path, new) == new.line() + answer(2).line()
    entries = logged(Record(path))
    assert entries == [{"key": old.key, "replaced": old._asdict()}]
    # The replaced line can be fully recovered.
    assert Answer(**entries[0]["replaced"]) == old


def test_an_old_answer_stays_in_the_record_until_the_log_has_it(path):
    old, new = answer(1, "old"), answer(1, "new")
    write(path, old)
    record = Record(path)
    record.log_path.unlink()
    record.log_path.symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"m\.log\.jsonl: can't write the log: No space left"):
        write(path, new)
    assert path.read_bytes() == old.line() + new.line()
    record.log_path.unlink()
    assert write(path) == new.line()
    assert logged(record) == [{"key": old.key, "replaced": old._asdict()}]


def test_a_killed_workers_part_is_merged(path):
    old, new = answer(1, "old"), answer(1, "new")
    write(path, old, answer(2))
    part = Record(path).part(0)
    part.write_bytes(new.line() + answer(3).line() + b'{"v":1,"key')
    record = Record(path)
    assert list(record.answers.values()) == [new, answer(2), answer(3)]
    assert record.notices == ["m.part0: dropped a half-written last line (line 3)"]
    assert write(path) == new.line() + answer(2).line() + answer(3).line()
    assert not part.exists()
    assert logged(record) == [{"key": old.key, "replaced": old._asdict()}]


NO_ROOM = """
import resource, sys
from pathlib import Path
from deepvalues.ask.record import Record, read_line
record = Record(Path(sys.argv[1]))
lines = sys.stdin.buffer.read().splitlines()
resource.setrlimit(resource.RLIMIT_FSIZE, (len(lines[0]) + 30, resource.RLIM_INFINITY))
with record.writing() as journal:
    journal.append(read_line(lines[0], ""))
    try:
        journal.append(read_line(lines[1], ""))
    except OSError as error:
        print(error.strerror, record.path.read_bytes() == lines[0] + b"\\n")
"""


def test_a_partly_written_line_is_removed(path):
    lines = answer(1).line() + answer(2).line()
    done = subprocess.run([sys.executable, "-c", NO_ROOM, path], input=lines, capture_output=True, check=True)
    assert done.stdout == b"No space left on device True\n"
    assert path.read_bytes() == answer(1).line()
    assert Record(path).notices == []


def test_the_last_of_two_lines_with_one_key_counts(path):
    # A run killed after a retry leaves both.
    path.parent.mkdir()
    path.write_bytes(answer(1, "old").line() + answer(1, "new").line())
    assert list(Record(path).answers.values()) == [answer(1, "new")]
    assert write(path) == answer(1, "new").line()


def test_the_log_is_appended_to_and_is_not_the_record(path):
    for run in (1, 2):
        record = Record(path)
        with record.writing() as journal:
            journal.log({"run": run, "text": "Größe \ud83d\n"})
    assert [entry["run"] for entry in logged(record)] == [1, 2]
    assert record.log_path.name == "m.log.jsonl"
    assert not path.exists(), "attempts without an answer make no record"


def test_a_run_that_adds_nothing_leaves_the_file_alone(path):
    write(path, answer(1), answer(2))
    before = path.stat()
    write(path)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_no_temporary_files_remain(path):
    write(path, answer(2), answer(1))
    assert {file.name for file in path.parent.iterdir()} == {"m.jsonl", "m.log.jsonl", "m.lock"}


def test_a_second_writer_is_rejected_at_once(path):
    first, second = Record(path), Record(path)
    with first.writing() as journal:
        journal.append(answer(1))
        with pytest.raises(UserError, match=r"m\.jsonl: another run is writing"), second.writing():
            pytest.fail("two writers at once")
        journal.append(answer(2))
    assert len(Record(path).answers) == 2
    with second.writing() as journal:
        assert len(second.answers) == 2, "what the other run received is known to the next"
        journal.append(answer(3))
    assert len(Record(path).answers) == 3


def test_a_second_process_is_rejected_at_once(path):
    script = (
        "import sys\nfrom pathlib import Path\nfrom deepvalues.ask.record import Record\n"
        "with Record(Path(sys.argv[1])).writing():\n"
        "    print('writing', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", script, path]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as other:
        assert other.stdout.readline() == b"writing\n"
        with pytest.raises(UserError, match="another run is writing"):
            write(path, answer(1))
        assert Record(path).answers == {}, "reading needs no lock"
        other.stdin.close()
        assert other.wait() == 0
    assert write(path, answer(1)) == answer(1).line()


def test_records_of_other_models_can_be_written_at_the_same_time(path):
    first, other = Record(path), Record(path.with_name("n.jsonl"))
    with first.writing() as journal, other.writing() as others:
        journal.append(answer(1))
        others.append(answer(2))
    assert list(Record(first.path).answers.values()) == [answer(1)]
    assert list(Record(other.path).answers.values()) == [answer(2)]


def test_a_folder_that_cannot_be_created_is_reported(tmp_path):
    # A file in place of the folder fails even for root.
    (tmp_path / "dvb").write_text("in the way")
    record = Record(tmp_path / "dvb" / "m.jsonl")
    assert record.answers == {}
    with pytest.raises(UserError, match=r"dvb/m\.jsonl: can't write the record: "), record.writing():
        pytest.fail("nothing can be written there")
    assert (tmp_path / "dvb").read_text() == "in the way"


@pytest.mark.parametrize(
    ("in_the_way", "verb"), [("m.jsonl", "read"), ("m.log.jsonl", "write"), ("m.lock", "write")]
)
def test_a_file_that_cannot_be_opened_is_reported(path, in_the_way, verb):
    (path.parent / in_the_way).mkdir(parents=True)
    with pytest.raises(UserError, match=rf"m\.jsonl: can't {verb} the record: Is a directory"):
        write(path, answer(1))


def test_a_models_name_becomes_a_file_name(tmp_path):
    assert record_path(tmp_path, "dvb", "gpt-4.1-2025-04-14") == tmp_path / "dvb" / "gpt-4.1-2025-04-14.jsonl"
    assert record_path(tmp_path, "dvb", "meta/llama-3") == tmp_path / "dvb" / "meta__llama-3.jsonl"
    dotted = Record(record_path(tmp_path, "dvb", "gpt-4.1-2025-04-14"))
    assert dotted.log_path.name == "gpt-4.1-2025-04-14.log.jsonl"


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd", "..", "a/../../b"])
def test_no_models_name_leads_outside_the_folder(tmp_path, name):
    path = record_path(tmp_path, "dvb", name)
    assert path.resolve().parent == (tmp_path / "dvb").resolve()


def test_place_orders_by_item_repeat_and_turn():
    first = answer(1, item="b", repeat=0, turn=1)
    later = [first._replace(turn=2), first._replace(repeat=1, turn=0), first._replace(item="c", turn=0)]
    places = [each.place for each in (first, *later)]
    assert places == sorted(places)

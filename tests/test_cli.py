"""The command line: examples in every help, one line for a mistake, and exit statuses for scripts."""

import errno
import math
import os
import re
import shlex
import signal
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import local_server as server
from deepvalues import __version__, cli
from deepvalues.ask import catalogue, run_query
from deepvalues.cli import models as about_models
from deepvalues.cli import query as querying
from deepvalues.cli import stimuli
from deepvalues.cli.command import parser
from deepvalues.core import paths
from deepvalues.core.errors import UserError

FOR_USERS = (
    *("query", "batch", "record", "card", "data", "models", "export", "import"),
    *("check", "survey", "notebook", "reproduce", "trace"),
)
FOR_MAKE = ("cards", "design", "select", "variables", "browser", "manifest", "dictionary", "render")
COMMANDS = FOR_USERS + FOR_MAKE


@pytest.fixture
def run(capsys):
    """Run the command line; gives exit status, standard output and standard error."""

    def run(*arguments):
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            status = stopped.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def mistake(run):
    """Run a command line with a mistake in it; gives the one line that tells it."""

    def mistake(*arguments):
        status, out, err = run(*arguments)
        assert status == 2
        assert "Traceback" not in out + err
        assert out == ""
        assert err.startswith("deepvalues: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        return err

    return mistake


@pytest.fixture
def models_raises(monkeypatch):
    """Have `deepvalues models` end with an error."""

    def models_raises(error):
        def raises(_):
            raise error

        commands = about_models.COMMANDS
        monkeypatch.setitem(commands, "models", commands["models"]._replace(run=raises))

    return models_raises


def query(record, *arguments, set_="smoke", model="agent-first"):
    return ["query", "--set", set_, "--model", model, "--record", record, *arguments]


# Help.


def test_help_describes_every_command_for_users_and_names_those_for_make(run):
    status, out, _ = run("--help")
    assert status == 0
    assert re.findall(r"^    (\w+)  +\w", out, re.MULTILINE) == list(FOR_USERS)
    assert f"Commands that only make needs: {', '.join(FOR_MAKE)}." in " ".join(out.split())
    assert all(command in run("nonsense")[2] for command in COMMANDS)


@pytest.mark.parametrize("name", catalogue.studies())
def test_the_readme_has_every_study_in_its_table(name):
    table = (paths.ROOT / "README.md").read_text(encoding="utf-8").partition("| study | sets")[2]
    assert f"`{name}`" in table.partition("\n\n")[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    example = " ".join(out.split()).partition("example: ")[2]
    assert example.startswith(f"deepvalues {command}")
    # The example is one that the program itself understands.
    arguments = parser().parse_args(shlex.split(example)[1:])
    assert arguments.command == command


def test_the_example_of_query_works(run, tmp_path):
    _, out, _ = run("query", "--help")
    example = shlex.split(" ".join(out.split()).partition("example: deepvalues ")[2])
    assert example[-2] == "--record"
    status, out, _ = run(*example[:-1], tmp_path)
    assert status == 0
    assert "agent-value" in out


@pytest.mark.parametrize(
    "option",
    [
        "--study",
        "--set",
        "--model",
        "--base-url",
        "--record",
        "--concurrency",
        "--max-cost",
        "--dry-run",
        "--retry",
        "--yes",
    ],
)
def test_query_has_the_options_that_scripts_rely_on(run, option):
    assert option in run("query", "--help")[1]


def test_version(run):
    assert run("--version") == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], ""),
        (["quary"], ""),
        (["query"], " query"),
        (["batch", "submit", "--model"], " batch submit"),
    ],
)
def test_a_wrong_command_line_is_told_its_usage(run, arguments, command):
    status, out, err = run(*arguments)
    assert status == 2
    assert err.startswith(f"usage: deepvalues{command} [-h]")
    assert err.splitlines()[-1].startswith(f"deepvalues{command}: error: ")
    assert out == ""


# Query.


def test_query_asks_and_then_replays(run, tmp_path):
    status, out, err = run(*query(tmp_path, model="agent-value"), "--model", "agent-first")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "agent-value: 130 asked, 0 replayed, 0 failed",
        "agent-first: 130 asked, 0 replayed, 0 failed",
    ]
    assert (tmp_path / "dvb" / "agent-first.jsonl").exists()
    status, out, _ = run(*query(tmp_path), "--concurrency", 1)
    assert status == 0
    assert out == "agent-first: 0 asked, 130 replayed, 0 failed\n"


def test_query_leaves_the_papers_record_alone(run, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in paths.RESPONSES.glob("*/agent-*.jsonl")}
    run(*query(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in paths.RESPONSES.glob("*/agent-*.jsonl")} == before


def test_query_retries_statuses(run, tmp_path):
    run(*query(tmp_path, model="agent-declining"))
    status, out, _ = run(
        *query(tmp_path, "--retry", "refused", "--retry", "truncated", model="agent-declining")
    )
    assert status == 0
    assert int(re.fullmatch(r"agent-declining: (\d+) asked, 130 replayed, 0 failed; .*\n", out)[1]) > 0


def test_query_reaches_any_endpoint_by_its_address(run, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-anything")
    served = catalogue.local_models()
    served["org/new"] = served["agent-first"]
    with server.serving(server.create_app(served)) as url:
        status, out, _ = run(*query(tmp_path, "--base-url", url, model="org/new"))
    assert status == 0
    assert out == "org/new: 130 asked, 0 replayed, 0 failed\n"
    assert (tmp_path / "dvb" / "org__new.jsonl").exists()


def test_failed_requests_show_in_the_exit_status(run, tmp_path, monkeypatch):
    for failed, expected in ([0, 0], 0), ([0, 1], 1):
        rows = [
            run_query.Outcome(name, "family", 45, 0, 45 - number, number, 0, math.nan, math.nan, math.nan)
            for name, number in zip("mn", failed, strict=True)
        ]
        monkeypatch.setattr(run_query, "ask", lambda parts, rows=rows, **_: ((parts[0], row) for row in rows))
        status, out, _ = run(*query(tmp_path))
        assert status == expected
        assert f"n: {45 - failed[1]} asked, 0 replayed, {failed[1]} failed" in out


def test_the_outcome_names_what_was_kept_spent_and_saved():
    row = run_query.Outcome("m", "family", 9, 4, 3, 2, 1, 1.5, 0.25, 0.125)
    assert querying.outcome(row) == (
        "m: 3 asked, 4 replayed, 2 failed, 1 answers to other prompts kept; "
        "spent $1.50, saved $0.25 by the record and $0.12 by prefix caching"
    )


def test_a_dry_run_shows_the_plan_and_asks_nothing(run, tmp_path):
    status, out, err = run(*query(tmp_path, "--dry-run"))
    assert (status, err) == (0, "")
    assert out.startswith("agent-first: 130 requests to send\n")
    assert list(tmp_path.iterdir()) == []


# Mistakes.


def test_an_unknown_model(mistake, tmp_path):
    err = mistake(*query(tmp_path, model="agent-vlaue"))
    assert "unknown model 'agent-vlaue': did you mean agent-value" in err
    assert "`deepvalues models` lists" in err
    assert len(err) < 250


def test_an_unknown_study(mistake, tmp_path):
    assert "unknown study 'dbv'; there are dvb" in mistake(*query(tmp_path), "--study", "dbv")


def test_an_unknown_set(mistake, tmp_path):
    err = mistake(*query(tmp_path, set_="smok"))
    assert "unknown item set 'smok'; dvb has smoke, n4, n20, n40, " in err


def test_an_unknown_status(mistake, tmp_path):
    assert "unknown status 'refusd'" in mistake(*query(tmp_path, "--retry", "refusd"))


def test_no_concurrency(mistake, tmp_path):
    assert "concurrency must be at least 1" in mistake(*query(tmp_path, "--concurrency", 0))


def test_a_file_in_place_of_the_records_folder(mistake, tmp_path):
    (tmp_path / "taken").write_text("in the way")
    assert "can't write the record" in mistake(*query(tmp_path / "taken"))


def test_a_damaged_record(mistake, tmp_path):
    (tmp_path / "dvb").mkdir()
    (tmp_path / "dvb" / "agent-first.jsonl").write_text('{"v":1}\n')
    assert "agent-first.jsonl, line 1: " in mistake(*query(tmp_path))


def test_a_missing_key(mistake, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    err = mistake(*query(tmp_path, model="gpt-4.1-nano-2025-04-14"))
    assert "set the environment variable OPENAI_API_KEY (130 answers are missing)" in err


@pytest.mark.parametrize("option", ["--max-cost", "--rpm", "--tpm", "--timeout"])
@pytest.mark.parametrize("text", ["abc", "0", "nan", "inf", ""])
def test_a_limit_that_is_no_number_above_0(run, tmp_path, option, text):
    status, _, err = run(*query(tmp_path), option, text)
    assert status == 2
    assert err.endswith(f"error: argument {option}: {text!r} is not a number above 0\n")


@pytest.mark.parametrize(
    ("option", "arguments"),
    [
        ("--concurrency", ["query", "--model", "agent-first"]),
        ("--seed", ["design"]),
        ("--seed", ["survey", "embodies", "--out", "forms"]),
        ("--respondents", ["survey", "embodies", "--out", "forms"]),
    ],
)
def test_a_count_that_is_no_whole_number(run, option, arguments):
    status, _, err = run(*arguments, option, "1.5")
    assert status == 2
    assert err.endswith(f"error: argument {option}: invalid int value: '1.5'\n")


def test_a_notebook_parameter_without_a_value(mistake):
    assert "a parameter is NAME=VALUE, not 'item_set'" in mistake(
        "notebook", "01_load_data", "-p", "item_set"
    )


def test_a_notebook_parameter_that_is_no_yaml(mistake):
    told = mistake("notebook", "06_social_values", "-p", "seed=[1")
    assert "-p seed=[1: the value is not YAML: line 1, column 3: expected ',' or ']'" in told


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "a,b", "-1,2", "1,inf", "nan,1", "1,2,"])
def test_a_price_that_is_none(run, text):
    status, _, err = run("query", "--model", "m", f"--price={text}")
    assert status == 2
    assert "is not dollars per million tokens in and out, as in 0.1,0.4" in err


def test_the_help_of_survey_names_every_survey(run):
    _, out, _ = run("survey", "--help")
    for name in stimuli.surveys():
        assert re.search(rf"\b{name}\b", out)


@pytest.mark.parametrize("error", [UserError("mend this"), UserError("Größe: line 1")])
def test_every_mistake_is_one_message_and_status_2(mistake, models_raises, error):
    models_raises(error)
    assert mistake("models") == f"deepvalues: {error}\n"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a bug"),
        # A module of our own that is missing, and a pipe that is not standard output.
        ModuleNotFoundError("No module named 'deepvalues.x'", name="deepvalues.x"),
        BrokenPipeError(),
    ],
    ids=repr,
)
def test_a_bug_is_not_taken_for_a_mistake(models_raises, error):
    models_raises(error)
    with pytest.raises(type(error)):
        cli.main(["models"])


def test_a_package_that_is_not_installed_is_told_by_its_name(mistake, models_raises):
    models_raises(ModuleNotFoundError("No module named 'openai.types'", name="openai.types"))
    assert f"{sys.executable} lacks the package openai: `make environment` installs" in mistake("models")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_can_not_be_written_to_is_told(mistake, models_raises, number):
    models_raises(OSError(number, os.strerror(number), "/here/build"))
    assert mistake("models") == f"deepvalues: /here/build: can't be written: {os.strerror(number)}\n"


def test_an_interrupt_is_told_and_has_its_own_status(run, models_raises):
    models_raises(KeyboardInterrupt())
    assert run("models") == (130, "", "deepvalues: interrupted\n")


# Models.


def test_models_lists_all_and_says_which_are_ready(run, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", "sk-secret-value")
    status, out, err = run("models", "--set", "smoke")
    assert (status, err) == (0, "")
    about, header, *listed = out.splitlines()
    assert "US dollars for what the smoke set of dvb still lacks" in about
    assert header.split() == ["model", "family", "endpoint", "developer", "size", "letters", "cost", "ready"]
    rows = {line.split()[0]: line for line in listed}
    assert list(rows) == list(catalogue.registry().models)
    for name, model in catalogue.registry().models.items():
        assert model.family in rows[name]
        assert model.endpoint.kind in rows[name]
    assert rows["agent-value"].endswith(" - yes")
    assert rows["gemini-2.0-flash"].endswith(" yes")
    assert rows["gpt-4o-2024-08-06"].endswith(" set OPENAI_API_KEY")
    assert re.search(r" \d+\.\d\d set OPENAI_API_KEY$", rows["gpt-4o-2024-08-06"]), "what the set costs"
    assert "sk-secret-value" not in out


def test_models_without_a_set_shows_prices_and_loads_no_library_of_statistics(run):
    code = """
import sys
from deepvalues import cli
cli.main(["models"])
heavy = {"pandas", "numpy", "pandera", "openai", "scipy", "matplotlib", "statsmodels"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n", "they take seconds"
    assert "US dollars per million tokens in and out" in done.stdout
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    price = catalogue.registry().models["gpt-4o-2024-08-06"].price
    assert f" {price.input:g},{price.output:g} " in rows["gpt-4o-2024-08-06"]


def test_models_shows_what_a_set_costs(run):
    costs = []
    for item_set in ("smoke", "layers"):
        _, out, _ = run("models", "--set", item_set)
        costs.append(float(re.search(r"^gpt-4o-2024-08-06 .* (\d+\.\d\d) ", out, re.M)[1]))
    assert 0 < costs[0] < costs[1]


# As people call it.


def call(*arguments, **named):
    command = [sys.executable, "-m", "deepvalues", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **named)


def test_python_m_deepvalues_works_from_any_folder(tmp_path):
    environment = {name: setting for name, setting in os.environ.items() if name != "DEEPVALUES_ROOT"}
    done = call("models", "--set", "smoke", cwd=tmp_path, env=environment)
    assert done.returncode == 0
    assert "agent-value" in done.stdout
    assert done.stderr == ""


DRY_RUN = ("query", "--set", "smoke", "--model", "agent-first", "--dry-run")


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    # Unbuffered, argparse itself passes over what happens to the help.
    [(DRY_RUN, ""), (DRY_RUN, "1"), (("models", "--set", "smoke"), "1"), (("--help",), "")],
)
def test_a_reader_that_leaves_early_ends_it_without_a_word(arguments, unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "deepvalues", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    try:
        done = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=120, env=environment
        )
    finally:
        os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 128 + signal.SIGPIPE


def test_an_old_python_is_told_its_version():
    code = "import runpy, sys; sys.version_info = (3, 9); runpy.run_module('deepvalues', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"deepvalues: Python 3.11 or newer is needed; this is [\d.]+\n", done.stderr)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_output_can_not_show_is_written_out(tmp_path, encoding):
    arguments = query(tmp_path, "--dry-run", "--base-url", "http://127.0.0.1:1/v1", model="输入")
    done = call(*arguments, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("\\u8f93\\u5165: 130 requests to send\n")


def test_a_mistake_on_the_real_command_line(tmp_path):
    done = call(*query(tmp_path, model="gpt-17"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("deepvalues: unknown model 'gpt-17'")
    assert done.stderr.count("\n") == 1


def test_a_folder_that_is_not_the_project_is_told(tmp_path):
    done = call("models", env={**os.environ, "DEEPVALUES_ROOT": str(tmp_path)})
    assert done.returncode == 2
    assert done.stdout == ""
    assert "set DEEPVALUES_ROOT to the folder" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_console_script_is_the_same_command_line():
    (script,) = entry_points(group="console_scripts", name="deepvalues")
    assert script.load() is cli.main

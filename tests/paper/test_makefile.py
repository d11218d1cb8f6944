"""What the Makefile does before Python runs: which Python, in which folder, in which locale."""

import os
import shutil
import subprocess
import zipfile

import pytest
from hatchling.build import build_editable

from deepvalues.core import paths


@pytest.fixture
def project(tmp_path):
    """A folder whose name has a space and an umlaut, with the Makefile and what it looks at."""
    folder = tmp_path / "my päper"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (folder / name).write_bytes((paths.ROOT / name).read_bytes())
    return folder


def program(path, script):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def make(folder, *arguments, **environment):
    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "LC_ALL", "CONDA_DEFAULT_ENV")
    kept = {name: setting for name, setting in os.environ.items() if name not in outer}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=kept | environment, capture_output=True, text=True, check=False
    )


def told(done):
    """What a user reads; make's own last line left out."""
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    return line


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 127", "does not run as a Python"),
        ("echo ls 9.1", "does not run as a Python"),
        ('[ "$1" = --version ] && echo Python 3.9.18 || exit 1', "is Python 3.9.18; 3.11 or newer is needed"),
    ],
)
def test_a_wrong_python_is_told_in_one_line(project, script, message):
    python = program(project / "some python", script)
    line = told(make(project, "environment", f"PYTHON={python}"))
    assert line.startswith(f"PYTHON={python} {message}")
    assert not (project / ".venv").exists()


def test_a_python_that_is_not_there_is_told_in_one_line(project):
    assert "does not run as a Python" in told(make(project, "environment", "PYTHON=/nowhere/python3"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_can_not_be_written_to_is_told_in_one_line(project):
    python = program(project / "python", "echo Python 3.11.1")
    project.chmod(0o555)
    for target in ("environment", "paper"):
        assert "can't be written to" in told(make(project, target, f"PYTHON={python}"))


INSTALLING = """
if [ "$2" = venv ]; then mkdir -p .venv/bin; cp "$0" .venv/bin/python; exit; fi
if [ "$1" = --version ]; then echo Python 3.11.1; exit; fi
if [ "$3" != install ]; then exit; fi
case "$*" in *requirements.lock*) echo Collecting numpy; echo Downloading it; {outcome};; esac
"""


def test_installing_says_its_size_before_and_nothing_of_each_package(project):
    python = program(project / "python", INSTALLING.format(outcome="exit 0"))
    done = make(project, "environment", f"PYTHON={python}")
    assert (done.returncode, done.stderr.strip()) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("== environment: .venv with Python 3.11.1 and ")
    assert "(about 1.4 GB; minutes)" in line


def test_a_pip_that_fails_is_heard_and_stops_make(project):
    outcome = "echo ERROR: no wheel; exit 1"
    python = program(project / "python", INSTALLING.format(outcome=outcome))
    assert told(make(project, "environment", f"PYTHON={python}")) == "ERROR: no wheel"
    assert not (project / ".venv" / "installed").exists()


def test_a_python_in_a_folder_whose_name_has_a_space_is_run(project):
    """As `make reproduce` hands it to the make of its copy."""
    python = program(project / "bin" / "python", 'echo "$@"')
    for target, call in (
        ("check", "-m deepvalues check"),
        ("reproduce", "-m deepvalues reproduce"),
        ("lab", "-m jupyterlab notebooks --no-browser --port 9"),
    ):
        done = make(project, target, f"PY={python}", "ENVIRONMENT=", "OPTIONS=--no-browser --port 9")
        assert (done.stdout.strip(), done.stderr) == (call, "")


@pytest.mark.parametrize(
    ("arguments", "jobs"), [([], " -j 2 "), (["JOBS=1"], " -j 1 "), (["-j3"], None), (["-j"], None)]
)
def test_notebooks_run_two_at_a_time_unless_told_otherwise(project, arguments, jobs):
    done = make(project, "--dry-run", "paper", "PY=python", "ENVIRONMENT=", *arguments)
    (line,) = [line for line in done.stdout.splitlines() if line.endswith(" build/paper")]
    assert (jobs in f"{line} ") if jobs else (" -j " not in line)


@pytest.mark.parametrize(
    ("given", "seen"), [("C", "C.UTF-8"), ("POSIX", "C.UTF-8"), ("de_DE.UTF-8", "de_DE.UTF-8")]
)
def test_a_locale_without_umlauts_is_replaced_by_one_with_them(project, given, seen):
    """Python 3.11 reads the path of the folder from .venv in the locale's encoding."""
    python = program(project / "python", 'echo "$LC_ALL"')
    assert make(project, "check", f"PY={python}", "ENVIRONMENT=", LC_ALL=given).stdout.strip() == seen


def test_the_package_is_found_in_any_locale_from_a_path_with_an_umlaut(project, monkeypatch):
    for name in ("README.md", "LICENSE"):
        shutil.copy(paths.ROOT / name, project)
    package = project / "src" / "deepvalues"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.chdir(project)
    with zipfile.ZipFile(project / build_editable(str(project))) as wheel:
        (pth,) = [name for name in wheel.namelist() if name.endswith(".pth")]
        assert wheel.read(pth).isascii()

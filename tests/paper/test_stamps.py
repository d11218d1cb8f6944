"""Stamps: what is missing or was changed is made again, and nothing else."""

import json
import subprocess

import pytest

import traced_project
from deepvalues import cli
from deepvalues.core import paths
from deepvalues.paper import stamps

NOTEBOOK = "03_demo"
RECORD = "data/responses/demo/agent.jsonl"
RATES = "data/results/demo/rates.csv"
EXECUTED = f"paper/notebooks/{NOTEBOOK}.ipynb"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("stamped")
    traced_project.make_project(root)
    return root


@pytest.fixture
def project(made, tmp_path):
    """A copy of the project, stamped."""
    root = tmp_path / "project"
    subprocess.run(["cp", "-r", made, root], check=True)
    stamps.write(root, NOTEBOOK)
    return root


def stamp(root):
    return root / "build" / NOTEBOOK


def test_a_stamp_lists_what_the_notebook_read_and_made(project):
    assert {RECORD, RATES, EXECUTED, "data/results/demo/numbers.json"} <= set(
        json.loads(stamp(project).read_text())
    )
    assert stamps.remove_untrue(project) == []
    assert stamp(project).is_file()


@pytest.mark.parametrize("path", [RECORD, RATES, EXECUTED, "data/results/demo/artefacts.json"])
def test_what_is_gone_or_changed_is_made_again(project, path):
    content = (project / path).read_bytes()
    (project / path).unlink()
    assert stamps.remove_untrue(project) == [f"{path} is missing: {NOTEBOOK} runs again"]
    assert not stamp(project).exists()
    (project / path).write_bytes(content)
    stamps.write(project, NOTEBOOK)
    (project / path).write_bytes(content + b"\n")
    assert stamps.remove_untrue(project) == [f"{path} was changed: {NOTEBOOK} runs again"]
    assert not stamp(project).exists()


@pytest.mark.parametrize("content", ["", "{"])
def test_a_stamp_that_says_nothing_is_removed(project, content):
    stamp(project).write_text(content)
    assert stamps.remove_untrue(project) == [f"build/{NOTEBOOK} is damaged: {NOTEBOOK} runs again"]


def test_a_site_without_its_pages_is_made_again(project):
    site = project / "paper" / "_site"
    site.mkdir()
    (site / "index.html").write_text("here")
    (site / "index.pdf").touch()
    (project / "build" / "paper").touch()
    (project / "build" / "answers").mkdir()
    assert stamps.remove_untrue(project) == [
        "build/answers/index.html is missing: it is made again",
        "paper/_site/index.pdf is missing: it is made again",
    ]
    assert sorted(path.name for path in (project / "build").iterdir()) == [NOTEBOOK]


def test_only_a_run_with_the_defaults_is_stamped(project, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", project)
    monkeypatch.setattr(paths, "NOTEBOOKS", project / "notebooks")
    monkeypatch.setattr(paths, "EXECUTED", project / "paper" / "notebooks")
    monkeypatch.setattr("deepvalues.paper.execute.execute_notebook", lambda *_: None)
    assert cli.main(["notebook", NOTEBOOK, "-p", "draws_seed=8"]) == 0
    assert not stamp(project).exists()
    assert cli.main(["notebook", NOTEBOOK]) == 0
    assert stamp(project).is_file()


def test_make_looks_for_what_is_untrue_before_it_says_that_nothing_has_changed():
    rule = (paths.ROOT / "Makefile").read_text().partition("\npaper:")[2]
    assert rule.index("$(DEEPVALUES) stale") < rule.index("build/paper") < rule.index("Nothing has changed")

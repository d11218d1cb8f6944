"""What make is told of a notebook: what has changed or is gone is made again, and nothing else."""

import ast
import json
import os
import re
import subprocess
import sys

import pytest

from deepvalues import cli
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper import execute, manifest
from deepvalues.paper.notebooks import declared, package_files, read_cells, undeclared

NAME = "03_demo"
RECORD = "data/responses/demo/agent.jsonl"
RATES = "data/results/demo/rates.csv"
EXECUTED = f"paper/notebooks/{NAME}.ipynb"
SOURCES = {source.stem: source for source in sorted(paths.NOTEBOOKS.glob("*.ipynb"))}


def make(root, *targets):
    """What make says; a Python that does nothing stands for ours."""
    outer = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--no-print-directory", "PY=true", "ENVIRONMENT=", *targets]
    done = subprocess.run(command, cwd=root, env=outer, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.strip()


def rebuilt(root):
    """Why make would run the notebook again; empty if it would not."""
    return make(root, f"build/{NAME}").removeprefix("make: ").removeprefix(f"== notebook {NAME}: ")


FRESH = f"'build/{NAME}' is up to date."


@pytest.mark.parametrize(
    "path",
    [RECORD, RATES, EXECUTED, "data/derived/demo.parquet", "data/results/demo/artefacts.json"]
    + [f"src/deepvalues/{name}" for name in ("__init__.py", "paper/results.py", "core/files.py")],
)
def test_what_is_changed_or_gone_is_made_again_and_the_reason_told(project, path):
    assert rebuilt(project) == FRESH
    (project / path).touch()
    assert rebuilt(project) == f"{path} has changed"
    (project / path).unlink()
    assert rebuilt(project) == f"{path} is missing"


def test_a_new_file_counts_where_a_pattern_stands_for_it_and_nothing_else_does(project):
    log = RECORD.replace(".jsonl", ".log.jsonl")
    for path in ("src/deepvalues/study.py", "src/deepvalues/new.py", "data/other.yml", log):
        (project / path).touch()
    assert rebuilt(project) == FRESH
    (project / "data/responses/demo/new.jsonl").touch()
    assert rebuilt(project) == "data/responses/demo/new.jsonl has changed"


def test_only_a_run_with_the_defaults_is_stamped(project, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", project)
    monkeypatch.setattr(execute, "execute_notebook", lambda *_: (project / RATES).touch())
    assert cli.main(["notebook", NAME, "-p", "draws_seed=8"]) == 0
    assert not (project / "build" / NAME).exists()
    assert cli.main(["notebook", NAME]) == 0
    assert rebuilt(project) == FRESH


@pytest.mark.parametrize(
    ("opened", "written", "message"),
    [
        (["data/a.yml"], [RATES], "read data/a.yml, which it does not declare: list it under `reads`"),
        (
            [f"data/{name}.yml" for name in "abcde"],
            [RATES],
            "read data/a.yml, data/b.yml, data/c.yml and others,",
        ),
        (
            [],
            ["figures/other.svg"],
            "made figures/other.svg, which it does not declare: list it under `makes`",
        ),
        ([], [], r"declares that it makes data/results/demo/\*, and wrote none of that"),
    ],
)
def test_a_run_is_held_to_what_the_notebook_declares(project, monkeypatch, opened, written, message):
    def run(*_):
        listing = project / "data/results/demo/artefacts.json"
        for path in written:
            (project / path).touch()
            made = dict.fromkeys([*json.loads(listing.read_text())["artefacts"], *written])
            listing.write_text(json.dumps({"inputs": opened, "artefacts": made}))

    monkeypatch.setattr(execute, "execute_notebook", run)
    with pytest.raises(UserError, match=rf"03_demo\.ipynb: {message}"):
        execute.run_notebook(project, NAME, {})
    assert not (project / "build" / NAME).exists()


@pytest.mark.parametrize("header", ["reads: data/a.yml", "makes: [1]", "reads: ["])
def test_a_header_that_is_no_list_of_files_is_told(project, header):
    file = project / "notebooks" / f"{NAME}.ipynb"
    content = json.loads(file.read_text())
    content["cells"][0]["source"] = f"---\n{header}\n---"
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"03_demo\.ipynb: .*(must be a list of files|not YAML)"):
        declared(file)


def prerequisites(root):
    """What make itself says that each of its targets in build/ depends on, directly."""
    shown = make(root, "--print-data-base", "--question", "help")
    return {
        target: listed.replace("|", "").split()
        for target, listed in re.findall(r"^(build/\w+): (.*)$", shown, re.MULTILINE)
    }


def test_with_nothing_to_do_make_starts_no_python(project):
    known = prerequisites(project)
    made = ("build/answers", "build/cards", "build/lists", "build/paper")
    parts = {
        *known["build/paper"],
        *known["build/lists"],
        "build/answers/index.html",
        "build/cards/index.html",
    }
    for path in (project / part for part in parts.difference(made)):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch()
    (project / "build/status").write_text("All is on record.")
    for path in made:
        (project / path).touch()
    assert "All is on record." in make(project, "paper", "PY=false")
    (project / "build/status").unlink()
    assert make(project, "build/paper") == "== paper: build/status is missing"


def test_a_sentence_of_the_article_leaves_numbers_and_lists_alone():
    known = prerequisites(paths.ROOT)
    assert "paper/index.qmd" in known["build/paper"] and "paper/index.qmd" not in known["build/lists"]
    assert {"build/02_query_models", "data/dictionary.yml"} <= set(known["build/lists"])


LOADED = """
import sys
print(*(module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "deepvalues"))
"""


@pytest.mark.slow
def test_all_that_notebooks_import_is_among_the_files_that_make_is_told(told):
    """Python itself says what is imported, down to the last module."""
    codes = [cell.source for file in SOURCES.values() for cell in read_cells(file) if cell.kind == "code"]
    nodes = [node for code in codes for node in ast.parse(code).body]
    lines = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    command = [sys.executable, "-c", "\n".join(lines) + LOADED]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    loaded = {os.path.relpath(path, paths.ROOT) for path in shown.split()}
    assert len(loaded) > 100
    assert loaded <= set().union(*told.values())


@pytest.fixture(scope="module")
def told():
    """The files of the package that each notebook is said to rest on."""
    return {name: package_files(paths.ROOT, source) for name, source in SOURCES.items()}


def test_a_statistic_is_known_to_the_notebooks_of_its_study_alone(told):
    common = told["02_query_models"]
    for study, known in {"dvb": ["03", "04", "05", "08"], "svo": ["06"], "profiles": ["07"]}.items():
        own = re.compile(f"/{study}/analysis/")
        assert [name[:2] for name in told if any(map(own.search, told[name] - common))] == known


def test_what_the_answer_browser_imports_is_its_own_or_known_to_notebook_2(told):
    """So says the Makefile."""
    found = package_files(paths.ROOT, paths.ROOT / "src/deepvalues/browser/write.py")
    assert all("/browser/" in path for path in found - told["02_query_models"])


def test_make_runs_a_notebook_after_those_whose_files_it_reads():
    known = prerequisites(paths.ROOT)
    for _ in SOURCES:
        known = {
            name: {*near, *(far for each in near for far in known.get(each, ()))}
            for name, near in known.items()
        }
    said = {name: declared(source) for name, source in SOURCES.items()}
    for step in manifest.steps(paths.ROOT):
        own = f"build/{step.notebook}"
        assert undeclared(step.inputs, said[step.notebook].reads) == []
        for path in step.inputs:
            makers = {f"build/{name}" for name in said if not undeclared([path], said[name].makes)}
            assert makers <= {own, *known[own]}, path

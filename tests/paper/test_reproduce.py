"""Rebuilding in a copy and comparing with git: each outcome once, and nothing of the user's touched."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deepvalues.cli import main
from deepvalues.core import paths
from deepvalues.core.downloads import load_sources
from deepvalues.core.errors import UserError
from deepvalues.paper import reproduce
from deepvalues.paper.reproduce import REPLAYED, compare, reproduced, same
from deepvalues.studies.dvb.items.public_prompts import FILES

MODELS = """endpoints:
  local: {}
  openai: {base_url: "https://example.org/v1", key_variable: KEY}
paper:
  sets: {demo/standard: [agent-a, learner-encoder, head-a, paid]}
models:
  - {name: agent-a, endpoint: local, family: reference agent}
  - {name: learner-encoder, endpoint: local, family: text learner}
  - {name: head-a, endpoint: local, family: head on hidden states}
  - {name: paid, endpoint: openai}
"""
ON_RECORD = ("agent-a", "learner-encoder", "paid", "paid.log", "head-a")
RECORDS = [f"data/responses/demo/{name}.jsonl" for name in ON_RECORD]
MADE = {
    "data/results/demo/rates.csv": b"a\n1\n",
    "paper/_variables.yml": b"demo: {}\n",
    "paper/notebooks/03_demo.ipynb": b'{"cells": []}\n',
}


def picture(level=6, shade=10):
    """One drawing as PNG, packed more or less tightly."""
    pixels = np.full((40, 40, 3), 200, dtype=np.uint8)
    pixels[10:20] = shade
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", compress_level=level)
    return file.getvalue()


def write(root, files):
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    write(root, dict.fromkeys(RECORDS, b"{}\n") | MADE | {"figures/demo_a.png": picture()})
    (root / "data/models.yml").write_text(MODELS)
    shutil.copy(paths.SOURCES, root / "data/sources.yml")
    (root / ".gitignore").write_text("build/\n")
    git(root, "init", "-q")
    commit(root)
    return root


def git(root, *arguments):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments], cwd=root, check=True)


def commit(root):
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "all")


def rebuild(folder):
    """What a faithful build leaves: new records of the models that it could ask, and everything made."""
    for path in RECORDS:
        if not (folder / path).exists():
            (folder / path).write_bytes(b"{}\n")
    (folder / "data/responses/demo/agent-a.log.jsonl").write_text("when it was asked\n")
    (folder / "data/responses/demo/agent-a.lock").touch()
    write(folder, MADE | {"figures/demo_a.png": picture(level=0)})


def states(rows):
    return {row.path: row.state for row in rows}


def test_a_faithful_build_is_identical_and_says_what_was_replayed(project):
    rows = reproduce.reproduce(project, rebuild=rebuild)
    found = states(rows)
    assert found.pop("data/responses/demo/agent-a.jsonl") == "identical"
    for path in RECORDS[1:]:
        assert found.pop(path) == REPLAYED
    assert found == dict.fromkeys([*MADE, "figures/demo_a.png"], "identical")
    assert reproduced(rows)
    shown = reproduce.report(rows).splitlines()
    assert shown[1].split() == ["records", "1", "0", "0", "0", "4"]
    assert "data/responses/demo/paid.jsonl: replayed, not re-asked" in shown


def test_with_the_encoder_only_records_of_paid_models_and_heads_stay(project):
    kept = reproduce.clear(project, encoder=True)
    assert kept == set(RECORDS[2:])
    left = {file.relative_to(project).as_posix() for file in (project / "data").rglob("*") if file.is_file()}
    assert left == {*kept, "data/models.yml", "data/sources.yml"}
    assert not (project / "paper/_variables.yml").exists()
    assert not list((project / "paper/notebooks").glob("*")) and not (project / "figures").exists()


PUBLIC = b'{"v":1,"key":"k","item":"authors.debug.t01a"}\n'


@pytest.mark.parametrize("brought", [True, False])
def test_answers_to_the_public_prompts_are_replayed_only_where_these_are_not_here(project, capsys, brought):
    write(project, {RECORDS[0]: PUBLIC + b'{"v":1,"key":"l","item":"c000.control"}\n'})
    commit(project)
    sources = load_sources(project / "data/sources.yml")
    files = [f"data/downloads/{sources[name].file}" for name in FILES]
    write(project, dict.fromkeys(files if brought else files[1:], b"prompts"))
    (project / ".git/info/exclude").write_text("data/downloads/\n")
    seen = []

    def look(folder):
        record = folder / RECORDS[0]
        seen.append(record.read_bytes() if record.exists() else b"")
        seen.append([(folder / file).is_file() for file in files])
        rebuild(folder)

    reproduce.reproduce(project, rebuild=look)
    assert seen == ([b"", [True] * 3] if brought else [PUBLIC, [False] * 3])
    assert (f"answers to them are {REPLAYED}" in capsys.readouterr().out) == (not brought)


def test_the_project_itself_is_left_alone(project):
    (project / "data/responses/demo/agent-a.jsonl").write_text("not committed\n")
    (project / "build").mkdir()
    (project / "build/stamp").touch()
    before = {file: file.read_bytes() for file in project.rglob("*") if file.is_file()}
    rows = reproduce.reproduce(project, rebuild=rebuild)
    assert {file: file.read_bytes() for file in project.rglob("*") if file.is_file()} == before
    # Compared is what is committed.
    assert reproduced(rows)


def test_changes_that_are_not_committed_are_told(project, capsys):
    (project / "new.txt").touch()
    reproduce.reproduce(project, rebuild=rebuild)
    assert "1 files are changed or new and not committed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "content", "state"),
    [
        ("data/responses/demo/agent-a.jsonl", b"other\n", "differs"),
        ("data/responses/demo/paid.jsonl", b"other\n", "differs"),
        ("data/results/demo/rates.csv", b"a\n2\n", "differs"),
        ("data/results/demo/rates.csv", None, "missing"),
        ("data/results/demo/more.csv", b"a\n", "extra"),
        ("data/responses/demo/agent-b.jsonl", b"{}\n", "extra"),
        ("figures/demo_a.png", picture(shade=11), "differs"),
        ("paper/_variables.yml", None, "missing"),
        ("paper/notebooks/03_demo.ipynb", b'{"cells": [{"source": "1"}]}\n', "differs"),
    ],
)
def test_what_came_out_otherwise(project, path, content, state):
    def faulty(folder):
        rebuild(folder)
        if content is None:
            (folder / path).unlink()
        else:
            write(folder, {path: content})

    rows = reproduce.reproduce(project, rebuild=faulty)
    assert states(rows)[path] == state
    assert [row.path for row in rows if row.state not in ("identical", REPLAYED)] == [path]
    assert not reproduced(rows)
    assert f"{path}: {state}" in reproduce.report(rows)


def test_a_build_that_stops_shows_how_far_it_came(project, capsys):
    def stopping(folder):
        write(folder, {"paper/_variables.yml": MADE["paper/_variables.yml"]})
        raise UserError("the rebuild stopped")

    with pytest.raises(UserError, match="the rebuild stopped"):
        reproduce.reproduce(project, rebuild=stopping)
    shown = capsys.readouterr().out
    assert "data/results/demo/rates.csv: missing" in shown
    assert "paper/_variables.yml: " not in shown


def test_nothing_to_compare_is_no_success():
    assert not reproduced([])


def with_image(png, text="same"):
    output = {
        "output_type": "display_data",
        "data": {"image/png": base64.b64encode(png).decode(), "text/plain": text},
    }
    return json.dumps({"cells": [{"outputs": [output]}, {"source": ""}]}).encode()


@pytest.mark.parametrize(
    ("path", "one", "other", "expected"),
    [
        ("figures/a.png", picture(0), picture(9), True),
        ("figures/a.png", picture(), picture(shade=11), False),
        ("paper/notebooks/n.ipynb", with_image(picture(0)), with_image(picture(9)), True),
        ("paper/notebooks/n.ipynb", with_image(picture()), with_image(picture(shade=11)), False),
        ("paper/notebooks/n.ipynb", with_image(picture(0)), with_image(picture(9), "other"), False),
        ("figures/a.svg", b"<svg/>", b"<svg />", False),
    ],
)
def test_images_are_compared_by_pixels(tmp_path, path, one, other, expected):
    write(tmp_path / "one", {path: one})
    write(tmp_path / "other", {path: other})
    assert one != other
    assert same(tmp_path / "one", tmp_path / "other", path) is expected


def test_the_manifest_is_the_same_where_only_the_packing_of_images_differs(tmp_path):
    notebook = "paper/notebooks/n.ipynb"
    for name, level in (("one", 0), ("other", 9)):
        image, executed = picture(level), with_image(picture(level))
        listed = {"figures/a.png": {"sha256": name}, notebook: {"sha256": name}, "a.csv": {"sha256": "same"}}
        write(
            tmp_path / name,
            {
                "figures/a.png": image,
                notebook: executed,
                "data/results/manifest.json": json.dumps({"artefacts": listed}).encode(),
            },
        )
    places = tmp_path / "one", tmp_path / "other", "data/results/manifest.json"
    assert same(*places)
    file = tmp_path / "other/data/results/manifest.json"
    file.write_text(file.read_text().replace('"same"', '"altered"'))
    assert not same(*places)


def test_without_git_the_folder_itself_is_the_measure(project):
    shutil.rmtree(project / ".git")
    write(
        project,
        {".venv/x": b"", "build/x": b"", "paper/_site/index.html": b"", "data/derived/i.parquet": b""},
    )
    reproduce.export(project, project.parent / "copy")
    copied = {path.name for path in (project.parent / "copy").rglob("*")}
    assert {"rates.csv", "agent-a.jsonl"} <= copied
    assert not {".venv", "build", "_site", "derived"} & copied


def test_copies_are_kept_on_demand_in_a_new_folder_only(project, tmp_path):
    reproduce.reproduce(project, keep=tmp_path / "kept", rebuild=rebuild)
    assert states(compare(tmp_path / "kept/git", tmp_path / "kept/rebuilt"))
    with pytest.raises(UserError, match="not empty"):
        reproduce.reproduce(project, keep=tmp_path / "kept", rebuild=rebuild)


def test_the_encoder_is_not_asked_for_without_pytorch(project, monkeypatch):
    monkeypatch.setattr(reproduce, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="ENCODER=1 needs PyTorch"):
        reproduce.reproduce(project, encoder=True, rebuild=rebuild)


def test_make_runs_in_the_copy_with_the_source_of_the_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("MAKEFLAGS", "--dry-run")
    write(
        tmp_path,
        {"src/deepvalues/__init__.py": b"", "Makefile": b"build/lists:\n\t@echo $(PY) $$PYTHONPATH > made\n"},
    )
    reproduce.make_results(tmp_path)
    python, source = (tmp_path / "made").read_text().split()
    assert source == str(tmp_path / "src")
    assert python.endswith(("python", "python3")) or "python3." in python


def test_the_copy_computes_with_other_last_bits():
    """numpy's own loops and OpenBLAS, on 1,000 numbers: the same but for rounding, and not the same."""
    code = (
        "import numpy as np; x = np.random.default_rng(1).random(1000); "
        "print(repr(float(x @ np.exp(x))), np.exp(x).tobytes().hex())"
    )
    other = reproduce.other_arithmetic()
    own = {name: value for name, value in os.environ.items() if name not in other}
    shown = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code], env=env, capture_output=True, text=True, check=True
        ).stdout.split()
        for env in (own, own | other)
    ]
    assert float(shown[0][0]) == pytest.approx(float(shown[1][0]), rel=1e-13)
    if shown[0] == shown[1] and not ("OPENBLAS_CORETYPE" in other and "NPY_DISABLE_CPU_FEATURES" in other):
        pytest.skip("only x86-64 surely computes otherwise without its newer parts")
    assert shown[0] != shown[1]


def test_a_copy_without_source_or_with_a_failing_build(tmp_path):
    with pytest.raises(UserError, match="takes the package from elsewhere"):
        reproduce.make_results(tmp_path)
    write(tmp_path, {"src/deepvalues/__init__.py": b"", "Makefile": b"build/lists:\n\t@false\n"})
    with pytest.raises(UserError, match="the rebuild stopped"):
        reproduce.make_results(tmp_path)


def test_other_versions_than_the_locks_are_named(tmp_path):
    (tmp_path / "requirements.lock").write_text("numpy==0.0.1 \\\n    --hash=sha256:a\nno-such-thing==1\n")
    (found,) = reproduce.other_versions(tmp_path)
    assert found.startswith("numpy ") and found.endswith("the lock has 0.0.1")


@pytest.mark.parametrize(("state", "status"), [("identical", 0), ("differs", 1)])
def test_the_command_ends_by_what_was_found(monkeypatch, capsys, state, status):
    rows = [reproduce.Compared("results", "data/results/a.csv", state)]
    monkeypatch.setattr(reproduce, "reproduce", lambda *_, **__: rows)
    assert main(["reproduce"]) == status
    assert ("All rebuilt files are identical to those in git." in capsys.readouterr().out) is (status == 0)


def test_make_reproduce_passes_on_who_is_asked_as_well():
    both = ["ENCODER=1", "OPEN=1"]
    for more, expected in (
        (both[:1], "reproduce --encoder"),
        ([], "reproduce"),
        (both, "reproduce --encoder --open"),
    ):
        command = ["make", "--dry-run", "--no-print-directory", "reproduce", "ENVIRONMENT=", *more]
        shown = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout
        assert shown.strip().endswith(expected)

"""The manifest: hashes that anybody can check, cells, parameters, seeds; and every fault found."""

import hashlib
import json
import shutil
import subprocess

import pytest

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper import manifest, results
from traced_project import make_project

RECORD = "data/responses/demo/agent.jsonl"
ITEMS = "data/derived/demo.parquet"
RATES = "data/results/demo/rates.csv"


def written(root):
    return json.loads((root / manifest.MANIFEST).read_text(encoding="utf-8"))


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_artefacts_are_listed_with_hash_notebook_and_cell(built):
    listed = written(built)["artefacts"]
    folders = ("data/results/demo", "paper/notebooks")
    files = [file.relative_to(built) for folder in folders for file in (built / folder).iterdir()]
    assert listed.keys() == {*map(str, files), "paper/_variables.yml"}
    assert all(entry["sha256"] == digest(built / path) for path, entry in listed.items())
    assert listed[RATES]["notebook"] == "03_demo"
    # Header, parameters, set-up, reading, and then the table.
    assert listed[RATES]["cell"] == {"label": "tbl-rates", "position": 5}


def test_inputs_are_what_the_notebook_opened_and_parameters_those_of_the_run(built):
    content = written(built)
    assert content["notebooks"]["03_demo"] == {
        "inputs": [ITEMS, RECORD, "data/stimuli/design.yml"],
        "parameters": {"draws_seed": 7, "models": ["agent"]},
        "sha256": digest(built / "notebooks/03_demo.ipynb"),
    }
    assert content["inputs"][RECORD] == digest(built / RECORD)
    assert content["records"] == {RECORD: 2}


def test_records_that_changed_since_the_manifest_are_named(project):
    assert manifest.changed_records(project) == []
    with (project / RECORD).open("ab") as file:
        file.write((project / RECORD).read_bytes())
    assert manifest.changed_records(project) == [f"{RECORD}: 4 answers now, 2 then"]
    (project / RECORD).unlink()
    assert manifest.changed_records(project) == [f"{RECORD}: 0 answers now, 2 then"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_the_package_hash_is_the_one_that_the_manifest_describes(project):
    (project / "src/deepvalues/room").mkdir()
    (project / "src/deepvalues/room/other.py").write_text("x = 1\n")
    (project / "src/deepvalues/room/left.pyc").write_bytes(b"no source")
    command = "find src/deepvalues -name '*.py' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    assert command in manifest.ABOUT
    shown = subprocess.run(
        command, shell=True, cwd=project, capture_output=True, text=True, check=True
    ).stdout
    assert manifest.package_hash(project) == shown.split()[0]


def test_items_are_hashed_by_content_not_by_parquet(project):
    import pandas as pd

    before = manifest.items_hash(project / ITEMS)
    frame = pd.read_parquet(project / ITEMS)
    frame.to_parquet(project / ITEMS, compression="zstd")
    assert manifest.items_hash(project / ITEMS) == before
    assert before["rows"] == 4
    frame.assign(n=frame["n"] + 1).to_parquet(project / ITEMS)
    assert manifest.items_hash(project / ITEMS)["sha256"] != before["sha256"]


def test_the_same_files_give_the_same_bytes_in_any_folder(built, project):
    before = (built / manifest.MANIFEST).read_bytes()
    (project / manifest.MANIFEST).unlink()
    manifest.write(project)
    assert (project / manifest.MANIFEST).read_bytes() == before
    assert str(built).encode() not in before


def test_two_builds_give_the_same_bytes(built, tmp_path):
    again = make_project(tmp_path / "again")
    for path in (manifest.MANIFEST, "data/results/demo/artefacts.json", "paper/notebooks/03_demo.ipynb"):
        assert (again / path).read_bytes() == (built / path).read_bytes()


def test_a_fresh_manifest_has_no_fault(built):
    assert manifest.faults(built) == []
    assert manifest.summary(built) == (
        "5 artefacts of 1 notebooks, from 2 files and 1 files of items; 2 recorded answers"
    )
    assert all(path.is_file() for path in manifest.made(built))


@pytest.mark.parametrize(
    ("path", "places"),
    [
        (RATES, [f"artefacts › {RATES} › sha256"]),
        ("paper/_variables.yml", ["artefacts › paper/_variables.yml › sha256"]),
        ("data/stimuli/design.yml", ["inputs › data/stimuli/design.yml"]),
        ("src/deepvalues/study.py", ["package › sha256"]),
        ("requirements.lock", ["package › requirements.lock"]),
        (RECORD, [f"inputs › {RECORD}", f"records › {RECORD}"]),
    ],
)
def test_an_altered_or_missing_file_is_a_fault(project, path, places):
    with (project / path).open("a") as file:
        file.write("\n")
    remedy = "restore it from git; after" if path == RECORD else "run `make paper`, or restore the file"
    for fault, place in zip(manifest.faults(project), places, strict=True):
        assert fault.startswith(f"{place} is not what the manifest says; {remedy}")
    (project / path).unlink()
    (fault,) = manifest.faults(project)
    assert remedy in fault


def test_an_entry_more_or_less_is_a_fault(project):
    content = written(project)
    content["artefacts"]["figures/old.svg"] = content["artefacts"].pop(RATES)
    (project / manifest.MANIFEST).write_text(json.dumps(content))
    first, second = manifest.faults(project)
    assert first.startswith(f"the manifest lacks artefacts › {RATES}")
    assert second.startswith("the manifest lists artefacts › figures/old.svg, which nothing makes")


def test_items_that_are_not_built_are_passed_over_by_the_check_alone(project):
    (project / ITEMS).unlink()
    assert manifest.faults(project) == []
    with pytest.raises(UserError, match="a file of items"):
        manifest.build(project)


def test_a_missing_or_broken_manifest_says_what_makes_it(project):
    (project / manifest.MANIFEST).write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json:1: not JSON: .*; `deepvalues manifest`"):
        manifest.read(project)
    (project / manifest.MANIFEST).write_text("{}")
    with pytest.raises(UserError, match=r"manifest\.json: not in the format .*`deepvalues manifest`"):
        manifest.summary(project)
    (project / manifest.MANIFEST).unlink()
    with pytest.raises(UserError, match="missing; `deepvalues manifest` writes it"):
        manifest.faults(project)


def test_a_listing_of_an_older_version_says_what_to_run(project):
    for content in ("[]\n", '{"artefacts": {\n'):
        (project / "data/results/demo/artefacts.json").write_text(content)
        with pytest.raises(UserError, match=r"artefacts\.json.*; run: deepvalues notebook 03_demo$"):
            manifest.steps(project)


def test_only_what_is_opened_for_reading_counts(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("read.yml", "agent.lock", "agent.log.jsonl", "agent.part1", "gone.yml", "updated.yml"):
        (tmp_path / "data" / name).write_text("x")
    (tmp_path / "outside.yml").write_text("x")
    for name in ("read.yml", "agent.lock", "agent.log.jsonl", "agent.part1", "gone.yml", "../outside.yml"):
        (tmp_path / "data" / name).read_bytes()
    (tmp_path / "data/updated.yml").open("r+").close()
    (tmp_path / "data/gone.yml").unlink()
    assert results.inputs(tmp_path) == ["data/read.yml"]


def test_every_notebook_stands_in_the_manifest_of_this_project():
    listed = {step.notebook for step in manifest.steps(paths.ROOT)}
    assert listed == {file.stem for file in paths.NOTEBOOKS.glob("*.ipynb")}

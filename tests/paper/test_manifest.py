"""The manifest: hashes that anybody can check, cells, parameters, seeds; and every fault found."""

import hashlib
import json
import re
import shutil
import subprocess

import pytest

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper import manifest, reads
from traced_project import make_project

RECORD = "data/responses/demo/agent.jsonl"
ITEMS = "data/derived/demo.parquet"
RATES = "data/results/demo/rates.csv"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("built") / "project")


@pytest.fixture
def project(built, tmp_path):
    return shutil.copytree(built, tmp_path / "copy")


def written(root):
    return json.loads((root / manifest.MANIFEST).read_text(encoding="utf-8"))


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_every_artefact_is_listed_with_its_hash(built):
    listed = written(built)["artefacts"]
    folders = ("data/results/demo", "figures", "paper/notebooks")
    files = [file for folder in folders for file in (built / folder).rglob("*") if file.is_file()]
    assert listed.keys() == {
        *(file.relative_to(built).as_posix() for file in files),
        "paper/_variables.yml",
    }
    for path, entry in listed.items():
        assert entry["sha256"] == digest(built / path)
        assert entry["rule"].startswith("make ")


def test_an_artefact_names_notebook_and_cell(built):
    entry = written(built)["artefacts"][RATES]
    assert entry["notebook"] == "03_demo"
    # Title, parameters, injected parameters, set-up, reading, and then the table.
    assert entry["cell"] == {"label": "tbl-rates", "position": 6}


def test_inputs_are_what_the_notebook_opened(built):
    content = written(built)
    assert content["notebooks"]["03_demo"]["inputs"] == [ITEMS, RECORD, "data/stimuli/design.yml"]
    assert content["inputs"][RECORD] == digest(built / RECORD)
    assert content["records"] == {RECORD: {"answers": 2}}


def test_parameters_are_those_of_the_run_and_seeds_are_found(built):
    entry = written(built)["notebooks"]["03_demo"]
    assert entry["parameters"] == {"draws_seed": 7, "models": ["agent"]}
    assert entry["seeds"] == {"draws_seed": 7, "data/stimuli/design.yml: seed": 11}
    assert written(built)["package"]["seeds"] == {"src/deepvalues/study.py: SEED": 5}


def test_packages_are_those_of_the_lock(built):
    packages = written(built)["packages"]
    assert packages["versions"] == {"numpy": ["2.3.4"], "pandas": ["3.0.0"]}
    assert packages["lock"] == {"requirements.lock": digest(built / "requirements.lock")}


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


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (RATES, f"artefacts › {RATES} › sha256"),
        ("paper/_variables.yml", "artefacts › paper/_variables.yml › sha256"),
        ("data/stimuli/design.yml", "inputs › data/stimuli/design.yml"),
        ("src/deepvalues/study.py", "package › sha256"),
        ("requirements.lock", "packages › lock › requirements.lock"),
    ],
)
def test_an_altered_file_is_a_fault(project, path, place):
    with (project / path).open("a") as file:
        file.write("\n")
    assert any(
        fault.startswith(f"{place} is not what the manifest says") for fault in manifest.faults(project)
    )


def test_an_answer_more_is_a_fault(project):
    with (project / RECORD).open("a") as file:
        file.write("{}\n")
    assert [fault.split(" is not")[0] for fault in manifest.faults(project)] == [
        f"inputs › {RECORD}",
        f"records › {RECORD} › answers",
    ]


@pytest.mark.parametrize("path", [RATES, RECORD, "paper/notebooks/03_demo.ipynb", "requirements.lock"])
def test_a_missing_file_is_a_fault(project, path):
    (project / path).unlink()
    (fault,) = manifest.faults(project)
    assert path in fault


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
    with pytest.raises(UserError, match=r"manifest\.json: not as this version .*`deepvalues manifest`"):
        manifest.summary(project)
    (project / manifest.MANIFEST).unlink()
    with pytest.raises(UserError, match="missing; `deepvalues manifest` writes it"):
        manifest.faults(project)


def test_results_of_no_notebook_and_of_two(project):
    shutil.copytree(project / "data/results/demo", project / "data/results/orphan")
    with pytest.raises(UserError, match=r'orphan: no notebook has `Results\("orphan"\)`'):
        manifest.studies(project)
    shutil.rmtree(project / "data/results/orphan")
    shutil.copy(project / "notebooks/03_demo.ipynb", project / "notebooks/04_demo.ipynb")
    with pytest.raises(UserError, match="03_demo and 04_demo has"):
        manifest.studies(project)


def test_a_listing_of_an_older_version_says_what_to_run(project):
    for content in ("[]\n", '{"artefacts": {\n'):
        (project / "data/results/demo/artefacts.json").write_text(content)
        with pytest.raises(UserError, match=r"artefacts\.json.*; run: deepvalues notebook 03_demo$"):
            manifest.studies(project)


def test_an_altered_record_is_not_said_to_be_mended_by_make_paper(project):
    record = project / "data/responses/demo/agent.jsonl"
    record.write_text(record.read_text().replace("i1", "i2"))
    (fault,) = manifest.faults(project)
    assert fault == (
        "inputs › data/responses/demo/agent.jsonl is not what the manifest says; "
        "restore it from git; after asking models: run `make paper`"
    )
    record.unlink()
    (fault,) = manifest.faults(project)
    assert "agent.jsonl: an input that the manifest lists is missing; restore it from git" in fault


def test_declared_are_all_files_that_are_there(built):
    assert all(path.is_file() for path in manifest.declared(built))
    assert built / manifest.MANIFEST in manifest.declared(built)


def test_only_what_is_opened_for_reading_counts(tmp_path):
    reads.watch()
    (tmp_path / "data").mkdir()
    for name in ("read.yml", "agent.lock", "agent.log.jsonl", "agent.part1", "gone.yml", "updated.yml"):
        (tmp_path / "data" / name).write_text("x")
    (tmp_path / "outside.yml").write_text("x")
    for name in (
        "data/read.yml",
        "data/agent.lock",
        "data/agent.log.jsonl",
        "data/agent.part1",
        "data/gone.yml",
    ):
        (tmp_path / name).read_bytes()
    (tmp_path / "outside.yml").read_bytes()
    (tmp_path / "data/updated.yml").open("r+").close()
    (tmp_path / "data/gone.yml").unlink()
    assert reads.inputs(tmp_path) == ["data/read.yml"]


@pytest.fixture(scope="module")
def rules():
    """What make itself says that each stamp below build/ depends on."""
    command = ["make", "--print-data-base", "--question", "--no-builtin-rules", "ENVIRONMENT=", "help"]
    shown = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=False).stdout
    return {
        target: listed.split("|")[0].split()
        for target, listed in re.findall(r"^(build/\w+): (.*)$", shown, re.MULTILINE)
    }


def behind(target, rules):
    """All that a target depends on, also through others."""
    found, open_ = set(), [target]
    while open_:
        for name in rules.get(open_.pop(), []):
            if name not in found:
                found.add(name)
                open_.append(name)
    return found


@pytest.mark.parametrize("name", sorted(file.stem for file in paths.NOTEBOOKS.glob("*.ipynb")))
def test_make_runs_a_notebook_again_when_anything_changed_that_it_was_seen_to_read(name, rules):
    read_ = {
        path for study in manifest.studies(paths.ROOT) if study.notebook == name for path in study.inputs
    }
    known = behind(f"build/{name}", rules)
    assert read_
    items = {path for path in read_ if path.startswith("data/derived/")}
    # Items and results that are read come from earlier notebooks.
    made = {path: study.notebook for study in manifest.studies(paths.ROOT) for path in study.artefacts}
    made |= dict.fromkeys(items, "01_load_data")
    for path in read_ - known:
        assert path in made, f"the Makefile does not say that {name} reads {path}"
        assert made[path] == name or f"build/{made[path]}" in known, path


def test_every_notebook_stands_in_the_manifest_of_this_project():
    listed = {study.notebook for study in manifest.studies(paths.ROOT)}
    assert listed == {file.stem for file in paths.NOTEBOOKS.glob("*.ipynb")}

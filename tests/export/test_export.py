"""An export holds the study's items and nothing of others; what harnesses call reads as we do."""

import hashlib
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

import local_server as server
from deepvalues import cli
from deepvalues.ask import catalogue, letters, run_query
from deepvalues.ask.questions import Questions, record_path
from deepvalues.ask.reading import Received
from deepvalues.ask.record import Answer, Record
from deepvalues.ask.registry import BARE, CONTINUE
from deepvalues.ask.spelling import IMPOSSIBLE
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.export import for_lm_eval, write
from deepvalues.stats import clusters

SETS = [("dvb", "smoke"), ("dvb-cot", "smoke"), ("svo", "smoke"), ("profiles-pairs", "smoke")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("export") / "new"
    write.write(place, SETS)
    return place


@pytest.fixture(scope="module")
def front(folder):
    """The YAML of the card."""
    _, text, _ = (folder / "README.md").read_text(encoding="utf-8").split("---\n", maxsplit=2)
    return yaml.safe_load(text)


def config(folder, name):
    """A file of YAML with what it includes; functions by their names."""

    class Loader(yaml.SafeLoader):
        """Reads the harness's tag."""

    Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))
    content = yaml.load((folder / "lm_eval" / name).read_text(encoding="utf-8"), Loader=Loader)
    return {**(config(folder, content["include"]) if "include" in content else {}), **content}


# The data set.


@pytest.mark.parametrize(("study", "item_set"), SETS)
def test_the_rows_are_the_studys_items(folder, study, item_set):
    rows = pd.read_parquet(folder / "data" / study / f"{item_set}.parquet")
    found = catalogue.study(study)
    items = found.items(item_set)
    pd.testing.assert_frame_equal(rows[list(items)], items, check_dtype=False)
    conversations = found.conversations(items)
    if max(each.n_turns for each in conversations) > 1:
        assert [tuple(turns) for turns in rows["user_turns"]] == [each.turns for each in conversations]
    else:
        assert "user_turns" not in rows


def test_the_card_says_what_the_hub_asks_for(folder, front):
    assert (front["license"], front["language"]) == ("cc-by-4.0", ["en"])
    assert front["canary"] == write.canary() and front["canary"] in (paths.STIMULI / "README.md").read_text()
    assert front["citation"].endswith("Version 1.0.0.")
    assert [each["config_name"] for each in front["configs"]] == ["-".join(place) for place in SETS]
    assert [each["config_name"] for each in front["configs"] if each.get("default")] == ["-".join(SETS[0])]
    types = {"string": "string", "large_string": "string", "list<element: string>": "list"}
    for each, about in zip(front["configs"], front["dataset_info"], strict=True):
        (file,) = each["data_files"]
        schema = pq.read_schema(folder / file["path"])
        told = {one["name"]: one.get("dtype", "list") for one in about["features"]}
        assert told == {
            name: types.get(str(kind), str(kind))
            for name, kind in zip(schema.names, schema.types, strict=True)
        }


def test_croissant_has_each_file_with_its_sum_and_columns(folder):
    content = json.loads((folder / "croissant.json").read_text(encoding="utf-8"))
    assert [each["contentUrl"] for each in content["distribution"]] == [
        f"data/{'/'.join(p)}.parquet" for p in SETS
    ]
    for each, table in zip(content["distribution"], content["recordSet"], strict=True):
        path = folder / each["contentUrl"]
        assert each["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        named = [field["source"]["extract"]["column"] for field in table["field"]]
        assert named == pq.read_schema(path).names
    repeated = {
        field["name"] for table in content["recordSet"] for field in table["field"] if field.get("repeated")
    }
    assert repeated == {"data/svo/smoke/user_turns"}


def test_others_may_read_the_folder(folder):
    assert folder.stat().st_mode & 0o055 == 0o055 & ~_umask()


def _umask():
    current = os.umask(0)
    os.umask(current)
    return current


def test_datasets_loads_every_configuration(folder, front, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    datasets = pytest.importorskip("datasets", reason="the extra hub is not installed; `make proof` tries it")
    for each in front["configs"]:
        rows = datasets.load_dataset(str(folder), each["config_name"], split="test", cache_dir=str(tmp_path))
        assert len(rows) == len(pd.read_parquet(folder / each["data_files"][0]["path"]))


# What others' prompts are, and what is in the way.


def test_by_default_the_papers_sets_are_exported_and_none_of_others():
    chosen = write.chosen()
    assert ("dvb", "n4-50") in chosen and ("svo", "standard") in chosen
    places = {tuple(place.split("/")) for place in catalogue.registry().paper}
    others = {place for place in places if place[1] in catalogue.study(place[0]).sets_of_others}
    assert others == {("dvb", "authors"), ("dvb", "authors-20")}
    assert set(chosen) == places - others
    assert write.chosen("svo") == [("svo", "standard")]


@pytest.mark.parametrize("study", ["dvb", "dvb-explicit", "dvb-cot"])
@pytest.mark.parametrize("item_set", ["released", "released-1302", "authors", "authors-20"])
def test_prompts_of_others_are_not_exported(study, item_set):
    with pytest.raises(UserError, match=f"{study}/{item_set}: these prompts belong to others"):
        write.chosen(study, item_set)


def test_an_item_without_a_text_stops_an_export(study):
    """As the public prompts are, wherever they stand."""
    with pytest.raises(UserError, match="may not be redistributed"):
        list(write.exported([("dvb", "authors")]))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "n5"], "unknown item set 'n5'; dvb has smoke"),
        (["--study", "dbv"], "unknown study 'dbv'"),
        (["--to", "{full}"], "is not empty; export overwrites nothing: name a new folder with --to"),
        (["--to", "{file}"], "it is a file"),
        (["--to", "{file}/new"], "/mine.txt/new: can't be written: "),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(capsys, tmp_path, arguments, told):
    (full := tmp_path / "full").mkdir()
    (file := full / "mine.txt").write_text("mine")
    given = [each.format(full=full, file=file) for each in arguments]
    given = given if "--to" in given else [*given, "--to", str(tmp_path / "new")]
    given = given if "--study" in given or "--set" in given else [*given, "--set", "smoke"]
    assert cli.main(["export", *given]) == 2
    out, err = capsys.readouterr()
    assert told in err and err.count("\n") == 1 and out == ""
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine.txt"] and file.read_text() == "mine"


def test_an_empty_folder_may_be_named(capsys, tmp_path):
    assert cli.main(["export", "--to", str(tmp_path), "--study", "profiles-pairs", "--set", "smoke"]) == 0
    assert "data/profiles-pairs/smoke.parquet: 30 items" in capsys.readouterr().out
    assert {"README.md", "croissant.json", "data", "lm_eval"} == {path.name for path in tmp_path.iterdir()}


# lm-evaluation-harness.


@pytest.mark.parametrize(
    ("group", "tail"), [("dvb-smoke", ""), ("dvb-smoke_letters", "_letters"), ("dvb-cot-smoke", "")]
)
def test_a_group_has_a_task_for_each_arm(folder, group, tail):
    named = config(folder, f"deepvalues_{group}.yaml")
    items = pd.read_parquet(folder / "data" / group.removesuffix(tail).replace("-smoke", "/smoke.parquet"))
    stem = f"deepvalues_{group.removesuffix(tail)}"
    assert named["task"] == [f"{stem}_{arm}{tail}" for arm in items["arm"].unique()]
    for name in named["task"]:
        task = config(folder, f"{name}.yaml")
        assert task["task"] == name
        arm = task["dataset_kwargs"]["arm"]
        assert [each["metric"] for each in task["metric_list"]] == [
            rate := "dvgr" if arm == "deconfounded" else "right",
            f"{rate}_error_by_cell",
            "answered",
        ]
        functions = [task["custom_dataset"], task["process_results"]]
        functions += [each["aggregation"] for each in task["metric_list"] if each["metric"] != "answered"]
        for function in functions:
            module, _, attribute = function.partition(".")
            assert module == "deepvalues_tasks" and callable(getattr(for_lm_eval, attribute))
        assert ("gen_prefix" in task) == bool(tail)
        if not tail:
            study = task["metadata"]["study"]
            assert task["generation_kwargs"]["max_gen_toks"] == catalogue.study(study).max_tokens


def test_what_can_not_be_asked_by_letters_has_no_such_task(folder):
    names = {path.name for path in (folder / "lm_eval").iterdir()}
    assert not any("cot" in name and "letters" in name for name in names)
    assert not any("svo" in name or "profiles" in name for name in names)


def test_the_copied_code_needs_nothing_of_this_package(folder, monkeypatch):
    code = (
        f"import sys; sys.path.insert(0, {str(folder / 'lm_eval')!r}); import deepvalues_tasks\n"
        "print([name for name in sys.modules if name == 'deepvalues' or name.startswith('deepvalues.')])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    for path in (folder / "lm_eval").glob("*.py"):
        assert "from deepvalues." not in path.read_text(encoding="utf-8"), path.name


def test_a_task_loads_the_items_of_its_arm(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(Dataset=lambda table: table))
    monkeypatch.setattr(for_lm_eval, "__file__", str(folder / "lm_eval" / "deepvalues_tasks.py"))
    rows = for_lm_eval.load("dvb", "smoke", "control", version="1.0.0")["test"].to_pandas()
    items = catalogue.study("dvb").items("smoke")
    assert list(rows["id"]) == list(items.loc[items["arm"] == "control", "id"])


REPLIES = ["Option A", "B", "I would choose Option B.", "Neither A nor B.", "", "I can't say.", "(a)"]


@pytest.mark.parametrize("reply", REPLIES)
def test_replies_are_read_as_this_package_reads_them(folder, study, reply):
    rows = pd.read_parquet(folder / "data" / "dvb" / "smoke.parquet").to_dict("records")
    asked = {each.item: each.parts[0] for each in study.conversations(study.items("smoke"))}
    for doc in rows[:40]:
        reading = study.read(Received(reply, question=asked[doc["id"]]))
        expected = None if reading.choice is None else float(reading.choice == doc["right"])
        name = "dvgr" if doc["arm"] == "deconfounded" else "right"
        assert for_lm_eval.free(doc, [reply]) == {
            name: (expected, doc["cell"]),
            f"{name}_error_by_cell": (expected, doc["cell"]),
            "answered": float(expected is not None),
        }


@pytest.mark.parametrize(
    "known", [{"A": -0.3, "B": -1.4}, {"A": -2.0, "B": -1.0}, {"A": -1.0, "B": -1.0}, {"B": -3.0}, {}]
)
def test_letters_are_read_as_this_package_reads_them(folder, study, known):
    rows = pd.read_parquet(folder / "data" / "dvb" / "smoke.parquet").to_dict("records")
    for doc in rows[:40]:
        answer = Answer(
            "", doc["id"], 0, 0, None, None, None, None, None, {"letters": known, "rest": 0.0}, None
        )
        choice = letters.read(answer, study.seed).choice
        scored = for_lm_eval.letters(doc, [(known.get(letter, IMPOSSIBLE), False) for letter in "AB"])
        (trial, _, answered) = scored.values()
        assert trial == (None if choice is None else float(choice == doc["right"]), doc["cell"])
        assert answered == float(choice is not None)


def test_rate_and_error_are_those_of_this_package():
    draws = np.random.default_rng(0)
    for cells in (2, 5, 40):
        outcomes, of = draws.integers(2, size=200).astype(float), draws.integers(cells, size=200).astype(str)
        trials = [*zip(outcomes, of, strict=True), (None, "0"), (None, "not answered")]
        expected = clusters.mean(outcomes, of)
        assert for_lm_eval.rate(trials) == pytest.approx(expected.value)
        assert for_lm_eval.error_by_cell(trials) == pytest.approx(expected.error)
    assert math.isnan(for_lm_eval.rate([(None, "a")]))
    assert math.isnan(for_lm_eval.error_by_cell([(1.0, "a"), (0.0, "a")]))


# Agents by letter probability, as the harnesses ask them.


@pytest.mark.parametrize("way", [CONTINUE, BARE])
def test_agents_answer_by_letters(study, tmp_path, way):
    items = study.items("smoke")
    items = items[items["arm"].isin(["deconfounded", "control"])].head(8)
    with server.serving(server.create_app(catalogue.local_models())) as url:
        models = [
            replace(catalogue.registry().model(name, url), letters=way)
            for name in ("agent-value", "agent-surface")
        ]
        run_query.query("dvb", models, items, record_folder=tmp_path)
    for model, followed in zip(models, (1, 0), strict=True):
        record = Record(record_path(tmp_path, "dvb", model.name))
        answers = Questions(study, study.conversations(items), model, record).answers()
        right = answers["choice"].to_numpy() == items["right"].to_numpy()
        deep = (items["arm"] == "deconfounded").to_numpy()
        assert right[~deep].all() and (right[deep] == followed).all()
        assert all(set(answer.logprobs["letters"]) == {"A", "B"} for answer in record.answers.values())

"""Everything that the paper needs from a model: one plan, price and confirmation; resumable."""

import dataclasses
import json
import re

import pytest

import local_server as server
from deepvalues import cli
from deepvalues.ask import batch, catalogue, on_record, run_query
from deepvalues.ask.engine import Summary
from deepvalues.ask.money import Usage
from deepvalues.ask.questions import record_path
from deepvalues.ask.registry import Endpoint, Model, Price, Weights
from deepvalues.ask.settings import Settings
from deepvalues.core import paths

PRICE = Price(1.0, 0.5, 2.0, "2026-01")
#: The two sets of dvb-free share items.
SETS = {"dvb-free/smoke": ("words",), "dvb-free/standard": ("words", "letters"), "dvb/smoke": ("words",)}
LETTER_SETS = {"svo-letters/smoke": ("letters",)}


@pytest.fixture(scope="module")
def url():
    with server.serving(server.create_app({"paid": catalogue.local_models()["agent-first"]})) as url:
        yield url


@pytest.fixture
def paid(monkeypatch, url):
    """A model with a price, on loopback, that is not listed in the paper yet."""
    model = Model("paid", Endpoint("shop", url, "SHOP_KEY"), "paid", price=PRICE)
    real = catalogue.registry()
    sets = SETS | LETTER_SETS
    registry = dataclasses.replace(real, models={"paid": model}, asked_of=sets, paper=dict.fromkeys(sets, ()))
    monkeypatch.setattr(catalogue, "registry", lambda: registry)
    monkeypatch.setenv("SHOP_KEY", "sk-1")
    return model


@pytest.fixture
def run(tmp_path, capsys):
    def run(*arguments):
        words = ["query", "--model", "paid", "--paper", "--record", tmp_path, *arguments]
        status = cli.main(list(map(str, words)))
        return status, *capsys.readouterr()

    return run


def at_a_terminal(monkeypatch, *replies):
    """A user at the terminal who gives these replies, one per question."""
    given = iter(replies)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: next(given))


@pytest.fixture
def sizes():
    return {
        place: set(catalogue.study(place.partition("/")[0]).items(place.partition("/")[2])["id"])
        for place in SETS
    }


def test_the_plan_counts_shared_items_once_and_adds_up(run, paid, sizes, tmp_path):
    free = len(sizes["dvb-free/smoke"] | sizes["dvb-free/standard"])
    assert free < len(sizes["dvb-free/smoke"]) + len(sizes["dvb-free/standard"]), "or nothing would be shared"
    status, out, err = run("--dry-run")
    benchmark = len(sizes["dvb/smoke"])
    assert (status, err) == (0, "")
    assert out.startswith(f"paid: {benchmark + free:,} requests to send\n")
    assert f"dvb-free (smoke and standard): {free:,}\n  dvb (smoke): {benchmark:,}\n" in out
    assert out.count("$") == 2
    assert "svo-letters" not in out, "it is asked in words"
    assert list(tmp_path.iterdir()) == []


def test_one_confirmation_is_enough_and_a_second_run_asks_nothing(run, paid, sizes, tmp_path, monkeypatch):
    at_a_terminal(monkeypatch, "y")
    status, out, _ = run()
    assert status == 0
    for study, places in {"dvb-free": list(SETS)[:2], "dvb": list(SETS)[2:]}.items():
        asked = len(set().union(*(sizes[place] for place in places)))
        assert f"{study}: paid: {asked} asked, 0 replayed, 0 failed" in out
        assert len(record_path(tmp_path, study, "paid").read_bytes().splitlines()) == asked
    status, out, _ = run()
    assert status == 0, "and nobody is asked for leave to send nothing"
    assert out.startswith("paid: 0 requests to send\n")


def test_without_consent_nothing_is_sent(run, paid, tmp_path, monkeypatch):
    at_a_terminal(monkeypatch, "")
    status, _, err = run()
    assert (status, list(tmp_path.iterdir())) == (2, [])
    assert "nothing was sent" in err


def test_missing_consent_or_key_is_reported(run, paid, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert "paid costs money: add --yes" in run()[2]
    monkeypatch.delenv("SHOP_KEY")
    assert "set the environment variable SHOP_KEY" in run("--yes")[2]


def test_a_run_that_reached_its_maximum_cost_can_continue(run, paid, sizes, tmp_path):
    status, _, err = run("--yes", "--max-cost", "0.01")
    assert status == 2
    assert "could exceed the maximum" in err
    before = {line for path in tmp_path.rglob("paid.jsonl") for line in path.open()}
    assert before
    assert run("--yes")[0] == 0
    after = {line for path in tmp_path.rglob("paid.jsonl") for line in path.open()}
    assert before < after
    assert len(after) == len(sizes["dvb-free/smoke"] | sizes["dvb-free/standard"]) + len(sizes["dvb/smoke"])


def test_the_maximum_cost_applies_to_all_studies_together(paid, tmp_path, monkeypatch):
    left = []

    def run(ask, target, settings, *_):
        left.append(settings.max_cost)
        return Summary(asked=1, used=Usage(0.6e6, 0.0, 0.0))

    monkeypatch.setattr(run_query, "run", run)
    found = run_query.parts_of_paper([paid], tmp_path)
    done = list(run_query.ask(found, record_folder=tmp_path, settings=Settings(max_cost=1.0), yes=True))
    assert [part.study for part, _ in done] == ["dvb-free", "dvb"]
    assert left == [1.0, pytest.approx(0.4)]


def test_one_confirmation_covers_a_set_for_several_models(paid, tmp_path, capsys, monkeypatch):
    registry = catalogue.registry()
    models = {"paid": paid, "other": dataclasses.replace(paid, name="other")}
    monkeypatch.setattr(catalogue, "registry", lambda: dataclasses.replace(registry, models=models))
    words = ["query", "--study", "dvb", "--set", "smoke", "--record", str(tmp_path)]
    words += ["--model", "paid", "--model", "other"]
    at_a_terminal(monkeypatch, "")
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out.count("requests to send") == 2 and "paid, other: nothing was sent" in err
    assert list(tmp_path.iterdir()) == []
    at_a_terminal(monkeypatch, "y")
    assert cli.main(words) == 0
    out, _ = capsys.readouterr()
    assert "paid: 130 asked, 0 replayed, 0 failed" in out and "other: 130 asked, 0 replayed" in out


@pytest.fixture
def both(paid, tmp_path, monkeypatch):
    """Asks a first and a changed second model at a terminal where each question would fail; the errors."""
    at_a_terminal(monkeypatch)
    monkeypatch.setenv("DEEPVALUES_CACHE", str(tmp_path / "cache"))

    def both(capsys, *words, **changes):
        other = dataclasses.replace(paid, name="other", **changes)
        registry = dataclasses.replace(catalogue.registry(), models={"paid": paid, "other": other})
        monkeypatch.setattr(catalogue, "registry", lambda: registry)
        names = ["--model", "paid", "--model", "other", "--record", str(tmp_path / "record")]
        assert cli.main(["query", *names, *words]) == 2
        assert not (tmp_path / "record" / "dvb" / "paid.jsonl").exists(), "or something was paid"
        out, err = capsys.readouterr()
        assert out == "", "and no plan is shown"
        return err

    return both


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"endpoint": Endpoint("other", "http://127.0.0.1:9/v1", "NO_KEY")}, "other: no API key"),
        ({"endpoint": Endpoint("other")}, "other: its endpoint other has no base_url"),
        ({"endpoint": Endpoint("local")}, "other: its endpoint is local, but no study"),
        ({"price": None}, "other: a maximum cost needs a price"),
        ({"weights": Weights("tiny.gguf", "0" * 64)}, "other: .*(not installed|is missing)"),
    ],
)
def test_a_model_that_cannot_be_asked_is_refused_before_another_is(both, capsys, changes, told):
    assert re.search(told, both(capsys, "--study", "dvb", "--set", "smoke", "--max-cost", "1", **changes))


def test_a_proxy_that_cannot_be_used_is_refused_before_anything_is_sent(both, capsys, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    away = Endpoint("away", "http://model.invalid/v1")
    assert "SOCKS proxy" in both(capsys, "--study", "dvb", "--set", "smoke", endpoint=away)


def test_requests_in_an_open_batch_are_refused_before_another_model_is_asked(both, paid, capsys, tmp_path):
    items = catalogue.study("dvb").items("smoke")
    models = [dataclasses.replace(paid, name="other")]
    (asked,) = on_record.questions_by_model("dvb", models, items, tmp_path / "record")
    job = asked.jobs()[0]
    state = batch.State.beside(asked.record)
    held = {asked.ask.key(job.conversation, (), job.repeat): (job.conversation.item, job.repeat)}
    state.path.parent.mkdir(parents=True)
    dataclasses.replace(state, parts=[batch.Part("file", held, "batch")]).save()
    assert "other: some of these requests are in an open batch" in both(
        capsys, "--study", "dvb", "--set", "smoke"
    )


def test_prompts_that_are_not_here_are_refused_before_a_confirmation(both, capsys, monkeypatch, tmp_path):
    without_prompts(monkeypatch, tmp_path)
    assert "not on this machine" in both(capsys, "--study", "dvb", "--set", "authors")


def test_a_model_named_twice_is_asked_and_counted_once(run, paid):
    assert run("--model", "paid", "--dry-run") == run("--dry-run")


@pytest.mark.parametrize("option", ["--study", "--set"])
def test_study_and_set_are_rejected_with_paper(run, paid, option):
    status, _, err = run(option, "dvb", "--dry-run")
    assert status == 2
    assert "drop --study and --set" in err


def without_prompts(monkeypatch, folder):
    study = catalogue.study("dvb")
    store = dataclasses.replace(study.authors.store, folder=folder)
    monkeypatch.setitem(vars(study), "authors", dataclasses.replace(study.authors, store=store))


def test_missing_prompts_are_left_out_and_named(run, paid, monkeypatch, tmp_path):
    registry = dataclasses.replace(
        catalogue.registry(), asked_of={"dvb/authors": ("words",)}, paper={"dvb/authors": ()}
    )
    monkeypatch.setattr(catalogue, "registry", lambda: registry)
    without_prompts(monkeypatch, tmp_path)
    status, out, _ = run("--dry-run")
    assert status == 0
    assert out.startswith("paid: 0 requests to send\n")
    assert "dvb (authors): left out" in out
    assert "make data" in out


def test_a_model_without_sets_in_the_paper_is_reported(run, paid, monkeypatch):
    agent = dataclasses.replace(paid, family="reference agent")
    registry = dataclasses.replace(catalogue.registry(), models={"paid": agent})
    monkeypatch.setattr(catalogue, "registry", lambda: registry)
    assert "lists no set for it under `paper`" in run()[2]


def test_the_notebooks_read_the_sets_that_the_paper_lists():
    source = json.loads((paths.ROOT / "notebooks/02_query_models.ipynb").read_text())
    cell = next(cell for cell in source["cells"] if "parameters" in cell["metadata"].get("tags", []))
    named: dict = {}
    exec("".join(cell["source"]), named)
    read = {f"{study}/{each}" for study, sets in named["item_sets"].items() for each in sets}
    read |= {f"{study}/{each}" for study, sets in named["later_sets"].items() for each in sets}
    assert read == set(catalogue.registry().paper)


@pytest.mark.parametrize(("study", "usual"), [("dvb", 16800), ("dvb-explicit", 1302), ("dvb-cot", 1302)])
def test_each_study_has_a_default_set(study, usual, tmp_path, capsys):
    words = ["query", "--study", study, "--model", "agent-value", "--record", str(tmp_path), "--dry-run"]
    assert cli.main(words) == 0
    assert capsys.readouterr().out.startswith(f"agent-value: {usual:,} requests to send")

"""Report cards: figures equal to the paper's, words that fit what is on record, files that are not lost."""

import csv
import json
import math
import re
import shutil
from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest

from deepvalues.ask import catalogue
from deepvalues.ask.questions import record_path
from deepvalues.ask.registry import Price
from deepvalues.card import facts, gather, measures, write
from deepvalues.card.write import write_cards
from deepvalues.cli import main
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper.project import Link
from deepvalues.paper.sentences import Sentences
from deepvalues.paper.site import check_links
from deepvalues.studies.dvb.analysis import verdicts

MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b")
#: With the one that was asked a part.
LISTED = (*MODELS, "qwen2.5-coder-1.5b")
OTHERS = (
    *("agent-first", "agent-declining", "agent-svo-refusing", "agent-svo-noisy", "agent-svo-letters-place"),
    *("agent-pairs-worths", "agent-profile-reversed"),
)


@pytest.fixture(autouse=True, scope="module")
def built_once():
    """Build or read each set of items once, not anew for each respondent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "_items", cache(gather._items))
        yield


@pytest.fixture(scope="module")
def asked():
    """Respondents with what is on record of them, each read once."""
    return cache(lambda name: gather.gather(catalogue.registry().model(name)))


@pytest.fixture(scope="module")
def cards(asked):
    return cache(lambda name: write.card(asked(name)))


def text(card, html=False):
    written = Sentences(card.template, write.TEMPLATES).whole({**card.facts, "html": html})
    return written.replace("\\", "")


def published(name, **wanted):
    """The one row of a result with the given columns."""
    with (paths.RESULTS / name).open(encoding="utf-8") as file:
        (row,) = (
            row for row in csv.DictReader(file) if all(row[key] == value for key, value in wanted.items())
        )
    return row


def same(found, written):
    """Whether a number is the one of a result, which has six digits; nothing stands for NaN."""
    return math.isnan(found) if written == "" else found == pytest.approx(float(written), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", [*LISTED, "agent-first", "agent-declining"])
def test_the_figures_of_study_1_are_those_of_the_paper(name):
    values = write.card(gather.gather(catalogue.registry().model(name))).facts["values"]
    row = published("models/verdicts.csv", model=name)
    # A card reads four examples, and no text learners.
    columns = [column for column in values["row"] if "lexical" not in column and "_n20" not in column]
    assert len(columns) > 70
    texts = {"model", "family", "verdict", "scale"}
    for column in columns:
        found = values["row"][column]
        assert found == row[column] if column in texts else same(found, row[column]), column
    for measure in ("control", "probe_value", "probe_surface", "dvgr", "order_consistency"):
        assert same(values[measure]["value"], row[measure])
        assert same(values[measure]["low"], row[f"{measure}_low"])
    assert same(values["order_consistency"]["null"], row["by_place"])


@pytest.mark.parametrize("name", [*LISTED, "agent-svo-letters-place"])
def test_the_steering_of_a_model_asked_by_letters_is_that_of_the_paper(cards, name):
    row, steering = published("svo/letter_models.csv", model=name), cards(name).facts["social"]["steering"]
    for key, column in (("value", ""), ("low", "_low"), ("high", "_high")):
        assert same(steering[key], row[f"steering{column}"])


@pytest.mark.parametrize("name", ["agent-svo-refusing", "agent-svo-noisy"])
def test_the_steering_of_a_model_asked_in_conversations_is_that_of_the_paper(cards, name):
    steering = cards(name).facts["social"]["steering"]
    row = published("svo/steering_range.csv", model=name, mode="controlled", goal="False")
    for key, column in (("value", "range"), ("low", "low"), ("high", "high")):
        assert same(steering[key], row[column])


@pytest.mark.parametrize("name", [*LISTED, "agent-pairs-worths"])
def test_the_order_of_a_model_asked_in_pairs_is_that_of_the_paper(cards, name):
    row, found = published("profiles/pair_models.csv", model=name), cards(name).facts["priorities"]
    for column in row.keys() - {"model", "claimed"}:
        assert same(found["row"][column], row[column]), column
    assert str(found["claimed"]) == row["claimed"]


def test_the_fidelity_of_a_model_that_filled_in_forms_is_that_of_the_paper(cards):
    name = "agent-profile-reversed"
    row, found = (
        published("profiles/fidelity.csv", model=name, mode="rating"),
        cards(name).facts["priorities"],
    )
    for key, column in (("value", "fidelity"), ("low", "fidelity_low"), ("high", "fidelity_high")):
        assert same(found["fidelity"][key], row[column])
    assert same(found["p"], row["p_null"])
    assert same(
        found["fidelity"]["null"], published("profiles/fidelity_null.csv", mode="rating")["to_exceed"]
    )


def test_how_a_model_was_asked_and_the_tokens_are_those_on_record(cards):
    ways, cost = (cards(MODELS[0]).facts[key] for key in ("asked", "cost"))
    listed = [
        row
        for row in csv.DictReader((paths.RESULTS / "query/how_asked.csv").open())
        if row["model"] == MODELS[0]
    ]
    assert {way["parameters"] for way in ways} == {row["parameters"] for row in listed}
    assert {way["first"] for way in ways} == {row["first"] for row in listed}
    assert cost["replies"] == 4400 + 2400 + 200 + 270 + 150 == sum(way["replies"] for way in ways)
    assert cost["dollars"] is None and "so nothing was paid" in text(cards(MODELS[0]))


def test_a_price_makes_a_cost(asked):
    one = asked(MODELS[0])
    priced = replace(one.model, price=Price(1.0, 0.5, 2.0, "2026-11"), weights=None)
    cost = facts.cost(priced, one.begun())
    assert cost["dollars"] == pytest.approx((cost["input"] + 2 * cost["output"]) / 1e6)
    assert not cost["own_machine"]


def test_a_price_without_tokens_makes_no_cost(cards):
    """As for answers that were imported from a log that has no tokens."""
    card = cards(MODELS[0])
    cost = card.facts["cost"] | {"input": 0.0, "output": 0.0, "dollars": 0.0, "own_machine": False}
    shown = text(card._replace(facts={**card.facts, "cost": cost}))
    assert "The tokens are not on record, so the cost is unknown." in shown and "$0.00" not in shown


@pytest.mark.parametrize("name", [*LISTED, *OTHERS])
def test_every_card_is_one_page_whose_table_and_text_have_the_figures(cards, name):
    card = cards(name)
    files = write.rendered(card, [Link("Article", "../index.html")])
    page, pdf = (files[f"{name}.{ending}"] for ending in ("html", "pdf"))
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
    assert files == write.rendered(card, [Link("Article", "../index.html")])
    shown = page.decode()
    assert (
        shown.count("<h1>") == 1
        and shown.count("<h2") >= 4
        and shown.count("<summary>") == len(card.facts["items"])
    )
    assert "nan" not in re.sub("<[^>]*>", " ", shown).lower().split()
    assert not re.search(r"https?://(?!localhost)", shown)
    if values := card.facts["values"]:
        assert values["verdict"]["name"] in shown


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("agent-first", ["chooses by position", "may have failed at the format", "not asked outright"]),
        ("agent-declining", ["value learner", "numbers rest on the 682 of 800 tests"]),
        (
            "agent-svo-refusing",
            ["no verdict", "too few choices", "leaves open whether it learns", "Of 200 trials, 160"],
        ),
        ("agent-svo-noisy", ["follows an assigned value in part", "in controlled mode"]),
        ("agent-svo-letters-place", ["does not detectably move", "changes by\n0.0 degrees"]),
        ("agent-pairs-worths", ["an order of its own", "first pair of Study 3"]),
        ("agent-profile-reversed", ["no closer to the reference than chance", "the synthetic reference"]),
        (MODELS[0], ["better than chance on either", "In free text, .360", "no order to report"]),
    ],
)
def test_the_words_fit_the_respondent(cards, name, words):
    shown = text(cards(name))
    for each in words:
        assert each in shown
    commands = re.findall(r"deepvalues query [^`\n]*", shown)
    assert all(name in command for command in commands)
    assert bool(commands) is (name not in MODELS)


def test_each_verdict_has_words(cards):
    card = cards("agent-first")
    for verdict in verdicts.VERDICTS:
        values = card.facts["values"] | {"verdict": verdict._asdict()}
        shown = text(card._replace(facts={**card.facts, "values": values}))
        assert f"Study 1, deep values: {verdict.name}.**" in shown and verdict.meaning in shown


@pytest.mark.parametrize(
    ("value", "low", "high", "moves"),
    [
        (70.0, 60.0, 75.0, "follows"),
        (40.0, 30.0, 50.0, "partly"),
        (5.0, 1.0, 9.0, "hardly"),
        (5.0, -1.0, 9.0, "not"),
        (-5.0, -9.0, -1.0, "against"),
        (77.65, math.nan, math.nan, "follows"),
        (0.0, math.nan, math.nan, "not"),
        (math.nan, math.nan, math.nan, "unknown"),
    ],
)
def test_how_a_respondent_moves_with_a_value(value, low, high, moves):
    assert measures.moves(value, low, high, 0.0, 77.65) == moves


# ---- what is not on record ----


@pytest.fixture
def record(tmp_path):
    """A record of one's own with the first lines of what a model answered, by study."""

    def record(model, **lines):
        for name, number in lines.items():
            study = name.replace("_", "-")
            source = record_path(paths.RESPONSES, study, model)
            target = record_path(tmp_path, study, model)
            target.parent.mkdir(parents=True)
            with source.open("rb") as file:
                kept = file.readlines()[:number]
            target.write_bytes(b"".join(kept))
        return tmp_path

    return record


def run(capsys, *arguments):
    status = main([str(each) for each in arguments])
    return status, *capsys.readouterr()


def test_a_model_asked_only_a_part_is_told_with_the_command(record, capsys, tmp_path):
    folder = record(MODELS[0], svo_letters=100, profiles_pairs=None)
    status, out, _ = run(capsys, "card", MODELS[0], "--record", folder, "--out", tmp_path / "out")
    assert status == 0 and len(out.split()) == 2
    page = (tmp_path / "out" / f"{MODELS[0]}.html").read_text()
    shown = " ".join(re.sub("<[^>]*>", "", page).split())
    assert "Study 2, social values: asked only in part. The record answers 100 of its 270 items" in shown
    assert (
        f"deepvalues query --study svo-letters --set standard --model {MODELS[0]} --record {folder}" in shown
    )
    assert "Study 1, deep values: not asked." in shown and "Steering range" not in shown


def test_a_model_with_no_study_in_full_has_no_card(record, capsys, tmp_path):
    folder = record(MODELS[0], svo_letters=100)
    status, _, err = run(capsys, "card", MODELS[0], "--record", folder, "--out", tmp_path / "out")
    assert status == 2 and "no study is answered in full" in err
    assert "svo-letters: 100 of 270 items are answered; deepvalues query --study svo-letters" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["agent-value"],
            "holds no answers to the sets of a card; this command asks for them:\n  deepvalues query",
        ),
        (["gpt-17"], "unknown model 'gpt-17'"),
        (["agent-value", "agent-first", "agent-random"], "shows one model or two, not 3"),
    ],
)
def test_whoever_is_unknown_or_was_not_asked_gets_one_message(capsys, tmp_path, names, message):
    status, out, err = run(capsys, "card", *names, "--record", tmp_path, "--out", tmp_path / "out")
    assert (status, out) == (2, "") and message in err and "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_answers_by_address_need_the_address(record, capsys, tmp_path):
    folder = record(MODELS[0], profiles_pairs=None)
    source = record_path(folder, "profiles-pairs", MODELS[0])
    source.rename(record_path(folder, "profiles-pairs", "org/new"))
    status, _, err = run(capsys, "card", "org/new", "--record", folder)
    assert status == 2 and "has answers from it" in err and "--base-url" in err
    # Other endpoints have other keys: the answers are not its own.
    status, _, err = run(capsys, "card", "org/new", "--record", folder, "--base-url", "http://localhost:9/v1")
    assert status == 2 and "--base-url http://localhost:9/v1" in err


def test_a_model_that_is_not_listed_has_a_card_by_its_address(capsys, tmp_path):
    from local_server import create_app, serving

    folder = tmp_path / "record"
    name = "agent-pairs-worths"
    with serving(create_app(catalogue.local_models())) as url:
        asking = ["--base-url", url, "--record", folder, "--study", "profiles-pairs", "--model", name]
        status, out, _ = run(capsys, "query", *asking)
        command = f"deepvalues card {name} --base-url {url} --record {folder}"
        assert status == 0 and f"{name}: for its report card, run: {command}\n" in out
    status, out, err = run(capsys, *command.split()[1:], "--out", tmp_path / "out")
    assert status == 0, err
    assert "localhost" in (tmp_path / "out" / f"{name}.html").read_text()


def test_a_set_that_fills_no_section_names_no_card(capsys, tmp_path):
    status, out, _ = run(capsys, "query", "--set", "smoke", "--model", "agent-first", "--record", tmp_path)
    assert status == 0 and "card" not in out


def test_the_sets_that_name_a_card_hold_what_it_reads(items_n4, items_standard, study):
    wanted = set(study.items("n4-50")["id"])
    assert wanted <= set(items_n4["id"]) and wanted <= set(items_standard["id"])
    read = {each for sets in gather.SECTIONS.values() for each in sets}
    assert {(name, item_set) for name, sets in gather.ENOUGH.items() for item_set in sets} >= read
    for name in gather.ENOUGH["dvb"]:
        assert name in study.item_sets


# ---- files ----


def test_nothing_is_overwritten_without_being_asked(asked, cards, tmp_path):
    files = write.rendered(cards("agent-pairs-worths"))
    paths_written = write.write(files, tmp_path)
    assert write.write(files, tmp_path) == paths_written
    paths_written[0].write_text("mine")
    with pytest.raises(UserError, match=r"already there with different content; overwrite with --replace"):
        write.write(files, tmp_path)
    assert paths_written[0].read_text() == "mine"
    write.write(files, tmp_path, replace=True)
    assert paths_written[0].read_bytes() == files[paths_written[0].name]


def test_what_a_model_says_is_shown_as_it_is(cards):
    """Markup in a reply is no markup of the card."""
    card = cards("agent-declining")
    nasty = "**b** <script>alert(1)</script> `x` [l](http://e.org) $x$ | # -- \\ ”"
    items = json.loads(json.dumps(card.facts["items"]))
    items[0]["answers"][0]["reply"] = nasty
    items[0]["sent"][0]["content"] = f"{nasty}\n</pre></details>\n```\n~~~\n{nasty}"
    files = write.rendered(card._replace(facts={**card.facts, "items": items}))
    page = files["agent-declining.html"].decode()
    assert "<script" not in page and 'http://e.org"' not in page
    assert (
        page.count("**b** &lt;script&gt;alert(1)&lt;/script&gt; `x` [l](http://e.org) $x$ | # -- \\ ”") == 3
    )


@pytest.mark.slow
def test_the_cards_of_the_site_link_to_what_is_there(tmp_path):
    for name in ("index.html", "answers/index.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("<main></main>")
    assert write_cards(tmp_path / "cards") == list(LISTED)
    check_links(tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "cards").iterdir()}
    assert len(before) == 1 + 2 * len(LISTED)
    write_cards(tmp_path / "cards")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "cards").iterdir()}
    shutil.copy(tmp_path / "index.html", tmp_path / "answers" / "other.html")
    (tmp_path / "answers" / "index.html").unlink()
    # A folder without a list of cards, the site itself, and a file.
    for place in (tmp_path / "answers", tmp_path, tmp_path / "index.html"):
        with pytest.raises(UserError, match="holds files that are not cards"):
            write_cards(place)
    assert (tmp_path / "index.html").read_text() == "<main></main>"


def test_the_site_without_any_record_says_so(tmp_path):
    assert write_cards(tmp_path / "cards", tmp_path / "record") == []
    assert "No language model of the paper" in (tmp_path / "cards" / "index.html").read_text()


def test_a_refusal_among_the_examples_is_shown_as_no_choice(monkeypatch):
    # The two answers that a card prints are refusals on these cells.
    monkeypatch.setattr(gather, "MORE_CELLS", {})
    card = write.card(gather.gather(catalogue.registry().model("agent-declining")))
    assert "no choice (refused)" in text(card)


# ---- two models ----


def test_differences_are_paired_and_turn_with_the_order(asked):
    for first, second in combinations([*MODELS, "agent-declining"], 2):
        one, other = asked(first), asked(second)
        forth, back = facts.differences(one, other)["values"], facts.differences(other, one)["values"]
        for a, b in zip(forth, back, strict=True):
            assert a.value == pytest.approx(a.one - a.other, abs=1e-12) and b.value == pytest.approx(-a.value)
            assert a.pairs == b.pairs and (math.isnan(a.low) or a.low == pytest.approx(-b.high))


def test_the_difference_of_the_dvgr_is_that_of_the_papers_own_pairing(asked, cards):
    """Where both answered everything, the difference is that of the rates on the cards."""
    rows = {row.measure: row for row in facts.differences(*map(asked, MODELS))["values"]}
    one, other = (cards(name).facts["values"] for name in MODELS)
    for measure, row in rows.items():
        assert row.value == pytest.approx(one[measure]["value"] - other[measure]["value"])
    assert rows["dvgr"].pairs == 200 and rows["order_consistency"].pairs == 800


def test_steering_is_compared_within_its_mode(asked, cards):
    (row,) = facts.differences(*map(asked, MODELS))["social"]
    one, other = (cards(name).facts["social"]["steering"]["value"] for name in MODELS)
    assert row.value == pytest.approx(one - other) and row.low < row.value < row.high
    (row,) = facts.differences(
        asked("agent-svo-noisy"), gather.gather(catalogue.registry().model("agent-svo-follower"))
    )["social"]
    assert row.low < row.value < row.high < 0
    assert facts.differences(asked("agent-svo-noisy"), asked(MODELS[0]))["social"] == []


@pytest.mark.slow
def test_the_card_of_two_models_is_one_page_with_its_differences(asked):
    card = write.comparison(*map(asked, MODELS))
    files = write.rendered(card)
    assert len(re.findall(rb"/Type\s*/Page\b", files[f"{card.file}.pdf"])) == 1
    shown = text(card)
    rows = card.facts["differences"]
    assert sum(map(len, rows.values())) == 7 and "not corrected for looking at seven of them" in shown
    for name in MODELS:
        assert f"**{name}.**" in shown


@pytest.mark.slow
def test_the_fidelity_of_two_models_is_compared(asked, cards):
    flattening = gather.gather(catalogue.registry().model("agent-profile-flattening"))
    one, other = flattening, asked("agent-profile-reversed")
    (row,) = facts.differences(one, other)["priorities"]
    assert same(
        row.other,
        published("profiles/fidelity.csv", model="agent-profile-reversed", mode="rating")["fidelity"],
    )
    assert 0 < row.low < row.value == row.one - row.other < row.high
    shown = text(write.comparison(one, other))
    assert (
        "**Fidelity to the synthetic reference**" in shown and "the runs of each model are resampled" in shown
    )


def test_a_difference_that_is_unknown_has_no_interval(asked):
    shown = text(write.comparison(asked("agent-svo-refusing"), asked("agent-svo-noisy")))
    assert "| **Steering range, degrees** | – | – | –  |" in shown


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((MODELS[0], MODELS[0]), "can't be compared with itself"),
        (("agent-first", "agent-pairs-worths"), "share no study answered in full by both"),
    ],
)
def test_two_that_can_not_be_compared_get_one_message(asked, pair, message):
    with pytest.raises(UserError, match=message):
        write.comparison(*map(asked, pair))

"""The answer browser: what its files hold, and that a real browser shows it."""

import errno
import hashlib
import json
import re
from collections import Counter
from itertools import product
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues import cli
from deepvalues.ask import catalogue
from deepvalues.ask.conversation import Conversation
from deepvalues.ask.record import Record
from deepvalues.ask.study import Study
from deepvalues.browser import write
from deepvalues.browser.collect import Row, Sheet, marked, names, sheets
from deepvalues.browser.write import Texts, encode, fragments_of, front_coded, script, starts
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper.site import check_links, copy_resources, mend_links
from deepvalues.studies.dvb.respondents.agents import Recogniser
from headless import open_page

HOSTILE = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
LINES = "a\u2028b\u2029c\\u003c $& {{reply 1}} \ud800 <!-- ]]> \u0000\r\n"
texts = st.text(st.characters(codec=None), max_size=40) | st.sampled_from([HOSTILE, LINES])


def parse(written):
    """Name and payload of a script, as the page's function would be called with them."""
    found = re.fullmatch(r'answers\("([^"]+)",(.*)\);\n', written)
    return found[1], json.loads(found[2])


def decoded(coded):
    """What `front_coded` was given."""
    sequences = []
    for shared, *rest in coded:
        sequences.append([*(sequences[-1][:shared] if shared else ()), *rest])
    return sequences


class Reader:
    """Reads a data folder as the page's script does: parts by first row, front-coded sequences, words."""

    def __init__(self, files):
        self.parts = {name: parse(written)[1] for name, written in files.items()}
        assert all(parse(written)[0] == name for name, written in files.items())
        self.index = self.parts["index"]

    def row(self, kind, first, number):
        part = max(place for place, start in enumerate(first) if start <= number)
        payload = self.parts[f"{kind}-{part:03d}"]
        assert payload["first"] == first[part]
        return payload, number - payload["first"]

    def text(self, number):
        payload, place = self.row("prompts", self.index["promptParts"], number)
        found = (self.row("texts", self.index["textParts"], f) for f in decoded(payload["rows"])[place])
        return "".join(part["rows"][at] for part, at in found)

    def item(self, study, number):
        payload, place = self.row(f"items-{study['name']}", study["itemParts"], number)
        cells = {
            c: payload["words"][w] for c, w in zip(payload["columns"], payload["rows"][place], strict=True)
        }
        system, *turns = (None if text < 0 else self.text(text) for text in payload["turns"][place])
        return cells, system, turns, payload["options"][place], payload["names"]

    def answers(self):
        """Every answer with its study."""
        for study in self.index["studies"]:
            slots = {name: column or None for name, column in study["slots"].items()}
            for entry in study["models"]:
                codes = [one for code in entry["codes"] for one in ([-1] * -code if code < 0 else [code])]
                for slot, code in enumerate(codes):
                    if code < 0:
                        continue
                    payload, place = self.row(entry["file"], entry["parts"], slot)
                    got = {
                        column: None if word < 0 else payload["words"][word]
                        for column, word in zip(payload["columns"], payload["rows"][place], strict=True)
                    }
                    item, repeat, turn = (
                        slots[n][slot] if slots[n] else 0 for n in ("item", "repeat", "turn")
                    )
                    status, shown = self.index["readings"][code]
                    assert shown in (got["choice"] or "", write.LONG_CHOICE)
                    model = self.index["models"][entry["model"]][0]
                    yield study["name"], Row(model, study["items"][item], repeat, turn, status, **got)


def rows_of(sheet):
    """The answers of a sheet, each with its study."""
    return [(sheet.study, row) for row in sheet.answers]


def sheet(study, conversations, rows, **columns):
    """A sheet of items that have nothing but ids and the given columns."""
    items = pd.DataFrame({"id": [conversation.item for conversation in conversations], **columns})
    return Sheet(study, study.title(), items, conversations, [()] * len(items), rows, hidden=0)


def hostile_sheet():
    """A conversation with system text, repeats and turns, in which everything tries to break out."""
    conversations = [
        Conversation("first <b>", (HOSTILE, "You said {{reply 1}}. " + LINES), system=HOSTILE, repeats=2),
        Conversation("second", ("plain",)),
    ]
    rows = [
        Row("evil/<model>", "first <b>", 0, 0, "answered", None, HOSTILE, None, "stop", None, HOSTILE),
        Row("evil/<model>", "first <b>", 0, 1, "refused", None, LINES, HOSTILE, None, None),
        Row("evil/<model>", "first <b>", 1, 0, "failed", None, None, None, None, "Timeout<i>"),
        Row("other", "second", 0, 0, "answered", HOSTILE + "!", "x", None, None, None),
    ]
    return sheet("hostile", conversations, rows, arm=["a_b", HOSTILE], value=["v<1>", "v2"])


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A part of the real record: answers of several kinds of status to a few dozen items of three studies."""
    folder = tmp_path_factory.mktemp("records")
    for name in (
        "dvb/agent-prose",
        "dvb/agent-declining",
        "dvb-ratings/agent-rater-stray",
        "dvb-validation/agent-random",
    ):
        lines = (paths.RESPONSES / f"{name}.jsonl").read_bytes().splitlines(keepends=True)
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"".join(lines[:45]))
    return folder


@pytest.fixture(scope="module")
def found(records):
    return list(sheets(records))


@pytest.fixture(scope="module")
def files(found, bank):
    families = {name: model.family for name, model in catalogue.registry().models.items()}
    return encode(found, families, names(bank))


@pytest.fixture(scope="module")
def many():
    """The files of 100,000 answers: 20 models, 5,000 items."""
    conversations = [
        Conversation(f"c{number:04d}.test", (f"Question {number}.\nOption A: x and that y.\nOption B: z.",))
        for number in range(5_000)
    ]
    statuses = ("answered", "answered", "answered", "refused", "unparsable")
    rows = [
        Row(
            f"model-{model:02d}",
            one.item,
            0,
            0,
            statuses[(model + place) % 5],
            "AB"[place % 2],
            "Option A",
            None,
            "stop",
            None,
        )
        for model, (place, one) in product(range(20), enumerate(conversations))
    ]
    arms = ["deconfounded" if number % 4 else "control" for number in range(5_000)]
    return encode([sheet("many", conversations, rows, arm=arms, right=["A"] * 5_000)], {}, {})


# Texts.


@given(st.lists(texts, max_size=8))
def test_texts_come_back_from_fragments_and_shared_beginnings(found):
    store = Texts(found)
    assert len(store.texts) == len(set(found)) and len(set(store.fragments)) == len(store.fragments)
    assert decoded(front_coded(store.sequences)) == store.sequences
    whole = ["".join(store.fragments[piece] for piece in sequence) for sequence in store.sequences]
    assert [whole[store.number[text]] for text in found] == found


@given(texts)
def test_fragments_join_to_the_text(text):
    assert "".join(fragments_of(text)) == text


def test_a_sequence_gives_only_what_it_does_not_share_with_the_one_before():
    assert front_coded([[1, 2, 3], [1, 2, 4, 5], [6]]) == [[0, 1, 2, 3], [2, 4, 5], [0, 6]]


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 60))
def test_parts_stay_below_the_limit_unless_one_row_does_not(costs, limit):
    first = starts(costs, limit)
    for start, end in zip(first, [*first[1:], len(costs)], strict=True):
        assert sum(costs[start:end]) <= limit or sum(cost > 0 for cost in costs[start:end]) == 1


# Scripts.


@given(texts)
def test_nothing_in_a_script_ends_it_and_all_comes_back(text):
    written = script("part", {"rows": [text]})
    assert "<" not in written and ">" not in written and written.isascii()
    assert written.count("\n") == 1 and parse(written) == ("part", {"rows": [text]})


def test_hostile_texts_come_back_from_the_parts():
    hostile = hostile_sheet()
    reader = Reader(encode([hostile], {"other": "reference agent"}, {}))
    assert list(reader.answers()) == rows_of(hostile)
    (study,) = reader.index["studies"]
    _, system, turns, _, _ = reader.item(study, 0)
    assert (system, *turns) == (HOSTILE, *hostile.conversations[0].turns)
    assert reader.item(study, 1)[1:3] == (None, ["plain"])
    assert reader.index["models"] == [["evil/<model>", ""], ["other", "reference agent"]]
    assert study["slots"] == {"item": [0, 0, 0, 1], "repeat": [0, 0, 1, 0], "turn": [0, 1, 0, 0]}


# The record, and back.


def test_every_answer_of_the_record_comes_back_with_its_prompt(records, found, files):
    reader = Reader(files)
    got = list(reader.answers())
    assert Counter(got) == Counter(row for one in found for row in rows_of(one))
    replies = {
        (study, answer.model, answer.item, answer.repeat, answer.turn): answer.text
        for study in ("dvb", "dvb-ratings", "dvb-validation")
        for path in (records / study).glob("*.jsonl")
        for answer in Record(path).answers.values()
    }
    assert {(study, row.model, row.item, row.repeat, row.turn): row.reply for study, row in got} == replies
    for one, study in zip(found, reader.index["studies"], strict=True):
        for number, (conversation, item) in enumerate(
            zip(one.conversations, one.items.to_dict("records"), strict=True)
        ):
            cells, system, turns, _, _ = reader.item(study, number)
            assert (system, tuple(turns)) == (conversation.system, conversation.turns)
            assert all(cells[column] == str(item[column]) for column in cells)
    assert {status for _, row in got if (status := row.status)} >= {"answered", "refused", "unparsable"}


def test_every_prompt_is_stored_once(found, files):
    prompts = {conversation.turns[0] for one in found for conversation in one.conversations}
    coded = [parse(written)[1]["rows"] for name, written in files.items() if name.startswith("prompts")]
    assert sum(map(len, coded)) == len(prompts)
    fragments = [
        piece
        for name, written in files.items()
        if name.startswith("texts")
        for piece in parse(written)[1]["rows"]
    ]
    assert len(fragments) == len(set(fragments)) == len({f for text in prompts for f in fragments_of(text)})
    stored = sum(len(written) for name, written in files.items() if name.startswith(("prompts", "texts")))
    assert stored < 0.4 * sum(map(len, prompts))


def test_the_facets_say_what_the_items_columns_say(found, files, bank):
    reader = Reader(files)
    one, study = found[0], reader.index["studies"][0]
    called = names(bank)

    def labels(facet, number):
        found = study["facets"][facet]
        return [found["labels"][column[number]] for column in found["of"]]

    for number, item in enumerate(one.items.to_dict("records")):
        assert labels("arm", number) == [item["arm"].replace("_", " ")]
        assert labels("value", number) == [called[item["v1"]], called[item["v2"]]]
        assert labels("dimension", number) == [called[item["dimension"]]]
        assert labels("target", number) == [item["right"]]
        assert labels("examples", number) == [str(item["n_examples"])]
    assert reader.index["studies"][1]["facets"]["dimension"] is None


def test_options_show_the_traits_that_the_items_name(items_smoke, bank):
    called = names(bank)
    for item, turns in zip(
        items_smoke.to_dict("records"), marked(items_smoke, Recogniser(bank)), strict=True
    ):
        ((a, b),) = turns
        target, other = (a, b) if item["right"] == "A" else (b, a)
        assert target.is_target and not other.is_target and (a.label, b.label) == ("Option A", "Option B")
        for option, side in ((target, "target"), (other, "other")):
            shown = {mark.kind: mark for mark in option.marks}
            for kind in ("value", "pole"):
                trait = re.sub(r"\.(?:train|test)\.\d+$", "", item[f"{side}_{kind}_wording"])
                assert shown[kind].name == called[trait]
                assert item[shown[kind].role] == trait
            first = "value" if item["clause_order"] == "value_first" else "pole"
            assert option.marks[0].kind == first


def test_divisions_show_their_coins_and_the_one_that_suits_the_value(bank):
    items = catalogue.study("svo").items("full")
    table = pd.read_csv(paths.PUBLISHED / "svo_items.csv").set_index(["item", "option"])
    picked = items[(items["mode"] == "controlled") & (items["trial"] == 0)]
    conversations = catalogue.study("svo").conversations(picked)
    for item, turns, conversation in zip(
        picked.to_dict("records"), marked(picked, Recogniser(bank)), conversations, strict=True
    ):
        assert len(turns) == item["turns"] == len(conversation.turns)
        asked = zip(map(int, item["item_order"].split()), item["option_orders"].split(), strict=True)
        for (number, order), options, text in zip(
            asked, turns[item["openings"] :], conversation.turns[item["openings"] :], strict=True
        ):
            for option, printed in zip(options, order, strict=True):
                own, other = table.loc[(number, printed), ["self", "other"]]
                (mark,) = option.marks
                assert mark.name == f"{own:.0f} for itself, {other:.0f} for the other"
                assert f"\n{option.label}: {own:.0f}, {other:.0f}\n" in text
                assert mark.role == ("" if printed == option.label else f"{printed} as printed")
            suits = item["value"] != "none" and number <= 6
            assert sum(option.is_target for option in options) == suits


def test_prompts_of_other_wordings_have_no_marked_options(items_smoke, bank):
    item = items_smoke.head(1)
    strange = item.assign(prompt=item["prompt"].str.replace("An agent that", "A robot that"))
    bare = item.assign(prompt="What now?", prefix_chars=0)
    for frame in (strange, bare, item[["id", "prompt"]]):
        assert list(marked(frame, Recogniser(bank))) == [()]


# Which records and items.


def test_the_models_are_those_of_the_paper_for_the_study_or_one_of_its_sets():
    registry = catalogue.registry()
    dvb = [model.name for model in registry.of_paper("dvb")]
    assert "agent-value" in dvb and len(dvb) == len(set(dvb)) and "agent-rater" not in dvb
    assert registry.of_paper("no-such-study") == []


def test_items_are_looked_for_in_set_after_set():
    built = []

    class Small(Study):
        seed = 1
        item_sets = sets_with_all = ("subset", "full")

        def build(self, item_set):
            built.append(item_set)
            return pd.DataFrame({"id": {"subset": ["a", "b"], "full": ["a", "b", "c"]}[item_set]})

    study = Small()
    assert list(study.items_with({"b"})["id"]) == ["b"] and built == ["subset"]
    assert list(study.items_with({"b", "c"})["id"]) == ["b", "c"]
    assert list(study.items_with({"gone"})["id"]) == []


def test_answers_to_other_prompts_are_counted_and_what_was_never_asked_has_no_row(records, tmp_path):
    source = (records / "dvb" / "agent-prose.jsonl").read_bytes().splitlines(keepends=True)
    first = json.loads(source[0])
    path = tmp_path / "dvb" / "agent-prose.jsonl"
    path.parent.mkdir()
    stranger = Record(records / "dvb" / "agent-prose.jsonl").answers[first["key"]]._replace(key="0" * 32)
    path.write_bytes(b"".join(source[:3]) + stranger.line())
    (one,) = sheets(tmp_path)
    assert len(one.answers) == 3 and one.hidden == 1 and {row.model for row in one.answers} == {"agent-prose"}


def test_a_request_that_failed_is_shown_with_its_error(records, tmp_path):
    source = (records / "dvb" / "agent-prose.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / "dvb" / "agent-prose.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"".join(source[:3]))
    # The other model of the study has the item, which this one failed to answer.
    (tmp_path / "dvb" / "agent-declining.jsonl").write_bytes(
        (records / "dvb" / "agent-declining.jsonl").read_bytes()
    )
    log = {"key": json.loads(source[5])["key"], "error": "APITimeoutError"}
    path.with_suffix(".log.jsonl").write_text(json.dumps(log) + "\n")
    (one,) = sheets(tmp_path)
    (failed,) = (row for row in one.answers if row.status == "failed")
    assert (failed.error, failed.item, failed.reply) == (
        "APITimeoutError",
        json.loads(source[5])["item"],
        None,
    )


# The folder.


def test_the_folder_is_the_same_each_time_and_says_what_it_weighs(files, tmp_path):
    first, second = tmp_path / "a" / "answers", tmp_path / "b"
    weight = write.write_files(first, files)
    assert write.write_files(second, dict(files)) == weight
    write.write_files(second, files)  # a second time over the first

    def content(folder):
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    assert content(first) == content(second)
    page = (first / "index.html").read_text()
    assert weight.sentence() in page and "{{" not in page
    sizes = {p: p.stat().st_size for p in first.rglob("*") if p.is_file()}
    assert weight.files == len(sizes) and abs(weight.total - sum(sizes.values())) < 500
    loaded = [*re.findall(r'(?:src|href)="([^":#]+)"', page)]
    with_page = {first / name for name in loaded if not name.startswith("..")} | {first / "index.html"}
    assert abs(weight.first - sum(sizes[p] for p in with_page)) < 500
    assert not re.search(r'(?:src|rel="stylesheet" href)="https?:', page)


def test_the_site_takes_the_browser_in_and_every_link_holds(files, tmp_path):
    write.write_files(tmp_path / "build" / "answers", files)
    site = tmp_path / "site"
    (site / "notebooks").mkdir(parents=True)
    link = '<a href="answers/index.html#study=dvb">Answers</a>'
    (site / "index.html").write_text(link)
    (site / "notebooks" / "page.html").write_text(link)
    copy_resources(tmp_path, site)
    mend_links(site)
    check_links(site)
    assert 'href="../answers/index.html#' in (site / "notebooks" / "page.html").read_text()
    assert (site / "answers" / "index.html").read_bytes() == (
        tmp_path / "build" / "answers" / "index.html"
    ).read_bytes()


def test_a_hundred_thousand_answers_stay_light(many, tmp_path):
    weight = write.write_files(tmp_path / "answers", many)
    assert weight.first < 3_000_000 and weight.largest < 1_500_000
    assert sum(1 for _ in Reader(many).answers()) == 100_000


def test_a_folder_that_can_not_be_written_leaves_the_old_one_whole(tmp_path, monkeypatch):
    folder = tmp_path / "answers"
    write.write_files(folder, {"index": "old", "texts-000": ""})

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(
        UserError, match="answers: can't be written: Permission denied; the previous copy remains"
    ):
        write.write_files(folder, {"index": "new", "texts-000": ""})
    assert (folder / "data" / "index.js").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_others_may_read_the_folder(tmp_path):
    write.write_files(tmp_path / "answers", {"index": "", "texts-000": ""})
    assert (tmp_path / "answers").stat().st_mode & 0o777 == (
        tmp_path / "answers" / "data"
    ).stat().st_mode & 0o777


def test_too_heavy_a_page_and_a_foreign_folder_are_refused(tmp_path, monkeypatch):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="holds files that are not an answer browser"):
        write.write_files(foreign, {"index": "", "texts-000": ""})
    assert (foreign / "thesis.txt").exists()
    with pytest.raises(UserError, match="list fewer models"):
        write.write_files(tmp_path / "a", {"index": "x" * (write.MOST_FIRST + 1), "texts-000": ""})
    with pytest.raises(UserError, match="list fewer models"):
        write.write_files(tmp_path / "a", {"index": "", "texts-000": "x" * (write.MOST_PART + 1)})
    with pytest.raises(UserError, match="no recorded answer"):
        write.write_browser(tmp_path / "a", record_folder=tmp_path / "nowhere")
    assert not (tmp_path / "a").exists()


def test_the_command_writes_where_it_is_told(monkeypatch, tmp_path, capsys):
    wrote = []
    monkeypatch.setattr(
        write,
        "write_browser",
        lambda out: wrote.append(out) or write.Weight(6_900_000, 1_000_000, 500_000, 65),
    )
    assert cli.main(["browser", "--out", str(tmp_path)]) == 0 and cli.main(["browser"]) == 0
    assert wrote == [tmp_path, paths.SITE / "answers"]
    assert "6.9 MB in total" in capsys.readouterr().out


def test_the_vendored_component_is_what_its_readme_says():
    vendor = Path(write.__file__).parent / "vendor"
    sums = dict(re.findall(r"\| ([0-9a-f]{64}) \| (\S+) \|", (vendor / "README.md").read_text()))
    assert {name: digest for digest, name in sums.items()} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendor.iterdir()
        if path.name != "README.md"
    }
    assert "Permission is hereby granted, free of charge" in (vendor / "LICENSE").read_text()


# In a real browser.


@pytest.fixture(scope="module")
def page():
    with open_page() as opened:
        yield opened
        assert opened.faults == []


@pytest.fixture(scope="module")
def site(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "answers"
    write.write_files(folder, files)
    return folder.joinpath("index.html").as_uri()


def count(page):
    return int(page.text("#count").split(" of ")[0].replace(",", ""))


def test_the_page_works_from_disk_and_its_filters_by_keyboard(page, site, files):
    page.open(site)
    everything = list(Reader(files).answers())
    assert count(page) == len(everything)
    passed = page.tab_to("filter-study")
    assert len(passed) <= 3  # the links before it, no more
    page.press("ArrowDown")
    first = files and Reader(files).index["studies"][0]["name"]
    of_study = [row for study, row in everything if study == first]
    page.until(f"document.querySelector('#count').textContent.startsWith('{len(of_study)} of')")
    page.tab_to("filter-status")
    page.press("r")  # refused
    refused = [row for row in of_study if row.status == "refused"]
    page.until(f"document.querySelector('#count').textContent.startsWith('{len(refused)} of')")
    assert 0 < len(refused) < len(of_study)
    page.tab_to("filter-item")
    for key in "zz":
        page.press(key)
    page.until("document.querySelector('#count').textContent.startsWith('None of')")
    assert "clear them all" in page.text("#count")
    page.tab_to("clear")
    page.press("Enter")
    page.until(f"document.querySelector('#count').textContent.startsWith('{len(everything)} of')")


def test_who_comes_without_wishes_sees_the_first_answer(page, site, found):
    page.open(site)
    page.until("document.querySelector('#reply')")
    assert page.text("#reply") == found[0].answers[0].reply
    assert page.evaluate("document.querySelector('.slick-row.active').dataset.row") == "0"
    assert "right option is the one that the score counts" in page.text("#legend")


def test_words_of_prompts_are_found(page, site, found):
    shared = found[0].conversations[0].turns[0].split("Situation 1")[1].splitlines()[2][-30:]
    prompts = {(one.study, each.item): "".join(each.turns) for one in found for each in one.conversations}
    expected = [row for one in found for row in one.answers if shared in prompts[one.study, row.item]]
    assert 0 < len(expected) < sum(len(one.answers) for one in found)
    page.open(f"{site}#item={quote(shared.upper())}")
    page.until(f"document.querySelector('#count').textContent.startsWith('{len(expected):,} of')")


def test_columns_recover_after_the_window_was_narrow(page, site):
    widths = "[...document.querySelectorAll('.slick-header-column')].map((one) => one.offsetWidth)"
    page.open(site)
    wide = page.evaluate(widths)
    for width in (390, 1280):
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        page.until(f"({widths}.length === {len(wide)}) === {json.dumps(width == 1280)}")
    assert page.evaluate(widths) == pytest.approx(wide, abs=2)


def test_rows_are_walked_and_opened_by_keyboard(page, site, found):
    page.open(site)
    page.tab_to("clear")
    page.press("Tab")
    assert "slick-cell" in page.focus()
    page.press("ArrowDown")
    page.press("ArrowDown")
    assert page.evaluate("document.activeElement.parentElement.dataset.row") == "2"
    third = found[0].answers[2]
    page.until(f"document.querySelector('#detail-heading').textContent === '{third.item}, {third.model}'")
    page.press("Enter")
    assert page.focus() == "detail-heading"
    assert page.text("#reply") == third.reply
    (conversation,) = (one for one in found[0].conversations if one.item == third.item)
    assert page.evaluate("document.querySelector('pre.prompt').textContent") == conversation.turns[0]
    assert page.evaluate("document.querySelectorAll('#detail .options li.target').length") == 1
    assert (
        page.evaluate("document.querySelectorAll('pre.prompt mark.value, pre.prompt mark.pole').length") == 4
    )
    marks = page.evaluate("[...document.querySelectorAll('.shows mark')].map((m) => m.textContent)")
    assert len(marks) == 4 and all(re.fullmatch(r"(value|pole): .+ \([vs][12]\)", mark) for mark in marks)
    page.press("Escape")
    assert "slick-cell" in page.focus()
    # One Tab leaves the table: it is a single stop.
    page.press("Tab")
    assert page.focus() == "previous"
    page.press("Tab", shift=True)
    assert "slick-cell" in page.focus()


def test_a_screen_reader_is_told_what_everything_is(page, site):
    page.open(site, width=1700)
    page.tab_to("clear")
    page.press("Tab")
    page.until("document.querySelector('#reply')")
    told = page.accessible()
    controls = [
        (role, name) for role, name in told if role in ("combobox", "searchbox", "button", "link", "grid")
    ]
    assert all(name for _, name in controls)
    boxes = [name for role, name in told if role == "combobox"]
    assert boxes == [
        "Study",
        "Model",
        "Arm, task or mode",
        "Examples in the prompt",
        "Value",
        "Dimension",
        "Status",
        "Read as",
    ]
    assert ("searchbox", "Words of the prompt or item") in told and ("grid", "Answers") in told
    assert {name for role, name in told if role == "columnheader"} >= {
        "Study",
        "Model",
        "Item",
        "Status",
        "Read as",
    }
    assert "status" in {role for role, _ in told}
    assert page.evaluate("document.querySelector('#count').getAttribute('aria-live')") == "polite"
    assert page.evaluate("document.querySelectorAll('#grid [tabindex=\"0\"]').length") == 1
    # A grid's children are rows, not panes that take the focus.
    assert page.evaluate("document.querySelectorAll('#grid > [tabindex]').length") == 0
    rowcount = page.evaluate("document.querySelector('#grid').getAttribute('aria-rowcount')")
    assert int(rowcount) == count(page) + 1
    assert (
        page.evaluate("document.querySelector('.slick-row[data-row=\"0\"]').getAttribute('aria-rowindex')")
        == "2"
    )


def test_a_view_can_be_cited_by_its_address(page, site, found):
    row = found[1].answers[-1]
    answer = f"{found[1].study}|{row.model}|{row.item}|{row.repeat}|{row.turn}"
    page.open(f"{site}#study={found[1].study}&answer={answer}")
    page.until("document.querySelector('#reply')")
    assert page.text("#reply") == row.reply
    assert page.text("#detail-heading").startswith(row.item)
    assert count(page) == len(found[1].answers)
    assert "answer=" in page.evaluate("location.hash")


def cited(study, row):
    return f"{study}|{row.model}|{row.item}|{row.repeat}|{row.turn}"


def go(page, hash_):
    """Follow a link on the open page to another hash."""
    page.evaluate(
        f"""new Promise((resolve) => {{
            addEventListener('hashchange', () => resolve(), {{once: true}});
            location.hash = {json.dumps(hash_)};
        }})"""
    )


def test_a_link_on_the_open_page_and_the_way_back_are_read(page, site, found):
    first, second = (one.study for one in found[:2])
    one, other = found[0].answers[3], found[1].answers[-1]
    page.open(f"{site}#study={first}&answer={cited(first, one)}")
    page.until("document.querySelector('#reply')")
    go(page, f"#study={second}&answer={cited(second, other)}")
    page.until(f"document.querySelector('#detail-heading').textContent.startsWith({json.dumps(other.item)})")
    assert count(page) == len(found[1].answers) and page.text("#reply") == other.reply
    assert page.evaluate("document.querySelector('#filter-study').value") == second
    # The page's own change of the address is no link.
    page.evaluate("window.heard = 0; addEventListener('hashchange', () => { window.heard += 1; }); undefined")
    page.tab_to("filter-status")
    page.press("a")
    page.until("location.hash.includes('status=answered')")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 200))")
    assert page.evaluate("window.heard") == 0
    page.evaluate("history.back()")
    page.until(f"document.querySelector('#detail-heading').textContent.startsWith({json.dumps(one.item)})")
    assert count(page) == len(found[0].answers) and page.text("#reply") == one.reply
    assert page.evaluate("document.querySelector('#filter-status').value") == ""
    assert page.evaluate("window.heard") == 1
    page.evaluate("history.forward()")
    page.until(f"document.querySelector('#detail-heading').textContent.startsWith({json.dumps(other.item)})")
    assert page.evaluate("document.querySelector('#filter-status').value") == "answered"
    # A link that names no answer closes the one that is open.
    go(page, f"#study={first}")
    assert page.text("#detail-heading") == "No answer chosen" and page.text("#reply") is None
    assert page.evaluate("location.hash") == f"#study={first}"


def test_the_link_to_the_table_leaves_the_view_as_it_is(page, site, found):
    study, row = found[1].study, found[1].answers[-1]
    page.open(f"{site}#study={study}&answer={cited(study, row)}")
    page.until("document.querySelector('#reply')")
    address = page.evaluate("location.hash")
    go(page, "#table")
    page.until(f"location.hash === {json.dumps(address)}")
    assert count(page) == len(found[1].answers) and page.text("#reply") == row.reply
    page.open(f"{site}#table")
    assert "not here" not in page.text("#count")


@pytest.mark.parametrize("is_open", [False, True])
def test_a_link_to_what_is_not_here_is_told_in_the_status_line(page, site, found, is_open):
    total = sum(len(one.answers) for one in found)

    def follow(hash_):
        if is_open:
            go(page, hash_)
        else:
            page.open(site + hash_)
        return page.text("#count")

    page.open(f"{site}#answer={cited(found[0].study, found[0].answers[0])}")
    page.until("document.querySelector('#reply')")
    gone = f"{found[0].study}|agent-gone|no.such-item|0|0"
    told = follow(f"#answer={gone}")
    assert told == f"{total} of {total} answers. This link names an answer that is not here: {gone}."
    assert page.text("#detail-heading") == "No answer chosen"
    for name, named in (
        ("study", "a study"),
        ("model", "a model"),
        ("arm", "an arm, task or mode"),
        ("examples", "a number of examples"),
        ("value", "a value"),
        ("dimension", "a dimension"),
        ("status", "a status"),
        ("read", "a reading"),
    ):
        told = follow(f"#{name}=no-such")
        assert told == f"{total} of {total} answers. This link names {named} that is not here: no-such."
        assert page.evaluate(f"document.querySelector('#filter-{name}').selectedOptions[0].text") == "all"
    assert follow("#modell=x").endswith("This link names a filter that is not here: modell.")
    # What is here is shown all the same.
    told = follow(f"#study={found[1].study}&model=no-such&answer={gone}")
    assert told.startswith(f"{len(found[1].answers)} of {total} answers. This link names a model that")
    assert told.endswith(f"This link names an answer that is not here: {gone}.")
    told = follow("#item=zz&model=no-such")
    assert told.startswith("None of") and "clear them all. This link names a model" in told
    page.tab_to("clear")
    page.press("Enter")
    page.until(f"document.querySelector('#count').textContent === '{total} of {total} answers'")


def test_hostile_texts_stay_texts(page, tmp_path):
    write.write_files(tmp_path / "answers", encode([hostile_sheet()], {}, {}))
    page.open((tmp_path / "answers" / "index.html").as_uri() + "#answer=hostile|evil/<model>|first <b>|0|1")
    page.until("document.querySelector('#reply')")
    assert page.evaluate("document.title").startswith("Answers")
    assert (
        page.evaluate("document.querySelectorAll('#detail img, #detail b, #detail i, #grid img').length") == 0
    )
    spoken = page.evaluate("[...document.querySelectorAll('pre.prompt')].map((text) => text.textContent)")
    assert spoken[:3] == [HOSTILE, HOSTILE, HOSTILE]  # system, first turn, its reply
    assert spoken[3].startswith(f"You said {HOSTILE}. a\u2028b")


def test_a_hundred_thousand_answers_draw_a_screenful_of_rows(page, many, tmp_path):
    write.write_files(tmp_path / "answers", many)
    page.open((tmp_path / "answers" / "index.html").as_uri())
    assert count(page) == 100_000
    drawn = "document.querySelectorAll('.slick-row').length"
    assert 10 < page.evaluate(drawn) < 100
    page.evaluate("document.querySelector('.slick-viewport').scrollTop = 2_000_000")
    page.until("[...document.querySelectorAll('.slick-row')].some((row) => Number(row.dataset.row) > 60_000)")
    assert page.evaluate(drawn) < 150
    page.tab_to("filter-model")
    page.press("ArrowDown")
    page.until("document.querySelector('#count').textContent.startsWith('5,000 of')")
    assert 10 < page.evaluate(drawn) < 100
    page.tab_to("filter-read")
    page.press("t")
    page.until("document.querySelector('#count').textContent.startsWith('1,500 of')")


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_has_no_sideways_scroll_and_both_schemes_have_contrast(page, site, dark):
    page.open(site, width=390, height=844, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    headers = page.evaluate(
        "[...document.querySelectorAll('.slick-header-column')].map((one) => one.innerText.trim())"
    )
    assert headers == ["Model", "Item", "Read as"]
    page.evaluate("document.querySelector('.slick-cell').click()")
    page.until("document.querySelector('#reply') && document.activeElement.id === 'detail-heading'")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    pairs = page.evaluate(
        """['body', '.hint', '.slick-row .slick-cell', 'mark.value', 'mark.pole', '.badge.chosen',
            '.facts dt', 'button', 'a'].map((selector) => {
                const one = document.querySelector(selector), clear = 'rgba(0, 0, 0, 0)';
                let ground = one;
                while (getComputedStyle(ground).backgroundColor === clear) ground = ground.parentElement;
                return [selector, getComputedStyle(one).color, getComputedStyle(ground).backgroundColor];
            })"""
    )
    for selector, ink, ground in pairs:
        assert contrast(ink, ground) >= 4.5, (selector, ink, ground)
    is_dark = luminance(pairs[0][2]) < 0.1
    assert is_dark == dark


def luminance(colour):
    """Relative luminance of an rgb() colour, as the web's accessibility guidelines (WCAG 2.2) define it."""
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * channel for weight, channel in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    """Contrast of two colours: (lighter + .05) / (darker + .05)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)

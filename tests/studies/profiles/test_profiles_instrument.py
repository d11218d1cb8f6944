"""The instrument of study 3: its words, its items, its conversations, and how replies are read."""

import hashlib
import json
import pickle
import re
from collections import Counter
from itertools import pairwise

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.ask.reading import Received
from deepvalues.ask.record import Answer
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.studies.profiles.reading import off_scale, parse, read_closed, read_code, read_open, written
from deepvalues.studies.profiles.stimuli import (
    CLOSED_MODES,
    OPEN,
    build_items,
    load_bank,
    load_codebook,
    load_stimuli,
    orders,
)
from deepvalues.studies.profiles.study import REPAIRS, OpenProfiles, ValueProfiles, profile_schema

FILE = paths.STIMULI / "profiles.yml"
STIMULI = load_stimuli(FILE)
NAMES = [theme.name for theme in STIMULI.themes]
STUDY = ValueProfiles(FILE)
GOOD = {"ranking": (3, 4, 2, 1, 5, 6), "rating": (5, 4, 6, 7, 4, 1), "allocation": (20, 10, 25, 35, 10, 0)}


def as_asked(numbers, names=NAMES):
    entries = [{"theme": name, "response": number} for name, number in zip(names, numbers, strict=True)]
    return json.dumps({"responses": entries})


def received(text, mode="rating", finish="stop", refusal=None):
    return Received(text, refusal, finish, STUDY.items("smoke").set_index("mode")["prompt"][mode].iloc[0])


# Words.


def test_definitions_are_one_sentence_of_similar_length():
    lengths = [len(theme.definition.split()) for theme in STIMULI.themes]
    assert max(lengths) - min(lengths) <= 5
    assert all(theme.definition.count(".") == 1 for theme in STIMULI.themes)


def test_the_open_question_names_no_theme():
    words = {word.lower() for theme in STIMULI.themes for word in re.findall(r"\w{4,}", theme.name)}
    for text in [*STIMULI.open_questions.values(), STIMULI.open_format]:
        assert not words & set(re.findall(r"\w+", text.lower()))


def test_wordings_differ():
    assert len(set(STIMULI.frames.values())) == len(set(STIMULI.open_questions.values())) == 5


def test_the_codebook_has_every_theme_and_none():
    codebook = load_codebook(paths.STIMULI / "profiles_codebook.yml", STIMULI.themes)
    assert codebook.codes == [*STIMULI.keys, "none"]
    assert all(name in codebook.text for name in codebook.names.values())
    assert '{"theme": "…"}' in codebook.text


def change(tmp_path, **changes):
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    path = tmp_path / "profiles.yml"
    path.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"frames": []}, "there must be 6 themes, 5 frames"),
        ({"modes": None}, "an entry is missing or invalid"),
        ({"themes": {"agency": {"name": "Agency"}}}, "an entry is missing or invalid"),
        ({"seed": "x"}, "an entry is missing or invalid"),
    ],
)
def test_a_broken_instrument_is_told(tmp_path, changes, told):
    with pytest.raises(UserError, match=told):
        load_stimuli(change(tmp_path, **changes))


def test_files_that_are_none_are_told(tmp_path):
    with pytest.raises(UserError, match=r"none\.yml: file not found"):
        load_stimuli(tmp_path / "none.yml")
    (tmp_path / "list.yml").write_text("- 1\n")
    with pytest.raises(UserError, match="an entry is missing or invalid"):
        load_stimuli(tmp_path / "list.yml")
    (tmp_path / "list.yml").write_text("text")
    with pytest.raises(UserError, match="an entry is missing or invalid"):
        load_stimuli(tmp_path / "list.yml")
    (tmp_path / "empty.yml").touch()
    with pytest.raises(UserError, match=r"empty\.yml: the file is empty; restore it from git"):
        load_stimuli(tmp_path / "empty.yml")
    (tmp_path / "bank.yml").write_text("performance: [same]\nagency: [same]\n")
    with pytest.raises(UserError, match=r"an entry is missing or invalid .*; restore the file from git"):
        load_bank(tmp_path / "bank.yml", STIMULI.themes)
    with pytest.raises(UserError, match="the themes must be those"):
        load_codebook(change(tmp_path), tuple(reversed(STIMULI.themes)))


# Items.


@given(st.integers(1, 120), st.integers())
def test_orders_are_balanced_and_none_is_there_twice(runs, seed):
    found = orders(STIMULI.keys, runs, seed)
    assert len(set(found)) == len(found) == runs
    for start in range(0, runs - 5, 6):
        square = found[start : start + 6]
        for place in range(6):
            assert sorted(order[place] for order in square) == sorted(STIMULI.keys)
        assert set(Counter(pair for order in square for pair in pairwise(order)).values()) == {1}


def test_a_set_holds_the_runs_of_the_smaller_ones():
    smoke, standard, full = (STUDY.items(name) for name in ("smoke", "standard", "full"))
    assert (len(smoke), len(standard), len(full)) == (15, 90, 450)
    assert set(smoke["prompt"]) < set(standard["prompt"]) < set(full["prompt"])
    assert standard.groupby(["mode", "wording"]).size().unique().tolist() == [6]


def test_a_prompt_shows_frame_themes_in_order_and_question():
    for row in STUDY.items("standard").itertuples():
        listed = re.findall(r"^- (.+?): ", row.prompt, re.MULTILINE)
        by_name = {theme.name: theme.key for theme in STIMULI.themes}
        assert [by_name[name] for name in listed] == row.order.split()
        assert row.prompt.startswith(STIMULI.frames[row.wording])
        assert STIMULI.mode_of(row.prompt) == row.mode
        assert "{reply}" not in row.prompt and "{{" not in row.prompt


def test_repeats_of_the_open_question_are_kept_apart():
    study = OpenProfiles(FILE)
    items = study.items("standard")
    assert (len(items), items["prompt"].nunique()) == (30, 5)
    assert {STIMULI.mode_of(prompt) for prompt in items["prompt"]} == {OPEN}
    digests = {(c.digest(()), *c.repeat_numbers) for c in study.conversations(items)}
    assert len(digests) == 30


def test_seeds_change_orders_and_nothing_else_does():
    assert orders(STIMULI.keys, 12, 1) == orders(STIMULI.keys, 12, 1)
    assert orders(STIMULI.keys, 12, 1) != orders(STIMULI.keys, 12, 2)
    assert build_items(STIMULI, 12).equals(build_items(STIMULI, 12))


# Conversations.


def test_a_conversation_ends_when_a_reply_can_be_read_or_refuses():
    talk = STUDY.conversations(STUDY.items("smoke"))[0]
    assert talk.n_turns == 1 + REPAIRS
    said = {as_asked(GOOD["ranking"]): True, "Well.": False, "I can't rank these.": True}
    for text, over in said.items():
        assert talk.is_over([Answer("k", talk.item, 0, 0, text, None, "stop", 1, 1, None, None)]) is over
    assert pickle.loads(pickle.dumps(talk)).is_over(
        [Answer("k", talk.item, 0, 0, as_asked(GOOD["ranking"]), None, "stop", 1, 1, None, None)]
    )


def test_repairs_know_their_mode():
    assert [STIMULI.mode_of(STIMULI.repair_turn(mode)) for mode in CLOSED_MODES] == list(CLOSED_MODES)
    assert STIMULI.mode_of("Which option?") is None
    assert STUDY.read(Received(as_asked(GOOD["rating"]), question="Which option?")).status == "unparsable"


def test_the_schema_takes_what_is_asked_for():
    schema = profile_schema(STIMULI)["json_schema"]["schema"]
    entry = schema["properties"]["responses"]["items"]
    assert entry["properties"]["theme"]["enum"] == NAMES
    assert entry["additionalProperties"] is schema["additionalProperties"] is False
    assert json.dumps(STUDY.parameters)


# Reading.


@pytest.mark.parametrize("mode", CLOSED_MODES)
@pytest.mark.parametrize(
    "form",
    [
        as_asked,
        lambda n: f"```json\n{as_asked(n)}\n```",
        lambda n: f"Sure! {as_asked(n)} I hope that helps.",
        lambda n: f"<think>Perhaps {as_asked([9] * 6)}</think>{as_asked(n)}",
        lambda n: as_asked(reversed(n), reversed(NAMES)),
        lambda n: as_asked([f" {each} " for each in n]),
        lambda n: as_asked(n, [name.upper() for name in NAMES]),
        lambda n: as_asked(n, [name.lower().replace(" ", "_") for name in NAMES]),
        lambda n: as_asked(n, [name.replace("and", "&") for name in NAMES]),
        lambda n: json.dumps(dict(zip(NAMES, n, strict=True))),
        lambda n: json.dumps({"result": {"note": dict(zip(NAMES, n, strict=True))}}),
        lambda n: json.dumps([{name: each} for name, each in zip(NAMES, n, strict=True)]),
        lambda n: as_asked(n).replace("}]}", "},]}"),
        lambda n: as_asked(n) + "\n" + as_asked(n),
        lambda n: as_asked(n) + ' {"confidence": 3}',
        lambda n: as_asked([float(each) for each in n]),
        lambda n: as_asked(n).replace('"response"', '"points"'),
    ],
)
def test_replies_that_can_be_read(mode, form):
    assert parse(form(list(GOOD[mode])), mode, NAMES) == (tuple(map(float, GOOD[mode])), "")
    reading = read_closed(Received(form(list(GOOD[mode]))), mode, NAMES)
    assert reading == ("answered", written(GOOD[mode]))


def test_a_ranking_may_be_a_list_in_order():
    best_first = [NAMES[place] for place in (3, 2, 0, 1, 4, 5)]
    for listed in (best_first, [f"{rank}. {name}" for rank, name in enumerate(best_first, 1)]):
        assert parse(json.dumps({"ranking": listed}), "ranking", NAMES).numbers == GOOD["ranking"]
    assert parse(json.dumps(best_first), "rating", NAMES).numbers is None


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        ("I like Ethics best.", "rating", "no JSON with the themes"),
        (as_asked(GOOD["rating"])[:-9], "rating", "no JSON with the themes"),
        (as_asked(GOOD["rating"]).replace('"', "'"), "rating", "no JSON with the themes"),
        (as_asked([1, 2, 3, 4, 5], NAMES[:5]), "rating", "1 themes are missing"),
        (as_asked([1] * 6, [*NAMES[:5], "Beauty"]), "rating", "'Beauty' is none of the themes"),
        (as_asked([1] * 7, [*NAMES, "agency"]), "rating", "'agency' is there twice"),
        ('{"Agency": 1, "Agency": 2}', "rating", "'Agency' is there twice"),
        (as_asked([1, 2, 3, 4, 5, "high"]), "rating", "'high' is not a number"),
        (as_asked([1, 2, 3, 4, 5, True]), "rating", "True is not a number"),
        (as_asked([1, 2, 3, 4, 5, None]), "rating", "None is not a number"),
        (as_asked([1, 2, 3, 4, 5, 8]), "rating", "a rating is not a whole number from 1 to 7"),
        (as_asked([1, 2, 3, 4, 5, 4.5]), "rating", "a rating is not a whole number from 1 to 7"),
        (as_asked([1, 2, 3, 4, 5, 5]), "ranking", "the ranks are not 1 to 6, each once"),
        (as_asked([0, 1, 2, 3, 4, 5]), "ranking", "the ranks are not 1 to 6, each once"),
        (as_asked([20] * 6), "allocation", "the points sum to 120, not 100"),
        (as_asked([120, -20, 0, 0, 0, 0]), "allocation", "there are points below 0"),
        (as_asked([1] * 6) + as_asked([2] * 6), "rating", "there are several answers, and they differ"),
        (as_asked([1] * 6) + as_asked([9] * 6), "rating", "there are several answers, and they differ"),
    ],
)
def test_replies_that_can_t_be_read_say_why(text, mode, reason):
    assert parse(text, mode, NAMES) == (None, reason)
    assert read_closed(Received(text), mode, NAMES) == ("unparsable", None)


def test_points_may_be_rounded_decimals():
    assert parse(as_asked([16.67] * 5 + [16.66]), "allocation", NAMES).numbers is not None
    assert parse(as_asked(["20%", "20 points", "20 pts", 20, 10, "10 %"]), "allocation", NAMES).numbers
    assert off_scale([16.7] * 6, "allocation") == "the points sum to 100.2, not 100"


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Received("I'm sorry, but I can't rate these."), "refused"),
        (Received("As an AI, I don't hold opinions, and I won't rate them."), "refused"),
        (Received(None, "I can't help with that."), "refused"),
        (Received(None, None, "content_filter"), "refused"),
        (Received("", None, "length"), "truncated"),
        (Received('{"responses": [{"the', None, "length"), "truncated"),
        (Received(" ", None, "stop"), "unparsable"),
        (Received("I cannot stress enough: " + as_asked(GOOD["rating"])), "answered"),
        (Received(as_asked(GOOD["rating"]), None, "length"), "answered"),
        (Received("<think>I can't decide"), "unparsable"),
    ],
)
def test_the_status_of_a_reply(reply, status):
    assert read_closed(reply, "rating", NAMES).status == status


@given(st.text(), st.sampled_from(CLOSED_MODES))
def test_no_text_breaks_the_parser(text, mode):
    assert parse(text, mode, NAMES).numbers is None


@given(st.permutations(range(1, 7)), st.permutations(range(6)))
def test_every_ranking_comes_back_in_any_order(ranks, order):
    text = as_asked([ranks[place] for place in order], [NAMES[place] for place in order])
    assert parse(text, "ranking", NAMES).numbers == tuple(ranks)


def test_deep_nesting_is_no_answer():
    assert parse("[" * 100_000, "rating", NAMES).numbers is None


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Received("It works. It helps."), "answered"),
        (Received("I'm sorry, but I can't give an opinion."), "refused"),
        (Received("It works and it", None, "length"), "truncated"),
        (Received("…"), "unparsable"),
        (Received("<think>What to say?"), "unparsable"),
        (Received(None), "unparsable"),
        (Received(None, "No."), "refused"),
    ],
)
def test_open_answers(reply, status):
    assert read_open(reply) == (status, None)


CODES = {key: name for key, name, _ in STIMULI.themes} | {"none": "None"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"theme": "Social Good"}', "social_good"),
        ('```json\n{"theme": "none"}\n```', "none"),
        ('It is {"theme": "ethics & responsibility"}.', "ethics_responsibility"),
        ("Agency.", "agency"),
        ('{"theme": "Agency"} or {"theme": "Performance"}', None),
        ('{"theme": "Beauty"}', None),
        ('{"theme": 3}', None),
        ('{"code": "Agency"}', None),
        ("Agency or Performance", None),
    ],
)
def test_codes(text, code):
    reading = read_code(Received(text), CODES)
    assert reading == (("answered", code) if code else ("unparsable", None))


def test_a_coder_may_refuse():
    assert read_code(Received("I can't code this."), CODES).status == "refused"
    assert read_code(Received(None, "No."), CODES).status == "refused"


def test_released_words_are_never_edited():
    """Answers are keyed by the text, so a new version needs new files."""
    files = (paths.STIMULI / f"{name}.yml" for name in ("profiles", "profiles_codebook"))
    words = (json.dumps(read_yaml(file)) for file in files)
    assert hashlib.sha256("".join(words).encode()).hexdigest()[:16] == "d42c325acf89be72"

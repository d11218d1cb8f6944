"""Replies, one by one: what is read, and what is no choice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.ask.reading import STATUSES, Received
from deepvalues.core import paths
from deepvalues.studies.svo.stimuli import LETTERS, load_wording, option_lines
from deepvalues.studies.svo.study import read

WORDING = load_wording(paths.STIMULI / "svo.yml")
#: Item 1 in printed order: A pays 85, 85 and I pays 85, 15.
QUESTION = WORDING.question(0, 1, LETTERS, "{{reply 3}}")
#: Item 5 in another order: B pays 50, 100.
TURNED = WORDING.question(0, 5, "HIABCDEFG", WORDING.texts["no_goal"])


def reading(text, question=QUESTION, finish="stop", refusal=None):
    return tuple(read(Received(text, refusal, finish, question)))


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("A", "A"),
        ("i", "I"),
        ("**C**", "C"),
        ("(b)", "B"),
        ("[D].", "D"),
        ("E)", "E"),
        ("Option F", "F"),
        ("option g.", "G"),
        ("Answer: H", "H"),
        ("My final answer is: I", "I"),
        ("Ａ", "A"),
        ("A: 85, 85", "A"),
        ("E (85, 50)", "E"),
        ("85, 50", "E"),
        ("85 / 50", "E"),
        ("85 coins for me and 50 coins for the other", "E"),
        ("Option A: 85, 85.", "A"),
        ("<think>E or I? The goal says: lead.</think>\nI", "I"),
        ("I would choose option C.", "C"),
        ("I choose I.", "I"),
        ("I'd go with E, for balance.", "E"),
        ("As such a person I would pick A.", "A"),
        ("I will take 85, 15.", "I"),
        ("The best division is 85 and 76.", "B"),
        ("Option C: 85 for me, 68 for the other participant.", "C"),
        ("I\n\nThis leaves me furthest ahead, although not richer.", "I"),
        ("Being competitive, the lead counts, not the sum.\n\nAnswer: I", "I"),
        ("A\n\nA", "A"),
        ("The answer is D", "D"),
    ],
)
def test_read(text, letter):
    assert reading(text) == ("answered", letter)


@pytest.mark.parametrize(
    "text",
    [
        "J",
        "A or B",
        "A, B",
        "Option A or option I.",
        "I would choose option A, not option I.",
        "Not A",
        "85",
        "85, 51",
        "A: 85, 15",
        "A\nB",
        "85, 85\n85, 15",
        "I choose option A (85, 15).",
        "50, 85",
        "I would pick a fair division.",
        "I want A good outcome for both.",
        "A fair split is what I want.",
        "I think it is best for all.",
        "The goal that I set asks for equality.",
        "Either would do.",
        "Perhaps option C.",
        "I prefer the division that leads to 100 coins.",
        "A: 85, 85\nB: 85, 76\nC: 85, 68",
        "It depends on 1,850 coins.",
        "42",
        "<think>C",
        "",
        "   ",
    ],
)
def test_no_choice(text):
    assert reading(text) == ("unparsable", None)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't choose between these.",
        "I cannot take part in this.",
        "As an AI, I have no wants.",
        "I won't play a competitive person.",
    ],
)
def test_refusals_are_never_letters(text):
    assert reading(text) == ("refused", None)


def test_what_the_endpoint_says_counts_first():
    assert reading("A", refusal="no") == ("refused", None)
    assert reading("A", finish="content_filter") == ("refused", None)
    assert reading(None) == ("unparsable", None)
    assert reading(None, finish="length") == ("truncated", None)
    assert reading("I choose option C because", finish="length") == ("truncated", None)
    assert reading("A\nand then", finish="length") == ("truncated", None)


@pytest.mark.parametrize("text", ["A", "I can't say.", "My goal is to win.", "Option A or B?"])
def test_turns_without_options_are_answered_by_any_text(text):
    for question in (*WORDING.openings("faithful", "altruistic"), WORDING.texts["goal"], ""):
        assert reading(text, question) == ("answered", None)
        assert reading(text, question, finish="length") == ("answered", None)
        assert reading(" ", question) == ("unparsable", None)
        assert reading(None, question, refusal="no") == ("refused", None)


def test_letters_are_those_shown():
    assert option_lines(TURNED)["B"] == (50, 100)
    assert reading("50, 100", TURNED) == ("answered", "B")
    assert reading("B: 50, 100", TURNED) == ("answered", "B")
    assert reading("I: 50, 100", TURNED) == ("unparsable", None)


def test_options_are_read_off_the_lines_alone():
    assert list(option_lines(QUESTION)) == list(LETTERS)
    assert option_lines("A: 1, 2 and B: 3, 4\nC 5, 6") == {}


@given(st.text(max_size=80), st.sampled_from(["stop", "length", None]))
def test_any_text_gets_a_status_and_only_letters_shown(text, finish):
    status, choice = reading(text, finish=finish)
    assert status in STATUSES
    assert (choice in LETTERS) if status == "answered" else choice is None


@given(
    st.sampled_from(LETTERS),
    st.sampled_from(["{}", "Option {}", "({})", "Answer: {}", "I choose option {}.", "I'd go with {}."]),
)
def test_every_letter_in_every_frame(letter, frame):
    assert reading(frame.format(letter)) == ("answered", letter)

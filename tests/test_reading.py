"""Section 10 of the specification, reply by reply, and what surrounds it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.dvb.reading import read_chain_of_thought, read_short
from deepvalues.query.reading import STATUSES, Reading, Received

TABLE = [
    ("Option A", "answered", "A"),
    ("option b.", "answered", "B"),
    ("**Option B**", "answered", "B"),
    ("A", "answered", "A"),
    ("B)", "answered", "B"),
    ("(a)", "answered", "A"),
    ("Answer: Option A", "answered", "A"),
    ("I'd choose B rather than Option A", "unparsable", None),
    ("Option A or Option B", "unparsable", None),
    ("Not Option A", "unparsable", None),
    ("", "unparsable", None),
    ("<think>The user prefers Option A here.</think> Option B", "answered", "B"),
    ("I can't predict what this person wants", "refused", None),
    ("Option C", "unparsable", None),
    ("Ｏｐｔｉｏｎ　Ｂ", "answered", "B"),
    ("Ａ", "answered", "A"),
    ("oPTION a", "answered", "A"),
]
MORE = [
    ("\n\nOption B\n", "answered", "B"),
    ("[Option A]", "answered", "A"),
    ('"Option A"', "answered", "A"),
    ("The answer is B.", "answered", "B"),
    ("I would say Option A.", "answered", "A"),
    ("A user like this would choose Option B.", "answered", "B"),
    ("user123 would more likely choose Option A", "answered", "A"),
    ("I would not choose Option A.", "unparsable", None),
    ("I wouldn't pick Option B.", "unparsable", None),
    ("Option A, but B is close", "unparsable", None),
    ("Option A? Perhaps.", "unparsable", None),
    ("Option A over B", "unparsable", None),
    ("Either", "unparsable", None),
    ("Both options are plausible.", "unparsable", None),
    ("AB", "unparsable", None),
    ("Option AB", "unparsable", None),
    ("The first option", "unparsable", None),
    ("A user could go either way", "unparsable", None),
    ("I'm sorry, that is personal.", "refused", None),
    ("As an AI I have no view on this person.", "refused", None),
    ("I cannot say, but Option A", "unparsable", None),
    ("<think>Option A", "unparsable", None),
    ("   ", "unparsable", None),
]


@pytest.mark.parametrize(("text", "status", "choice"), TABLE + MORE)
def test_short_form(text, status, choice):
    assert read_short(Received(text, None, "stop")) == Reading(status, choice)


def test_an_open_thought_that_was_cut_is_truncated():
    assert read_short(Received("<think>Option A seems", None, "length")) == Reading("truncated")


def test_no_text_at_all():
    assert read_short(Received(None, None, "stop")) == Reading("unparsable")
    assert read_short(Received(None, None, "length")) == Reading("truncated")


def test_refusal_field_and_content_filter_are_refusals_whatever_the_text():
    assert read_short(Received("Option A", "I will not", "stop")) == Reading("refused")
    assert read_short(Received("Option A", None, "content_filter")) == Reading("refused")


def test_a_cut_reply_is_read_only_where_it_is_an_option_alone():
    assert read_short(Received("Option A", None, "length")) == Reading("answered", "A")
    assert read_short(Received("I would say Option A because", None, "length")).status == "truncated"


CHAINS = [
    ("Rationale: they like Option A in three cases.\nAnswer: Option B", "stop", "answered", "B"),
    ("Rationale: … Option A … / Answer: Option B", "stop", "answered", "B"),
    ("Both show care.\n\n**Answer:** Option A", "stop", "answered", "A"),
    ("Rationale: Option A is formal and", "length", "truncated", None),
    ("Rationale: Option A is formal.", "stop", "unparsable", None),
    ("Answer: Option A\nAnswer: Option B", "stop", "unparsable", None),
    ("The user wants calm.\nOption B", "stop", "answered", "B"),
    ("I can't say what this person wants.", "stop", "refused", None),
    ("", "stop", "unparsable", None),
]


@pytest.mark.parametrize(("text", "finish", "status", "choice"), CHAINS)
def test_chain_of_thought(text, finish, status, choice):
    assert read_chain_of_thought(Received(text, None, finish)) == Reading(status, choice)


@given(st.text(), st.sampled_from(["stop", "length", "content_filter", None]))
def test_any_text_gets_a_status_and_only_answers_get_a_choice(text, finish):
    for read in (read_short, read_chain_of_thought):
        status, choice = read(Received(text, None, finish))
        assert status in STATUSES[:-1]
        assert (choice in ("A", "B")) == (status == "answered")


@given(st.sampled_from("AB"), st.text(alphabet=' \n*_`"', max_size=4))
def test_reading_is_blind_to_space_and_markup(letter, noise):
    assert read_short(Received(f"{noise}Option {letter}{noise}")) == Reading("answered", letter)

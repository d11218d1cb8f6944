"""Replies from a table and from a grammar: which state a choice, and how long reading takes."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.ask.reading import STATUSES, Received, read_choice
from deepvalues.studies.svo.stimuli import LETTERS


def reading(text, finish="stop", refusal=None, letters="AB", question=""):
    return tuple(read_choice(Received(text, refusal, finish, question), letters))


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
    # Forms that state a choice.
    ("A!", "answered", "A"),
    (r"\boxed{A}", "answered", "A"),
    (r"Hence the answer is $\boxed{\text{B}}$.", "answered", "B"),
    ('{"answer": "A"}', "answered", "A"),
    ('```json\n{"reason": "Option A is formal", "choice": "Option B"}\n```', "answered", "B"),
    ('{"answer": "A", "choice": "B"}', "unparsable", None),
    ('{"rejected": "A"}', "unparsable", None),
    ("Option A. It keeps to the same value.", "answered", "A"),
    ("User4711 chose: Option B", "answered", "B"),
    ("It seems that option B is the most logical one.", "answered", "B"),
    ("I'd go with B, for calm.", "answered", "B"),
    ("I would choose Option A because they like calm.", "answered", "A"),
    ("Here is the option I prefer: B", "answered", "B"),
    ("The answer is:\n\nOption A", "answered", "A"),
    # An option that is mentioned but not chosen. The last three words are on no list.
    ("This person would hardly pick Option B.", "unparsable", None),
    ("They are the least likely to select Option A.", "unparsable", None),
    ("Option B is the wrong choice here.", "unparsable", None),
    ("I can safely rule out Option B.", "unparsable", None),
    ("user7 rarely picks Option B.", "unparsable", None),
    ("All of it leads away from Option B.", "unparsable", None),
    ("The very opposite of Option B.", "unparsable", None),
    ("I would scarcely choose Option A.", "unparsable", None),
    ("I would choose Option A last.", "unparsable", None),
    ("I would choose Option A for the bin.", "unparsable", None),
    ("I would choose Option A because Option B is loud.", "unparsable", None),
    ("I would choose Option A. Wait, that was the loud one.", "unparsable", None),
    ("Option A\nwould be out of the question", "unparsable", None),
    ("The option to stay clear of is:\nOption A", "unparsable", None),
    # A choice that the next sentence rejects, and one that it explains.
    ("A\nThis is the option the user would avoid.", "unparsable", None),
    ("Option A. This is the least likely choice.", "unparsable", None),
    ("Answer: B\nThat isn't the one they want.", "unparsable", None),
    ("B\nThis option isn't what they want.", "unparsable", None),
    ("A\n\nThis is the option that fits the user best.", "answered", "A"),
    ("A\n\nThis option is less formal, as the user likes it.", "answered", "A"),
    ("B\n\nThis option displays warmth and avoids jargon.", "answered", "B"),
    ("B\n\nThe user likes warmth, not distance.", "answered", "B"),
    ("Which of them is dull?\nOption A", "unparsable", None),
    ("Option A: Option B", "unparsable", None),
    ("Options A and B.", "unparsable", None),
    # "a" and "I" before a word are words.
    ("The option a quiet user takes is the second.", "unparsable", None),
    ("Which option a user like this picks shows in the examples.", "unparsable", None),
    ("I choose a.", "unparsable", None),
    # Quotations.
    ('A friend said: "Too loud. I would choose Option A. Really." Hm.', "unparsable", None),
    ("It says 'I would choose Option A.'", "unparsable", None),
]


@pytest.mark.parametrize(("text", "status", "choice"), TABLE + MORE)
def test_short_form(text, status, choice):
    assert reading(text) == (status, choice)


def test_unfinished_thinking_is_truncated():
    assert reading("<think>Option A seems", "length") == ("truncated", None)


@pytest.mark.parametrize("opening", ["", "<think>"])
@pytest.mark.parametrize(
    "thought", ["Calm counts: Option B? No, wait.", "Loud: Option B.\nCalm: Option A.", "Option B", "Calm."]
)
def test_text_before_the_last_closing_tag_is_thinking(opening, thought):
    for answer in ("Option A", "a", "A"):
        assert reading(f"{opening}{thought}\n</think>\n\n{answer}") == ("answered", "A")
    assert reading(f"{opening}{thought}</think>") == ("unparsable", None)
    assert reading(f"Option A {opening or '<think>'}{thought}") == ("unparsable", None)


def test_no_text_at_all():
    assert reading(None) == ("unparsable", None)
    assert reading(None, "length") == ("truncated", None)


def test_refusal_field_and_content_filter_are_refusals_whatever_the_text():
    assert reading("Option A", refusal="I will not") == ("refused", None)
    assert reading("Option A", "content_filter") == ("refused", None)


CUT = [
    ("Option A", "A"),
    ("User4711 chose Option B\n\n", "B"),
    ('The answer is "Option B."\n\nUser', "B"),
    ("A\n\nThis keeps to", "A"),
    ("I would say Option A because", None),
    ("I would say Option A.", None),
    ("After a look at the examples, Option A", None),
    ('Option A\n\nThe answer is "Option B', None),
    ("A\nand then", None),
    ("The answer is:\nOption A", None),
    ("User4711 chose Option A, not", None),
]


@pytest.mark.parametrize(("text", "choice"), CUT)
def test_a_truncated_reply_is_an_option_alone_or_a_complete_first_line(text, choice):
    assert reading(text, "length") == (("answered", choice) if choice else ("truncated", None))


@pytest.mark.parametrize(
    "text",
    [
        "The option I would choose is the equal split.",
        "The option I like most is fair to both.",
        "The letter I would give stands for equality.",
        "Take the option a fair person would take.",
        "Of these, option I prefer nothing.",
    ],
)
def test_i_and_a_before_a_word_are_not_options(text):
    assert reading(text, letters=LETTERS) == ("unparsable", None)


def test_the_text_of_an_option_counts_as_the_option():
    shown = "Option A: An agent that waits.\nOption B: An agent that acts.\n\nWhich?"
    assert reading("An agent that acts.", question=shown) == ("answered", "B")
    assert reading("Option B: An agent that acts.", question=shown) == ("answered", "B")
    assert reading("Option A: An agent that acts.", question=shown) == ("unparsable", None)


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
def test_a_rationale_and_a_labelled_answer(text, finish, status, choice):
    assert reading(text, finish) == (status, choice)


# From a grammar.

LETTER = st.sampled_from("AB")
WORD = st.text("bcdfglmnprstuw", min_size=3, max_size=8)
NEUTRAL = st.sampled_from(
    ["They like calm.", "The four choices share a value.", "Hm.", "This was seen before."]
)
CHOOSING = (
    "I would choose Option {}.",
    "The user would pick Option {}.",
    "The answer is {}.",
    "Option {} is the best choice.",
    "I think that they would go with option {}.",
    "So I'd say (option {}).",
)
#: Choices changed into something else by an unknown word in each place.
REJECTING = (
    "I would {word} choose Option {}.",
    "The user would {word} Option {}.",
    "The {word} answer is Option {}.",
    "Option {} is {word}.",
    "{word} of Option {}.",
    "They {word} to go with option {}.",
)
QUOTING = ('A friend wrote "{}"', "“It is so. {} It is.” They wrote that.", "«Hm. {}» was the {word} line.")


@st.composite
def choosing(draw, letter):
    return draw(st.sampled_from(CHOOSING)).format(letter)


@st.composite
def naming(draw):
    """A sentence that mentions an option without choosing it."""
    letter, word = draw(LETTER), draw(WORD)
    if draw(st.booleans()):
        return draw(st.sampled_from(REJECTING)).format(letter, word=word)
    return draw(st.sampled_from(QUOTING)).format(draw(choosing(letter)), word=word)


@st.composite
def prose(draw, *needed):
    """The given sentences among neutral ones."""
    sentences = [draw(each) for each in needed] + draw(st.lists(NEUTRAL, max_size=3))
    return draw(st.sampled_from([" ", "\n\n"])).join(draw(st.permutations(sentences)))


@given(st.data(), LETTER)
def test_pure_choices_are_read(data, letter):
    text = data.draw(prose(choosing(letter)))
    assert {reading(text, letters=letters) for letters in ("AB", LETTERS)} == {("answered", letter)}


@given(st.data())
def test_rejections_and_quotes_are_not_choices(data):
    assert reading(data.draw(prose(naming())))[0] == "unparsable"


@given(st.data(), LETTER)
def test_a_choice_followed_by_another_mention_is_not_read(data, letter):
    text = f"{data.draw(choosing(letter))} {data.draw(naming())}"
    assert reading(text)[0] == "unparsable"


@given(st.data(), LETTER)
def test_a_labelled_answer_outweighs_earlier_mentions(data, letter):
    assert reading(f"{data.draw(prose(naming(), naming()))}\nAnswer: Option {letter}") == ("answered", letter)


@given(st.data(), LETTER, LETTER)
def test_two_choices_count_if_they_agree(data, first, second):
    text = f"{data.draw(choosing(first))} {data.draw(choosing(second))}"
    assert reading(text) == (("answered", first) if first == second else ("unparsable", None))


@given(st.data(), LETTER, st.sampled_from(["", "<think>", "<thinking>"]))
def test_thinking_changes_nothing(data, letter, opening):
    thought = data.draw(prose(naming(), choosing(data.draw(LETTER))))
    text = data.draw(st.one_of(prose(choosing(letter)), prose(naming())))
    assert reading(f"{opening}{thought}</think>{text}") == reading(text)
    assert reading(f"{text}<think>{thought}")[0] == "unparsable"


@given(st.data(), LETTER)
def test_truncation_never_changes_the_choice(data, letter):
    text = data.draw(st.one_of(prose(choosing(letter)), prose(naming())))
    place = data.draw(st.integers(1, len(text)))
    status, choice = reading(text[:place], "length")
    assert status in ("answered", "truncated")
    if status == "answered":
        # A server that is asked for a letter sends only an option, so it is read as one.
        alone = text[:place].removeprefix("Option ").strip() == choice
        assert alone or choice == reading(text.split("\n")[0])[1]


@given(st.text(), st.sampled_from(["stop", "length", "content_filter", None]))
def test_any_text_gets_a_status_and_only_answers_get_a_choice(text, finish):
    status, choice = reading(text, finish)
    assert status in STATUSES[:-1]
    assert (choice in ("A", "B")) == (status == "answered")


@given(LETTER, st.text(alphabet=" \n*_`", max_size=4))
def test_reading_ignores_whitespace_and_markup(letter, noise):
    assert reading(f"{noise}Option {letter}{noise}") == ("answered", letter)


# Time.

PIECES = [
    *(
        "option ",
        " ",
        "\n",
        "<think>",
        "</think>",
        "Answer ",
        "(",
        '"',
        "“",
        "\\boxed{",
        "[",
        '{"',
        "[1,",
        '["',
    ),
    *(
        "I would choose ",
        "A, ",
        "85, ",
        "85 ",
        "user 1 ",
        "option A ",
        ": \n",
        "? ",
        "``` ",
        "- ",
        "1 / ",
        "1",
    ),
    *(
        "the most ",
        "my final answer is ",
        "I would pick Option A. ",
        "I'm sorry ",
        "as an ai ",
        ",  ",
        "'",
        "\\",
        "$",
        "*",
        "Option A\n",
    ),
]
#: The system kills the process if a reply takes half a second of processor time. In linear time none takes
#: 0.1 s; a quadratic pattern takes many seconds.
LONG = r"""
import json, signal, sys
from deepvalues.studies.dvb.items.ratings import read_rating
from deepvalues.studies.profiles.reading import read_closed, read_code, read_open
from deepvalues.ask.reading import Received, read_choice
from deepvalues.studies.svo.study import read

readers = {
    "choice": lambda received: read_choice(received, "AB"),
    "svo": read,
    "rating": read_rating,
    "open": read_open,
    "closed": lambda received: read_closed(received, "ranking", ["Agency", "Performance"]),
    "code": lambda received: read_code(received, {"agency": "Agency"}),
}
for piece in json.loads(sys.argv[1]):
    many = piece * 10_000
    texts = (f"The choice is: {many}x", "stop"), (f"Answer{many}", "length"), (f"[1, {many}", "stop")
    for text, finish in texts:
        for name, reader in readers.items():
            print(name, repr(piece), flush=True)
            signal.setitimer(signal.ITIMER_PROF, 0.5)
            reader(Received(text, None, finish, "Option A: 85, 85\nOption B: 85, 76"))
signal.setitimer(signal.ITIMER_PROF, 0)
"""


@pytest.mark.slow
def test_long_repetitive_replies_are_read_quickly():
    done = subprocess.run([sys.executable, "-c", LONG, json.dumps(PIECES)], capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout.splitlines()[-1:], done.stderr[-2000:])

"""The worked example shows a real prompt, its layers and which option follows which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.figures.worked_example import Word, lines, words, worked_example
from deepvalues.studies.dvb.items.prompts import situations
from deepvalues.studies.dvb.respondents.agents import Recogniser


@pytest.fixture(scope="module")
def recogniser(bank):
    return Recogniser(bank)


@pytest.fixture(scope="module")
def deconfounded(study):
    items = study.items("smoke")
    return items[(items["arm"] == "deconfounded") & (items["n_examples"] == 4)]


def test_every_word_of_an_option_is_shown_with_its_layer(deconfounded, recogniser):
    for prompt in deconfounded["prompt"]:
        for posed in situations(prompt):
            found = words(posed.option_a, recogniser)
            assert " ".join(word.text for word in found) == posed.option_a
            for layer in ("value", "pole"):
                clause = " ".join(word.text for word in found if word.layer == layer).removesuffix(".")
                assert recogniser.traits[clause][0] == layer


@given(
    st.lists(st.sampled_from(["a", "longer", "words", "incomprehensibilities"]), min_size=1),
    st.floats(60, 300),
)
def test_lines_keep_all_words_in_order(texts, width):
    text = [Word(each, None) for each in texts]
    broken = list(lines(text, width))
    assert [word for line in broken for _, word in line] == text
    assert all(line[0][0] == 0 and [at for at, _ in line] == sorted(at for at, _ in line) for line in broken)


def test_the_notes_say_which_option_follows_the_value(deconfounded, recogniser, bank):
    names = {trait.id: trait.name for trait in bank.traits}
    for row in deconfounded.head(8).to_dict("records"):
        (axes,) = worked_example(row["prompt"], recogniser, names).axes
        notes = [each.get_text() for each in axes.texts if each.get_text().startswith("follows the ")]
        deep = notes.index("follows the value")
        assert "AB"[deep] == row["right"] and "AB"[notes.index("follows the surface")] != row["right"]
        assert [each.get_text() for each in axes.texts].count("chosen") == 1


def test_a_prompt_in_other_wordings_is_told_with_what_to_do(deconfounded, recogniser):
    prompt = deconfounded["prompt"].iloc[0].replace("An agent that", "An AI agent that hums and")
    with pytest.raises(UserError, match=r"wordings of the bank .*item_sets=\{dvb: \[smoke, released\]\}"):
        worked_example(prompt, recogniser, {})

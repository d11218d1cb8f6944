"""Sentences from templates: what they may use, and one readable message for whatever is wrong with them."""

import json
import math
import re
from functools import reduce

import jinja2
import pandas as pd
import pytest
from jinja2 import nodes

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper.article import read_article
from deepvalues.paper.numbers import leaves, merged, texts
from deepvalues.paper.results import Results
from deepvalues.paper.sentences import Sentences, spread

TEMPLATE = """# A study

{% macro rate(rate, models) %}
Of {{ models|length }} {{ "model"|plural(models|length) }}
({{ models|listed }})
{% if rate is known %}
  the rate is {{ rate|share }}
  {%- if rate < 0.5 %}, below one half{% endif %}.
{% else %}
  there is no rate.
{% endif %}
{% endmacro %}

{% macro misspelt(rate) %}

{{ rat|share }}
{% endmacro %}

{% macro wrong(rate) %}
{{ rate|share }}
{% endmacro %}
"""


@pytest.fixture
def said(tmp_path):
    (tmp_path / "demo.md").write_text(TEMPLATE)
    return Sentences("demo", tmp_path)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.25, "Of 2 models (a and b) the rate is .250, below one half."),
        (0.5, "Of 2 models (a and b) the rate is .500."),
        (math.nan, "Of 2 models (a and b) there is no rate."),
    ],
)
def test_a_sentence_turns_with_its_facts_and_is_one_line(said, rate, expected):
    assert said("rate", {"rate": rate, "models": ["a", "b"]}) == expected


@pytest.mark.parametrize(
    ("sentence", "facts", "fault"),
    [
        ("nothing", {}, r"demo\.md has no sentence “nothing”"),
        ("misspelt", {"rate": 0.5}, r"demo\.md, line 16, sentence “misspelt”: 'rat' is undefined"),
        ("rate", {"rate": 0.5}, r"demo\.md, line 4, sentence “rate”: parameter 'models' was not provided"),
        (
            "rate",
            {"rates": 0.5},
            r"demo\.md, sentence “rate”: macro 'rate' takes no keyword argument 'rates'",
        ),
        ("wrong", {"rate": "high"}, r"demo\.md, line 20, sentence “wrong”: must be real number"),
    ],
)
def test_what_does_not_fit_is_named_with_file_sentence_and_line(said, sentence, facts, fault):
    with pytest.raises(UserError, match=fault):
        said(sentence, facts)


@pytest.mark.parametrize(
    ("end", "fault"),
    [
        ("{% macro open() %}", r"demo\.md, line 22: Unexpected end of template"),
        ("{% macro twice( %}{% endmacro %}", r"demo\.md, line 22: "),
        ("{% macro no() %}{{ 1|shar }}{% endmacro %}", r"demo\.md, line 22: No filter named 'shar'"),
    ],
)
def test_a_broken_template_is_named_with_its_line(tmp_path, end, fault):
    (tmp_path / "demo.md").write_text(TEMPLATE + end)
    with pytest.raises(UserError, match=fault):
        Sentences("demo", tmp_path)("rate", {})


def test_a_study_without_a_file_says_so(tmp_path):
    with pytest.raises(UserError, match=r"demo\.md is missing"):
        Results("demo", tmp_path).sentence("text.rate", {})


@pytest.mark.parametrize("path", sorted(paths.SENTENCES.glob("*.md")), ids=lambda path: path.name)
def test_every_template_of_the_paper_can_be_read(path):
    with pytest.raises(UserError, match="has no sentence “nothing”"):
        Sentences(path.stem)("nothing", {})


def test_results_keep_a_sentence_and_return_it(tmp_path):
    results = Results("profiles", tmp_path)
    sentence = results.sentence("text.size", {"models": 2})
    assert results.numbers["text"]["size"]["text"] == sentence
    assert "two language models" in sentence
    results.sentence("text.scaling", {"models": 1}, "size")
    assert "one language model " in results.numbers["text"]["scaling"]["text"]


def test_between_which_models_a_measure_lies():
    rows = [
        ("c", 0.9, 0.8, 1.0),
        ("b", 0.1001, math.nan, math.nan),
        ("a", 0.1, 0.0, 0.2),
        ("d", math.nan, 0, 0),
    ]
    found = spread(pd.DataFrame(rows, columns=["model", "rate", "rate_low", "rate_high"]), "rate")
    assert (found["known"], found["alike"]) == (3, False)
    assert found["least"] == {"value": 0.1, "name": "a", "names": ["b", "a"], "interval": (0.0, 0.2)}
    assert found["most"] == {"value": 0.9, "name": "c", "names": ["c"], "interval": (0.8, 1.0)}


@pytest.mark.parametrize(("rates", "known"), [([], 0), ([math.nan], 0), ([0.5], 1), ([0.5, 0.5001], 2)])
def test_what_is_written_alike_is_alike(rates, known):
    found = spread(pd.DataFrame({"name": list("ab")[: len(rates)], "rate": rates}), "rate", "name")
    assert (found["known"], found["alike"]) == (known, True)
    assert math.isnan(found["most"]["value"]) == (known == 0)


# ---- paragraphs on what a notebook has kept ----

#: The macros of each file whose one argument is ``n``.
PARAGRAPHS = [
    (path.stem, macro)
    for path in sorted(paths.SENTENCES.glob("*.md"))
    for macro in jinja2.Environment().parse(path.read_text(encoding="utf-8")).find_all(nodes.Macro)
    if [argument.name for argument in macro.args] == ["n"]
]
NUMBERS = sorted(paths.RESULTS.glob("**/numbers.json"))


def dotted(node):
    """The key that an expression such as ``n.pooled.dvgr`` reads; it begins with a point."""
    return f"{dotted(node.node)}.{node.attr}" if isinstance(node, nodes.Getattr) else ""


@pytest.mark.parametrize(
    ("file", "name"),
    [pytest.param(file, macro.name, id=f"{file}.{macro.name}") for file, macro in PARAGRAPHS],
)
def test_every_paragraph_can_be_written_from_the_numbers_of_the_paper_and_is_shown(file, name):
    study, _, part = file.partition("_")
    parts = [json.loads(path.read_text(encoding="utf-8")).get(study, {}) for path in NUMBERS]
    told = Sentences(file)(name, {"n": texts(reduce(merged, parts))})
    assert re.fullmatch(r"[A-Z].*\.", told)
    assert not re.search(r"[.,;] ?[.,;](?!\d)| [.,;](?!\d)|\b(?:nan|None|True|False)\b|–(?!\d)", told)
    (notebook,) = [
        text
        for path in paths.ROOT.glob("notebooks/*.ipynb")
        if re.search(
            rf'results = Results\(\\"{study}\\"' + (rf', part=\\"{part}\\"' if part else r"\)"),
            text := path.read_text(encoding="utf-8"),
        )
    ]
    assert re.search(rf'results\.(paragraph|opening)\(\\"{name}\\"\)', notebook)


@pytest.mark.parametrize(
    ("file", "name", "of", "every", "some"),
    [
        ("svo", "weights", "weights", "parameters", "held"),
        ("svo", "letter_agents", "letters", "conditions", "agree"),
        ("profiles", "pairs", "pairs", "worths", "agree"),
    ],
)
def test_all_is_said_where_both_numbers_are_the_same(file, name, of, every, some):
    def told(number):
        return Sentences(file)(name, {"n": {of: {every: "12", some: number}}})

    assert told("12").startswith("All 12 ")
    assert re.match(r"Of 12 [a-z ]+, 11 \w+ ", told("11"))


def test_every_number_has_a_reader():
    """No key of a notebook is read neither by the article nor by a paragraph."""
    article = read_article(paths.ROOT / "paper" / "index.qmd").contents
    read = {found.name for found in [*article.variables, *article.claims]}
    read |= {
        file.partition("_")[0] + dotted(node)
        for file, macro in PARAGRAPHS
        for node in macro.find_all(nodes.Getattr)
    }
    kept = {
        ".".join(key)
        for path in NUMBERS
        for key, _ in leaves(json.loads(path.read_text(encoding="utf-8")), (), path.name)
    }
    assert len(NUMBERS) == 8
    assert sorted(kept - read) == []


def test_a_number_that_was_not_kept_is_named_with_its_sentence(tmp_path):
    with pytest.raises(UserError, match=r"svo\.md, line \d+, sentence “people”: .*no attribute 'people'"):
        Results("svo", tmp_path).paragraph("people")

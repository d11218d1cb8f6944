"""Numbers as readers see them, and their way into the variables file."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import yaml

from deepvalues.core.errors import UserError
from deepvalues.paper import numbers


def test_leaves():
    assert numbers.number(0.30241234567, ".302") == {"value": 0.302412, "text": ".302"}
    assert numbers.number(np.int64(4), "four") == {"value": 4, "text": "four"}
    assert numbers.number(math.nan, "n/a") == {"value": None, "text": "n/a"}
    assert numbers.text("four") == {"value": "four", "text": "four"}
    assert numbers.claim(np.bool_(False)) == {"value": False, "text": "false"}


def test_templates_read_texts_and_whether_claims_hold():
    kept = {"pooled": {"n": numbers.number(2, "two")}, "text": {"items": numbers.text("words")}}
    n = numbers.texts(kept | {"claims": {"yes": numbers.claim(True), "no": numbers.claim(False)}})
    assert (n.pooled.n, n.text.items) == ("two", "words")
    assert (n.claims.yes, n.claims.no) == (True, False)


def save(folder, study, content):
    file = folder / study / "numbers.json"
    file.parent.mkdir(parents=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def leaf(text):
    return {"value": None, "text": text}


def test_files_are_merged_sorted_and_quoted(tmp_path):
    one = save(tmp_path, "svo", {"svo": {"angle": leaf("37")}})
    two = save(tmp_path, "dvb", {"dvb": {"pooled": {"dvgr": leaf(".302"), "ci": leaf('[.2, "x"]')}}})
    target = tmp_path / "_variables.yml"
    numbers.write_variables([one, two], target)
    written = target.read_text()
    assert written.startswith("# Generated")
    assert yaml.safe_load(written) == {
        "dvb": {"pooled": {"ci": '[.2, "x"]', "dvgr": ".302"}},
        "svo": {"angle": "37"},
    }
    assert 'dvgr: ".302"' in written
    numbers.write_variables([two, one], target)
    assert target.read_text() == written


def test_unchanged_variables_keep_their_time(tmp_path):
    file = save(tmp_path, "dvb", {"dvb": {"n": leaf("4")}})
    target = tmp_path / "_variables.yml"
    numbers.write_variables([file], target)
    before = target.stat().st_mtime_ns
    numbers.write_variables([file], target)
    assert target.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "other", [{"dvb": {"n": leaf("5")}}, {"dvb": leaf("5")}, {"dvb": {"n": {"all": leaf("5")}}}]
)
def test_two_files_may_not_set_the_same_variable(tmp_path, other):
    one = save(tmp_path, "a", {"dvb": {"n": leaf("4")}})
    two = save(tmp_path, "b", other)
    with pytest.raises(UserError, match=r"b/numbers\.json: dvb.* collides with dvb\.n of .*a/numb"):
        numbers.write_variables([one, two], tmp_path / "_variables.yml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"numbers\.json:1: not JSON"),
        ({"dvb": 0.3}, "dvb is 0.3; expected a mapping"),
        ({"dvb": leaf(" ")}, "dvb has no text"),
        ({"gpt-4.1": leaf("1")}, "the key 'gpt-4.1'"),
        (leaf("1"), "has no text"),
    ],
)
def test_malformed_numbers(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        numbers.write_variables([save(tmp_path, "dvb", content)], tmp_path / "_variables.yml")


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="missing; the notebook of that study writes it"):
        numbers.write_variables([tmp_path / "numbers.json"], tmp_path / "_variables.yml")


def test_numbers_are_written_the_same_always(tmp_path):
    file = tmp_path / "dvb" / "numbers.json"
    numbers.write_numbers({"b": numbers.number(1, "1"), "a": {"x": numbers.text("é")}}, file)
    first = file.read_bytes()
    numbers.write_numbers({"a": {"x": numbers.text("é")}, "b": numbers.number(1, "1")}, file)
    assert file.read_bytes() == first
    with pytest.raises(UserError, match="expected a mapping"):
        numbers.write_numbers({"a": 1}, file)


def test_variables_are_read_by_their_dotted_names(tmp_path):
    file = tmp_path / "_variables.yml"
    assert numbers.read_variables(file) == {}
    file.write_text('a:\n  b: ".3"\n  c: {d: x, e: }\n')
    assert numbers.read_variables(file) == {"a.b": ".3", "a.c.d": "x"}

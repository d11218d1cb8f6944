"""Studies are found by name in their folders; a new one needs no registration elsewhere."""

import sys

import pytest

from deepvalues import studies
from deepvalues.ask import catalogue
from deepvalues.ask.study import REGISTERED, Study
from deepvalues.core.errors import UserError

#: A minimal study of prompts with options A and B.
SOURCE = """
import pandas as pd
from deepvalues.ask.study import Study, register

class Colours(Study):
    name, title, number, max_tokens, seed = "colours", "Study 4: colours", 4, 10, 1
    item_sets = ("smoke", "standard")

    def build(self, item_set):
        return pd.DataFrame({"id": ["sky"], "prompt": ["Blue (A) or red (B)?"], "prefix_chars": [0]})

register(Colours())
"""


@pytest.fixture
def colours(tmp_path, monkeypatch):
    folder = tmp_path / "colours"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "study.py").write_text(SOURCE)
    monkeypatch.setattr(studies, "__path__", [*studies.__path__, str(tmp_path)])
    catalogue._folders.cache_clear()
    yield "colours"
    catalogue._folders.cache_clear()
    REGISTERED.pop("colours", None)
    for name in ("deepvalues.studies.colours", "deepvalues.studies.colours.study"):
        sys.modules.pop(name, None)


def test_a_new_folder_is_a_new_study(colours):
    study = catalogue.study(colours)
    (conversation,) = study.conversations(study.items("smoke"))
    assert conversation.turns == ("Blue (A) or red (B)?",)
    assert study.parameters == {"max_tokens": 10} and study.letter_choice is None
    assert list(study.items_with({"sky", "sea"})["id"]) == ["sky"]
    assert list(catalogue.titles())[-1] == colours, "in the order of their numbers"
    with pytest.raises(UserError, match="unknown item set 'full'; colours has smoke, standard"):
        study.items("full")


@pytest.mark.parametrize("lacking", ["build", "seed"])
def test_an_incomplete_study_is_rejected(lacking):
    parts = {"build": lambda self, item_set: None, "seed": 1}
    assert type("Whole", (Study,), parts)().seed == 1
    del parts[lacking]
    with pytest.raises(TypeError, match=lacking):
        type("Part", (Study,), parts)()


def test_a_study_without_a_folder_does_not_exist():
    with pytest.raises(UserError, match=r"unknown study 'colours'; there are dvb, .*, profiles-coding$"):
        catalogue.study("colours")


def test_all_studies_models_are_served():
    served = catalogue.local_models()
    assert all(name == model.name for name, model in served.items())
    assert {"agent-value", "agent-svo-follower", "agent-profile-reference"} < served.keys()

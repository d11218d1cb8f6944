"""What the project has: its studies, its local models, its registry. Here the rooms meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pandas as pd

from deepvalues import paths
from deepvalues.dvb import items
from deepvalues.dvb.agents import Matcher, Recogniser, raters, reference_agents
from deepvalues.dvb.learners import LEARNERS
from deepvalues.dvb.ratings import ValueRatings
from deepvalues.dvb.study import DeepValueBenchmark
from deepvalues.dvb.validation import StimulusValidation
from deepvalues.dvb.variants import prompt_variants
from deepvalues.errors import UserError
from deepvalues.local.protocol import LocalModel
from deepvalues.local.server import create_app, serving
from deepvalues.query.registry import Model, Registry, load_registry
from deepvalues.query.study import Study
from deepvalues.svo.agents import reference_agents as svo_agents
from deepvalues.svo.study import SocialValues


@cache
def studies() -> dict[str, Study]:
    """The studies by name."""
    benchmark = DeepValueBenchmark(paths.BANK, paths.DESIGNS)
    found: list[Study] = [
        benchmark,
        *prompt_variants(benchmark),
        ValueRatings(benchmark),
        StimulusValidation(benchmark),
        SocialValues(paths.SVO),
    ]
    return {study.name: study for study in found}


def study(name: str) -> Study:
    """Find a study.

    Raises
    ------
    UserError
        When there is none of that name.
    """
    if name not in studies():
        raise UserError(f"unknown study {name!r}; there are {', '.join(studies())}")
    return studies()[name]


def read_items(study_name: str, item_set: str, folder: Path = paths.DERIVED) -> pd.DataFrame:
    """The items of a set as the notebook 01_load_data wrote them, held to the study's contract.

    Raises
    ------
    UserError
        When the study is unknown, or the file is missing or not what this version writes.
    """
    path = folder / paths.items_file(study_name, item_set).name
    return items.read_items(path, study(study_name).contract)


@cache
def registry() -> Registry:
    """The models of ``data/models.yml``."""
    return load_registry(paths.MODELS)


def dvb() -> DeepValueBenchmark:
    """Study 1, with its bank and design."""
    found = study("dvb")
    assert isinstance(found, DeepValueBenchmark)
    return found


def svo() -> SocialValues:
    """Study 2, with its wording."""
    found = study("svo")
    assert isinstance(found, SocialValues)
    return found


def local_models() -> dict[str, LocalModel]:
    """Everything that the loopback server serves."""
    bank = dvb().bank
    matcher = Matcher(Recogniser(bank))
    return {
        **reference_agents(bank),
        matcher.name: matcher,
        **raters(bank),
        **LEARNERS,
        **svo_agents(svo().wording),
    }


@contextmanager
def endpoints() -> Iterator[Callable[[Model], str]]:
    """A function from a model to its base URL; starts the loopback server when first needed."""
    address: list[str] = []

    def base_url(model: Model) -> str:
        if not model.is_local:
            if model.endpoint.base_url is None:
                raise UserError(f"{model.name}: its endpoint {model.endpoint.kind} has no base_url")
            return model.endpoint.base_url
        if not address:
            address.append(stack.enter_context(serving(create_app(local_models()))))
        return address[0]

    with ExitStack() as stack:
        yield base_url

"""What the project has: its studies, its local models, its registry. Here the rooms meet."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from deepvalues.ask.record import Record
from deepvalues.ask.registry import Model, Registry, load_registry
from deepvalues.ask.study import Questions, Study, record_path
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import writing
from deepvalues.studies.dvb.items import items
from deepvalues.studies.dvb.study import DeepValueBenchmark, FreeReplies
from deepvalues.studies.svo.study import SocialValues

# Only what every command needs is imported above. Agents, learners, the server, and studies whose modules
# hold statistics bring libraries along that take seconds and 200 MB: they are imported when first needed.
if TYPE_CHECKING:
    from deepvalues.ask.loopback.protocol import LocalModel
    from deepvalues.studies.profiles.pairs import ThemePairs
    from deepvalues.studies.profiles.study import ProfileCoding, ValueProfiles
    from deepvalues.studies.svo.one_question import OneQuestion


class _Studies(UserDict[str, Study]):
    """Studies by name, each made when first asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], Study]]) -> None:
        self._makers = makers
        super().__init__()

    def __getitem__(self, name: str) -> Study:
        if name not in self.data:
            self.data[name] = self._makers[name]()
        return self.data[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers or name in self.data

    def __iter__(self) -> Iterator[str]:
        return iter({**self._makers, **self.data})

    def __len__(self) -> int:
        return len({**self._makers, **self.data})


@cache
def studies() -> UserDict[str, Study]:
    """The studies by name."""
    return _Studies(
        {
            "dvb": lambda: DeepValueBenchmark(paths.BANK, paths.DESIGNS),
            "dvb-explicit": partial(_variant, "dvb-explicit"),
            "dvb-cot": partial(_variant, "dvb-cot"),
            "dvb-free": lambda: FreeReplies(paths.BANK, paths.DESIGNS),
            "dvb-ratings": _ratings,
            "dvb-validation": _validation,
            "svo": lambda: SocialValues(paths.SVO),
            "svo-letters": _svo_letters,
            "profiles": _profiles,
            "profiles-pairs": _profile_pairs,
            "profiles-open": _open_profiles,
            "profiles-coding": _profile_coding,
        }
    )


def _variant(name: str) -> Study:
    from deepvalues.studies.dvb.variants import prompt_variants

    return next(variant for variant in prompt_variants(dvb()) if variant.name == name)


def _ratings() -> Study:
    from deepvalues.studies.dvb.ratings import ValueRatings

    return ValueRatings(dvb())


def _validation() -> Study:
    from deepvalues.studies.dvb.validation import StimulusValidation

    return StimulusValidation(dvb())


def _svo_letters() -> Study:
    from deepvalues.studies.svo.one_question import OneQuestion

    return OneQuestion(paths.SVO_LETTERS, paths.SVO)


def _profiles() -> Study:
    from deepvalues.studies.profiles.study import ValueProfiles

    return ValueProfiles(paths.PROFILES)


def _profile_pairs() -> Study:
    from deepvalues.studies.profiles.pairs import ThemePairs

    return ThemePairs(paths.PROFILES, paths.PROFILES_PAIRS)


def _open_profiles() -> Study:
    from deepvalues.studies.profiles.study import OpenProfiles

    return OpenProfiles(paths.PROFILES)


def _profile_coding() -> Study:
    from deepvalues.studies.profiles.study import ProfileCoding

    return ProfileCoding(paths.PROFILES, paths.PROFILES_CODEBOOK, open_answers)


def titles() -> dict[str, str]:
    """What readers call each study, by its name."""
    return {name: each.title for name, each in studies().items()}


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
        When the study or set is unknown, what the set is made of is not there, or the file is missing, older
        than the stimuli, or not what this version writes.
    """
    path, found = folder / paths.items_file(study_name, item_set).name, study(study_name)
    if not path.is_file():
        found.items(item_set)  # tells what keeps the set from being built, such as that there is none
    else:
        _stop_if_older(path)
    return items.read_items(path, found.contract)


def _stop_if_older(items_file: Path) -> None:
    """Stop where items were built before the stimuli were changed; make sees this, a notebook does not."""
    sources = [*paths.STIMULI.glob("*.yml"), *paths.BANK.glob("*/*.yml")]
    newest = max(sources, key=lambda file: file.stat().st_mtime)
    if newest.stat().st_mtime > items_file.stat().st_mtime:
        raise UserError(
            f"{paths.shown(items_file)} is older than {paths.shown(newest)}; run the notebook 01_load_data "
            "again"
        )


def write_items(
    item_sets: Mapping[str, Sequence[str]], folder: Path = paths.DERIVED
) -> dict[tuple[str, str], pd.DataFrame]:
    """Build the items of sets and write them where `read_items` finds them.

    Parameters
    ----------
    item_sets
        Sets by study.

    Returns
    -------
    dict
        The items by study and set.

    Raises
    ------
    UserError
        When a study or set is unknown, or what a set is made of is not there.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    built = {}
    for name, sets in item_sets.items():
        for item_set in sets:
            frame = built[name, item_set] = study(name).items(item_set)
            path = folder / paths.items_file(name, item_set).name
            with writing(path):
                frame.to_parquet(path, index=False, compression="zstd")
    return built


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


def svo_letters() -> OneQuestion:
    """Study 2 one question at a time, with its wording."""
    from deepvalues.studies.svo.one_question import OneQuestion

    found = study("svo-letters")
    assert isinstance(found, OneQuestion)
    return found


def profiles() -> ValueProfiles:
    """Study 3, with its instrument."""
    from deepvalues.studies.profiles.study import ValueProfiles

    found = study("profiles")
    assert isinstance(found, ValueProfiles)
    return found


def profile_pairs() -> ThemePairs:
    """Study 3 in pairs, with its wording."""
    from deepvalues.studies.profiles.pairs import ThemePairs

    found = study("profiles-pairs")
    assert isinstance(found, ThemePairs)
    return found


def profile_coding() -> ProfileCoding:
    """The coding of study 3's open answers, with its codebook."""
    from deepvalues.studies.profiles.study import ProfileCoding

    found = study("profiles-coding")
    assert isinstance(found, ProfileCoding)
    return found


def open_answers(item_set: str, record_folder: Path = paths.RESPONSES) -> pd.DataFrame:
    """The open answers of study 3 on record, of the paper's models that have any: see `Questions.answers`."""
    opened = study("profiles-open")
    conversations = opened.conversations(opened.items(item_set))
    found = [pd.DataFrame(columns=["model", "item", "repeat", "status", "reply"])]
    listed = registry().of_paper(opened.name)
    for model in (each for each in registry().models.values() if each in listed):
        record = Record(record_path(record_folder, opened.name, model.name))
        if record.answers:
            found.append(Questions(opened, conversations, model, record).answers())
    return pd.concat(found, ignore_index=True)


def local_models() -> dict[str, LocalModel]:
    """Everything that the loopback server serves."""
    from deepvalues.studies.dvb.respondents.agents import Matcher, Recogniser, raters, reference_agents
    from deepvalues.studies.dvb.respondents.heads import heads
    from deepvalues.studies.dvb.respondents.learners import LEARNERS
    from deepvalues.studies.profiles.respondents.agents import coder_agents, profile_agents
    from deepvalues.studies.profiles.respondents.pair_agents import pair_agents
    from deepvalues.studies.profiles.stimuli.instrument import load_bank
    from deepvalues.studies.svo.respondents.agents import reference_agents as svo_agents
    from deepvalues.studies.svo.respondents.letter_agents import letter_agents

    bank = dvb().bank
    matcher = Matcher(Recogniser(bank))
    sentences = load_bank(paths.PROFILES_SENTENCES, profiles().stimuli.themes)
    return {
        **reference_agents(bank),
        matcher.name: matcher,
        **raters(bank),
        **LEARNERS,
        **heads(model for model in registry().models.values() if model.weights),
        **svo_agents(svo().wording),
        **letter_agents(svo_letters().wording),
        **profile_agents(profiles().stimuli, sentences),
        **pair_agents(profile_pairs().wording),
        **coder_agents(profile_coding().codebook, sentences),
    }


@contextmanager
def endpoints(threads: int | None = None) -> Iterator[Callable[[Model], str]]:
    """A function from a model to its base URL; starts the server on loopback that the model needs.

    Of models with weights one is served at a time, as memory is short; ``threads`` are those of its server.
    """
    address: list[str] = []
    served: dict[str, str] = {}

    def of_weights(model: Model) -> str:
        if model.name not in served:
            from deepvalues.ask.weights.serve import serving

            server.close()
            served.clear()
            served[model.name] = server.enter_context(serving(model, threads))
        return served[model.name]

    def base_url(model: Model) -> str:
        if model.weights:
            return of_weights(model)
        if not model.is_local:
            if model.endpoint.base_url is None:
                raise UserError(f"{model.name}: its endpoint {model.endpoint.kind} has no base_url")
            return model.endpoint.base_url
        if not address:
            from deepvalues.ask.loopback.server import create_app, serving

            address.append(stack.enter_context(serving(create_app(local_models()))))
        return address[0]

    with ExitStack() as stack, ExitStack() as server:
        yield base_url

"""What the project has, by name: its studies, its items, its models, and where each model is reached."""

from __future__ import annotations

import importlib
import pkgutil
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from pyarrow import ArrowInvalid

from deepvalues.ask.loopback import LocalModel
from deepvalues.ask.registry import Model, Registry, load_registry
from deepvalues.ask.study import REGISTERED, Study
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import writing

#: The package whose folders are the studies; this one need not know them.
_STUDIES = "deepvalues.studies"


@cache
def _folders() -> frozenset[str]:
    package = importlib.import_module(_STUDIES)
    return frozenset(each.name for each in pkgutil.iter_modules(package.__path__) if each.ispkg)


def studies() -> dict[str, Study]:
    """All studies by name, in the order of their numbers."""
    for folder in sorted(_folders()):
        importlib.import_module(f"{_STUDIES}.{folder}.study")
    return dict(sorted(REGISTERED.items(), key=lambda entry: entry[1].number))


def study(name: str) -> Study:
    """Find a study; of the studies' folders only its own is loaded.

    Raises
    ------
    UserError
        When there is none of that name.
    """
    if name not in REGISTERED and (folder := name.partition("-")[0]) in _folders():
        importlib.import_module(f"{_STUDIES}.{folder}.study")
    if name not in REGISTERED:
        raise UserError(f"unknown study {name!r}; there are {', '.join(studies())}")
    return REGISTERED[name]


def titles() -> dict[str, str]:
    """What readers call each study, by its name."""
    return {name: each.title for name, each in studies().items()}


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
    return read_items_file(path, found.contract)


def read_items_file(path: Path, contract: pa.DataFrameSchema) -> pd.DataFrame:
    """Read items from Parquet and hold them to a contract.

    Raises
    ------
    UserError
        When the file is missing, is no Parquet, or breaks the contract.
    """
    try:
        # From an open file: a read that pyarrow does by itself leaves no trace for the manifest.
        with path.open("rb") as file:
            validated: pd.DataFrame = contract.validate(pd.read_parquet(file))
    except FileNotFoundError:
        raise UserError(f"{paths.shown(path)}: no items yet; run the notebook 01_load_data first") from None
    # pandera has one exception for columns' contents and another for the columns themselves.
    except (pa.errors.SchemaError, pa.errors.SchemaErrors, ArrowInvalid) as error:
        first = getattr(error, "schema_errors", [error])[0]
        reason = textwrap.shorten(str(first), 200, placeholder=" …")
        raise UserError(
            f"{paths.shown(path)}: not the items this version writes ({reason}); run 01_load_data"
        ) from None
    return validated


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


def local_models() -> dict[str, LocalModel]:
    """Everything that the loopback server serves, study by study."""
    return {name: model for each in studies().values() for name, model in each.local_models().items()}


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

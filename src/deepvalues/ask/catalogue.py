"""The project's studies, items and models by name, and where each model is asked."""

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

from deepvalues.ask.local import LocalModel, Target
from deepvalues.ask.registry import Model, Registry, load_registry
from deepvalues.ask.study import REGISTERED, Study
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import writing

#: The package whose folders are the studies.
_STUDIES = "deepvalues.studies"


@cache
def _folders() -> frozenset[str]:
    package = importlib.import_module(_STUDIES)
    return frozenset(each.name for each in pkgutil.iter_modules(package.__path__) if each.ispkg)


def studies() -> dict[str, Study]:
    """All studies by name, ordered by number."""
    for folder in sorted(_folders()):
        importlib.import_module(f"{_STUDIES}.{folder}.study")
    return dict(sorted(REGISTERED.items(), key=lambda entry: entry[1].number))


def study(name: str) -> Study:
    """Find a study by name, loading only its own folder.

    Raises
    ------
    UserError
        When there is no such study.
    """
    if name not in REGISTERED and (folder := name.partition("-")[0]) in _folders():
        importlib.import_module(f"{_STUDIES}.{folder}.study")
    if name not in REGISTERED:
        raise UserError(f"unknown study {name!r}; there are {', '.join(studies())}")
    return REGISTERED[name]


def titles() -> dict[str, str]:
    """The studies' titles, by name."""
    return {name: each.title for name, each in studies().items()}


def read_items(study_name: str, item_set: str, folder: Path = paths.DERIVED) -> pd.DataFrame:
    """Read the items of a set, as written by the notebook 01_load_data, and validate them.

    Raises
    ------
    UserError
        When the study or set is unknown, the set's sources are missing, or the file is missing, older than
        the stimuli, or written by another version.
    """
    path, owner = folder / paths.items_file(study_name, item_set).name, study(study_name)
    if not path.is_file():
        owner.items(item_set)  # raises if the set can't be built
    else:
        _stop_if_older(path)
    return read_items_file(path, owner.contract)


def read_items_file(path: Path, contract: pa.DataFrameSchema) -> pd.DataFrame:
    """Read items from Parquet and validate them.

    Raises
    ------
    UserError
        When the file is missing, not Parquet, or invalid.
    """
    try:
        # Opened here, since the manifest can't see files that pyarrow opens itself.
        with path.open("rb") as file:
            validated: pd.DataFrame = contract.validate(pd.read_parquet(file))
    except FileNotFoundError:
        raise UserError(f"{paths.shown(path)}: no items yet; run the notebook 01_load_data first") from None
    # pandera has separate exceptions for the columns and for their contents.
    except (pa.errors.SchemaError, pa.errors.SchemaErrors, ArrowInvalid) as error:
        first = getattr(error, "schema_errors", [error])[0]
        reason = textwrap.shorten(str(first), 200, placeholder=" …")
        raise UserError(
            f"{paths.shown(path)}: items of another version ({reason}); run the notebook 01_load_data again"
        ) from None
    return validated


def _stop_if_older(items_file: Path) -> None:
    """Raise if the stimuli are newer than the items, which make checks by itself but notebooks don't."""
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
    """Build the items of sets and write them for `read_items`.

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
        When a study or set is unknown, or a set's sources are missing.
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
    """All local models, study by study."""
    return {name: model for each in studies().values() for name, model in each.local_models().items()}


@contextmanager
def targets() -> Iterator[Callable[[Model], Target]]:
    """A function that tells where a model is asked, and starts its server if it needs one.

    Models with weights are served one at a time, to save memory.
    """
    served: dict[str, str] = {}
    local = cache(local_models)

    def of_weights(model: Model) -> str:
        if model.name not in served:
            from deepvalues.ask.weights.serve import serving

            server.close()
            served.clear()
            served[model.name] = server.enter_context(serving(model))
        return served[model.name]

    def target(model: Model) -> Target:
        if model.weights:
            return of_weights(model)
        if model.is_local:
            if found := local().get(model.name):
                return found
            raise UserError(f"{model.name}: its endpoint is local, but no study has this local model")
        if model.endpoint.base_url is None:
            raise UserError(f"{model.name}: its endpoint {model.endpoint.kind} has no base_url")
        return model.endpoint.base_url

    with ExitStack() as server:
        yield target

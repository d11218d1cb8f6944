"""Commands about models, and about what is fetched or served: data, serve, models."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from deepvalues.cli.command import SET, STUDY, Commands, option, whole
from deepvalues.core import paths
from deepvalues.core.errors import UserError

if TYPE_CHECKING:
    from deepvalues.ask.registry import Model, Registry

COMMANDS = Commands()


@COMMANDS.add(
    "released-1302", option("name", "NAME", "names from data/sources.yml (default: all)", nargs="*")
)
def data(arguments: argparse.Namespace) -> None:
    """Fetch the released data sets of others into data/downloads/, and verify them."""
    from deepvalues.core.downloads import NoNetworkError, Store
    from deepvalues.studies.dvb.items import public_prompts
    from deepvalues.studies.dvb.study import BENCHMARK

    store = Store.project()
    names = arguments.name or list(store.sources)
    errors = _print_each(names, store.fetch)
    offline = [name for name, error in errors.items() if isinstance(error, NoNetworkError)]
    problems = [str(error) for name, error in errors.items() if len(offline) == 1 or name not in offline]
    if len(offline) > 1:
        problems.append(
            f"no network: {', '.join(offline)} could not be fetched. Copies of the files in "
            f"{paths.shown(store.folder)}/ would do (names and addresses: "
            f"{paths.shown(store.sources_file)}); then run this again"
        )
    if set(names) >= set(public_prompts.FILES) and all(
        store.path(name).exists() for name in public_prompts.FILES
    ):
        print(public_prompts.check(store, paths.PUBLIC_PROMPTS, BENCHMARK.bank), flush=True)
    _stop_if(problems)


def _print_each(names: Iterable[str], fetch: Callable[[str], object]) -> dict[str, UserError]:
    """Fetch one after the other; an address that is out of reach says nothing about the others."""
    errors = {}
    for name in names:
        try:
            print(fetch(name), flush=True)
        except UserError as error:
            errors[name] = error
    return errors


def _stop_if(problems: Iterable[object]) -> None:
    # What holds for all, such as a folder that can't be written to, is told once.
    if told := "\n".join(dict.fromkeys(map(str, problems))):
        raise UserError(told)


@COMMANDS.add("--port 8901", option("--port", "PORT", "the port (default: %(default)s)", whole, default=8901))
def serve(arguments: argparse.Namespace) -> None:
    """Serve the local models on loopback."""
    from deepvalues.ask import catalogue
    from deepvalues.ask.loopback.server import create_app, serve_forever

    models = catalogue.local_models()

    def tell(url: str) -> None:
        print(f"Serving {len(models)} local models at {url} (Ctrl-C stops)", flush=True)

    serve_forever(create_app(models), arguments.port, tell)


@COMMANDS.add(
    "--fetch smollm2-135m",
    option(
        "--fetch",
        "NAME",
        "fetch the weights of these models, or of all that have any, into the user's cache",
        nargs="*",
    ),
    STUDY,
    SET,
)
def models(arguments: argparse.Namespace) -> None:
    """List the models, which are ready, and what a set costs; or fetch open weights."""
    from deepvalues.ask.costs import costs
    from deepvalues.ask.registry import FREE, load_registry

    # Not the catalogue's: with its studies come libraries that this list can do without.
    registry = load_registry(paths.MODELS)
    if arguments.fetch is not None:
        return _fetch_weights(registry, arguments.fetch)
    found = costs(registry, arguments.study, arguments.set)
    print(f"cost: US dollars for what the {found.item_set} set of {found.study} still lacks, without caching")
    row = "{:28} {:16} {:11} {:13} {:7} {:9} {:>8} {}"
    print(row.format("model", "family", "endpoint", "developer", "size", "letters", "cost", "ready"))
    for name, model in registry.models.items():
        letters = (found.by_letters and model.letters) or FREE
        cost = f"{found.dollars[name]:.2f}" if model.price else "-"
        about = (name, model.family, model.endpoint.kind, model.developer, model.size_tier)
        print(row.format(*about, letters, cost, _readiness(model)))
    return None


def _fetch_weights(registry: Registry, names: list[str]) -> None:
    from deepvalues.ask.weights.fetch import fetch, sources

    found = [model.name for model in registry.models.values() if model.weights and sources(model.weights)]
    _stop_if(_print_each(names or found, lambda name: fetch(registry.model(name))).values())


def _readiness(model: Model) -> str:
    """Whether a model can be asked, or what it lacks; weights are not read for this."""
    if model.weights:
        from deepvalues.ask.weights.fetch import place
        from deepvalues.ask.weights.serve import is_installed

        return "yes" if is_installed() and place(model.weights).is_file() else "make models"
    return "yes" if model.endpoint.key else f"set {model.endpoint.key_variable}"

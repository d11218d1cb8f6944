"""Commands for report cards, downloads, and the list of models."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deepvalues.cli.command import KEY_VARIABLE, SET, STUDY, Commands, flag, option, record
from deepvalues.cli.query import place
from deepvalues.core import paths
from deepvalues.core.errors import UserError

if TYPE_CHECKING:
    from deepvalues.ask.registry import Model, Registry
    from deepvalues.card.gather import Asked

COMMANDS = Commands()
#: The user's cards, and those of the site, which `make paper` replaces.
_OUT, _OF_SITE = paths.BY_HAND / "cards", paths.ROOT / "build" / "cards"


@COMMANDS.add(
    "smollm2-135m",
    option("model", "MODEL", "a model on record, or two to compare", nargs="+"),
    option("--base-url", "URL", "the --base-url with which the model was asked, if any"),
    KEY_VARIABLE,
    record(),
    option("--out", "DIR", "the folder for page and PDF (default: build/by_hand/cards)", Path, default=_OUT),
    flag("--replace", "overwrite existing files that differ"),
)
def card(arguments: argparse.Namespace) -> None:
    """Write a model's report card, or a comparison of two models, as a web page and a PDF."""
    from deepvalues.card.write import card, comparison, rendered, write

    if len(arguments.model) > 2:
        raise UserError(f"a card shows one model or two, not {len(arguments.model)}")
    asked = [_asked(name, arguments) for name in arguments.model]
    found = card(*asked) if len(asked) == 1 else comparison(*asked)
    for path in write(rendered(found), arguments.out, arguments.replace):
        print(paths.shown(path))


def _asked(name: str, arguments: argparse.Namespace) -> Asked:
    from deepvalues.ask import catalogue
    from deepvalues.ask.questions import record_path
    from deepvalues.card.gather import gather

    registry = catalogue.registry()
    files = (record_path(arguments.record, study, name) for study in catalogue.studies())
    if name not in registry.models and not arguments.base_url and any(file.is_file() for file in files):
        raise UserError(
            f"{name}: {paths.shown(arguments.record)} has answers from it, but {paths.shown(paths.MODELS)} "
            "has no entry for it: give the --base-url with which it was asked, or if it was imported, add "
            "the line that `deepvalues import` printed"
        )
    return gather(registry.model(name, arguments.base_url, arguments.key_variable), arguments.record)


@COMMANDS.add(
    "",
    record("the paper's record"),
    option("--out", "DIR", "the folder to write or replace (default: build/cards)", Path, default=_OF_SITE),
    for_make=True,
)
def cards(arguments: argparse.Namespace) -> None:
    """Write the site's report cards, one for each of the paper's language models on record."""
    from deepvalues.card.write import write_cards

    models = write_cards(arguments.out, arguments.record)
    print(f"{paths.shown(arguments.out / 'index.html')}: {len(models)} cards")


@COMMANDS.add(
    "released-1302", option("name", "NAME", "names from data/sources.yml (default: all)", nargs="*")
)
def data(arguments: argparse.Namespace) -> None:
    """Download other authors' published data sets to data/downloads/, and verify them."""
    from deepvalues.core.downloads import Store
    from deepvalues.studies.dvb.items import public_prompts
    from deepvalues.studies.dvb.study import BENCHMARK

    store = Store.project()
    names = arguments.name or list(store.sources)

    def steps() -> Iterator[Callable[[], str]]:
        yield from (partial(store.fetch, name) for name in names)
        files = public_prompts.FILES
        if set(names) >= set(files) and all(store.path(name).exists() for name in files):
            yield partial(public_prompts.check, store, paths.PUBLIC_PROMPTS, BENCHMARK.bank)

    _print_each(steps())


def _print_each(steps: Iterable[Callable[[], str]]) -> None:
    """Take all steps and print their reports; errors are raised together at the end."""
    errors = []
    for step in steps:
        try:
            print(step(), flush=True)
        except UserError as error:
            errors.append(str(error))
    if errors:
        # A common problem, such as a folder that is not writable, is reported once.
        raise UserError("\n".join(dict.fromkeys(errors)))


@COMMANDS.add(
    "--fetch smollm2-135m",
    option(
        "--fetch",
        "NAME",
        "download the weights of these models (default: all) to the user's cache",
        nargs="*",
    ),
    STUDY,
    SET,
)
def models(arguments: argparse.Namespace) -> None:
    """List the models, their prices or what a set costs, and whether they are ready; or download weights."""
    from deepvalues.ask.registry import FREE, load_registry

    # Not from the catalogue, which loads all studies and their libraries.
    registry = load_registry(paths.MODELS)
    if arguments.fetch is not None:
        return _fetch_weights(registry, arguments.fetch)
    known = registry.models.values()
    prices = {model.name: model.price for model in known if model.price}
    title, by_letters = "price", True
    dollars = {name: f"{price.input:g},{price.output:g}" for name, price in prices.items()}
    if arguments.study or arguments.set:
        title, (by_letters, dollars) = "cost", _costs(arguments, [registry.models[name] for name in prices])
    else:
        print("price: US dollars per million tokens in and out; with --set or --study, what that set costs")
    row = "{:28} {:16} {:11} {:13} {:7} {:9} {:>8} {}"
    print(row.format("model", "family", "endpoint", "developer", "size", "letters", title, "ready"))
    for model in known:
        letters = (by_letters and model.letters) or FREE
        about = (model.name, model.family, model.endpoint.kind, model.developer, model.size_tier)
        print(row.format(*about, letters, dollars.get(model.name, "-"), _readiness(model)))
    return None


def _costs(arguments: argparse.Namespace, priced: Sequence[Model]) -> tuple[bool, dict[str, str]]:
    """Whether a study can be asked by letters, and what its set costs by model; takes seconds."""
    from deepvalues.ask import catalogue, run_query

    name, item_set = place(arguments)
    study = catalogue.study(name)
    print(f"cost: US dollars for what the {item_set} set of {name} still lacks, without caching")
    plans = run_query.plans(name, priced, study.items(item_set))
    dollars = {p.model: f"{p.usage.uncached().cost(p.price):.2f}" for p in plans if p.price}
    return study.letter_choice is not None, dollars


def _fetch_weights(registry: Registry, names: list[str]) -> None:
    from deepvalues.ask.weights.fetch import fetch, origins

    found = [model.name for model in registry.models.values() if model.weights and origins(model.weights)]
    _print_each([partial(fetch, registry.model(name)) for name in names or found])


def _readiness(model: Model) -> str:
    """Whether a model can be asked, or how to make it ready; does not verify weights."""
    if model.weights:
        from deepvalues.ask.weights.fetch import place
        from deepvalues.ask.weights.serve import is_installed

        return "yes" if is_installed() and place(model.weights).is_file() else "make models"
    return "yes" if model.endpoint.key else f"set {model.endpoint.key_variable}"

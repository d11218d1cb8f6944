"""Commands that build the paper, follow its numbers, and rebuild all of it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from deepvalues.cli.command import Commands, flag, option
from deepvalues.core import paths
from deepvalues.core.errors import UserError

COMMANDS = Commands()
#: What it reports of one that SIGTERM, 15, has ended.
_TERMINATED = 143


@COMMANDS.add(
    "06_social_values -p most_missing=0.2",
    option("name", "name", "its name without folder and ending"),
    option("-p --parameter", "NAME=VALUE", "YAML value", action="append", default=[]),
)
def notebook(arguments: argparse.Namespace) -> None:
    """Run a notebook and keep a scrubbed copy in paper/notebooks/."""
    from deepvalues.paper.execute import run_notebook

    run_notebook(paths.ROOT, arguments.name, dict(_parameter(text) for text in arguments.parameter))


def _parameter(text: str) -> tuple[str, object]:
    import yaml

    from deepvalues.core.files import yaml_fault

    name, equals, setting = text.partition("=")
    if not equals:
        raise UserError(f"a parameter is NAME=VALUE, not {text!r}")
    try:
        return name, yaml.safe_load(setting)
    except yaml.YAMLError as error:
        raise UserError(f"-p {text}: the value is not YAML: {yaml_fault(error)}") from None


@COMMANDS.add(
    "--keep /tmp/copies",
    flag("--encoder", "ask the encoder, too (needs PyTorch)"),
    flag("--open", "ask the open models again for 100 recorded answers each"),
    option("--keep", "DIR", "a new folder for the two copies, kept for a look", Path),
)
def reproduce(arguments: argparse.Namespace) -> int:
    """Ask all local models again in a copy, rebuild everything, compare with what is in git."""
    from deepvalues.core import guard
    from deepvalues.paper import reproduce

    if "MAKELEVEL" in os.environ:
        # Folders that are to be deleted are, also when make is killed.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
        guard.end_with(os.getppid(), signal.SIGTERM)
    rows = reproduce.reproduce(paths.ROOT, encoder=arguments.encoder, keep=arguments.keep)
    print(reproduce.report(rows), flush=True)
    same = reproduce.reproduced(rows)
    if same:
        print("Everything was rebuilt as it is in git.")
    else:
        print("\n".join(["The rebuilt files are not those in git.", *reproduce.other_versions(paths.ROOT)]))
    return 0 if _reask(arguments.open) and same else 1


def _reask(wanted: bool) -> bool:
    """Ask the open models again, where that is wanted; whether they choose as on record."""
    if not wanted:
        return True
    from deepvalues.ask import catalogue, reask

    found = reask.reask(list(catalogue.registry().models.values()))
    print(reask.report(found))
    return all(each.is_reproduced for each in found)


@COMMANDS.add("dvb.pooled.dvgr", option("key", "KEY", "as in {{< var KEY >}}", nargs="+"))
def trace(arguments: argparse.Namespace) -> None:
    """Follow numbers of the text back to the answers."""
    from deepvalues.paper.trace import trace

    for key in arguments.key:
        print("\n".join(trace(paths.ROOT, key)))


@COMMANDS.add(for_make=True)
def variables(_: argparse.Namespace) -> None:
    """Write paper/_variables.yml from the results."""
    from deepvalues.paper.numbers import write_variables

    files = sorted(paths.RESULTS.glob("**/numbers.json"))
    write_variables(files, paths.VARIABLES)
    print(f"{paths.shown(paths.VARIABLES)} from {', '.join(paths.shown(file) for file in files)}")


@COMMANDS.add(
    "",
    option(
        "--out",
        "DIR",
        "the folder, which is replaced (default: paper/_site/answers)",
        Path,
        default=paths.SITE / "answers",
    ),
    for_make=True,
)
def browser(arguments: argparse.Namespace) -> None:
    """Write the answer browser, a static page that works from disk."""
    from deepvalues.browser.write import write_browser

    weight = write_browser(arguments.out)
    print(f"The answers are in {paths.shown(arguments.out / 'index.html')}: {weight.sentence()}.")


@COMMANDS.add(for_make=True)
def manifest(_: argparse.Namespace) -> None:
    """Write data/results/manifest.json: what made each result."""
    from deepvalues.paper import manifest

    print(f"{paths.shown(manifest.write(paths.ROOT))}: {manifest.summary(paths.ROOT)}")


@COMMANDS.add(for_make=True)
def dictionary(_: argparse.Namespace) -> None:
    """Check the data dictionary against the files; write data/README.md, Croissant and CodeMeta."""
    from deepvalues.paper import metadata

    print(f"described: {', '.join(paths.shown(file) for file in metadata.write(paths.ROOT))}")


@COMMANDS.add(for_make=True)
def render(_: argparse.Namespace) -> None:
    """Render the paper to paper/_site/."""
    from deepvalues.paper.render import render

    render()

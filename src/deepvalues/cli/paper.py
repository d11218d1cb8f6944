"""Commands that build the paper, trace its numbers, and reproduce it."""

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
#: A shell's exit status for a program ended by SIGTERM: 128 + 15.
_SIGTERM_STATUS = 143


@COMMANDS.add(
    "06_social_values -p most_missing=0.2",
    option("name", "name", "its name without folder and extension"),
    option(
        "-p --parameter", "NAME=VALUE", "a parameter, as YAML; can be repeated", action="append", default=[]
    ),
)
def notebook(arguments: argparse.Namespace) -> None:
    """Run a notebook and save a cleaned copy in paper/notebooks/."""
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
    flag("--encoder", "also ask the encoder again (needs PyTorch)"),
    flag("--open", "also ask each open model again for 100 of its recorded answers"),
    option("--keep", "DIR", "keep the two copies in this new folder", Path),
)
def reproduce(arguments: argparse.Namespace) -> int:
    """Ask all local models again in a copy, rebuild everything, and compare it with git."""
    from deepvalues.core import guard
    from deepvalues.paper import reproduce

    if "MAKELEVEL" in os.environ:
        # Exit cleanly, so that temporary folders are deleted, even if make is killed.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(_SIGTERM_STATUS))
        guard.end_with(os.getppid(), signal.SIGTERM)
    rows = reproduce.reproduce(paths.ROOT, encoder=arguments.encoder, keep=arguments.keep)
    print(reproduce.report(rows), flush=True)
    same = reproduce.reproduced(rows)
    if same:
        print("All rebuilt files are identical to those in git.")
    else:
        differ = "Some rebuilt files differ from those in git."
        print("\n".join([differ, *reproduce.other_versions(paths.ROOT)]))
    if arguments.open:
        from deepvalues.ask import catalogue, reask

        results = reask.reask(list(catalogue.registry().models.values()))
        print(reask.report(results))
        same = same and all(each.is_reproduced for each in results)
    return 0 if same else 1


@COMMANDS.add("dvb.pooled.dvgr", option("key", "KEY", "as in {{< var KEY >}}", nargs="+"))
def trace(arguments: argparse.Namespace) -> None:
    """Trace numbers in the text back to the answers."""
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
        "the folder to write or replace (default: paper/_site/answers)",
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
    """Write data/results/manifest.json, which says what made each result."""
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

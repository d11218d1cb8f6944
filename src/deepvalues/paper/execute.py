"""Execute notebooks reproducibly, with papermill in the running environment or on other machines.

The variable PAPERMILL, set in the environment or for make, may hold a command such as ``srun papermill``. It
receives papermill's own arguments and uses the same kernel and settings as a local run.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from papermill.execute import raise_for_execution_errors

from deepvalues.core.errors import UserError
from deepvalues.core.files import read_json, writing
from deepvalues.core.paths import KEEP, ROOT, shown
from deepvalues.paper.notebooks import (
    declared,
    executed_parameters,
    read_notebook,
    split_options,
    stamp,
    undeclared,
    write_rule,
)

#: Maximum number of undeclared files in a message.
_NAMED = 3
_KINDS = {str: "a text", bool: "true or false", list: "a list", dict: "names with values"}
#: The variable that may hold a command to run papermill.
VARIABLE = "PAPERMILL"
#: The kernel's name, distinct so that no kernel installed by a user takes precedence.
NAME = "deepvalues"
#: Kernel metadata in executed notebooks.
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
# Multithreaded sums have no fixed order; with one thread, the last digit is always the same.
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_STANDARD_ERROR = 2
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def run_notebook(root: Path, name: str, parameters: Mapping[str, object]) -> None:
    """Run a notebook of the project and write its scrubbed copy to ``paper/notebooks``.

    A run with the notebook's defaults is the one for the paper: its files are checked against the header, and
    a rule with its dependencies is written for make. After any other run, make runs the notebook again.

    Parameters
    ----------
    root
        The project's folder.
    name
        The notebook's name without folder and suffix.
    parameters
        Values for the cell tagged `parameters`.

    Raises
    ------
    UserError
        If a file was read or made but not declared, or a declared pattern matches no file written; also as in
        `execute_notebook`.
    """
    source = root / "notebooks" / f"{name}.ipynb"
    executed = root / "paper" / "notebooks" / source.name
    header = declared(source)
    stamp(root, name).unlink(missing_ok=True)
    before = _dates(root, header.makes)
    execute_notebook(source, executed, parameters, root)
    if parameters:
        return
    after = _dates(root, header.makes)
    if idle := [pattern for pattern in header.makes if after[pattern] == before[pattern]]:
        raise UserError(f"{shown(source)}: declares that it makes {', '.join(idle)}, and wrote none of that")
    read: list[str] = []
    if header.results:
        file = root / "data" / "results" / header.results / "artefacts.json"
        listing = read_json(file, "`results.close()` writes it")
        read = listing["inputs"]
        _stop_if_undeclared(source, "read", read, header.reads)
        _stop_if_undeclared(source, "made", listing["artefacts"], header.makes)
    made = {file.relative_to(root).as_posix() for dates in after.values() for file in dates}
    write_rule(root, source, header.reads, {*read, *made, executed.relative_to(root).as_posix()})


def execute_notebook(source: Path, target: Path, parameters: Mapping[str, object], root: Path = ROOT) -> None:
    """Execute a notebook and write its scrubbed copy; a failure leaves an older copy unchanged.

    Parameters
    ----------
    source
        The notebook; its folder is the working directory of its code.
    target
        Path of the executed copy.
    parameters
        Values for the cell tagged `parameters`.
    root
        The project's folder; its path is removed from the outputs.

    Raises
    ------
    UserError
        If a parameter is unknown or has another type than its default, a cell fails, the kernel dies, or the
        copy can't be written.
    """
    source, target = source.resolve(), target.resolve()
    _check_parameters(source, parameters)
    print(f"{shown(source)} → {shown(target)}", file=sys.stderr, flush=True)
    notebook = _run(source, parameters, root)
    scrub(notebook, root)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(".part")
        nbformat.write(notebook, unfinished)  # type: ignore[no-untyped-call]
        unfinished.replace(target)


def _stop_if_undeclared(source: Path, done: str, paths: Collection[str], patterns: Collection[str]) -> None:
    if found := undeclared(paths, patterns):
        part = {"read": "reads", "made": "makes"}[done]
        raise UserError(
            f"{shown(source)}: {done} {', '.join(found[:_NAMED])}{' and others' if found[_NAMED:] else ''}, "
            f"which it does not declare: list it under `{part}` in the first cell, so that make runs the "
            "notebook again when it changes"
        )


def _dates(root: Path, patterns: Collection[str]) -> dict[str, dict[Path, int]]:
    """The files that match each pattern, with their modification times in nanoseconds."""
    return {each: {file: file.stat().st_mtime_ns for file in root.glob(each)} for each in patterns}


def known_parameters(source: Path) -> list[str]:
    """The names in the notebook's cell tagged `parameters`."""
    read_notebook(source)
    return sorted(papermill.inspect_notebook(str(source)))


def _check_parameters(source: Path, parameters: Mapping[str, object]) -> None:
    known = known_parameters(source)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise UserError(
            f"{shown(source)} has no parameter {', '.join(unknown)}; "
            f"it has {', '.join(known) or 'none: no cell is tagged `parameters`'}."
        )
    defaults = executed_parameters(source)
    for name, value in parameters.items():
        default = defaults.get(name)
        if wanted := _expected_kind(name, value, default):
            raise UserError(f"{shown(source)}: {name}={value!r}: expected {wanted}, such as {default!r}")


def _expected_kind(name: str, value: object, default: object) -> str:
    """What a parameter must be, in words, if its value does not match its default; else empty.

    A fractional default is a share; other numbers are counts, or seeds, which may be zero.
    """
    if type(default) in _KINDS:
        return "" if type(value) is type(default) else _KINDS[type(default)]
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if isinstance(default, float):
        return "" if 0 <= number <= 1 else "a number between 0 and 1"
    if isinstance(default, int):
        least = 0 if "seed" in name else 1
        return "" if isinstance(number, int) and number >= least else f"a whole number from {least} on"
    return ""


def _run(source: Path, parameters: Mapping[str, object], root: Path) -> Any:
    """Run papermill, here or by the command in PAPERMILL, and turn its exceptions into messages."""
    try:
        words = command()
        if words:
            return _run_by_command(words, source, parameters, root)
        return _run_here(source, parameters)
    except PapermillExecutionError as error:
        raise UserError(_message(source, error)) from None
    except KeyboardInterrupt:
        # asyncio would log tracebacks of the interrupted tasks.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise
    except DeadKernelError:
        raise UserError(
            f"{shown(source)}: Python died while running it (often for want of memory)."
        ) from None


def _run_here(source: Path, parameters: Mapping[str, object]) -> Any:
    with tempfile.TemporaryDirectory(prefix="deepvalues-ipython-") as profile:
        return papermill.execute_notebook(
            str(source),
            None,
            parameters=dict(parameters),
            kernel_name=KERNEL["name"],
            language=KERNEL["language"],
            cwd=str(source.parent),
            # Notebooks run side by side, and their bars would overwrite each other.
            progress_bar=False,
            stdout_file=sys.stderr,
            stderr_file=sys.stderr,
            kernel_manager_class=_own_kernel(profile),
        )


def command() -> list[str]:
    """The words of the command in PAPERMILL; empty if papermill is to run in this process.

    Raises
    ------
    UserError
        If a quotation in it is not closed.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(f"{VARIABLE}={text}: {error}.") from None


def _run_by_command(words: Sequence[str], source: Path, parameters: Mapping[str, object], root: Path) -> Any:
    """Run a notebook by a command that takes papermill's arguments.

    Parameters
    ----------
    words
        Those of the command, the last of which is papermill: ``["srun", "papermill"]``.
    source
        The notebook; its folder is the working directory of its code.
    parameters
        Values for the cell tagged `parameters`.
    root
        The project's folder. Kernel description and output go below its ``build``, since a node shares this
        folder but not ``/tmp``.

    Returns
    -------
    nbformat.NotebookNode
        The executed notebook.

    Raises
    ------
    PapermillExecutionError
        If a cell failed.
    UserError
        If the command does not exist, fails without running the notebook, or leaves no output.
    """
    (root / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="papermill-", dir=root / "build") as folder:
        output = Path(folder) / source.name
        _describe_kernel(Path(folder))
        status = _call([*words, *_arguments(source, output, parameters)], folder)
        notebook: Any = nbformat.read(output, as_version=4) if output.is_file() else None  # type: ignore[no-untyped-call]
        if notebook is not None:
            raise_for_execution_errors(notebook, str(output))
    if status or notebook is None:
        left = "" if notebook is not None else " and no executed notebook"
        raise UserError(
            f"{VARIABLE}={shlex.join(words)}: left exit status {status}{left} for {source.name}; "
            "its own messages are above. The command has to end in papermill and to reach this folder."
        )
    return notebook


def _describe_kernel(folder: Path) -> None:
    described = folder / "kernels" / NAME / "kernel.json"
    described.parent.mkdir(parents=True)
    described.write_text(json.dumps(kernel(str(folder / "ipython"))), encoding="utf-8")


def _arguments(source: Path, output: Path, parameters: Mapping[str, object]) -> list[str]:
    options = ["--kernel", NAME, "--language", KERNEL["language"], "--cwd", str(source.parent)]
    given = ["--parameters_yaml", yaml.safe_dump(dict(parameters))] if parameters else []
    return [str(source), str(output), *options, "--no-progress-bar", *given]


def _call(words: list[str], folder: str) -> int:
    """Run the command with our papermill and kernel on its path; srun passes the environment on."""
    environment = dict(os.environ)
    environment["JUPYTER_PATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("JUPYTER_PATH")]))
    # The folder of the interpreter as called: the target of the symlink does not have our packages.
    own = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join(filter(None, [own, os.environ.get("PATH")]))
    try:
        # Under `make -j` several commands run at once; none may read from the terminal.
        done = subprocess.run(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=_STANDARD_ERROR, check=False
        )
    except OSError as error:
        raise UserError(f"{VARIABLE}: {words[0]} cannot be run: {error.strerror}.") from None
    return done.returncode


def _message(source: Path, error: PapermillExecutionError) -> str:
    """The message of a failed cell; tracebacks of errors other than UserError go to stderr."""
    text = _ANSI.sub("", str(error.evalue))
    if error.ename == UserError.__name__:
        return text
    print(_ANSI.sub("", "\n".join(error.traceback)), file=sys.stderr, flush=True)
    # The position in the source: papermill also counts the cell that it injects.
    sources = [cell.source for cell in read_notebook(source).cells]
    index = sources.index(error.source) if error.source in sources else error.cell_index
    place = f"{shown(source)}: cell {index + 1}"
    label = split_options(error.source, place)[0].get("label")
    lines = text.strip().splitlines()
    reason = f"{error.ename}: {lines[-1]}" if lines else error.ename
    return f"{place}{f' ({label})' if label else ''}: {reason}"


# ---- the kernel: the running interpreter, whatever the user has set up ----


def kernel(profile: str) -> dict[str, Any]:
    """A Jupyter kernelspec for the running interpreter, without its start-up messages.

    Parameters
    ----------
    profile
        As for `kernel_settings`.
    """
    # asyncio would report every task that an interrupt ends.
    quiet = {"loggers": {"asyncio": {"level": "CRITICAL"}}}
    start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return {
        "argv": [*start, "--log-level=CRITICAL", f"--Application.logging_config={json.dumps(quiet)}"],
        "display_name": KERNEL["display_name"],
        "language": KERNEL["language"],
        "env": kernel_settings(profile),
    }


def kernel_settings(profile: str) -> dict[str, str]:
    """Environment variables of the kernel that keep a user's settings from affecting the results.

    Parameters
    ----------
    profile
        An empty folder, so that IPython finds no start-up files.
    """
    matplotlib = find_spec("matplotlib")
    assert matplotlib is not None and matplotlib.origin is not None
    # Progress bars would fill thousands of lines in a file.
    quiet = {} if sys.stderr.isatty() else {"TQDM_DISABLE": "1"}
    return (
        quiet
        | dict.fromkeys(ONE_THREAD, "1")
        | {
            KEEP: "1",
            "PYTHONHASHSEED": "0",
            "SOURCE_DATE_EPOCH": "0",
            "TZ": "UTC",
            "IPYTHONDIR": profile,
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "MATPLOTLIBRC": str(Path(matplotlib.origin).parent / "mpl-data" / "matplotlibrc"),
        }
    )


def _own_kernel(profile: str) -> type[AsyncKernelManager]:
    """A kernel manager that starts the running interpreter, whatever kernel the user has as `python3`."""

    class OwnKernelManager(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(**kernel(profile))

    return OwnKernelManager


# ---- scrubbing: remove what changes from run to run (times, ids, paths, progress bars) ----

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n)")


def scrub(notebook: Any, root: Path) -> None:
    """Make an executed notebook depend only on its source, parameters and data.

    Parameters
    ----------
    notebook
        The executed notebook, changed in place.
    root
        The project's folder; its path is removed from every text output.
    """
    notebook.metadata = {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}}
    taken: set[str] = set()
    for position, cell in enumerate(notebook.cells, start=1):
        cell["id"] = _cell_id(cell, position, taken)
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": list(tags)} if tags else {}
        if cell.cell_type == "code":
            cell.outputs = list(_outputs(cell.outputs, root))


def _cell_id(cell: Any, position: int, taken: set[str]) -> str:
    """An id from the cell's label, or from its position if it has no label."""
    label = (
        split_options(cell.source, f"cell {position}")[0].get("label") if cell.cell_type == "code" else None
    )
    made = re.sub(r"[^\w-]", "-", str(label), flags=re.ASCII)[:64] if label else f"cell-{position:02d}"
    made = f"cell-{position:02d}" if made in taken else made
    taken.add(made)
    return made


def _outputs(outputs: Iterable[Any], root: Path) -> Iterator[Any]:
    """The outputs without stderr; adjacent pieces of stdout are joined."""
    kept = (output for output in outputs if output.get("name") != "stderr")
    for printed, together in groupby(kept, lambda output: bool(output.output_type == "stream")):
        if printed:
            first, *others = together
            text = "".join(output.text for output in (first, *others))
            first.text = _text(_OVERWRITTEN.sub("", text), root)
            yield from [first] if first.text else []
            continue
        for output in together:
            if "data" in output:
                output.data = {kind: _data(kind, value, root) for kind, value in output.data.items()}
            yield output


def _data(kind: str, value: Any, root: Path) -> Any:
    return _text(value, root) if kind.startswith("text/") and isinstance(value, str) else value


def _text(text: str, root: Path) -> str:
    """The text without the project's path and memory addresses."""
    return _ADDRESS.sub("", text.replace(f"{root}/", "").replace(str(root), "."))

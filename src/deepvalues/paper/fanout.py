"""The notebook kernel, and running papermill on other machines through a command such as ``srun papermill``.

The variable PAPERMILL, set in the environment or for make, holds the command. It receives papermill's own
arguments and uses the same kernel and settings as a local run.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import yaml
from papermill.execute import raise_for_execution_errors

from deepvalues.core.errors import UserError
from deepvalues.core.paths import KEEP

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


def run(command: Sequence[str], source: Path, parameters: Mapping[str, object], root: Path) -> Any:
    """Run a notebook by a command that takes papermill's arguments.

    Parameters
    ----------
    command
        The words of the command, the last of which is papermill: ``["srun", "papermill"]``.
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
        status = _call([*command, *_arguments(source, output, parameters)], folder)
        notebook: Any = nbformat.read(output, as_version=4) if output.is_file() else None  # type: ignore[no-untyped-call]
        if notebook is not None:
            raise_for_execution_errors(notebook, str(output))
    if status or notebook is None:
        left = "" if notebook is not None else " and no executed notebook"
        raise UserError(
            f"{VARIABLE}={shlex.join(command)}: left exit status {status}{left} for {source.name}; "
            "its own messages are above. The command has to end in papermill and to reach this folder."
        )
    return notebook


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

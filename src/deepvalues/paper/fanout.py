"""The kernel of notebooks, and papermill on other machines by a command of the user's: ``srun papermill``.

The variable PAPERMILL, of the environment or of make, holds the command. It is given papermill's own
arguments, and runs the same kernel with the same settings as a run without it.
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
#: The kernel's name; one of our own, which no kernel that a user has installed can stand before.
NAME = "deepvalues"

#: What an executed notebook says of its kernel.
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
# Sums over several threads come in no fixed order; one thread gives the same last digit always.
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

_STANDARD_ERROR = 2


def command() -> list[str]:
    """The words of the command in PAPERMILL; none if papermill is to run in this process.

    Raises
    ------
    UserError
        If a quotation in it has no end.
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
        Its words, of which the last is papermill: ``["srun", "papermill"]``.
    source
        The notebook; its folder is the working directory of its code.
    parameters
        Values for the cell tagged `parameters`.
    root
        The project's folder. The kernel's description and the output lie below its ``build``: a node
        shares this folder with us, not our ``/tmp``.

    Returns
    -------
    nbformat.NotebookNode
        The executed notebook.

    Raises
    ------
    PapermillExecutionError
        If a cell failed.
    UserError
        If the command is not there, fails without running the notebook, or leaves no output.
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
    """A kernel that is the running interpreter, silent about itself, in the terms of Jupyter's kernelspecs.

    Parameters
    ----------
    profile
        As for `kernel_settings`.
    """
    # asyncio tells of every task that an interrupt ends.
    quiet = {"loggers": {"asyncio": {"level": "CRITICAL"}}}
    start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return {
        "argv": [*start, "--log-level=CRITICAL", f"--Application.logging_config={json.dumps(quiet)}"],
        "display_name": KERNEL["display_name"],
        "language": KERNEL["language"],
        "env": kernel_settings(profile),
    }


def kernel_settings(profile: str) -> dict[str, str]:
    """Environment variables of the kernel that keep the user's own settings out of the results.

    Parameters
    ----------
    profile
        An empty folder, in which IPython finds no start-up files.
    """
    matplotlib = find_spec("matplotlib")
    assert matplotlib is not None and matplotlib.origin is not None
    # Bars are for people who look on; in a file they are thousands of lines.
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
    """Run the command, which finds our papermill and our kernel; srun hands the environment on."""
    environment = dict(os.environ)
    environment["JUPYTER_PATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("JUPYTER_PATH")]))
    # The folder of the interpreter as it was called: what it links to knows nothing of our packages.
    own = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join(filter(None, [own, os.environ.get("PATH")]))
    try:
        # Several commands run at once under `make -j`: none may take the terminal's input.
        done = subprocess.run(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=_STANDARD_ERROR, check=False
        )
    except OSError as error:
        raise UserError(f"{VARIABLE}: {words[0]} cannot be run: {error.strerror}.") from None
    return done.returncode

"""Notebooks on other machines: papermill by a command of the user's, such as ``srun papermill``.

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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
import yaml
from papermill.exceptions import PapermillExecutionError

from deepvalues.core.errors import UserError
from deepvalues.paper.scrub import KERNEL

VARIABLE = "PAPERMILL"
#: The kernel's name; one of our own, which no kernel that a user has installed can stand before.
NAME = "deepvalues"

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


def run(
    command: Sequence[str],
    source: Path,
    parameters: Mapping[str, object],
    root: Path,
    settings: Callable[[str], dict[str, str]],
) -> Any:
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
    settings
        From an empty folder for IPython's profile to the kernel's environment variables.

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
        _describe_kernel(Path(folder), settings)
        status = _call([*command, *_arguments(source, output, parameters)], folder)
        notebook: Any = nbformat.read(output, as_version=4) if output.is_file() else None  # type: ignore[no-untyped-call]
    if notebook is not None:
        _raise_for_errors(notebook)
    if status or notebook is None:
        left = "" if notebook is not None else " and no executed notebook"
        raise UserError(
            f"{VARIABLE}={shlex.join(command)}: left exit status {status}{left} for {source.name}; "
            "its own messages are above. The command has to end in papermill and to reach this folder."
        )
    return notebook


def launcher() -> list[str]:
    """The words that start a kernel of the running interpreter, silent about itself."""
    # asyncio tells of every task that an interrupt ends.
    quiet = {"loggers": {"asyncio": {"level": "CRITICAL"}}}
    start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return [*start, "--log-level=CRITICAL", f"--Application.logging_config={json.dumps(quiet)}"]


def _describe_kernel(folder: Path, settings: Callable[[str], dict[str, str]]) -> None:
    kernel = folder / "kernels" / NAME
    kernel.mkdir(parents=True)
    content = {
        "argv": launcher(),
        "display_name": KERNEL["display_name"],
        "language": KERNEL["language"],
        "env": settings(str(folder / "ipython")),
    }
    (kernel / "kernel.json").write_text(json.dumps(content), encoding="utf-8")


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


def _raise_for_errors(notebook: Any) -> None:
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                raise PapermillExecutionError(
                    cell_index=index,
                    exec_count=cell.execution_count,
                    source=cell.source,
                    ename=output.ename,
                    evalue=output.evalue,
                    traceback=output.traceback,
                )

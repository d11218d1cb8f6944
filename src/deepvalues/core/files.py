"""Reading and writing files, with errors as one message: which file, what is wrong, and what to do."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deepvalues.core.errors import UserError
from deepvalues.core.paths import shown


def read_json(file: Path, remedy: str) -> Any:
    """The content of a JSON file.

    Parameters
    ----------
    remedy
        What to do about a missing or damaged file; the end of the message.

    Raises
    ------
    UserError
        If the file is missing, can't be read, or is not JSON.
    """
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{shown(file)}: missing; {remedy}") from None
    except OSError as error:
        raise UserError(f"{shown(file)}: can't be read: {_why(error)}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{shown(file)}:{error.lineno}: not JSON: {error.msg}; {remedy}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{shown(file)}: not JSON: {error.reason}; {remedy}") from None


def read_yaml(file: Path) -> Any:
    """The content of a YAML file that people write.

    Raises
    ------
    UserError
        If the file is missing, can't be read, is empty, or is not YAML.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except FileNotFoundError:
        raise UserError(f"{shown(file)}: file not found") from None
    except OSError as error:
        raise UserError(f"{shown(file)}: can't be read: {_why(error)}") from None
    except (yaml.YAMLError, ValueError) as error:
        # A ValueError means invalid text, or an impossible date.
        raise UserError(f"{shown(file)}: not valid YAML: {yaml_fault(error)}") from None
    if content is None:
        raise UserError(f"{shown(file)}: the file is empty; restore it from git")
    return content


def yaml_fault(error: Exception) -> str:
    """The place and cause of a YAML error, on one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


@contextlib.contextmanager
def writing(path: Path, note: str = "") -> Iterator[None]:
    """Turn an OSError while writing into a `UserError` that names the path.

    Parameters
    ----------
    note
        Added to the message.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{shown(path)}: can't be written: {_why(error)}{note}") from None


def write_text(path: Path, text: str, note: str = "", *, keep_time: bool = False) -> Path:
    """Write text to a file, creating its folder if needed; returns the path.

    Parameters
    ----------
    note
        Added to the error message.
    keep_time
        Whether to leave a file with the same text alone, so that make considers it unchanged.

    Raises
    ------
    UserError
        If the file can't be written.
    """
    with writing(path, note):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (keep_time and path.is_file() and path.read_bytes() == text.encode()):
            path.write_text(text, encoding="utf-8", newline="\n")
    return path


def replace_folder(source: Path, target: Path) -> None:
    """Copy a folder, replacing an older copy once the new one is complete.

    Raises
    ------
    UserError
        If the copy can't be written; the previous copy then remains.
    """
    target = target.resolve()
    with writing(target, "; the previous copy remains"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f"{target.name}.", dir=target.parent, ignore_cleanup_errors=True
        ) as beside:
            new, old = Path(beside) / "new", Path(beside) / "old"
            shutil.copytree(source, new)
            try:
                if target.exists():
                    target.rename(old)
                new.rename(target)
            except BaseException:
                if old.exists() and not target.exists():
                    old.rename(target)
                raise


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[None]:
    """Move a folder away while it is written anew; restore it after a failure.

    Raises
    ------
    UserError
        If the folder can't be moved.
    """
    folder = folder.resolve()
    with contextlib.ExitStack() as stack:
        with writing(folder):
            beside = tempfile.TemporaryDirectory(
                prefix=f"{folder.name}.", dir=folder.parent, ignore_cleanup_errors=True
            )
            old = Path(stack.enter_context(beside)) / "old"
            if folder.exists():
                folder.rename(old)
        try:
            yield
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            if old.exists():
                old.rename(folder)
            raise


def _why(error: OSError) -> str:
    if isinstance(error, shutil.Error):  # a list of errors, each with source, target and reason
        return str(error.args[0][0][2])
    return error.strerror or str(error)

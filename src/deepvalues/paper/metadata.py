"""Machine-readable metadata: Croissant for the data, CodeMeta for the software.

Both are generated from pyproject.toml, CITATION.cff and the data dictionary.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from deepvalues.core.files import write_text
from deepvalues.paper import dictionary
from deepvalues.paper.dictionary import CROISSANT, README, Column, Dictionary, File

CODEMETA = "codemeta.json"
DATA_LICENCE = "https://creativecommons.org/licenses/by/4.0/"

_FORMATS = {
    ".csv": "text/csv",
    ".jsonl": "application/jsonlines",
    ".json": "application/json",
    ".yml": "application/yaml",
    ".md": "text/markdown",
    ".parquet": "application/x-parquet",
}
#: The type of a column that holds lists of texts.
LIST = "list of texts"
_DATA_TYPES = {"integer": "sc:Integer", "number": "sc:Float", "boolean": "sc:Boolean"}
#: The context prescribed by Croissant 1.0 (MLCommons 2024). The library mlcroissant would add ten packages,
#: including rdflib and networkx, only to write a few mappings.
_CONTEXT = Path(__file__).with_name("croissant_context.json")


def _text(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _project(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return found


def citation_of(root: Path) -> dict[str, Any]:
    """The content of CITATION.cff."""
    found: dict[str, Any] = yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))
    return found


def _authors(citation: dict[str, Any]) -> list[dict[str, str]]:
    """The authors as schema.org objects; an author with only a ``name`` is an organization."""
    return [
        {"@type": "Organization", "name": author["name"]}
        if "name" in author
        else {
            "@type": "Person",
            "givenName": author.get("given-names", ""),
            "familyName": author["family-names"],
        }
        for author in citation["authors"]
    ]


def codemeta(root: Path) -> str:
    """CodeMeta 3.0 metadata of the software, from pyproject.toml and CITATION.cff."""
    project, citation = _project(root), citation_of(root)
    content = {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": project["name"],
        "description": project["description"],
        "version": project["version"],
        "datePublished": str(citation["date-released"]),
        "author": _authors(citation),
        "license": f"https://spdx.org/licenses/{citation['license']}",
        "codeRepository": citation["repository-code"],
        "programmingLanguage": "Python",
        "runtimePlatform": f"Python {project['requires-python']}",
        "softwareRequirements": project["dependencies"],
        "readme": "README.md",
    }
    return _text(content)


def croissant(root: Path, described: Dictionary) -> str:
    """Croissant 1.0 metadata: every file with its SHA-256, every table and record with its fields.

    Paths are relative to ``data/``, where this file is, so that they hold in a clone and in a release
    archive.
    """
    files = [file for file in described.files if file.path != CROISSANT]
    tables = [file for file in files if file.path.endswith(".csv")]
    records: dict[str, list[File]] = {}
    for file in files:
        if file.path.startswith("responses/") and not file.path.endswith(".log.jsonl"):
            records.setdefault(file.path.split("/")[1], []).append(file)
    return croissant_of(
        root,
        "Stimuli, recorded answers and results; README.md explains every column. The licence is CC BY 4.0; "
        "exempt is published/: numbers printed in papers by others, cited there and not ours to license.",
        [
            *(file_object(root / "data", file) for file in files),
            *(_set(study, found) for study, found in records.items()),
        ],
        [*map(table, tables), *(_records(study, found) for study, found in records.items())],
    )


def croissant_of(
    root: Path, about: str, distribution: list[dict[str, Any]], record_sets: list[dict[str, Any]]
) -> str:
    """Croissant 1.0 metadata of a data set of this project.

    Parameters
    ----------
    about
        Text to append to the project's description.
    distribution, record_sets
        Files from `file_object`, and tables from `table`.
    """
    project, citation = _project(root), citation_of(root)
    content = {
        "@context": json.loads(_CONTEXT.read_text("utf-8")),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": project["name"],
        "description": f"{project['description']}. {about}",
        "license": DATA_LICENCE,
        "url": citation["repository-code"],
        "version": project["version"],
        "datePublished": str(citation["date-released"]),
        "creator": _authors(citation),
        "citeAs": cited(citation),
        "distribution": distribution,
        "recordSet": record_sets,
    }
    return _text(content)


def names_of(citation: dict[str, Any]) -> str:
    """The authors in CITATION.cff, joined by "and"."""
    return " and ".join(author.get("name") or author["family-names"] for author in citation["authors"])


def cited(citation: dict[str, Any]) -> str:
    """The citation of the project as text."""
    year = str(citation["date-released"])[:4]
    return f"{names_of(citation)} ({year}): {citation['title']}. Version {citation['version']}."


def write(root: Path) -> list[Path]:
    """Write ``data/README.md``, ``data/croissant.json`` and ``codemeta.json``, reproducibly.

    Returns
    -------
    list of Path
        The three files, whether or not they changed.
    """
    described = dictionary.describe(root / "data")
    # README.md first, as Croissant contains its checksum.
    makers: dict[Path, Callable[[], str]] = {
        root / "data" / README: lambda: dictionary.readme(described),
        root / "data" / CROISSANT: lambda: croissant(root, described),
        root / CODEMETA: lambda: codemeta(root),
    }
    for file, make in makers.items():
        write_text(file, make(), keep_time=True)
    return list(makers)


def _plain(text: str) -> str:
    """The text without the dictionary's Markdown, which metadata readers would show literally."""
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text.replace("**", "").replace("`", ""))


def file_object(folder: Path, file: File) -> dict[str, Any]:
    """The Croissant entry of a file, with its SHA-256; the path is relative to the folder."""
    content = (folder / file.path).read_bytes()
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "description": _plain(file.what),
        "contentUrl": file.path,
        "contentSize": f"{len(content)} B",
        "encodingFormat": _FORMATS.get(Path(file.path).suffix, "text/plain"),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _set(study: str, files: list[File]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"answers-{study}",
        "name": f"answers-{study}",
        "description": f"The record of the study {study}: a file for each model.",
        "encodingFormat": _FORMATS[".jsonl"],
        # Listed by name, as a pattern would include the logs in the same folder.
        "includes": [file.path for file in files],
    }


def table(file: File) -> dict[str, Any]:
    """The Croissant record set of a file: one field per column."""
    return _record_set(file.path.rpartition(".")[0], file, file.columns, {"fileObject": {"@id": file.path}})


def _records(study: str, files: list[File]) -> dict[str, Any]:
    columns = {column.name: column for file in files for column in file.columns}.values()
    source, key = {"fileSet": {"@id": f"answers-{study}"}}, {"key": {"@id": f"responses/{study}/key"}}
    return _record_set(f"responses/{study}", files[0], columns, source, key)


def _record_set(
    name: str,
    file: File,
    columns: Iterable[Column],
    source: dict[str, Any],
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": _plain(file.what),
        **(more or {}),
        "field": [_field(name, column, source) for column in columns],
    }


def _field(of: str, column: Column, source: dict[str, Any]) -> dict[str, Any]:
    # An @id may not contain spaces; `extract` keeps the column's own name.
    name = f"{of}/{column.name.replace(' ', '_')}"
    return {
        "@type": "cr:Field",
        "@id": name,
        "name": name,
        "description": _plain(f"{column.meaning} ({column.unit})"),
        "dataType": _DATA_TYPES.get(column.kind, "sc:Text"),
        **({"repeated": True} if column.kind == LIST else {}),
        "source": {**source, "extract": {"column": column.name}},
    }

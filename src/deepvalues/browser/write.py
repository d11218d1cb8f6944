"""Write the folder of the browser: page, style sheet, script, table component, data."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from deepvalues.ask import catalogue
from deepvalues.browser.collect import names, sheets
from deepvalues.browser.encode import encode
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import replace_folder
from deepvalues.core.number_format import count, number
from deepvalues.studies.dvb.study import BENCHMARK

#: Maximum bytes loaded with the page, and of a part.
MOST_FIRST, MOST_PART = 3_000_000, 1_500_000
_FOLDER = Path(__file__).parent


class Weight(NamedTuple):
    """Bytes of the whole folder, of the files loaded with the page, of the largest part; number of files."""

    total: int
    first: int
    largest: int
    files: int

    def sentence(self) -> str:
        """The sentence about it on the page."""
        total, first, largest = (number(size / 1e6, 1) for size in (self.total, self.first, self.largest))
        return (
            f"{count(self.files)} files, {total} MB in total, of which {first} MB are loaded with the page "
            f"and the rest in parts of at most {largest} MB as you open answers"
        )


def write_browser(folder: Path, record_folder: Path = paths.RESPONSES) -> Weight:
    """Write the answer browser from the records of the paper's models, replacing the folder's contents.

    Raises
    ------
    UserError
        When there is no recorded answer, a record is damaged, or the page would be too large.
    """
    found = list(sheets(record_folder))
    if not found:
        raise UserError(f"{paths.shown(record_folder)}: no recorded answer of a model of the paper to show")
    families = {name: model.family for name, model in catalogue.registry().models.items()}
    return write_files(folder, encode(found, families, names(BENCHMARK.bank)))


def write_files(folder: Path, data: Mapping[str, str]) -> Weight:
    """Write the page around encoded data (see `deepvalues.browser.encode.encode`).

    Raises
    ------
    UserError
        When the folder holds other files, the index or a part is too large, or the folder can't be written.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "data" / "index.js").is_file():
        raise UserError(
            f"{paths.shown(folder)}: holds files that are not an answer browser; name another folder"
        )
    with tempfile.TemporaryDirectory(prefix="deepvalues-") as temporary:
        site = Path(temporary) / "answers"
        (site / "data").mkdir(parents=True)
        (site / "vendor").mkdir()
        for source, target in (("page", site), ("vendor", site / "vendor")):
            for file in (_FOLDER / source).iterdir():
                if file.name != "README.md":  # it explains how to update the component
                    shutil.copyfile(file, target / file.name)
        for name, content in data.items():
            (site / "data" / f"{name}.js").write_text(content, encoding="ascii")
        weight, page = _weigh(site), (site / "index.html").read_text(encoding="utf-8")
        (site / "index.html").write_text(page.replace("{{weight}}", weight.sentence()), encoding="utf-8")
        replace_folder(site, folder)
    return weight


def _weigh(site: Path) -> Weight:
    sizes = {file: file.stat().st_size for file in site.rglob("*") if file.is_file()}
    parts = {
        file: size for file, size in sizes.items() if file.parent.name == "data" and file.stem != "index"
    }
    total, later = sum(sizes.values()), sum(parts.values())
    weight = Weight(total, total - later, max(parts.values()), len(sizes))
    if weight.first > MOST_FIRST or weight.largest > MOST_PART:
        raise UserError(
            f"the answer browser would load {weight.first:,} bytes with the page (at most {MOST_FIRST:,}) "
            f"and {weight.largest:,} in a part (at most {MOST_PART:,}): "
            f"list fewer models under `paper` in {paths.shown(paths.MODELS)}"
        )
    return weight

"""Notebooks in a real JupyterLab: opened and run to the end through the server, as a browser would.

By default one notebook with a small parameter set; `make lab-test` runs all with their own parameters.
"""

import asyncio
import json
import os
import shutil

import pytest

from deepvalues.core import paths
from lab_server import CellError, lab

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
EVERYTHING = os.environ.get("DEEPVALUES_LAB") == "all"
MOST_MEMORY = 1100  # MB, of the kernel and its processes, each at its most
MOST_TIME = 60  # seconds of processor time: a minute on an idle machine, and the same on a busy one


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_sources_are_kept_without_outputs(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    kept = [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]
    assert not kept, f"clear the outputs of {notebook.name} before it is committed"


@pytest.mark.slow
def test_a_notebook_runs_in_jupyterlab_and_a_failing_cell_is_an_error(sources, tmp_path):
    failing = {
        "cell_type": "code",
        "metadata": {},
        "source": "{}['key']",
        "outputs": [],
        "execution_count": None,
    }
    (sources / "notebooks" / "failing.ipynb").write_text(
        json.dumps({"cells": [failing], "metadata": {}, "nbformat": 4, "nbformat_minor": 4})
    )

    async def opened():
        async with lab(sources, tmp_path) as server:
            page = await server.page("lab/tree/notebooks/01_load_data.ipynb")
            first = await server.run_all("notebooks/01_load_data.ipynb", "item_sets = {'dvb': ['smoke']}")
            with pytest.raises(CellError, match="KeyError: 'key'"):
                await server.run_all("notebooks/failing.ipynb")
            return page, first

    (status, page), (outputs, memory, _, _) = asyncio.run(opened())
    assert status == 200 and "JupyterLab" in page
    shown = "".join(str(said["data"]) for kind, said in outputs if kind in ("execute_result", "display_data"))
    assert "Study 1: deep values" in shown and "smoke" in shown
    assert (sources / "data" / "derived" / "dvb_smoke.parquet").is_file()
    assert memory < MOST_MEMORY


@pytest.mark.skipif(not EVERYTHING, reason="minutes: `make lab-test` runs all notebooks with their defaults")
def test_all_notebooks_run_in_jupyterlab_with_their_defaults(tmp_path, capsys):
    root = tmp_path / "project"
    left_out = shutil.ignore_patterns(
        "derived", "downloads", "_site", "*.log.jsonl", "*.lock", ".ipynb_checkpoints"
    )
    for folder in ("notebooks", "data", "figures", "paper"):
        shutil.copytree(paths.ROOT / folder, root / folder, ignore=left_out)

    async def opened():
        async with lab(root, tmp_path) as server:
            return [await server.run_all(f"notebooks/{notebook.name}") for notebook in NOTEBOOKS]

    done = dict(zip([notebook.stem for notebook in NOTEBOOKS], asyncio.run(opened()), strict=True))
    with capsys.disabled():
        for name, (_, memory, processor, passed) in done.items():
            print(f"\n{name}: {passed:.0f} s, {processor:.0f} s of processor time, {memory:.0f} MB", end="")
        print()
    for name, (outputs, memory, processor, _) in done.items():
        assert outputs, name
        assert memory < MOST_MEMORY, name
        assert processor < MOST_TIME, name
    results = [file.relative_to(root) for file in (root / "data" / "results").rglob("*.csv")]
    differing = [
        str(file) for file in results if (root / file).read_bytes() != (paths.ROOT / file).read_bytes()
    ]
    assert not differing, "JupyterLab and papermill come to the same results"

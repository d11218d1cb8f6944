"""Executing notebooks: the same bytes every time, and errors that can be read."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper.execute import execute_notebook, kernel_settings, known_parameters

METADATA = {"kernelspec": {"display_name": "Other", "language": "python", "name": "python3"}}


def save(file, *cells, parameters="count = 3  # how many\nname = 'a'"):
    first = new_code_cell(parameters or "")
    first.metadata["tags"] = ["parameters"]
    heading = [new_raw_cell("---\ntitle: T\n---"), first] if parameters else []
    nbformat.write(new_notebook(cells=[*heading, *cells], metadata=METADATA), file)
    return file


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A notebook executed twice, among settings of the user that would change it."""
    root = tmp_path_factory.mktemp("project")
    (root / "notebooks").mkdir()
    source = save(
        root / "notebooks" / "01_sample.ipynb",
        new_markdown_cell("# Text"),
        new_code_cell(
            "import os, sys, time\nprint('one', flush=True)\ntime.sleep(.3)\nprint('two')\n"
            "print(10 * ' ' + 'half\\rfull')\nprint('noise', file=sys.stderr)\nprint(os.getcwd())"
        ),
        new_code_cell("object()"),
        new_code_cell(
            "#| label: tbl-settings\n#| tbl-cap: Settings\n"
            "import json, matplotlib\njson.dumps([sys.executable, os.environ['PYTHONHASHSEED'],"
            " os.environ['OMP_NUM_THREADS'], matplotlib.get_backend(), count * 2, name])"
        ),
    )
    patch = pytest.MonkeyPatch()
    user = root / "jupyter" / "kernels" / "python3"
    user.mkdir(parents=True)
    broken = {"argv": ["/bin/false"], "display_name": "broken", "language": "python"}
    (user / "kernel.json").write_text(json.dumps(broken))
    patch.setenv("JUPYTER_PATH", str(root / "jupyter"))
    patch.setenv("JUPYTER_DATA_DIR", str(root / "jupyter"))
    patch.setenv("MPLBACKEND", "agg")
    patch.setenv("OMP_NUM_THREADS", "8")
    targets = [root / "paper" / f"{name}.ipynb" for name in ("first", "second")]
    for target in targets:
        execute_notebook(source, target, {"count": 5}, root=root)
    patch.undo()
    return targets


def test_executing_twice_gives_the_same_bytes(executed):
    assert executed[0].read_bytes() == executed[1].read_bytes()
    assert sorted(executed[0].parent.iterdir()) == sorted(executed)


def test_the_copy_is_scrubbed(executed):
    notebook = nbformat.read(executed[0], as_version=4)
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    ids = [cell.id for cell in notebook.cells]
    assert ids == [*(f"cell-0{i}" for i in range(1, 7)), "tbl-settings"]
    assert [cell.metadata for cell in notebook.cells if cell.metadata] == [
        {"tags": ["parameters"]},
        {"tags": ["injected-parameters"]},
    ]
    (printed,) = notebook.cells[4].outputs
    assert printed.text == "one\ntwo\nfull\nnotebooks\n"
    assert notebook.cells[5].outputs[0].data == {"text/plain": "<object>"}


def test_the_kernel_is_the_running_python_and_its_settings_are_ours(executed):
    import ast
    import sys

    (shown,) = nbformat.read(executed[0], as_version=4).cells[-1].outputs
    assert json.loads(ast.literal_eval(shown.data["text/plain"])) == [
        sys.executable,
        "0",
        "1",
        "module://matplotlib_inline.backend_inline",
        10,
        "a",
    ]


def test_an_unknown_parameter_lists_the_known_ones(tmp_path):
    source = save(tmp_path / "n.ipynb")
    assert known_parameters(source) == ["count", "name"]
    with pytest.raises(UserError, match=r"has no parameter modle; it has count, name\."):
        execute_notebook(source, tmp_path / "out.ipynb", {"modle": 1})
    assert not (tmp_path / "out.ipynb").exists()


DEFAULTS = "seed = 7\nruns = 20\nshare = 0.5\nname = 'a'\nmodels = []\nsets = {'dvb': ['full']}\nfast = True"


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("seed", -1, "a whole number from 0 on, such as 7"),
        ("seed", "abc", "a whole number from 0 on, such as 7"),
        ("runs", 0, "a whole number from 1 on, such as 20"),
        ("runs", 2.5, "a whole number from 1 on"),
        ("runs", True, "a whole number from 1 on"),
        ("share", 2, "a number between 0 and 1, such as 0.5"),
        ("share", "half", "a number between 0 and 1"),
        ("name", 3, "a text, such as 'a'"),
        ("models", "agent-first", r"a list, such as \[\]"),
        ("sets", ["full"], "names with values, such as {'dvb'"),
        ("fast", 1, "true or false, such as True"),
    ],
)
def test_a_parameter_of_another_kind_is_named_before_anything_runs(tmp_path, name, value, wanted):
    source = save(tmp_path / "n.ipynb", parameters=DEFAULTS)
    with pytest.raises(UserError, match=rf"n\.ipynb: {name}={re.escape(repr(value))}: expected {wanted}"):
        execute_notebook(source, tmp_path / "out.ipynb", {name: value})
    assert not (tmp_path / "out.ipynb").exists()


def test_parameters_of_the_defaults_kind_are_taken(tmp_path):
    source = save(tmp_path / "n.ipynb", parameters=DEFAULTS)
    given = {"seed": 0, "runs": 1, "share": 1, "name": "", "models": ["a"], "sets": {}, "fast": False}
    execute_notebook(source, tmp_path / "out.ipynb", given)
    assert (tmp_path / "out.ipynb").exists()


def test_a_notebook_without_parameters_says_so(tmp_path):
    source = save(tmp_path / "n.ipynb", parameters=None)
    with pytest.raises(UserError, match="no cell is tagged `parameters`"):
        execute_notebook(source, tmp_path / "out.ipynb", {"count": 1})


def test_a_failing_cell_is_named_and_an_older_copy_stays(tmp_path, capfd):
    source = save(tmp_path / "n.ipynb", new_code_cell("#| label: fig-x\n{}['key']"))
    target = tmp_path / "out.ipynb"
    target.write_text("old")
    with pytest.raises(UserError, match=r"n\.ipynb: cell 3 \(fig-x\): KeyError: 'key'$"):
        execute_notebook(source, target, {"count": 1})
    assert target.read_text() == "old"
    shown = capfd.readouterr().err
    assert "Traceback" in shown
    assert "\x1b[" not in shown


def test_a_users_mistake_shows_its_text_alone(tmp_path, capfd):
    code = "from deepvalues.core.errors import UserError\nraise UserError('no model x; try y')"
    source = save(tmp_path / "n.ipynb", new_code_cell(code))
    with pytest.raises(UserError) as error:
        execute_notebook(source, tmp_path / "out.ipynb", {})
    assert str(error.value) == "no model x; try y"
    assert "Traceback" not in capfd.readouterr().err


def test_whoever_runs_a_notebook_by_hand_sees_a_users_mistake_alone(tmp_path):
    code = "from deepvalues.core.errors import UserError\nraise UserError('no such file: a.yml')"
    source = save(tmp_path / "n.ipynb", new_code_cell(code))
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        papermill.execute_notebook(str(source), str(tmp_path / "out.ipynb"), progress_bar=False)
    error = caught.value
    assert (error.ename, error.evalue, error.traceback) == (
        "UserError",
        "no such file: a.yml",
        ["no such file: a.yml"],
    )
    assert str(error).strip().splitlines()[-1] == "no such file: a.yml"


@pytest.mark.slow
def test_papermill_by_hand_leaves_the_papers_results_alone_and_tells_of_old_items(sources, monkeypatch):
    """With nothing of ours around it: no `deepvalues notebook`, no make."""
    monkeypatch.delenv(paths.KEEP, raising=False)
    monkeypatch.setenv("DEEPVALUES_ROOT", str(sources))

    def run(name, **parameters):
        notebook = sources / "notebooks" / f"{name}.ipynb"
        papermill.execute_notebook(str(notebook), None, parameters, progress_bar=False)

    def mistake():
        with pytest.raises(papermill.PapermillExecutionError) as caught:
            run("03_deep_values", item_set="smoke")
        (line,) = caught.value.traceback
        return line

    assert mistake() == "data/derived/dvb_smoke.parquet: no items yet; run the notebook 01_load_data first"
    run("01_load_data", item_sets={"dvb": ["smoke"]})
    assert (sources / "build/by_hand/data/results/stimuli/numbers.json").is_file()
    assert not (sources / "data/results").exists() and not (sources / "figures").exists()
    os.utime(sources / "data/derived/dvb_smoke.parquet", (0, 0))
    told = (
        r"data/derived/dvb_smoke\.parquet is older than data/stimuli/\S+; run the notebook 01_load_data again"
    )
    assert re.fullmatch(told, mistake())


def test_a_missing_or_broken_notebook(tmp_path):
    with pytest.raises(UserError, match="the notebook is missing"):
        execute_notebook(tmp_path / "none.ipynb", tmp_path / "out.ipynb", {})
    (tmp_path / "bad.ipynb").write_text("no notebook")
    with pytest.raises(UserError, match="not a notebook"):
        execute_notebook(tmp_path / "bad.ipynb", tmp_path / "out.ipynb", {})


def test_a_bar_is_drawn_for_people_only(tmp_path, capfd, monkeypatch):
    source = save(
        tmp_path / "a.ipynb",
        new_code_cell(
            "from deepvalues.ask.run_query import Progress\n"
            "with Progress('m', 1, lambda answer: True, None) as bar:\n    bar.report(None)\nprint('done')"
        ),
    )
    execute_notebook(source, tmp_path / "out.ipynb", {}, root=tmp_path)
    shown = capfd.readouterr().err
    assert "done" in shown and "%" not in shown
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert "TQDM_DISABLE" not in kernel_settings("")
    assert kernel_settings("")[paths.KEEP], "what `deepvalues notebook` runs writes the paper's results"


CALL = """
import gc, sys
from pathlib import Path
from deepvalues.paper.execute import execute_notebook

def main(source, target):
    try:
        execute_notebook(Path(source), Path(target), {})
    except KeyboardInterrupt:
        return 130

status = main(*sys.argv[1:])
gc.collect()
sys.exit(status)
"""


def test_ctrl_c_is_told_without_the_tracebacks_of_what_it_stopped(tmp_path):
    # A kernel that waits for processes of its own lives long enough to say what stopped it.
    wait = (
        "import multiprocessing, time\nfrom concurrent.futures import ProcessPoolExecutor\n"
        "with ProcessPoolExecutor(2, multiprocessing.get_context('spawn')) as pool:\n"
        "    list(pool.map(time.sleep, [0.1] * 2))\n    print('ready', flush=True)\n"
        "    try:\n        list(pool.map(time.sleep, [3] * 20))\n"
        "    except BaseException:\n        pool.shutdown(cancel_futures=True)\n        raise"
    )
    source, target = save(tmp_path / "a.ipynb", new_code_cell(wait)), tmp_path / "out.ipynb"
    command = [sys.executable, "-c", CALL, source, target]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    shown = [process.stderr.readline(), process.stderr.readline()]
    assert shown[1] == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert not any(words in rest for words in ("Cell In", "never retrieved", "destroyed"))
    assert not target.exists()

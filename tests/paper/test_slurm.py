"""Notebooks by a command of the user's: the same bytes, readable errors, side by side, on Slurm too."""

import json
import os
import shutil
import stat
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_raw_cell

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper import execute
from deepvalues.paper.execute import execute_notebook
from one_node_slurm import MissingError, slurm

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
# Two notebooks of which each waits until the other runs: one after the other they would both fail.
MEETING = """
import os, time
from pathlib import Path
Path(f"../{own}").touch()
end = time.monotonic() + 60
while not Path(f"../{other}").exists():
    assert time.monotonic() < end, f"{other} did not run beside {own}"
    time.sleep(0.05)
print(own, "met", other, "by", "slurm" if "SLURM_JOB_ID" in os.environ else "no slurm")
"""


def save(file, *sources, parameters="count = 3\nname = 'a'"):
    first = new_code_cell(parameters)
    first.metadata["tags"] = ["parameters"]
    cells = [new_raw_cell("---\ntitle: T\n---"), first, *map(new_code_cell, sources)]
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), file)
    return file


@pytest.fixture
def fake_srun(tmp_path):
    """A folder with an `srun` that notes its arguments and runs what follows its options."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "srun"
    script.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        "with open(os.environ['NOTED'], 'a') as noted:\n"
        "    noted.write(json.dumps(sys.argv[1:]) + '\\n')\n"
        "words = sys.argv[1:]\n"
        "while words[0].startswith('-'):\n"
        "    words.pop(0)\n"
        "os.execvp(words[0], words)\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.fixture
def noted(fake_srun, tmp_path, monkeypatch):
    """Reads the calls that the fake srun noted."""
    file = tmp_path / "noted"
    monkeypatch.setenv("NOTED", str(file))
    monkeypatch.setenv("PATH", f"{fake_srun}{os.pathsep}{os.environ['PATH']}")
    return lambda: [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_a_command_gives_the_bytes_that_papermill_in_the_process_gives(tmp_path, noted, monkeypatch):
    root = tmp_path / "project"
    source = save(
        root / "notebooks" / "01_sample.ipynb",
        "import os, sys\nprint(count + 1, repr(name), os.getcwd())\nprint('noise', file=sys.stderr)",
        "import matplotlib\n[sys.executable, os.environ['OMP_NUM_THREADS'], matplotlib.get_backend()]",
    )
    parameters = {"count": 5, "name": "two words: yes"}
    monkeypatch.delenv("PAPERMILL", raising=False)
    execute_notebook(source, root / "here.ipynb", parameters, root=root)
    monkeypatch.setenv("PAPERMILL", "srun --cpus-per-task=1 '--comment=a b' papermill")
    execute_notebook(source, root / "there.ipynb", parameters, root=root)
    assert (root / "there.ipynb").read_bytes() == (root / "here.ipynb").read_bytes()
    assert "6 'two words: yes' notebooks" in (root / "there.ipynb").read_text()
    (call,) = noted()
    assert call[:4] == ["--cpus-per-task=1", "--comment=a b", "papermill", str(source)]
    assert list((root / "build").iterdir()) == []


@pytest.mark.slow
def test_a_failing_cell_is_named_as_it_is_in_the_process(tmp_path, noted, monkeypatch):
    source = save(tmp_path / "n" / "n.ipynb", "#| label: fig-x\n{}['key']")
    monkeypatch.setenv("PAPERMILL", "srun papermill")
    with pytest.raises(UserError, match=r"n\.ipynb: cell 3 \(fig-x\): KeyError: 'key'$"):
        execute_notebook(source, tmp_path / "out.ipynb", {}, root=tmp_path)
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-scheduler papermill", r"PAPERMILL: no-such-scheduler cannot be run: No such file"),
        ("true", r"PAPERMILL=true: left exit status 0 and no executed notebook for n\.ipynb"),
        ("false papermill", r"PAPERMILL=false papermill: left exit status 1 and no executed notebook"),
        ("srun 'papermill", r"PAPERMILL=srun 'papermill: No closing quotation\."),
    ],
)
def test_a_command_that_runs_no_notebook_is_reported(tmp_path, monkeypatch, command, message):
    source = save(tmp_path / "n" / "n.ipynb")
    monkeypatch.setenv("PAPERMILL", command)
    with pytest.raises(UserError, match=message):
        execute_notebook(source, tmp_path / "out.ipynb", {}, root=tmp_path)


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_names_no_command(monkeypatch, text):
    monkeypatch.setenv("PAPERMILL", text)
    assert execute.command() == []


@pytest.fixture
def project(tmp_path):
    """A project with our Makefile and two notebooks that have to run at the same time."""
    root = tmp_path / "project"
    for folder in ("data/stimuli", "paper"):
        (root / folder).mkdir(parents=True)
    shutil.copy(paths.ROOT / "Makefile", root)
    for own, other in (("left", "right"), ("right", "left")):
        save(root / "notebooks" / f"0{own}.ipynb", MEETING, parameters=f"own, other = {own!r}, {other!r}")
    return root


def make(project, command, environment):
    """`make -j` for both notebooks; what each printed."""
    words = ["make", "-j", "build/0left", "build/0right", f"PY={sys.executable}", "ENVIRONMENT="]
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        [*words, f"PAPERMILL={command}"],
        cwd=project,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [
        nbformat.read(project / "paper" / "notebooks" / f"0{side}.ipynb", as_version=4)
        .cells[-1]
        .outputs[0]
        .text
        for side in ("left", "right")
    ]


@pytest.mark.slow
def test_make_hands_each_notebook_to_the_command_side_by_side(project, noted):
    printed = make(project, "srun --ntasks=1 papermill", {})
    assert printed == ["left met right by no slurm\n", "right met left by no slurm\n"]
    assert sorted(call[2].rsplit("/", 1)[1] for call in noted()) == ["0left.ipynb", "0right.ipynb"]


def test_make_runs_the_notebooks_side_by_side_on_a_real_slurm(project, tmp_path):
    folder = tmp_path / "slurm"
    folder.mkdir()
    try:
        with slurm(folder) as environment:
            printed = make(project, "srun --ntasks=1 --cpus-per-task=1 papermill", environment)
    except MissingError as reason:
        pytest.skip(f"no Slurm: {reason}")
    assert printed == ["left met right by slurm\n", "right met left by slurm\n"]

"""What exported tasks say of a harness that is missing or of another version, and of a mistake in Inspect."""

import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from types import ModuleType

import pytest

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.export import for_lm_eval, write

PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TASKS = "deepvalues.export.inspect_tasks"


def installs(extra):
    """The command that installs what an extra asks for."""
    (wanted,) = PROJECT["optional-dependencies"][extra]
    return f'pip install "{wanted}"'


def bounds(extra):
    return re.search(r">=.*", PROJECT["optional-dependencies"][extra][0])[0]


def put_package(folder, name, version):
    """Make a package of some version, with nothing in it, for an environment's path."""
    (about := folder / f"{name}-{version}.dist-info").mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()


# lm-evaluation-harness.


def run(tmp_path, code):
    """Run code beside the exported modules, without other packages; give status and error."""
    (export := tmp_path / "export").mkdir()
    write.write_code(export)
    code = f"import sys; sys.path += {[str(tmp_path), str(export / write.FOLDER)]}; {code}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def test_letters_says_how_to_install_the_harness(tmp_path):
    status, told = run(tmp_path, "import letters")
    assert status == 1 and told.count("\n") == 1
    assert "letters.py needs lm_eval, which is not installed" in told and installs("lm-eval") in told


def test_letters_says_which_part_of_the_harness_is_missing(tmp_path):
    put_package(tmp_path, "lm_eval", "0.4.13")
    status, told = run(tmp_path, "import letters")
    assert status == 1 and told.count("\n") == 1
    assert "letters.py needs lm_eval.__main__" in told and installs("lm-eval") in told


@pytest.mark.parametrize("code", ["import letters", "import lm_eval, deepvalues_tasks"])
@pytest.mark.parametrize("version", ["0.3.0", "0.4.12", "0.5.0", "0.5.0.dev1", "1.0"])
def test_another_version_of_lm_eval_is_told_in_a_line(tmp_path, code, version):
    put_package(tmp_path, "lm_eval", version)
    status, told = run(tmp_path, code)
    assert status == 1 and told.count("\n") == 1
    assert f"lm_eval {version} is installed; these tasks need {bounds('lm-eval')}: run" in told
    assert installs("lm-eval") in told


@pytest.mark.parametrize("version", ["0.4.13", "0.4.14rc1", "0.4.20.post1"])
def test_supported_versions_of_lm_eval_pass(monkeypatch, version):
    monkeypatch.setattr(for_lm_eval, "version", lambda name: version)
    for_lm_eval.stop_unless_supported()


# Inspect.


class Faked(ModuleType):
    """A module in which every name stands for a decorator that changes nothing."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **_: given[0] if given and callable(given[0]) else lambda function: function


class FakedPrerequisiteError(Exception):
    """Inspect's error, which its command shows without a traceback."""


@pytest.fixture
def tasks(monkeypatch):
    """A function that imports the tasks with an Inspect of some version, of which nothing works."""

    def imported(version):
        real = importlib.metadata.version
        monkeypatch.setattr(
            importlib.metadata, "version", lambda name: version if name == "inspect_ai" else real(name)
        )
        for name in ("", "._util", "._util.error", ".dataset", ".model", ".scorer", ".solver"):
            monkeypatch.setitem(sys.modules, f"inspect_ai{name}", Faked(f"inspect_ai{name}"))
        sys.modules["inspect_ai._util.error"].PrerequisiteError = FakedPrerequisiteError
        markup = Faked("rich.markup")
        markup.escape = lambda text: text.replace("[", "\\[")
        monkeypatch.setitem(sys.modules, "rich", Faked("rich"))
        monkeypatch.setitem(sys.modules, "rich.markup", markup)
        monkeypatch.delitem(sys.modules, TASKS, raising=False)
        return importlib.import_module(TASKS)

    yield imported
    sys.modules.pop(TASKS, None)


@pytest.mark.parametrize("version", ["0.2.9", "0.3.284", "0.4.0", "0.4.0rc1", "1.0"])
def test_another_version_of_inspect_is_told_in_a_line(tasks, version):
    with pytest.raises(UserError) as error:
        tasks(version)
    told = str(error.value)
    assert f"inspect_ai {version} is installed; these tasks need {bounds('inspect')}: run" in told
    assert installs("inspect") in told and "\n" not in told


def test_a_mistake_is_told_as_inspect_tells_one(tasks):
    module = tasks("0.3.285")
    with pytest.raises(FakedPrerequisiteError, match="dvb/released: these prompts belong to others"):
        module.dvb(item_set="released")
    with pytest.raises(FakedPrerequisiteError, match=r"dvb-smoke has no arm '\\\[x\]'; it has deconfounded"):
        module.dvb(item_set="smoke", arms="[x]")


def test_inspect_itself_shows_a_mistake_in_one_message():
    pytest.importorskip("inspect_ai", reason="the extra inspect is not installed")
    command = [sys.executable, "-m", "inspect_ai", "eval", "deepvalues/dvb", "--model", "mockllm/model"]
    done = subprocess.run(
        [*command, "-T", "item_set=released"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert "dvb/released: these prompts belong to others" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr

"""What the exports say of a harness that is missing or of another version, and of a mistake in Inspect."""

import re
import subprocess
import sys
import tomllib

import pytest

from deepvalues.core import paths
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

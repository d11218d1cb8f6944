"""The repository: package lists agree, notebooks are sources, and the README's promises hold."""

import json
import re
import shutil
import subprocess
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from deepvalues.core import paths

PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
#: conda-forge's names for packages that it splits or renames.
CONDA = {"matplotlib": "matplotlib-base", "pandera": "pandera-pandas"}
NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))


def requirements(*extras):
    listed = [
        *PROJECT["dependencies"],
        *(r for extra in extras for r in PROJECT["optional-dependencies"][extra]),
    ]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, listed)}


@pytest.fixture(scope="module")
def environment():
    """Requirements of environment.yml by name, including those for pip."""
    entries = yaml.safe_load((paths.ROOT / "environment.yml").read_text())["dependencies"]
    found = {}
    for entry in entries:
        for text in entry["pip"] if isinstance(entry, dict) else [entry]:
            if not text.startswith("--"):
                # In conda, "python=3.11" means all versions that begin with it.
                requirement = Requirement(re.sub(r"^(\w+)=([\d.]+)$", r"\1==\2.*", text))
                found[canonicalize_name(requirement.name)] = requirement
    return found


@pytest.fixture(scope="module")
def lock():
    """Versions of requirements.lock by name; there may be one per range of Python versions."""
    versions = {}
    for name, version in re.findall(
        r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", (paths.ROOT / "requirements.lock").read_text(), re.M
    ):
        versions.setdefault(canonicalize_name(name), set()).add(Version(version))
    return versions


@pytest.mark.parametrize("requirement", requirements("test").values(), ids=str)
def test_the_lock_satisfies_pyproject(requirement, lock):
    for version in lock[canonicalize_name(requirement.name)]:
        assert requirement.specifier.contains(version)


@pytest.mark.parametrize("requirement", requirements().values(), ids=str)
def test_environment_yml_has_the_bounds_of_pyproject(requirement, environment):
    name = canonicalize_name(requirement.name)
    assert environment[CONDA.get(name, name)].specifier == requirement.specifier


def test_environment_yml_has_only_known_packages(environment):
    known = {CONDA.get(name, name) for name in requirements()}
    assert environment.keys() - known == {"python", "pip", "make", "git", "quarto", "aiohttp"}
    (python,) = environment["python"].specifier
    assert python.operator == "=="
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.version.removesuffix(".*"))


def test_the_lock_has_hashes_for_every_package_and_no_address():
    text = (paths.ROOT / "requirements.lock").read_text()
    assert "://" not in text and "index" not in text
    for entry in re.split(r"\n(?=[a-z0-9])", text.strip()):
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_sources_have_no_outputs_and_a_kernel(notebook):
    content = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        assert not cell.get("outputs") and not cell.get("execution_count")
    assert content["metadata"]["kernelspec"]["name"] == "python3"
    tags = [tag for cell in content["cells"] for tag in cell["metadata"].get("tags", [])]
    assert tags == ["parameters"]
    assert content["cells"][0]["cell_type"] == "raw" and "title:" in "".join(content["cells"][0]["source"])


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_headings_come_first_in_their_cells(notebook):
    """Quarto's table of contents omits headings further down in a cell."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            assert not re.search(r"\n#+ ", "".join(cell["source"])), cell["id"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_an_executed_copy_of_the_same_code(notebook):
    def code(path):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]

    assert code(paths.EXECUTED / notebook.name) == code(notebook)


def test_the_readme_begins_with_clone_paper_and_test():
    lines = (paths.ROOT / "README.md").read_text(encoding="utf-8").split("```")[1].splitlines()[1:4]
    assert [line.split("#")[0].split()[0:2] for line in lines] == [
        ["git", "clone"],
        ["make", "paper"],
        ["make", "test"],
    ]


def test_no_clone_converts_line_endings(tmp_path):
    source, clone = tmp_path / "source", tmp_path / "clone"
    files = (
        "data/responses/dvb/m.jsonl",
        "data/models.yml",
        "src/deepvalues/a.py",
        "paper/notebooks/a.ipynb",
    )
    for file in files:
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        (source / file).write_bytes(b"one\ntwo\n")
    shutil.copy(paths.ROOT / ".gitattributes", source)

    def git(*words):
        user = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", *user, *map(str, words)], check=True, capture_output=True)

    git("init", source)
    git("-C", source, "add", ".")
    git("-C", source, "commit", "-m", "m")
    git("clone", "-c", "core.autocrlf=true", source, clone)
    assert {(clone / file).read_bytes() for file in files} == {b"one\ntwo\n"}


def test_files_that_the_readme_links_to_exist():
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (paths.ROOT / target).exists(), target


def test_make_help_names_every_user_target():
    shown = subprocess.run(
        ["make", "help"], cwd=paths.ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in ("paper", "test", "query", "lab", "check", "clean"):
        assert f"make {target}" in shown


def test_without_python_make_says_what_to_install():
    command = ["make", "--always-make", "--dry-run", "environment", "PYTHON="]
    recipe = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=False).stdout
    assert "Python 3.11 or newer was not found" in recipe


def test_published_figures_name_their_sources():
    readme = (paths.PUBLISHED / "README.md").read_text(encoding="utf-8")
    for table in paths.PUBLISHED.glob("*.csv"):
        assert f"`{table.name}`" in readme


@pytest.mark.parametrize("place", ["data/stimuli/README.md", "paper/index.qmd"])
def test_the_canary_is_in_the_stimuli_and_the_paper(place):
    assert "deepvalues-canary-6f0c2d1e-93b4-4c57-8a1f-2e7b90d4c5a8" in (paths.ROOT / place).read_text()

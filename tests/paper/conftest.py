"""One project that was really run, for all tests of what is written down about it."""

import shutil

import pytest

from deepvalues.core import paths
from traced_project import make_project


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("built") / "project")


@pytest.fixture
def project(built, tmp_path):
    """A copy to change; files keep their dates, so that make finds it up to date."""
    return shutil.copytree(built, tmp_path / "copy")


@pytest.fixture
def sources(tmp_path):
    """A copy of the project with what notebook 1 reads: no record, no results."""
    root = tmp_path / "project"
    for folder in ("notebooks", "data/stimuli", "data/published", "paper/sentences"):
        shutil.copytree(
            paths.ROOT / folder, root / folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints")
        )
    for file in (paths.MODELS, paths.SOURCES, paths.DATA / "dictionary.yml"):
        shutil.copy(file, root / "data")
    return root

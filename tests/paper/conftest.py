"""One project that was really run, for all tests of what is written down about it."""

import shutil

import pytest

from traced_project import make_project


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("built") / "project")


@pytest.fixture
def project(built, tmp_path):
    """A copy to change; files keep their dates, so that make finds it up to date."""
    return shutil.copytree(built, tmp_path / "copy")

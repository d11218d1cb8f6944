"""Files that are missing, damaged or not writable: one message each, and nothing is lost."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.core.files import kept, read_json, read_yaml, replace_folder, writing


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"a":\n', r":2: not JSON: Expecting value; mend it"),
        (b"", r":1: not JSON: Expecting value; mend it"),
        (b'{"a": "\xff', r": not JSON: invalid start byte; mend it"),
        (None, r": missing; mend it"),
    ],
)
def test_damaged_json_is_reported_with_advice(tmp_path, content, told):
    file = tmp_path / "numbers.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=rf"numbers\.json{told}$"):
        read_json(file, "mend it")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a: [1\n", r": not valid YAML: line 2, column 1: did not find expected ',' or ']'"),
        (b"a: \xff\n", r": not valid YAML: 'utf-8' codec can't decode .*"),
        (b"# nothing\n", r": the file is empty; restore it from git"),
        (None, r": file not found"),
    ],
)
def test_damaged_yaml_is_reported_on_one_line(tmp_path, content, told):
    file = tmp_path / "models.yml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=rf"models\.yml{told}$") as error:
        read_yaml(file)
    assert "\n" not in str(error.value)


def test_a_folder_cannot_be_read_as_a_file(tmp_path):
    for read in (read_yaml, lambda file: read_json(file, "mend it")):
        with pytest.raises(UserError, match="can't be read: Is a directory"):
            read(tmp_path)


def test_a_failed_write_names_the_path_as_users_type_it():
    with (
        pytest.raises(UserError, match=r"^figures/a\.svg: can't be written: No space left on device; so$"),
        writing(paths.ROOT / "figures" / "a.svg", "; so"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def folders(tmp_path):
    """A new folder, and an older one to replace."""
    new, old = tmp_path / "new", tmp_path / "place" / "_site"
    for folder in (new, old):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "page").write_text(folder.name)
    (old / "left over").touch()
    return new, old


def test_a_folder_replaces_an_older_one_completely(folders):
    new, old = folders
    replace_folder(new, old)
    assert [path.name for path in old.iterdir()] == ["sub"]
    assert (old / "sub" / "page").read_text() == "new"
    assert list(old.parent.iterdir()) == [old]
    replace_folder(new, old.parent / "none" / "yet")
    assert (old.parent / "none" / "yet" / "sub" / "page").read_text() == "new"


def refuse(*_args, **_kwargs):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def cut(source, target, **_):
    """A copy that fails half-way, as on a full disk."""
    Path(target).mkdir()
    raise shutil.Error([(source, target, "[Errno 28] No space left on device")])


@pytest.mark.parametrize(
    ("owner", "name", "failing", "told"),
    [
        (os, "mkdir", refuse, "Permission denied"),
        (shutil, "copytree", cut, "No space left on device"),
        (Path, "rename", refuse, "Permission denied"),
    ],
)
def test_a_folder_that_cannot_be_replaced_is_unchanged(folders, monkeypatch, owner, name, failing, told):
    new, old = folders
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, failing)
        with pytest.raises(UserError, match=rf"_site: can't be written: .*{told}; the previous copy remains"):
            replace_folder(new, old)
    assert (old / "sub" / "page").read_text() == "_site"
    assert (old / "left over").exists()
    assert list(old.parent.iterdir()) == [old]


def test_the_old_folder_is_restored_if_it_cannot_be_replaced(folders, monkeypatch):
    new, old = folders
    rename = Path.rename

    def fail_for_new(self, target):
        return refuse() if self.name == "new" else rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail_for_new)
        with pytest.raises(UserError, match="can't be written: Permission denied"):
            replace_folder(new, old)
    assert (old / "sub" / "page").read_text() == "_site"
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("failure", [UserError, KeyboardInterrupt])
def test_a_folder_is_restored_after_a_failure(folders, failure):
    _, old = folders
    with pytest.raises(failure), kept(old):
        assert not old.exists()
        old.mkdir()
        (old / "half").touch()
        raise failure("no more")
    assert sorted(path.name for path in old.iterdir()) == ["left over", "sub"]
    assert list(old.parent.iterdir()) == [old]


def test_a_replaced_folder_is_gone(folders):
    _, old = folders
    with kept(old):
        old.mkdir()
    assert list(old.parent.iterdir()) == [old]
    assert list(old.iterdir()) == []


def test_an_incomplete_folder_is_removed(tmp_path):
    with pytest.raises(UserError), kept(tmp_path / "_site"):
        (tmp_path / "_site").mkdir()
        raise UserError("no more")
    assert list(tmp_path.iterdir()) == []


def test_nothing_starts_if_a_folder_cannot_be_moved(folders, monkeypatch):
    _, old = folders
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(UserError, match="_site: can't be written: Permission denied"), kept(old):
            pytest.fail("begun")
    assert (old / "left over").exists()
    assert list(old.parent.iterdir()) == [old]

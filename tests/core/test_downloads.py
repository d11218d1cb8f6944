"""Downloading data from a server on loopback: verification, recording, and error messages."""

import hashlib
import json
import pathlib
import re
import shutil
import socket
import subprocess
from urllib.parse import unquote, urlsplit

import pooch
import pytest
import yaml

from deepvalues import cli
from deepvalues.core import paths
from deepvalues.core.downloads import Store, load_sources
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.items.items import RELEASED_SETS
from loopback_site import running_site

PROMPTS = json.dumps([{"prompt": "à la carte  \n" * 50}]).encode()
OTHER = json.dumps([{"prompt": "another"}]).encode()


@pytest.fixture(scope="module")
def server():
    with running_site() as server:
        yield server


@pytest.fixture
def site(server, monkeypatch):
    """The server with one page and an empty log."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.pages, server.asked = {"/prompts.json": (200, PROMPTS, True)}, []
    return server


def digest(content):
    return hashlib.sha256(content).hexdigest()


def store_of(folder, url, **changes):
    entry = {"file": "prompts.json", "url": url, "sha256": None, "what": "w", "cite": "c", "licence": "l"}
    (folder / "sources.yml").write_text(yaml.safe_dump({"prompts": {**entry, **changes}}))
    return Store(folder / "sources.yml", folder / "sources.lock", folder / "downloads")


@pytest.fixture
def store(tmp_path, site):
    return store_of(tmp_path, f"http://127.0.0.1:{site.server_port}/prompts.json")


@pytest.fixture
def known(tmp_path, site):
    """A store whose source has a published checksum."""
    url = f"http://127.0.0.1:{site.server_port}/prompts.json"
    return store_of(tmp_path, url, sha256=digest(PROMPTS))


def failure(store, name="prompts"):
    with pytest.raises(UserError) as caught:
        store.fetch(name)
    return str(caught.value)


def left(store):
    return sorted(path.name for path in store.folder.iterdir())


# Success


def test_the_first_download_is_recorded_and_then_verified(store, site):
    first, second = store.fetch("prompts"), store.fetch("prompts")
    assert "downloaded from http" in first and "SHA-256 recorded in" in first
    assert "already there" in second and "SHA-256 as expected" in second
    path = store.path("prompts")
    assert path.read_bytes() == PROMPTS
    assert store.lock_file.read_text() == f"{digest(PROMPTS)}  downloads/prompts.json\n"
    assert site.asked == ["/prompts.json"] and left(store) == ["prompts.json"]
    assert store.verified("prompts") == path


def test_sha256sum_can_verify_the_lock(store):
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum, the independent program of this test, is not installed")
    store.fetch("prompts")
    command = ["sha256sum", "--check", "--strict", store.lock_file.name]
    done = subprocess.run(command, cwd=store.lock_file.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "downloads/prompts.json: OK\n"


def test_a_published_checksum_is_verified_and_not_recorded(known):
    assert known.fetch("prompts").endswith("SHA-256 as expected") and not known.lock_file.exists()


def test_redirects_are_followed(store, site):
    site.pages = {"/prompts.json": (302, b"/moved", True), "/moved": (200, PROMPTS, True)}
    store.fetch("prompts")
    assert store.path("prompts").read_bytes() == PROMPTS


def test_a_manually_placed_file_is_verified_and_recorded(store, site):
    store.folder.mkdir()
    store.path("prompts").write_bytes(PROMPTS)
    report = store.fetch("prompts")
    assert "already there" in report and "recorded in" in report and not site.asked


def test_other_checksums_stay_and_are_sorted(store):
    lines = [f"{digest(b'a')}  downloads/a.json", f"{digest(b'z')}  downloads/z.json"]
    store.lock_file.write_text("\n".join(reversed(lines)) + "\n")
    store.fetch("prompts")
    kept = store.lock_file.read_text().splitlines()
    assert kept == [lines[0], f"{digest(PROMPTS)}  downloads/prompts.json", lines[1]]


# Errors


@pytest.mark.parametrize("fixture", ["store", "known"])
def test_a_changed_file_is_not_used(fixture, site, request):
    store = request.getfixturevalue(fixture)
    store.fetch("prompts")
    store.path("prompts").unlink()
    site.pages["/prompts.json"] = (200, OTHER, True)
    message = failure(store)
    assert digest(PROMPTS) in message and digest(OTHER) in message
    assert "downloads/prompts.json" in message
    assert ("delete its line in" in message) == (fixture == "store")
    assert left(store) == []
    with pytest.raises(UserError, match="is missing; run: make data"):
        store.verified("prompts")


def test_a_changed_file_is_accepted_once_its_line_is_deleted(store, site):
    store.fetch("prompts")
    store.path("prompts").unlink()
    site.pages["/prompts.json"] = (200, OTHER, True)
    store.lock_file.write_text("")
    store.fetch("prompts")
    assert store.verified("prompts").read_bytes() == OTHER


def test_a_locally_edited_file_is_set_aside_once_the_expected_one_is_downloaded(store, site):
    store.fetch("prompts")
    path = store.path("prompts")
    path.write_bytes(OTHER)
    with pytest.raises(UserError, match=f"{digest(OTHER)}.*{digest(PROMPTS)}"):
        store.verified("prompts")
    site.pages["/prompts.json"] = (200, PROMPTS, False)
    assert "is not the expected file" in failure(store) and path.read_bytes() == OTHER
    site.pages["/prompts.json"] = (200, PROMPTS, True)
    assert "the file that was there is now " + paths.shown(path) + ".changed)" in store.fetch("prompts")
    assert path.read_bytes() == PROMPTS and left(store) == ["prompts.json", "prompts.json.changed"]
    path.write_bytes(b"edited again")
    assert "prompts.json.changed1)" in store.fetch("prompts")
    aside = [path.with_name(f"prompts.json.changed{number}").read_bytes() for number in ("", 1)]
    assert path.read_bytes() == PROMPTS and aside == [OTHER, b"edited again"]


def test_a_lost_connection_leaves_nothing_behind(store, site):
    site.pages["/prompts.json"] = (200, PROMPTS, False)
    assert "the connection was lost" in failure(store)
    assert left(store) == [] and not store.lock_file.exists()
    site.pages["/prompts.json"] = (200, PROMPTS, True)
    assert "downloaded from" in store.fetch("prompts")


def test_an_interrupt_leaves_nothing_behind(store, monkeypatch):
    def interrupted(_self, _url, output_file, *_, **__):
        pathlib.Path(output_file).write_bytes(PROMPTS[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.fetch("prompts")
    assert left(store) == [] and not store.lock_file.exists()


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_an_http_error_is_reported_with_status_and_alternative(store, site, status):
    site.pages["/prompts.json"] = (status, b"no", True)
    message = failure(store)
    assert f"status {status}" in message and store.source("prompts").url in message
    assert str(store.path("prompts")) in message and "save the file there and run this again" in message
    assert left(store) == []


def test_offline_errors_name_file_and_url(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        store = store_of(tmp_path, url := f"http://127.0.0.1:{closed.getsockname()[1]}/x")
        message = failure(store)
    assert message.startswith(f"prompts: {store.path('prompts')} is missing")
    assert f"could not be downloaded ({url}: no connection)" in message and "\n" not in message


def test_a_web_page_is_not_recorded(store, site):
    site.pages["/prompts.json"] = (200, b"<!DOCTYPE html><title>Deleted</title>", True)
    message = failure(store)
    assert "is not JSON" in message and "<!DOCTYPE html>" in message
    assert left(store) == [] and not store.lock_file.exists()


def test_a_folder_that_cannot_be_created_is_reported(store, site):
    store.folder.write_text("a file where the folder should be")
    assert failure(store) == f"{store.folder}: can't be written: File exists"
    assert site.asked == []


def test_an_unverified_file_is_not_used(store):
    store.folder.mkdir()
    store.path("prompts").write_bytes(PROMPTS)
    with pytest.raises(UserError, match=r"is not verified yet; run: make data \(or: deepvalues data prompts"):
        store.verified("prompts")


def test_an_unknown_name_is_reported_with_the_known_ones(store):
    assert failure(store, "nothing") == "unknown data set 'nothing'; there are prompts"


@pytest.mark.parametrize(
    "line", ["abc  downloads/prompts.json", "<<<<<<< HEAD", digest(b"") + " prompts.json"]
)
def test_a_damaged_lock_is_reported_with_its_line(store, line):
    store.lock_file.write_text(f"{digest(b'')}  downloads/other.json\n{line}\n")
    assert "sources.lock: line 2 is not a SHA-256" in failure(store)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a: [", "not valid YAML"),
        ("- a", "it must be a mapping"),
        ("a: 1", "a must be a mapping"),
        ("a: {file: f, url: 'http://x', sha256: null, what: w, cite: c}", "the key a.licence is missing"),
        ("a: {file: ../f, url: 'http://x', sha256: null, what: w, cite: c, licence: l}", "without folders"),
        ("a: {file: f, url: 'ftp://x', sha256: null, what: w, cite: c, licence: l}", "begins with http"),
        (
            "a: {file: f, url: 'http://x', sha256: 12, what: w, cite: c, licence: l}",
            "sha256 must be text",
        ),
    ],
)
def test_a_malformed_list_of_sources_is_reported(tmp_path, content, reason):
    (tmp_path / "sources.yml").write_text(content)
    with pytest.raises(UserError, match=reason):
        load_sources(tmp_path / "sources.yml")


def test_a_missing_list_of_sources_is_reported(tmp_path):
    with pytest.raises(UserError, match="file not found"):
        load_sources(tmp_path / "sources.yml")


# The command and the project's list


@pytest.fixture
def command(store, site, monkeypatch, capsys):
    """`deepvalues data` with two sources, of which the second is missing."""
    listed = yaml.safe_load(store.sources_file.read_text())
    listed["gone"] = {**listed["prompts"], "file": "gone.json", "url": listed["prompts"]["url"] + ".gone"}
    store.sources_file.write_text(yaml.safe_dump(listed))
    for name, path in (("SOURCES", store.sources_file), ("SOURCES_LOCK", store.lock_file)):
        monkeypatch.setattr(paths, name, path)
    monkeypatch.setattr(paths, "DOWNLOADS", store.folder)

    def run(*names):
        return cli.main(["data", *names]), *capsys.readouterr()

    return run


def test_the_command_continues_after_an_error(command):
    status, out, err = command()
    assert status == 2
    assert re.fullmatch(
        r"prompts: \S+: downloaded from http\S+, 0\.0 MB, SHA-256 recorded in \S+sources\.lock\n", out
    )
    assert err.startswith("deepvalues: gone: ") and "gone: the server answered with status 404" in err
    status, out, _ = command("prompts")
    assert status == 0 and re.fullmatch(r"prompts: \S+: already there, 0\.0 MB, SHA-256 as expected\n", out)


def test_a_common_problem_is_reported_once(command, store):
    store.folder.touch()
    assert command() == (2, "", f"deepvalues: {store.folder}: can't be written: File exists\n")


def test_the_command_fetches_only_what_is_named(command, site):
    assert command("prompts")[0] == 0
    assert site.asked == ["/prompts.json"]


def test_the_projects_sources_are_well_formed():
    sources = Store.project().sources
    assert {*RELEASED_SETS, "many-labs-2-svo"} <= sources.keys()
    assert len({source.file for source in sources.values()}) == len(sources)
    for source in sources.values():
        assert re.fullmatch(r"https://[!-~]+", source.url)
        assert source.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", source.sha256)
    for name in RELEASED_SETS:
        assert sources[name].url.endswith("&dl=1") and f"/{sources[name].file}?" in sources[name].url


def test_the_url_of_many_labs_2_is_the_files_path_at_a_commit():
    source = Store.project().source("many-labs-2-svo")
    place = unquote(urlsplit(source.url).path)
    assert place == (
        "/ManyLabsOpenScience/ManyLabs2/acef63fc397b8dce7f0b00f863bcea78d324bea8/OSFdata/"
        "Social Value Orientation (Van Lange et al., 1997)/vanLange.1/Global/Data/"
        "vanLange_1_study_global_include_all_CLEAN_CASE.csv"
    )
    assert place.endswith(f"/{source.file}") and source.sha256.startswith("997a341a")


def test_downloads_are_ignored_by_git():
    path = paths.shown(paths.DOWNLOADS / "dvb_all_prompts_full.json")
    ignored = subprocess.run(["git", "check-ignore", path], cwd=paths.ROOT, capture_output=True, check=False)
    if ignored.returncode == 128:
        pytest.skip("not a git clone")
    assert ignored.returncode == 0


def test_make_data_is_the_command():
    command = ["make", "--dry-run", "--no-print-directory", "data"]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].endswith("-m deepvalues data")
    shown = subprocess.run(["make", "help"], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert "make data" in shown.stdout

"""The GitHub workflow: pinned actions, least permissions, commands that exist. GitHub itself is not asked."""

import re
import subprocess
import tarfile
import tomllib

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from deepvalues.core import paths
from deepvalues.paper import render

FILES = sorted((paths.ROOT / ".github" / "workflows").glob("*.y*ml"))
MAKEFILE = (paths.ROOT / "Makefile").read_text(encoding="utf-8")


def load(file):
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    # YAML 1.1 reads the key `on` as true.
    content["on"] = content.pop(True) if True in content else content["on"]
    return content


@pytest.fixture(scope="module")
def paper():
    return load(paths.ROOT / ".github" / "workflows" / "paper.yml")


def steps(workflow):
    return [(name, step) for name, job in workflow["jobs"].items() for step in job["steps"]]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_jobs_and_steps_are_complete(file):
    workflow = load(file)
    assert workflow["name"] and workflow["on"]
    for name, job in workflow["jobs"].items():
        assert job["runs-on"] and job["timeout-minutes"], name
        assert set(job.get("needs", [])) <= set(workflow["jobs"]), name
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), step


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_actions_are_pinned_by_commit_with_their_tag_beside(file):
    used = re.findall(r"^\s*-?\s*uses: (.*)$", file.read_text(encoding="utf-8"), re.M)
    assert used
    for line in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d[\d.]*", line), line
    pins = {line.split("@")[0]: line for line in used}
    assert set(used) == set(pins.values()), "one action at two commits"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_permissions_are_least(file):
    workflow = load(file)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        for permission, level in job.get("permissions", {}).items():
            assert (name, permission, level) in {
                ("publish", "pages", "write"),
                ("publish", "id-token", "write"),
                ("release", "contents", "write"),
            }
    # Nothing that a pull request brings along runs in a job that may write.
    assert "pull_request_target" not in workflow["on"]
    for name, step in steps(workflow):
        assert not (name in ("publish", "release") and "checkout" in step.get("uses", ""))
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_make_targets_of_the_workflow_exist(file):
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))
    named = [
        target
        for _, step in steps(load(file))
        for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))
    ]
    assert {"test", "paper"} <= set(named) <= targets


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_shell_steps_parse_and_take_no_text_of_an_event(file):
    for _, step in steps(load(file)):
        if script := step.get("run"):
            checked = subprocess.run(
                ["bash", "-n"], input=script, capture_output=True, text=True, check=False
            )
            assert checked.returncode == 0, checked.stderr
            # What an event says reaches a script as a variable, never as a part of the script.
            assert "${{" not in script, script


def test_the_site_is_published_from_main_only_and_after_the_tests(paper):
    publish = paper["jobs"]["publish"]
    assert "refs/heads/main" in publish["if"] and "pull_request" in publish["if"]
    assert set(publish["needs"]) == {"test", "build"}
    assert publish["environment"]["name"] == "github-pages"
    assert publish["concurrency"] == {"group": "pages", "cancel-in-progress": False}
    uploads = [step["with"]["path"] for _, step in steps(paper) if "upload-pages" in step.get("uses", "")]
    assert uploads == [paths.SITE.relative_to(paths.ROOT).as_posix()]


def test_a_release_gets_paper_site_and_data(paper):
    build = "\n".join(step.get("run", "") for step in paper["jobs"]["build"]["steps"])
    for name in ("paper.pdf", "meca.zip", "site.tar.gz", "data.tar.gz", "SHA256SUMS"):
        assert f"dist/{name}" in build or f"> {name}" in build
    release = paper["jobs"]["release"]
    assert release["if"] == "github.event_name == 'release'" and set(release["needs"]) == {"test", "build"}
    assert "gh release upload" in release["steps"][-1]["run"]


def test_the_archives_can_be_made(tmp_path, paper):
    """The step of the workflow itself, on a small repository."""
    (script,) = [step["run"] for _, step in steps(paper) if step.get("name") == "Archives for a release"]
    site, data = tmp_path / "paper" / "_site", tmp_path / "data"
    for folder in (site, data):
        folder.mkdir(parents=True)
    for name in ("index.pdf", "index-meca.zip"):
        (site / name).write_bytes(b"content")
    (data / "table.csv").write_text("a\n1\n")
    (data / "croissant.json").write_text("{}\n")
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for words in (["init", "-q"], ["add", "data/table.csv"], [*identity, "commit", "-q", "-m", "data"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    sums = []
    for _ in range(2):
        subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, check=True)
        sums.append((tmp_path / "dist" / "SHA256SUMS").read_text())
        with tarfile.open(tmp_path / "dist" / "data.tar.gz") as archive:
            assert sorted(archive.getnames()) == ["data/croissant.json", "data/table.csv"]
        subprocess.run(["rm", "-r", "dist"], cwd=tmp_path, check=True)
    assert sums[0] == sums[1], "the archives differ from one build to the next"
    assert re.findall(r"  (.*)", sums[0]) == ["data.tar.gz", "meca.zip", "paper.pdf", "site.tar.gz"]


def test_quarto_is_the_version_that_the_project_installs(paper):
    assert paper["env"]["QUARTO"] == render.VERSION
    entries = yaml.safe_load((paths.ROOT / "environment.yml").read_text())["dependencies"]
    (wanted,) = [entry for entry in entries if isinstance(entry, str) and entry.startswith("quarto")]
    assert paper["env"]["QUARTO"] in SpecifierSet(wanted.removeprefix("quarto"))


def test_the_pythons_of_the_workflow_are_supported(paper):
    for version in paper["jobs"]["test"]["strategy"]["matrix"]["python"]:
        assert SpecifierSet(">=3.11").contains(version)


def test_one_job_has_the_packages_without_which_tests_of_the_exports_are_skipped(paper):
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    install, run = (step["run"] for step in paper["jobs"]["exports"]["steps"] if "run" in step)
    extras = set(re.findall(r"\[(.*)\]", install)[0].split(","))
    assert {"hub", "inspect", "test"} == extras <= set(project["optional-dependencies"])
    assert (paths.ROOT / run.split()[-1]).is_dir()


def test_nothing_that_another_run_left_gets_into_what_is_published(paper):
    assert not [step for _, step in steps(paper) if "cache" in step.get("uses", "")]
    setups = [step["with"] for _, step in steps(paper) if "setup-python" in step.get("uses", "")]
    assert setups
    assert not any("cache" in name for given in setups for name in given)

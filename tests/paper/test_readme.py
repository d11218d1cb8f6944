"""The README's badges, links and anchors, and what it promises of Binder. Nothing is fetched."""

import json
import re
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml

from deepvalues.core import paths

PAGES = ["README.md", "data/README.md", "data/published/README.md", "data/stimuli/README.md"]
BADGE = re.compile(r"\[!\[(?P<alt>[^\]]*)\]\((?P<image>[^)]+)\)\]\((?P<target>[^)]+)\)")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def text(page):
    return (paths.ROOT / page).read_text(encoding="utf-8")


def prose(page):
    """The page without code, in which brackets are no links."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text(page), flags=re.M | re.S))


def links(page):
    badges = BADGE.findall(prose(page))
    plain = [first or second for first, second in LINK.findall(BADGE.sub("", prose(page)))]
    return [*plain, *(address for _, *both in badges for address in both)]


def anchors(page):
    """The anchors that GitHub gives to headings."""
    found = []
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text(page), flags=re.M | re.S), re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_repository_lead_somewhere(page):
    for link in links(page):
        if urlsplit(link).scheme:
            continue
        path, _, anchor = link.partition("#")
        target = (paths.ROOT / page).parent / unquote(path) if path else paths.ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(target.relative_to(paths.ROOT)), f"{page}: {link}"


@pytest.mark.parametrize("page", PAGES)
def test_links_to_others_are_well_formed(page):
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", f"{page}: {link}"
            assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc), f"{page}: {link}"
            assert not re.search(r"[\s<>\"]", link), f"{page}: {link}"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_in_code_exist(page):
    shown = re.findall(r"`((?:data|notebooks|src|tests|paper|figures)/[\w./-]*\w/?)`", text(page))
    built = ("data/croissant.json", "data/derived", "data/downloads", "data/sources.lock", "paper/_site")
    for path in shown:
        assert path.startswith(built) or (paths.ROOT / path).exists(), path


def test_every_badge_is_named_and_leads_to_the_repository_of_the_citation():
    badges = list(BADGE.finditer(text("README.md")))
    assert {badge["alt"] for badge in badges} >= {"Binder", "Tests"}
    home = urlsplit(yaml.safe_load(text("CITATION.cff"))["repository-code"]).path.strip("/")
    for badge in badges:
        assert home in badge["target"], badge["target"]
    tests = next(badge for badge in badges if badge["alt"] == "Tests")
    workflow = re.search(r"/actions/workflows/([\w.-]+)", tests["target"])[1]
    assert (paths.ROOT / ".github" / "workflows" / workflow).is_file()
    assert tests["image"] == f"{tests['target']}/badge.svg"


@pytest.mark.parametrize("page", ["README.md", "paper/_quarto.yml"])
def test_binder_opens_the_third_notebook_in_jupyterlab(page):
    (address,) = set(re.findall(r"https://mybinder\.org/v2/[^)\s]+", text(page)))
    parts = urlsplit(address)
    assert parts.path == "/v2/gh/deepvalues/deepvalues/HEAD"
    # Binder reads the value once unquoted; slashes may stand as they are.
    (path,) = parse_qs(parts.query, strict_parsing=True)["urlpath"]
    assert path == "lab/tree/notebooks/03_deep_values.ipynb"
    notebook = paths.ROOT / path.removeprefix("lab/tree/")
    assert json.loads(notebook.read_text(encoding="utf-8"))["nbformat"] == 4


def test_the_clone_address_is_that_of_the_citation():
    assert f"git clone {yaml.safe_load(text('CITATION.cff'))['repository-code']}" in text("README.md")


# ---- environment.yml, as repo2docker reads it


def test_repo2docker_takes_the_roots_environment():
    """It looks for `binder/` and `.binder/` first, and prefers environment.yml to other lists."""
    for folder in ("binder", ".binder"):
        assert not (paths.ROOT / folder).exists()
    for file in ("Dockerfile", "postBuild", "start", "apt.txt", "runtime.txt"):
        assert not (paths.ROOT / file).exists(), f"{file}: test that it fits environment.yml"


def test_repo2docker_reads_the_version_of_python():
    """It takes "python", equal signs and digits; from anything else it makes an image with Python 3.10."""
    entries = yaml.safe_load(text("environment.yml"))["dependencies"]
    (python,) = [entry for entry in entries if isinstance(entry, str) and entry.startswith("python=")]
    assert re.match(r"python\s*=+\s*(\d+\.\d+)", python)[1] in {"3.11", "3.12", "3.13", "3.14"}


def local(line):
    """Whether repo2docker sees a local path in a line of pip's, so that it copies the repository first.

    The rule of its function ``is_local_pip_requirement``, in our words: after a flag and its blank, or a
    long flag and "=", what begins with a point is a path.
    """
    if line.startswith("--") and "=" in line:
        line = line.split("=", 1)[1]
    if line.startswith("-"):
        line = line.partition(" ")[2]
    return line.strip().startswith(".") or "file://" in line


def test_the_package_is_installed_from_the_repository_which_is_copied_before():
    entries = yaml.safe_load(text("environment.yml"))["dependencies"]
    (pip,) = [entry["pip"] for entry in entries if isinstance(entry, dict)]
    (own,) = [line for line in pip if local(line)]
    assert own == "--editable .[test]"
    assert "pip" in entries


def test_the_environment_has_what_binder_starts():
    entries = [
        entry for entry in yaml.safe_load(text("environment.yml"))["dependencies"] if isinstance(entry, str)
    ]
    names = {re.match(r"[\w-]+", entry)[0] for entry in entries}
    assert {"jupyterlab", "ipykernel", "quarto", "make", "git", "pip"} <= names
    assert yaml.safe_load(text("environment.yml"))["channels"] == ["conda-forge"]

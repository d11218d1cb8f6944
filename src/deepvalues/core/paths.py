"""All paths of the project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from deepvalues.core.errors import UserError


def _root() -> Path:
    named = os.environ.get("DEEPVALUES_ROOT")
    starts = [Path(named)] if named else [Path.cwd(), *Path.cwd().parents, *Path(__file__).parents]
    for folder in starts:
        if (folder / "data" / "stimuli").is_dir() and (folder / "paper").is_dir():
            return folder.resolve()
    raise UserError(
        "The project's folder was not found: run from inside the clone, "
        "or set DEEPVALUES_ROOT to the folder that contains data/ and paper/."
    )


ROOT = _root()
DATA = ROOT / "data"
STIMULI = DATA / "stimuli"
BANK = STIMULI / "v1"
POOL = STIMULI / "pool"
LEARNER_RATES = STIMULI / "learner_rates.csv"
DESIGNS = STIMULI / "designs.yml"
BLIND_READING = STIMULI / "blind_reading.csv"
SVO = STIMULI / "svo.yml"
SVO_LETTERS = STIMULI / "svo_letters.yml"
PROFILES = STIMULI / "profiles.yml"
PROFILES_PAIRS = STIMULI / "profiles_pairs.yml"
PROFILES_CODEBOOK = STIMULI / "profiles_codebook.yml"
PROFILES_SENTENCES = STIMULI / "profiles_sentences.yml"
MODELS = DATA / "models.yml"
PUBLISHED = DATA / "published"
PUBLIC_PROMPTS = PUBLISHED / "public_prompts.csv"
SOURCES = DATA / "sources.yml"
SOURCES_LOCK = DATA / "sources.lock"
DOWNLOADS = DATA / "downloads"
RESPONSES = DATA / "responses"
#: Suffixes of files next to a record that no result depends on.
PASSING = (".lock", ".tmp", ".log.jsonl")
DERIVED = DATA / "derived"
RESULTS = DATA / "results"
#: Results of notebooks that are run by hand go here, unless the environment variable `KEEP` is set, as by
#: `deepvalues notebook`.
BY_HAND = ROOT / "build" / "by_hand"
KEEP = "DEEPVALUES_KEEP"
MANIFEST = RESULTS / "manifest.json"
NOTEBOOKS = ROOT / "notebooks"
PAPER = ROOT / "paper"
EXECUTED = PAPER / "notebooks"
VARIABLES = PAPER / "_variables.yml"
SENTENCES = PAPER / "sentences"
SITE = PAPER / "_site"


def items_file(study: str, item_set: str) -> Path:
    """The file with the items of a set."""
    return DERIVED / f"{study}_{item_set}.parquet"


def shown(path: Path) -> str:
    """A path as users type it: relative to the project if inside it."""
    resolved = path.resolve()
    return str(resolved.relative_to(ROOT)) if resolved.is_relative_to(ROOT) else str(path)


def install(extra: str) -> str:
    """The command that installs an extra of ``pyproject.toml``, to be run in the project's folder."""
    own = Path(sys.executable)
    python = own.relative_to(ROOT) if own.is_relative_to(ROOT) else "python"
    return f'{python} -m pip install -e ".[{extra}]"'

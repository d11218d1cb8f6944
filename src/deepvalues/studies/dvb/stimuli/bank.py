"""The wording bank: values, poles and domains, read from YAML and checked against its rules.

One file describes one value, one dimension (two poles) or one domain. A *wording* is a verb phrase
that continues "An agent that …"; a *scene* is a sentence that sets the stage for a choice. Wordings
and scenes may contain slots such as ``{person}``, filled with the nouns of the domain.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.core.number_format import plural
from deepvalues.core.paths import shown

SPLITS = ("train", "test")
SLOTS = ("person", "people", "record", "records", "task", "tasks", "staff", "outsiders", "place")
VALUE_SETS = ("ross_duty", "schwartz_social")
MINIMUM_WORDINGS = {"train": 14, "test": 10}
MINIMUM_SCENES = {"train": 2, "test": 1}
SHORTEST, LONGEST = 6, 14
PHRASE_WORDS = 5
LENGTH_TOLERANCE = 0.15

_SLOT = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True)
class Wording:
    """A verb phrase or scene of the bank, with unfilled slots."""

    id: str
    template: str

    def fill(self, nouns: Mapping[str, str]) -> str:
        """Put a domain's nouns into the slots."""
        return self.template.format_map(nouns)


@dataclass(frozen=True)
class Trait:
    """What a wording shows, a value or a shallow pole, with its wordings by split.

    ``group`` is the value's set or the pole's dimension.
    """

    id: str
    kind: str
    group: str
    name: str
    definition: str
    families: tuple[str, ...]
    wordings: Mapping[str, tuple[Wording, ...]]
    file: str


@dataclass(frozen=True)
class Dimension:
    """A shallow dimension and its two poles, in the published order."""

    id: str
    name: str
    poles: tuple[str, str]


@dataclass(frozen=True)
class Activity:
    """A work activity of a domain with its scenes by split."""

    id: str
    name: str
    scenes: Mapping[str, tuple[Wording, ...]]


@dataclass(frozen=True)
class Domain:
    """A field of work, the nouns that fill its slots, and its ten activities."""

    id: str
    name: str
    definition: str
    nouns: Mapping[str, str]
    activities: Mapping[str, Activity]
    file: str


@dataclass(frozen=True)
class Bank:
    """One version of the wording bank."""

    version: str
    values: Mapping[str, Trait]
    poles: Mapping[str, Trait]
    dimensions: Mapping[str, Dimension]
    domains: Mapping[str, Domain]

    @property
    def traits(self) -> tuple[Trait, ...]:
        """All values, then all poles."""
        return (*self.values.values(), *self.poles.values())

    @property
    def value_names(self) -> dict[str, str]:
        """Names of the values in running text, by id, one set after the other."""
        in_sets = (trait for group in VALUE_SETS for trait in self.values.values() if trait.group == group)
        return {trait.id: trait.name.lower() for trait in in_sets}

    def dimension_names(self, present: Iterable[str]) -> dict[str, tuple[str, str, str]]:
        """Names of dimensions and of their first and second pole, by dimension.

        Parameters
        ----------
        present
            Dimensions of the trials. The released data have some that the bank lacks; these are named
            after their poles: ``first/second``.
        """
        found = {}
        for dimension in self.dimensions.values():
            first, second = dimension.poles
            found[dimension.id] = (dimension.name, self.poles[first].name, self.poles[second].name)
        for id in sorted(set(present) - set(found)):
            first, second = id.replace("_", " ").split("/")
            found[id] = (f"{first} or {second}", first, second)
        return found


class Problem(NamedTuple):
    """An entry that breaks a rule of the bank."""

    file: str
    entry: str
    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.file}: {self.entry}: {self.rule}: {self.detail}"


def words(text: str) -> list[str]:
    """Split a text into lower-case words; apostrophes and hyphens are part of a word."""
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def word_count(wording: Wording) -> int:
    """Number of words in a wording; a slot's noun counts as one word."""
    return len(words(_SLOT.sub("noun", wording.template)))


def in_family(word: str, families: Sequence[str]) -> str | None:
    """The family that a word belongs to, as a whole word or by a beginning marked with ``*``, or None.

    The parts of a hyphenated word and the part before an apostrophe are checked as well.
    """
    forms = _forms(word)
    for family in families:
        if family.endswith("*"):
            if any(form.startswith(family[:-1]) for form in forms):
                return family
        elif family in forms:
            return family
    return None


def _forms(word: str) -> set[str]:
    stripped = word.split("'", maxsplit=1)[0]
    return {word, stripped, *stripped.split("-")}


def _listed(entry: Mapping[str, Any], key: str) -> list[str]:
    """A list of texts; a single text is an error, as it would be split into letters."""
    if not isinstance(entry[key], list):
        raise TypeError(f"{key} must be a list")
    return [str(text) for text in entry[key]]


def numbered(owner: str, entry: Mapping[str, Any]) -> dict[str, tuple[Wording, ...]]:
    """The texts of an entry by split, each with an id from the owner's id and a number."""
    return {
        split: tuple(
            Wording(f"{owner}.{split}.{number:02d}", text)
            for number, text in enumerate(_listed(entry, split), start=1)
        )
        for split in SPLITS
    }


def _trait(kind: str, id: str, group: str, entry: Mapping[str, Any], file: str) -> Trait:
    return Trait(
        id=id,
        kind=kind,
        group=group,
        name=str(entry["name"]),
        definition=str(entry["definition"]),
        families=tuple(_listed(entry, "families")),
        wordings=numbered(id, entry),
        file=file,
    )


def _domain(id: str, entry: Mapping[str, Any], file: str) -> Domain:
    activities = {
        key: Activity(key, str(activity["name"]), numbered(f"{id}.{key}", activity))
        for key, activity in entry["activities"].items()
    }
    nouns = {slot: str(noun) for slot, noun in entry["nouns"].items()}
    return Domain(id, str(entry["name"]), str(entry["definition"]), nouns, activities, file)


def _entries(folder: Path) -> Iterator[tuple[str, Any, str]]:
    files = sorted(folder.glob("*.yml"))
    if not files:
        raise UserError(f"{shown(folder)}: no YAML file of the wording bank found there")
    for path in files:
        yield path.stem, read_yaml(path), f"{folder.name}/{path.name}"


def read_bank(folder: Path) -> Bank:
    """Read a bank without checking its rules.

    Parameters
    ----------
    folder
        A folder such as ``data/stimuli/v1`` with the sub-folders values, dimensions and domains.

    Raises
    ------
    UserError
        When a file is missing, is not YAML, or lacks a key; the message names file and key.
    """
    values: dict[str, Trait] = {}
    poles: dict[str, Trait] = {}
    dimensions: dict[str, Dimension] = {}
    domains: dict[str, Domain] = {}
    file = str(folder)
    try:
        for id, entry, file in _entries(folder / "values"):
            values[id] = _trait("value", id, entry["set"], entry, file)
        for id, entry, file in _entries(folder / "dimensions"):
            for pole, described in entry["poles"].items():
                poles[f"{id}.{pole}"] = _trait("pole", f"{id}.{pole}", id, described, file)
            first, second = entry["poles"]
            dimensions[id] = Dimension(id, str(entry["name"]), (f"{id}.{first}", f"{id}.{second}"))
        for id, entry, file in _entries(folder / "domains"):
            domains[id] = _domain(id, entry, file)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{shown(folder)}: {file}: the entry is not shaped like the others ({error!r})"
        ) from None
    return Bank(folder.name, values, poles, dimensions, domains)


def load_bank(folder: Path) -> Bank:
    """Read a bank and check every rule.

    Raises
    ------
    UserError
        With one line for each broken rule: file, entry, rule, and what breaks it.
    """
    bank = read_bank(folder)
    check_rules(bank, folder)
    return bank


def check_rules(bank: Bank, source: Path) -> None:
    """Raise an error if a bank breaks a rule.

    Parameters
    ----------
    source
        Where the bank comes from, for the message.

    Raises
    ------
    UserError
        As from `load_bank`.
    """
    found = list(problems(bank))
    if found:
        lines = "\n".join(f"  {problem}" for problem in found[:20])
        more = f"\n  … and {len(found) - 20} more" if len(found) > 20 else ""
        broken = plural("rule", len(found))
        raise UserError(f"{shown(source)}: the wording bank breaks {len(found)} {broken}:\n{lines}{more}")


def checksum(folder: Path) -> str:
    """SHA-256 over the names and contents of a bank's YAML files, in sorted order."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.yml")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def problems(bank: Bank) -> Iterator[Problem]:
    """Yield every broken rule of the bank (the bank's README lists the rules)."""
    yield from _shape_problems(bank)
    for trait in bank.traits:
        yield from _count_problems(trait)
        for wording in _wordings(trait):
            yield from _wording_problems(trait, wording)
            yield from _family_problems(trait.file, wording, _forbidden(bank, trait))
    for domain in bank.domains.values():
        yield from _domain_problems(bank, domain)
    yield from _phrase_problems(bank)
    yield from _length_problems(bank)


def _wordings(trait: Trait) -> Iterator[Wording]:
    for split in SPLITS:
        yield from trait.wordings[split]


def _shape_problems(bank: Bank) -> Iterator[Problem]:
    counts = {"values": (len(bank.values), 11), "dimensions": (len(bank.dimensions), 20)}
    counts["domains"] = (len(bank.domains), 8)
    for name, (have, want) in counts.items():
        if have != want:
            yield Problem(name, "-", "number of entries", f"{have}, and the design needs {want}")
    for value in bank.values.values():
        if value.group not in VALUE_SETS:
            yield Problem(value.file, value.id, "set", f"{value.group!r} is none of {VALUE_SETS}")
    for trait in bank.traits:
        if not trait.definition or not trait.families:
            yield Problem(trait.file, trait.id, "definition and families", "one is empty")


def _count_problems(trait: Trait) -> Iterator[Problem]:
    for split, least in MINIMUM_WORDINGS.items():
        if (have := len(trait.wordings[split])) < least:
            yield Problem(trait.file, trait.id, "number of wordings", f"{split}: {have} of {least}")


def _slot_problems(file: str, wording: Wording) -> Iterator[Problem]:
    unknown = set(_SLOT.findall(wording.template)) - set(SLOTS)
    if unknown or set("{}") & set(_SLOT.sub("", wording.template)):
        yield Problem(file, wording.id, "slots", f"unknown slot in {wording.template!r}")
    for article, slot in re.findall(r"\b([Aa]n) \{(\w+)\}", wording.template):
        yield Problem(file, wording.id, "article", f"'{article} {{{slot}}}': nouns start with a consonant")


def _wording_problems(trait: Trait, wording: Wording) -> Iterator[Problem]:
    count = word_count(wording)
    if not SHORTEST <= count <= LONGEST:
        detail = f"{count} words, not {SHORTEST} to {LONGEST}: {wording.template!r}"
        yield Problem(trait.file, wording.id, "length", detail)
    if not re.fullmatch(r"[a-z][^.!?;:]*[^.!?;:,\s]", wording.template):
        detail = f"a verb phrase starts lower-case and ends without a stop: {wording.template!r}"
        yield Problem(trait.file, wording.id, "form", detail)
    if " and that " in wording.template:
        detail = f"'and that' joins the two clauses of an option: {wording.template!r}"
        yield Problem(trait.file, wording.id, "form", detail)
    yield from _slot_problems(trait.file, wording)


def _forbidden(bank: Bank, trait: Trait) -> dict[str, tuple[str, ...]]:
    """Families that a trait's wordings may not use, by the trait that lists them.

    No wording may use a family of any value, its own included. In addition, a value's wording may not use
    those of any pole, and a pole's wording those of either pole of its dimension.
    """
    poles = [pole for pole in bank.poles.values() if trait.kind == "value" or pole.group == trait.group]
    return {other.id: other.families for other in (*bank.values.values(), *poles)}


def _family_problems(
    file: str, wording: Wording, forbidden: Mapping[str, tuple[str, ...]]
) -> Iterator[Problem]:
    # Check all beginnings at once, as hardly any word begins like any of them.
    beginnings = tuple({family.rstrip("*") for families in forbidden.values() for family in families})
    for word in words(_SLOT.sub(" ", wording.template)):
        if not any(form.startswith(beginnings) for form in _forms(word)):
            continue
        for other, families in forbidden.items():
            if family := in_family(word, families):
                detail = f"{word!r} belongs to {other} ({family}): {wording.template!r}"
                yield Problem(file, wording.id, "forbidden family", detail)


def _domain_problems(bank: Bank, domain: Domain) -> Iterator[Problem]:
    if tuple(domain.nouns) != SLOTS:
        yield Problem(domain.file, domain.id, "nouns", f"needs {', '.join(SLOTS)}, in this order")
    if len(domain.activities) != 10:
        detail = f"{len(domain.activities)} activities, and the design needs 10"
        yield Problem(domain.file, domain.id, "activities", detail)
    everything = {trait.id: trait.families for trait in bank.traits}
    for slot, noun in domain.nouns.items():
        if len(words(noun)) != 1 or noun[0].lower() in "aeiou":
            detail = f"{slot}: {noun!r} is not one word that starts with a consonant"
            yield Problem(domain.file, domain.id, "nouns", detail)
        for other, families in everything.items():
            if in_family(noun.lower(), families):
                yield Problem(domain.file, domain.id, "forbidden family", f"{noun!r}: {other}")
    for activity in domain.activities.values():
        yield from _scene_problems(domain, activity, everything)


def _scene_problems(
    domain: Domain, activity: Activity, families: Mapping[str, tuple[str, ...]]
) -> Iterator[Problem]:
    for split, least in MINIMUM_SCENES.items():
        scenes = activity.scenes[split]
        if len(scenes) < least:
            detail = f"{split}: {len(scenes)} of {least}"
            yield Problem(domain.file, f"{domain.id}.{activity.id}", "number of scenes", detail)
        for scene in scenes:
            if not re.fullmatch(r"[A-Z][^!?;:]*[^.]\.", scene.template):
                detail = f"a scene is one sentence with a full stop: {scene.template!r}"
                yield Problem(domain.file, scene.id, "form", detail)
            yield from _slot_problems(domain.file, scene)
            yield from _family_problems(domain.file, scene, families)


def _phrases(bank: Bank) -> dict[tuple[str, ...], set[tuple[str, str]]]:
    """Every sequence of five words in all filled wordings and scenes, with where it occurs."""
    found: dict[tuple[str, ...], set[tuple[str, str]]] = defaultdict(set)

    def add(file: str, wording: Wording, nouns: Mapping[str, str]) -> None:
        # A slot without a noun breaks another rule, and must not stop the search here.
        text = words(_SLOT.sub(lambda slot: nouns.get(slot[1], slot[1]), wording.template))
        for start in range(len(text) - PHRASE_WORDS + 1):
            found[tuple(text[start : start + PHRASE_WORDS])].add((file, wording.id))

    for domain in bank.domains.values():
        for trait in bank.traits:
            for wording in _wordings(trait):
                add(trait.file, wording, domain.nouns)
        for activity in domain.activities.values():
            for split in SPLITS:
                for scene in activity.scenes[split]:
                    add(domain.file, scene, domain.nouns)
    return found


def _phrase_problems(bank: Bank) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for phrase, places in _phrases(bank).items():
        if len(places) > 1:
            (file, first), (_, second), *_ = sorted(places)
            if (first, second) not in seen:
                seen.add((first, second))
                detail = f"{' '.join(phrase)!r} stands in {second} too"
                yield Problem(file, first, "phrase of five words", detail)


def mean_length(trait: Trait, split: str) -> float:
    """Mean number of words of a trait's wordings in a split."""
    return fmean(word_count(wording) for wording in trait.wordings[split])


def _length_problems(bank: Bank) -> Iterator[Problem]:
    groups = [[bank.poles[pole] for pole in dim.poles] for dim in bank.dimensions.values()]
    for traits in [*groups, list(bank.values.values())]:
        for split in SPLITS:
            if not all(trait.wordings[split] for trait in traits):
                continue
            by_length = sorted(traits, key=lambda trait: mean_length(trait, split))
            low, high = (mean_length(trait, split) for trait in (by_length[0], by_length[-1]))
            if high > low * (1 + LENGTH_TOLERANCE):
                detail = f"{split}: {high:.1f} words on average, {by_length[0].id} has {low:.1f}"
                yield Problem(by_length[-1].file, by_length[-1].id, "mean length", detail)

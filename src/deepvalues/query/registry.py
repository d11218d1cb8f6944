"""The registry of models, ``data/models.yml``: a model is one entry."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deepvalues.errors import UserError
from deepvalues.files import read_yaml
from deepvalues.paths import shown

LOCAL = "local"
#: The kind of an endpoint that is named by its base URL alone.
CUSTOM = "custom"
#: Sent where an endpoint wants no key; the client insists on some text.
NO_KEY = "none"
#: How an endpoint can be asked by letter probability: it continues a reply that is begun for it, or the bare
#: letter is asked for. Any other is asked for free replies.
CONTINUE, BARE, FREE = "continue", "bare", "free"
#: Stand in `paper` for its language models that are asked in words, or by letter probability.
WORDS, LETTERS = "words", "letters"
#: The family of what is learned from the hidden states of language models.
HEAD = "head on hidden states"
FAMILIES = ("language model", "reference agent", "text learner", HEAD)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HUB = re.compile(r"[\w.-]+/[\w.-]+@[\w.-]+")
_REQUIREMENT = re.compile(r"[\w.-]+==[\w.!+-]+")


@dataclass(frozen=True)
class Endpoint:
    """Where requests go: the kind that enters the key, the base URL, the key's variable.

    ``letters`` is how its models can be asked by letter probability, `CONTINUE` or `BARE`; None where they
    are asked for free replies. ``continue_flags`` are parameters by which it continues a reply.
    """

    kind: str
    base_url: str | None
    key_variable: str | None
    letters: str | None = None
    continue_flags: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str | None:
        """The API key from the environment; None where one is needed and not set.

        Endpoints without a key variable need none; for any other base URL a key is sent if one is set.
        """
        key = os.environ.get(self.key_variable) if self.key_variable else None
        needed = self.key_variable and self.kind != CUSTOM
        return key or (None if needed else NO_KEY)


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens, and the date on which they were looked up."""

    input: float
    cached: float
    output: float
    date: str


@dataclass(frozen=True)
class Index:
    """Where the package index has a file: whole in a wheel, or in parts that are joined in order.

    ``{part}`` in ``package`` (name==version) and ``member`` (a path in the wheel) stands for the number of
    the part, from 1 on; ``{part:02}`` is its form with two digits.
    """

    package: str
    member: str
    parts: int = 1

    def __post_init__(self) -> None:
        """Refuse what names no wheel of one version."""
        for _, member in self.wheels():
            if not member.strip("/"):
                raise ValueError("the member of its index names no file")

    def wheels(self) -> list[tuple[str, str]]:
        """Each wheel's requirement, and the path of the member in it.

        Raises
        ------
        ValueError
            When a requirement is not name==version, or braces hold something else than the part.
        """
        try:
            found = [
                (self.package.format(part=part), self.member.format(part=part))
                for part in range(1, self.parts + 1)
            ]
        except (LookupError, ValueError, AttributeError, TypeError):
            found = []
        if not found or not all(_REQUIREMENT.fullmatch(package) for package, _ in found):
            raise ValueError(
                "its index needs a package like name==1.0, a member and a number of parts from 1 up; {part} "
                "stands for the part"
            )
        return found


@dataclass(frozen=True)
class Weights:
    """The file of a model that is served on this machine.

    ``file`` is its name in the cache, or the path of a file of one's own (with a slash in it). ``hub`` is
    owner/repository@revision. ``context`` is the most tokens of a prompt and its reply together; it does not
    change what is answered.
    """

    file: str
    sha256: str
    bytes: int | None = None
    hub: str | None = None
    index: Index | None = None
    context: int = 8192

    def __post_init__(self) -> None:
        """Refuse what could be neither found nor checked."""
        if not (isinstance(self.sha256, str) and _SHA256.fullmatch(self.sha256)):
            raise ValueError("the sha256 of its weights must be 64 hexadecimal digits; sha256sum gives them")
        if not (isinstance(self.file, str) and self.file.endswith(".gguf")):
            raise ValueError(f"the file of its weights must be a .gguf file, not {self.file!r}")
        if self.hub is not None and not _HUB.fullmatch(str(self.hub)):
            raise ValueError(f"the hub of its weights is owner/repository@revision, not {self.hub!r}")
        if not isinstance(self.context, int) or self.context < 1:
            raise ValueError(f"the context of its weights is a number of tokens, not {self.context!r}")


@dataclass(frozen=True)
class Model:
    """A model: its name in the record, the name its endpoint knows, and how it is asked.

    ``parameters`` are laid over those of the study; null takes one out (``max_tokens: null``). ``billions``
    are its parameters where they were published, ``released`` the day it came out, as YYYY-MM-DD.
    ``letters`` is as that of its endpoint, unless its entry says otherwise. A model with ``weights`` is
    served on this machine while it is asked.
    """

    name: str
    endpoint: Endpoint
    served_as: str
    family: str = FAMILIES[0]
    developer: str = "unknown"
    size_tier: str = "unknown"
    billions: float | None = None
    released: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    price: Price | None = None
    letters: str | None = None
    weights: Weights | None = None

    @property
    def weights_sha256(self) -> str | None:
        """SHA-256 of the weights that answer; None where an endpoint does not say which these are."""
        return self.weights.sha256 if self.weights else None

    @property
    def is_local(self) -> bool:
        """Whether this project's own server answers for the model."""
        return self.endpoint.kind == LOCAL

    def require_key(self, missing: int = 0) -> str:
        """The API key that requests carry; the message may tell how many answers are missing.

        Raises
        ------
        UserError
            When it is missing, or holds a character that no key has.
        """
        key, variable = self.endpoint.key, self.endpoint.key_variable
        if key is None:
            needed = f" ({missing} answers are missing)" if missing else ""
            raise UserError(f"{self.name}: no API key: set the environment variable {variable}{needed}")
        if not (key.isascii() and key.isprintable()):
            raise UserError(
                f"{self.name}: the API key in {variable} holds a character that no key has, perhaps the end "
                "of a line"
            )
        return key

    def request_parameters(self, study: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a request: the study's, with the model's laid over them."""
        merged = {**study, **self.parameters}
        return {name: setting for name, setting in merged.items() if setting is not None}


@dataclass(frozen=True)
class Registry:
    """All endpoints and models of a registry file.

    ``paper`` has the names of the paper's models by study/set; ``asked_of`` how the file says it, with
    `WORDS` and `LETTERS` for its language models and with groups.
    """

    path: Path
    endpoints: Mapping[str, Endpoint]
    models: Mapping[str, Model]
    paper: Mapping[str, tuple[str, ...]]
    asked_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def choose(self, names: Sequence[str], place: str) -> list[Model]:
        """The named models; where none is named, those that the paper lists for a study/set.

        A set that the paper does not list is asked of the models of its study's first one.

        Raises
        ------
        UserError
            When a model is unknown, or none is named and the paper lists none for the study.
        """
        if names:
            return [self.model(name) for name in names]
        study, _, _ = place.partition("/")
        listed = [place] if place in self.paper else [f"{study}/{first}" for first in self.sets(study)[:1]]
        if not listed:
            known = ", ".join(self.paper)
            raise UserError(f"{self.path.name}: `paper` lists no models for {place!r}, only for {known}")
        return [self.model(name) for name in self.paper[listed[0]]]

    def sets(self, study: str) -> list[str]:
        """The sets of a study that the paper reads; the first is asked where none is named."""
        places = (place.partition("/") for place in self.paper)
        return [item_set for name, _, item_set in places if name == study]

    def needed_of(self, model: Model) -> dict[str, list[str]]:
        """What the paper asks of a model, sets by study; of a language model also where it is not listed."""
        means = LETTERS if model.letters else WORDS
        found: dict[str, list[str]] = {}
        for place, names in self.paper.items():
            if model.name in names or (model.family == FAMILIES[0] and means in self.asked_of[place]):
                study, _, item_set = place.partition("/")
                found.setdefault(study, []).append(item_set)
        return found

    def model(self, name: str, base_url: str | None = None) -> Model:
        """Find a model; with a base URL any name works.

        Raises
        ------
        UserError
            When the model is unknown and no base URL is given, or the base URL is none.
        """
        known = self.models.get(name)
        if base_url:
            parts = urlsplit(base_url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise UserError(f"a base URL is like http://localhost:8000/v1, not {base_url!r}")
            key_variable = known.endpoint.key_variable if known else None
            flags = known.endpoint.continue_flags if known else {}
            variable = key_variable or "OPENAI_API_KEY"
            endpoint = Endpoint(CUSTOM, base_url, variable, continue_flags=flags)
            # Which weights answer there nobody knows.
            return replace(known, endpoint=endpoint, weights=None) if known else Model(name, endpoint, name)
        if known is None:
            near = difflib.get_close_matches(name, self.models, n=3)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise UserError(
                f"unknown model {name!r}: {hint}`deepvalues models` lists those of {self.path.name}. "
                "Add an entry there, or give --base-url."
            )
        return known


def _endpoint(kind: str, entry: Mapping[str, Any]) -> Endpoint:
    letters, flags = _letters(entry.get("letters")), entry.get("continue_flags") or {}
    if not isinstance(flags, Mapping):
        raise ValueError(f"{kind}: continue_flags are parameters and their settings, not {flags!r}")
    return Endpoint(kind, entry.get("base_url"), entry.get("key_variable"), letters, flags)


def _letters(given: object) -> str | None:
    if given in (None, FREE):
        return None
    if given not in (CONTINUE, BARE):
        raise ValueError(f"letters is {CONTINUE}, {BARE} or {FREE}, not {given!r}")
    return str(given)


def _model(entry: Mapping[str, Any], endpoints: Mapping[str, Endpoint]) -> Model:
    given = {"served_as": entry["name"], **entry}
    _check_keys(Model, given, "")
    if given["endpoint"] not in endpoints:
        raise ValueError(f"endpoint {given['endpoint']!r} is not among {', '.join(endpoints)}")
    given["endpoint"] = endpoints[given["endpoint"]]
    given["letters"] = _letters(given.get("letters", given["endpoint"].letters))
    if given.get("price"):
        _check_keys(Price, given["price"], " of its price")
        given["price"] = Price(**given["price"])
    if "weights" in given:
        given["weights"] = _weights(given["weights"])
    return Model(**given)


def _weights(entry: Any) -> Weights:
    _check_keys(Weights, entry, " of its weights")
    given = dict(entry)
    if "index" in given:
        _check_keys(Index, given["index"], " of its index")
        given["index"] = Index(**given["index"])
    return Weights(**given)


def _check_keys(kind: type[Model | Price | Weights | Index], given: Any, where: str) -> None:
    """Raise a ValueError for a key that such an entry does not have, or lacks."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{given!r}{where} holds no keys")
    known = [each.name for each in fields(kind)]
    needed = [each.name for each in fields(kind) if each.default is each.default_factory is MISSING]
    for key in given:
        if key not in known:
            raise ValueError(f"the key {key!r}{where} is not among {', '.join(known)}")
    for key in needed:
        if key not in given:
            raise ValueError(f"the key {key!r}{where} is missing")


def _listed_twice(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _paper(
    content: Mapping[str, Any], asked_of: Mapping[str, Sequence[str]], models: Mapping[str, Model]
) -> dict[str, tuple[str, ...]]:
    """The names of the models that are asked each set.

    Raises
    ------
    ValueError
        When a name has no entry, is no language model among these, or is listed twice.
    """
    language_models = [str(name) for name in content.get("language_models", ())]
    groups = {str(name): [*map(str, names)] for name, names in content.get("groups", {}).items()}
    for where, names in {"`language_models`": language_models, **groups, **asked_of}.items():
        if _listed_twice(names):
            raise ValueError(f"lists {', '.join(_listed_twice(names))} twice for {where}")
    _check_language_models(language_models, models)
    groups[WORDS] = [name for name in language_models if not models[name].letters]
    groups[LETTERS] = [name for name in language_models if models[name].letters]
    paper = {}
    for place, listed in asked_of.items():
        paper[place] = tuple(name for entry in listed for name in groups.get(entry, [entry]))
        unlisted = sorted(set(paper[place]) - set(models))
        if unlisted:
            raise ValueError(f"names {', '.join(unlisted)} for {place}, which has no entry")
        if _listed_twice(paper[place]):
            raise ValueError(f"lists {', '.join(_listed_twice(paper[place]))} twice for {place}")
    return paper


def _check_language_models(names: Sequence[str], models: Mapping[str, Model]) -> None:
    for name in names:
        if name not in models:
            raise ValueError(f"names {name} under `language_models`, which has no entry")
        if models[name].family != FAMILIES[0]:
            raise ValueError(f"names {name} under `language_models`, which is a {models[name].family}")


def load_registry(path: Path) -> Registry:
    """Read the registry.

    Raises
    ------
    UserError
        When the file is malformed; the message names the entry.
    """
    content = read_yaml(path)
    try:
        endpoints = {kind: _endpoint(kind, entry) for kind, entry in content["endpoints"].items()}
        listed = list(content["models"])
        paper = {**content["paper"]}
        asked_of = {str(place): tuple(map(str, names)) for place, names in paper.get("sets", {}).items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{shown(path)}: not a registry of models: {error!r}") from None
    models: dict[str, Model] = {}
    for place, entry in enumerate(listed, start=1):
        if not isinstance(entry, dict) or "name" not in entry:
            raise UserError(f"{shown(path)}: entry {place} of `models` has no name: {entry!r:.80}")
        try:
            model = _model(entry, endpoints)
        except (TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{shown(path)}: {entry['name']}: {error}") from None
        if model.family not in FAMILIES:
            known = ", ".join(FAMILIES)
            raise UserError(f"{shown(path)}: {model.name}: family {model.family!r} is none of {known}")
        if model.name in models:
            raise UserError(f"{shown(path)}: the model {model.name!r} is listed twice")
        models[model.name] = model
    try:
        return Registry(path, endpoints, models, _paper(paper, asked_of, models), asked_of)
    except (TypeError, AttributeError) as error:
        raise UserError(f"{shown(path)}: not a registry of models: `paper`: {error!r}") from None
    except ValueError as error:
        raise UserError(f"{shown(path)}: `paper` {error}") from None

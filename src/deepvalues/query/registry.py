"""The registry of models, ``data/models.yml``: a model is one entry."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from deepvalues.errors import UserError

LOCAL = "local"
#: The kind of an endpoint that is named by its base URL alone.
CUSTOM = "custom"
#: Sent where an endpoint wants no key; the client insists on some text.
NO_KEY = "none"
FAMILIES = ("language model", "reference agent", "text learner")


@dataclass(frozen=True)
class Endpoint:
    """Where requests go: the kind that enters the key, the base URL, the key's variable."""

    kind: str
    base_url: str | None
    key_variable: str | None

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
class Model:
    """A model: its name in the record, the name its endpoint knows, and how it is asked.

    ``parameters`` are laid over those of the study; null takes one out (``max_tokens: null``). ``billions``
    are its parameters where they were published, ``released`` the day it came out, as YYYY-MM-DD.
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
    """All endpoints and models of a registry file."""

    path: Path
    endpoints: Mapping[str, Endpoint]
    models: Mapping[str, Model]
    paper: Mapping[str, tuple[str, ...]]

    def choose(self, names: Sequence[str], study: str) -> list[Model]:
        """The named models; those that the paper lists for a study where none is named.

        Raises
        ------
        UserError
            When a model is unknown, or none is named and the paper lists none for the study.
        """
        if not names and study not in self.paper:
            listed = ", ".join(self.paper)
            raise UserError(f"{self.path.name}: `paper` lists no models for {study!r}, only for {listed}")
        return [self.model(name) for name in names or self.paper[study]]

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
            endpoint = Endpoint(CUSTOM, base_url, key_variable or "OPENAI_API_KEY")
            return replace(known, endpoint=endpoint) if known else Model(name, endpoint, name)
        if known is None:
            raise UserError(
                f"unknown model {name!r}: {self.path.name} has {', '.join(self.models)}. "
                "Add an entry there, or give --base-url."
            )
        return known


def _endpoint(kind: str, entry: Mapping[str, Any]) -> Endpoint:
    return Endpoint(kind, entry.get("base_url"), entry.get("key_variable"))


def _model(entry: Mapping[str, Any], endpoints: Mapping[str, Endpoint]) -> Model:
    fields = dict(entry)
    name = fields.pop("name")
    endpoint = endpoints[fields.pop("endpoint")]
    price = fields.pop("price", None)
    return Model(
        name=name,
        endpoint=endpoint,
        served_as=fields.pop("served_as", name),
        price=Price(**price) if price else None,
        **fields,
    )


def _flat(listed: Sequence[Any]) -> Iterator[str]:
    """Names of a list and of the lists in it, which YAML's anchors let several lists share."""
    for entry in listed:
        if isinstance(entry, list):
            yield from _flat(entry)
        else:
            yield str(entry)


def _listed_twice(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _check_paper(path: Path, paper: Mapping[str, tuple[str, ...]], models: Mapping[str, Model]) -> None:
    for study, names in paper.items():
        unlisted = sorted(set(names) - set(models))
        if unlisted:
            raise UserError(f"{path}: `paper` names {', '.join(unlisted)} for {study}, which has no entry")
        if _listed_twice(names):
            raise UserError(f"{path}: `paper` lists {', '.join(_listed_twice(names))} twice for {study}")


def load_registry(path: Path) -> Registry:
    """Read the registry.

    Raises
    ------
    UserError
        When the file is malformed; the message names the entry.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        endpoints = {kind: _endpoint(kind, entry) for kind, entry in content["endpoints"].items()}
        listed = list(content["models"])
        paper = {study: tuple(_flat([*names])) for study, names in content["paper"].items()}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: not a registry of models: {error!r}") from None
    models: dict[str, Model] = {}
    for entry in listed:
        try:
            model = _model(entry, endpoints)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{path}: entry {entry!r}: wrong or missing field {error}") from None
        if model.family not in FAMILIES:
            raise UserError(f"{path}: {model.name}: family {model.family!r} is none of {FAMILIES}")
        if model.name in models:
            raise UserError(f"{path}: the model {model.name!r} is listed twice")
        models[model.name] = model
    _check_paper(path, paper, models)
    return Registry(path, endpoints, models, paper)

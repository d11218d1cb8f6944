"""The registry of models, ``data/models.yml``: a model is one entry."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.core.paths import shown
from deepvalues.core.schema import STRICT, Amount, Text, Whole, checked, like, near

LOCAL = "local"
#: The kind of base URLs given on the command line in old records; now their host and path.
CUSTOM = "custom"
#: Sent to endpoints that need no key, since the client requires one.
NO_KEY = "none"
#: How an endpoint gives choices: it continues a reply that is begun for it, the prompt asks for the bare
#: letter, or it gives free replies.
CONTINUE, BARE, FREE = "continue", "bare", "free"
#: Groups in `paper`: its language models that give free replies, or choices by letter probability.
WORDS, LETTERS = "words", "letters"
#: The family of linear models on hidden states of language models.
HEAD = "head on hidden states"
_Family = Literal["language model", "reference agent", "text learner", "head on hidden states"]
FAMILIES: tuple[_Family, ...] = get_args(_Family)
#: Numeric parameters of the protocol.
_NUMBERS = (
    *("frequency_penalty", "max_completion_tokens", "max_tokens", "presence_penalty", "seed"),
    *("temperature", "top_logprobs", "top_p"),
)
#: Parameters of the protocol, to detect misspellings; other parameters are passed on unchanged.
PARAMETERS = (
    *_NUMBERS,
    *("logit_bias", "logprobs", "reasoning_effort", "response_format", "service_tier", "stop", "verbosity"),
)
_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PART, _OF_PARTS = r"\{part(:0\d)?\}", ", where {part} may stand for the part's number"


def _spelt(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, setting in parameters.items():
        if name not in PARAMETERS and (meant := near(name, PARAMETERS)):
            raise ValueError(f"have no {name!r}; did you mean {meant}?")
        if name in _NUMBERS and type(setting) not in (int, float, type(None)):
            raise ValueError(f"need an unquoted number for {name}, not {setting!r:.60}")
    return parameters


def _endpoint_named(name: object, info: ValidationInfo) -> object:
    known: Mapping[str, Endpoint] = info.context or {}
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{name!r} is not among {', '.join(known)}")
    return known[name]


#: How a model can be asked: one of the three.
Way = Literal["continue", "bare", "free"]
#: The same, with None for free replies.
_Letters = Annotated[Way | None, AfterValidator(lambda way: None if way == FREE else way)]


@dataclass(frozen=True)
class Endpoint:
    """Where requests go: the kind, which is part of every key, the base URL, and the API key's variable.

    The kind is the endpoint's name in the registry, or the `respondent` of a --base-url.

    ``letters`` is how its models give choices by letter probability, `CONTINUE` or `BARE`; None for free
    replies. ``continue_flags`` are parameters that make it continue a reply.
    """

    __pydantic_config__ = STRICT

    kind: Text
    base_url: Text | None = None
    key_variable: Text | None = None
    letters: _Letters = None
    continue_flags: Mapping[Text, Any] = field(default_factory=dict)

    @property
    def key(self) -> str | None:
        """The API key from the environment; None if one is needed but not set."""
        return os.environ.get(self.key_variable) or None if self.key_variable else NO_KEY


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens, and the date of the price."""

    __pydantic_config__ = STRICT

    input: Amount
    cached: Amount
    output: Amount
    date: Text


@dataclass(frozen=True)
class Index:
    """A file on the package index: in one wheel, or in parts that are joined in order.

    ``{part}`` in ``package`` (name==version) and ``member`` (a path in the wheel) stands for the part's
    number, starting at 1; ``{part:02}`` for two digits.
    """

    __pydantic_config__ = STRICT

    package: Annotated[Text, like(rf"([\w.-]|{_PART})+==([\w.!+-]|{_PART})+", f"like name==1.0{_OF_PARTS}")]
    member: Annotated[Text, like(rf"([^{{}}]|{_PART})*([^{{}}/]|{_PART})", f"the path of a file{_OF_PARTS}")]
    parts: Whole = 1

    def wheels(self) -> list[tuple[str, str]]:
        """Each wheel's requirement and the path of its member."""
        numbers = range(1, self.parts + 1)
        return [(self.package.format(part=part), self.member.format(part=part)) for part in numbers]


@dataclass(frozen=True)
class Weights:
    """The weights file of a model that is served on this machine.

    ``file`` is its name in the cache, or the path of the user's own file (with a slash). ``hub`` is
    owner/repository@revision. ``context`` is the maximum number of tokens of prompt and reply together; it
    does not affect the answers.
    """

    __pydantic_config__ = STRICT

    file: Annotated[Text, like(r".*\.gguf", "a .gguf file")]
    sha256: Annotated[Text, like("[0-9a-f]{64}", "64 hexadecimal digits; sha256sum gives them")]
    bytes: Whole | None = None
    hub: Annotated[Text, like(r"[\w.-]+/[\w.-]+@[\w.-]+", "owner/repository@revision")] | None = None
    index: Index | None = None
    context: Whole = 8192


@dataclass(frozen=True)
class Model:
    """A model: its name in the record, its name at the endpoint (``served_as``), and how it is asked.

    ``parameters`` override those of the study; null removes one (``max_tokens: null``). ``billions`` is the
    number of its weights, if published; ``released`` its release date, as YYYY-MM-DD. ``letters`` is that of
    its endpoint by default. A model with ``weights`` is served on this machine while it is asked.
    """

    __pydantic_config__ = STRICT

    name: Text
    endpoint: Annotated[Endpoint, BeforeValidator(_endpoint_named)]
    served_as: Text
    family: _Family = FAMILIES[0]
    developer: Text = "unknown"
    size_tier: Literal["small", "middle", "large", "unknown"] = "unknown"
    billions: Amount | None = None
    released: Text | None = None
    parameters: Annotated[Mapping[Text, Any], AfterValidator(_spelt)] = field(default_factory=dict)
    price: Price | None = None
    letters: _Letters = None
    weights: Weights | None = None

    @property
    def weights_sha256(self) -> str | None:
        """SHA-256 of the weights; None for models on remote endpoints."""
        return self.weights.sha256 if self.weights else None

    @property
    def is_local(self) -> bool:
        """Whether the model answers in this process."""
        return self.endpoint.kind == LOCAL

    def require_key(self, missing: int = 0) -> str:
        """The API key; the error message mentions the number of missing answers.

        Raises
        ------
        UserError
            When the key is not set or has an invalid character.
        """
        key, variable = self.endpoint.key, self.endpoint.key_variable
        if key is None:
            needed = f" ({missing} answers are missing)" if missing else ""
            raise UserError(f"{self.name}: no API key: set the environment variable {variable}{needed}")
        if not (key.isascii() and key.isprintable()):
            raise UserError(
                f"{self.name}: the API key in {variable} contains an invalid character, perhaps a line break"
            )
        return key

    def request_parameters(self, study: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a request: the study's, overridden by the model's."""
        merged = {**study, **self.parameters}
        return {name: setting for name, setting in merged.items() if setting is not None}


@dataclass(frozen=True)
class Registry:
    """All endpoints and models of a registry file.

    ``paper`` maps study/set to the names of the paper's models; ``asked_of`` is the same as written in the
    file, with groups not expanded.
    """

    path: Path
    endpoints: Mapping[str, Endpoint]
    models: Mapping[str, Model]
    paper: Mapping[str, tuple[str, ...]]
    asked_of: Mapping[str, Sequence[str]]

    def choose(self, names: Sequence[str], place: str) -> list[Model]:
        """The named models; by default those that the paper lists for a study/set.

        For a set that the paper does not use, these are the models of its study's first set.

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
        """The sets of a study that the paper uses; the first is the default."""
        places = (place.partition("/") for place in self.paper)
        return [item_set for name, _, item_set in places if name == study]

    def needed_of(self, model: Model) -> dict[str, list[str]]:
        """The sets that the paper needs from a model, by study; for a language model even if not listed."""
        group = LETTERS if model.letters else WORDS
        needed: dict[str, list[str]] = {}
        for place, names in self.paper.items():
            if model.name in names or (model.family == FAMILIES[0] and group in self.asked_of[place]):
                study, _, item_set = place.partition("/")
                needed.setdefault(study, []).append(item_set)
        return needed

    def of_paper(self, study: str) -> list[Model]:
        """The models that the paper lists for any set of a study."""
        lists = (names for place, names in self.paper.items() if place.partition("/")[0] == study)
        return [self.model(name) for name in dict.fromkeys(name for names in lists for name in names)]

    def model(self, name: str, base_url: str | None = None, key_variable: str | None = None) -> Model:
        """Find a model; with a base URL any name works.

        An API key is sent only to its own host: with a base URL, the key in ``key_variable`` is sent, else
        the key of the registry's endpoint on the same host, else none.

        Raises
        ------
        UserError
            When the model is unknown and there is no base URL, or the base URL is invalid.
        """
        known = self.models.get(name)
        if key_variable and not base_url:
            raise UserError("--key-variable names the key for --base-url; give both")
        if base_url:
            base_url = _base_url(base_url)
            flags = known.endpoint.continue_flags if known else {}
            variable = key_variable or self._variable_for(base_url)
            endpoint = Endpoint(self._kind_of(base_url), base_url, variable, continue_flags=flags)
            # Which weights are served there is unknown.
            return replace(known, endpoint=endpoint, weights=None) if known else Model(name, endpoint, name)
        if known is None:
            near = difflib.get_close_matches(name, self.models, n=3)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise UserError(
                f"unknown model {name!r}: {hint}`deepvalues models` lists those of {self.path.name}. "
                "Add an entry there, or give --base-url."
            )
        return known

    def _variable_for(self, base_url: str) -> str | None:
        """The environment variable with the API key for a URL's host."""
        owners = (each for each in self.endpoints.values() if each.base_url and each.key_variable)
        host = _origin(base_url)
        return next((each.key_variable for each in owners if _origin(each.base_url or "") == host), None)

    def _kind_of(self, base_url: str) -> str:
        """The name of the endpoint with this base URL; otherwise its `respondent`."""
        address = respondent(base_url)
        listed = (each for each in self.endpoints.values() if each.base_url)
        return next((each.kind for each in listed if respondent(each.base_url or "") == address), address)


def respondent(base_url: str) -> str:
    """Identify who answers at a base URL: host, port unless it is the default, and path.

    All names of this machine count as one. Other parts, such as a key in the query string, are ignored.
    """
    parts = urlsplit(base_url)
    host = "localhost" if parts.hostname in _LOOPBACK else parts.hostname
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{host}{port}/{parts.path.strip('/')}"


def proxy_for(base_url: str) -> str | None:
    """The proxy for an endpoint, from the environment; a SOCKS proxy is a `UserError`."""
    parts = urlsplit(base_url)
    if parts.hostname is None or parts.hostname in _LOOPBACK or proxy_bypass(parts.hostname):
        return None
    proxies = getproxies()
    name = parts.scheme if parts.scheme in proxies else "all"
    proxy = proxies.get(name)
    if proxy and proxy.casefold().startswith("socks"):
        raise UserError(
            f"{name.upper()}_PROXY is a SOCKS proxy, which is not supported: set it to an http:// proxy, or "
            "unset it"
        )
    return proxy


def _base_url(given: str) -> str:
    """Normalize a base URL, which may end with /chat/completions; a query string is kept."""
    try:
        parts = urlsplit(given.strip())
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise UserError(f"a base URL looks like http://localhost:8000/v1, not {given!r}")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return urlunsplit(parts._replace(path=path, fragment=""))


def _origin(url: str) -> tuple[str, str | None, int]:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme, 0)


@dataclass(frozen=True)
class _Paper:
    """The key `paper` of a registry file."""

    __pydantic_config__ = STRICT

    language_models: list[Text] = field(default_factory=list)
    sets: Mapping[Text, list[Text]] = field(default_factory=dict)
    groups: Mapping[Text, list[Text]] = field(default_factory=dict)


@dataclass(frozen=True)
class _File:
    """A registry file."""

    __pydantic_config__ = STRICT

    endpoints: Mapping[Text, Mapping[str, Any]]
    models: list[Mapping[str, Any]]
    paper: _Paper


def load_registry(path: Path) -> Registry:
    """Read the registry.

    Raises
    ------
    UserError
        When the file is malformed; the message names the entry.
    """
    content = read_yaml(path)
    try:
        file = checked(_File, content)
        endpoints = {
            kind: checked(Endpoint, {**entry, "kind": kind}, f"endpoint {kind}")
            for kind, entry in file.endpoints.items()
        }
        found = [_model(number, entry, endpoints) for number, entry in enumerate(file.models, start=1)]
        models = {model.name: model for model in found}
        _check_names("`models`", [model.name for model in found], models)
        return Registry(path, endpoints, models, _expanded(file.paper, models), file.paper.sets)
    except ValueError as error:
        raise UserError(f"{shown(path)}: {error}") from None


def _model(number: int, entry: Mapping[str, Any], endpoints: Mapping[str, Endpoint]) -> Model:
    name, endpoint = entry.get("name"), endpoints.get(str(entry.get("endpoint")))
    defaults = {"served_as": name, "letters": endpoint.letters if endpoint else None}
    return checked(Model, {**defaults, **entry}, str(name or f"entry {number} of `models`"), endpoints)


def _expanded(paper: _Paper, models: Mapping[str, Model]) -> dict[str, tuple[str, ...]]:
    """The names of the models for each set.

    Raises
    ------
    ValueError
        When a name has no entry, is wrongly listed as a language model, or is listed twice.
    """
    _check_names("`language_models`", paper.language_models, models)
    language_models = [models[name] for name in paper.language_models]
    for model in language_models:
        if model.family != FAMILIES[0]:
            raise ValueError(f"`language_models` lists {model.name}, which is a {model.family}")
    groups = {
        **paper.groups,
        WORDS: [model.name for model in language_models if not model.letters],
        LETTERS: [model.name for model in language_models if model.letters],
    }
    expanded = {}
    for place, listed in paper.sets.items():
        expanded[place] = tuple(name for entry in listed for name in groups.get(entry, [entry]))
        _check_names(place, expanded[place], models)
    return expanded


def _check_names(where: str, names: Sequence[str], models: Mapping[str, Model]) -> None:
    """Check that each name has an entry and is listed once."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{where} lists {', '.join(twice)} twice")
    if unknown := sorted(set(names) - set(models)):
        raise ValueError(f"{where} lists {', '.join(unknown)}, without an entry in `models`")

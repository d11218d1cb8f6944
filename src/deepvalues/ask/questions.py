"""A study's questions for one model: what is recorded, what remains to be asked, and what that costs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from deepvalues.ask import letters
from deepvalues.ask.conversation import Conversation, Withheld
from deepvalues.ask.engine import Ask, Job, groups, recorded
from deepvalues.ask.letters import LetterChoice
from deepvalues.ask.money import CHARACTERS_PER_TOKEN, Plan, Usage, total
from deepvalues.ask.reading import Reading, Received
from deepvalues.ask.record import Answer, Record
from deepvalues.ask.registry import Model
from deepvalues.ask.study import Study
from deepvalues.core.errors import UserError


@dataclass(frozen=True)
class Questions:
    """A study's conversations for one set of items, as asked of one model.

    ``conversations`` are the same for all models; ``own_conversations`` are in this model's form.
    """

    study: Study
    conversations: Sequence[Conversation]
    model: Model
    record: Record

    @cached_property
    def ask(self) -> Ask:
        """How this model is asked."""
        if choice := self.letter_choice:
            return Ask(self.model, letters.parameters(self.model), self.study.seed, choice)
        # A plain copy, since a study's read-only mapping can't be pickled.
        return Ask(self.model, dict(self.study.parameters), self.study.seed)

    @property
    def letter_choice(self) -> LetterChoice | None:
        """How choices by letter probability are requested; None for free replies."""
        return self.study.letter_choice if self.model.letters else None

    @cached_property
    def own_conversations(self) -> Sequence[Conversation]:
        """The conversations in this model's form."""
        choice, mode = self.letter_choice, self.model.letters
        if choice is None or mode is None:
            return self.conversations
        return [letters.put(conversation, choice, mode) for conversation in self.conversations]

    @property
    def items(self) -> int:
        """Number of conversations, repeats included."""
        return sum(conversation.repeats for conversation in self.conversations)

    @property
    def withheld(self) -> bool:
        """Whether the text of some question is not on this machine."""
        return any(isinstance(conversation, Withheld) for conversation in self.conversations)

    @cached_property
    def _first_keys(self) -> list[str]:
        """The key of the first turn of each conversation and repeat."""
        ask = self.ask
        return [
            ask.key(conversation, (), repeat)
            for conversation in self.own_conversations
            for repeat in conversation.repeat_numbers
        ]

    @cached_property
    def _by_item(self) -> dict[str, Conversation]:
        return {conversation.item: conversation for conversation in self.own_conversations}

    def recorded(self) -> Iterator[tuple[Conversation, int, list[Answer]]]:
        """Each conversation and repeat with the answers that the record holds for it."""
        # No need to hash keys for an empty record.
        ask, keys = self.ask, iter(self._first_keys) if self.record.answers else itertools.repeat("")
        for conversation in self.own_conversations:
            for repeat in conversation.repeat_numbers:
                first = self.record.answers.get(next(keys))
                if first is None or conversation.n_turns == 1:
                    yield conversation, repeat, [first] if first else []
                else:
                    yield conversation, repeat, recorded(ask, conversation, repeat, self.record)

    def recorded_keys(self) -> set[str]:
        """Keys of the answers that the record holds for these conversations."""
        return {answer.key for _, _, answers in self.recorded() for answer in answers}

    def missing(self) -> int:
        """Number of conversations without a complete recorded answer."""
        return sum(not conversation.is_over(answers) for conversation, _, answers in self.recorded())

    def read(self, answer: Answer, conversation: Conversation | None = None) -> Reading:
        """The reading of a recorded answer.

        By default the conversation is looked up by the answer's item. If the item has been renamed, the
        study reads the answer without its question.
        """
        if letters.is_kept(answer.logprobs):
            return letters.read(answer, self.study.seed)
        found = conversation or self._by_item.get(answer.item)
        question = found.parts[answer.turn] if found else ""
        return self.study.read(Received(answer.text, answer.refusal, answer.finish_reason, question))

    def jobs(self, retry: frozenset[str] = frozenset()) -> list[Job]:
        """What to ask: what the record lacks, and answers whose status is in ``retry``.

        Where later turns are asked only if needed, only the last answer counts for ``retry``.
        """
        jobs = []
        for conversation, repeat, answers in self.recorded():
            over = conversation.is_over(answers)
            final = answers if conversation.until is None else answers[-1:] if over else []
            again = {a.key for a in final if retry and self.read(a, conversation).status in retry}
            if again or not over:
                jobs.append(Job(conversation, repeat, {a.key: a for a in answers if a.key not in again}))
        return jobs

    def plan(self, jobs: Sequence[Job]) -> Plan:
        """Tokens and cost of the jobs; each turn resends all turns before it, with replies of maximum length.

        Turns that are asked only if needed are not counted.
        """
        usages = []
        longest = self.ask.longest_reply
        for group in groups(jobs).values():
            for place, job in enumerate(group):
                conversation, begin, number = job.conversation, len(job.known), _turns_to_ask(job)
                lengths = [conversation.first_length, *map(len, conversation.parts[1:])]
                sent = sum(
                    sum(lengths[: turn + 1]) / CHARACTERS_PER_TOKEN + turn * longest
                    for turn in range(begin, begin + number)
                )
                cached = len(conversation.prefix) / CHARACTERS_PER_TOKEN if place else 0.0
                usages.append(Usage(sent, number * cached, number * longest))
        requests = sum(map(_turns_to_ask, jobs))
        mode = self.model.letters if self.letter_choice else None
        return Plan(self.model.name, requests, total(usages), self.model.price, mode)

    def replayed(self) -> Usage:
        """Tokens of the recorded answers."""
        return total(
            Usage(float(answer.prompt_tokens or 0), 0.0, float(answer.completion_tokens or 0))
            for _, _, answers in self.recorded()
            for answer in answers
        )

    def answers(self) -> pd.DataFrame:
        """One row per item, repeat and turn: status, choice, reply text and error class.

        A turn without a recorded answer has the status ``failed``, and the class of its last logged error,
        if any. Turns that were not needed have no row.
        """
        failures = self.record.failures()
        rows: list[tuple[object, ...]] = []
        for conversation, repeat, answers in self.recorded():
            needed = len(answers) if conversation.is_over(answers) else conversation.n_turns
            for turn in range(needed if conversation.until is None else min(needed, len(answers) + 1)):
                if turn < len(answers):
                    answer = answers[turn]
                    reading = self.read(answer, conversation)
                    # Half a surrogate pair, which no text column can hold, is escaped.
                    reply = answer.text and answer.text.encode(errors="backslashreplace").decode()
                    rows.append((conversation.item, repeat, turn, *reading, reply, None))
                else:
                    replies = [answer.text or "" for answer in answers]
                    key = self.ask.key(conversation, replies, repeat)
                    reading = Reading("failed")
                    rows.append((conversation.item, repeat, turn, *reading, None, failures.get(key)))
        columns = ["item", "repeat", "turn", "status", "choice", "reply", "error"]
        frame = pd.DataFrame(rows, columns=columns)
        frame.insert(0, "model", self.model.name)
        return frame

    def orphans(self) -> int:
        """Number of recorded answers to prompts that are not in this set."""
        return len(self.record.answers.keys() - self.recorded_keys())


def _turns_to_ask(job: Job) -> int:
    return 1 if job.conversation.until else job.conversation.n_turns - len(job.known)


def record_path(folder: Path, study: str, model: str) -> Path:
    """The file of a model's answers to a study; a slash in a model's name becomes two underscores.

    Raises
    ------
    UserError
        When the name ends with .log: the file would be another model's log.
    """
    if model.endswith(".log"):
        raise UserError(
            f"{model}: a model's name can't end with .log, which marks logs. Give it an entry in "
            "data/models.yml with another name, and this one as served_as"
        )
    return folder / study / f"{model.replace('/', '__')}.jsonl"


def model_of(path: Path) -> str:
    """The model's name, from its `record_path`."""
    return path.name.removesuffix(".jsonl").replace("__", "/")

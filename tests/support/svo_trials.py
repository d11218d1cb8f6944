"""Trials for the tests of study 2: agents that answer without a server, and frames made by hand."""

import pandas as pd

from deepvalues.ask.reading import Received
from deepvalues.core import stable_random
from deepvalues.studies.svo.analysis import statistics


def hold(study, agent, conversation, seed=0):
    """Hold one conversation with an agent; rows as `Questions.answers` gives them."""
    replies, rows = [], []
    for turn in range(conversation.n_turns):
        messages = conversation.messages(replies)
        request = stable_random.integer(seed, conversation.digest(replies).hex(), conversation.first_repeat)
        text = agent.reply(messages, request).text
        reading = study.read(Received(text, None, "stop", conversation.parts[turn]))
        rows.append((agent.name, conversation.item, conversation.first_repeat, turn, *reading, text, None))
        replies.append(text)
    return rows


def answers(study, agents, items, seed=0):
    """All agents' answers to all items."""
    conversations = study.conversations(items)
    rows = [row for agent in agents for talk in conversations for row in hold(study, agent, talk, seed)]
    columns = ["model", "item", "repeat", "turn", "status", "choice", "reply", "error"]
    return pd.DataFrame(rows, columns=columns)


def scored(study, agents, items, seed=0):
    """(choices, trials) of all agents."""
    asked = statistics.choices(items, answers(study, agents, items, seed))
    return asked, statistics.trials(asked)

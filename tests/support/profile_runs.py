"""What study 3's reference agents say, held to its conversations as the engine would."""

from functools import cache

import pandas as pd

from deepvalues.ask.reading import Received
from deepvalues.core import paths, stable_random
from deepvalues.studies.profiles.analysis.reference import synthetic_reference
from deepvalues.studies.profiles.analysis.responses import runs
from deepvalues.studies.profiles.respondents import profile_agents
from deepvalues.studies.profiles.stimuli import load_bank
from deepvalues.studies.profiles.study import OpenProfiles, ValueProfiles

FILE = paths.STIMULI / "profiles.yml"
CODEBOOK = paths.STIMULI / "profiles_codebook.yml"
STUDY, OPENED = ValueProfiles(FILE), OpenProfiles(FILE)
STIMULI = STUDY.stimuli
KEYS = STIMULI.keys
BANK = load_bank(paths.STIMULI / "profiles_sentences.yml", STIMULI.themes)
AGENTS = profile_agents(STIMULI, BANK)
COLUMNS = ["model", "item", "repeat", "turn", "status", "choice", "reply", "error"]


def hold(study, agent, items):
    """Hold a study's conversations with an agent, as the engine would; gives its answers."""
    rows = []
    for talk in study.conversations(items):
        for repeat in talk.repeat_numbers:
            replies = []
            for turn in range(talk.n_turns):
                seed = stable_random.integer(study.seed, talk.digest(replies).hex(), repeat)
                text = agent.reply(talk.messages(replies), seed).text
                reading = study.read(Received(text, None, "stop", talk.parts[turn]))
                rows.append((agent.name, talk.item, repeat, turn, *reading, text, None))
                replies.append(text)
                if talk.until is None or reading.status in ("answered", "refused"):
                    break
    return pd.DataFrame(rows, columns=COLUMNS)


@cache
def held(name):
    """An agent's runs in the closed modes of the full set."""
    items = STUDY.items("full")
    return runs(STIMULI, items, hold(STUDY, AGENTS[name], items))


@cache
def reference():
    return synthetic_reference(KEYS)


@cache
def opened():
    items = OPENED.items("full")
    return pd.concat([hold(OPENED, agent, items) for agent in AGENTS.values()], ignore_index=True)

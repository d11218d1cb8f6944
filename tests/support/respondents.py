"""Simulated respondents: answers to items drawn from rules whose verdict is known."""

import numpy as np
import pandas as pd
from scipy.special import expit

from deepvalues.studies.dvb.respondents.agents import arm_evidence
from deepvalues.studies.dvb.stimuli.design import ARMS


def sign(items):
    """+1 where option A is the right one, else −1."""
    return np.where(items["right"] == "A", 1.0, -1.0)


def evidence(items, layer):
    """Which way the examples point on a layer: +1 to option A, −1 to B, 0 to neither."""
    leans = {arm: getattr(arm_evidence(ARMS[arm]), layer) for arm in items["arm"].unique()}
    return sign(items) * items["arm"].map(leans).to_numpy(dtype=float)


def liking(items, rng, spread):
    """A liking for one option of each test, whatever its place: the same in both orders and at every N.

    In each arm half of the likings are the other half turned round, so that they come to nothing over cells
    and no respondent without learning seems by chance to have learned.
    """
    arms = items["arm"].map(lambda arm: ARMS[arm].same_test)
    found = np.zeros(len(items))
    for arm in sorted(arms.unique()):
        own = (arms == arm).to_numpy()
        codes, names = pd.factorize(items.loc[own, "cell"] + "." + items.loc[own, "test"].astype(str))
        half = rng.normal(0, spread, (len(names) + 1) // 2)
        found[own] = rng.permutation(np.concatenate([half, -half])[: len(names)])[codes]
    return sign(items) * found


def answers(items, name, p_a, rng=None, *, mass=1.0, family="language model"):
    """Trials of a respondent with these probabilities of A: the likelier letter, or one drawn by `rng`."""
    p_a = np.broadcast_to(np.asarray(p_a, dtype=float), len(items))
    at_a = p_a >= 0.5 if rng is None else rng.random(len(items)) < p_a
    choice = np.where(at_a, "A", "B")
    known = ["cell", "arm", "n_examples", "test", "right", "swapped"]
    return items[known].assign(
        model=name,
        family=family,
        item=items["id"],
        status="answered",
        choice=choice,
        followed=(choice == items["right"]).astype(float),
        p_a=p_a,
        mass=mass,
    )


def logit_respondent(items, name, rng, *, b0=0.0, bv=0.0, bs=0.0, noise=0.0, more=0.0, **others):
    """Logit of A = b0 + bv x_v + bs x_s + a liking for options + whatever else, answered by the likelier."""
    lean = b0 + bv * evidence(items, "value") + bs * evidence(items, "surface")
    return answers(items, name, expit(lean + liking(items, rng, noise) + more), **others)

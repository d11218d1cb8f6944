"""Choices between two options in both orders: does an option decide, or its place?"""

from __future__ import annotations

import numpy as np

from deepvalues.stats.clusters import Clusters, Estimate, Floats, from_influence


def excess_over_place(agree: Floats, first_option: Floats, clusters: Clusters) -> Estimate:
    """Order consistency less 2p(1 − p), what answering by place alone gives at a rate p of first options.

    With y_i whether both choices of a pair of orders are of the same option, and a_i its share of first
    options, the influence of a pair is (y_i − ȳ)/n − 2(1 − 2p)(a_i − p)/n.

    Parameters
    ----------
    agree
        1 or 0 for each pair of orders.
    first_option
        0, .5 or 1 for each.
    clusters
        The cluster of each.
    """
    if not len(agree):
        return Estimate(np.nan, np.nan, 0)
    p, consistency = float(first_option.mean()), float(agree.mean())
    influence = ((agree - consistency) - 2 * (1 - 2 * p) * (first_option - p)) / len(agree)
    return from_influence(consistency - 2 * p * (1 - p), influence, clusters)

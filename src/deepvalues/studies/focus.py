"""Which models a study's text is about, where it does not name them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd


def in_focus(table: pd.DataFrame, family: Mapping[str, str]) -> pd.DataFrame:
    """The rows of the language models where there are any, else all: local models check the instrument.

    Parameters
    ----------
    table
        Its rows name their model in the column model.
    family
        Of each model.
    """
    of_language_models = table["model"].map(dict(family)) == "language model"
    return table[of_language_models] if of_language_models.any() else table

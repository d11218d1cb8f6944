"""Families of models: which of them sentences are about that name none."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd


def language_models_or_all(table: pd.DataFrame, family: Mapping[str, str]) -> pd.DataFrame:
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

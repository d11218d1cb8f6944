"""Agreement of coders, models or people, on the sentences of open answers."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from deepvalues.stats.agreement import cohens_kappa, krippendorff_alpha, raw_agreement


def code_table(codes: pd.DataFrame, coders: Sequence[str]) -> pd.DataFrame:
    """A row per sentence that some coder saw, a column per coder; NaN where a code is missing."""
    chosen = codes[codes["coder"].isin(coders)]
    wide = chosen.pivot(index="id", columns="coder", values="code")
    return wide.reindex(columns=list(coders))


def coder_agreement(codes: pd.DataFrame, coders: Sequence[str], draws: int, seed: int) -> pd.DataFrame:
    """Agreement of coders on sentences, with intervals over sentences.

    Returns
    -------
    pandas.DataFrame
        measure (raw agreement, Cohen's kappa with two coders, Krippendorff's alpha, which takes missing
        codes), estimate, low, high, units, raters.
    """
    table = code_table(codes, coders)
    found = {"raw agreement": raw_agreement(table, draws, seed)}
    if len(coders) == 2:
        found["Cohen's kappa"] = cohens_kappa(table, draws, seed)
    found["Krippendorff's alpha"] = krippendorff_alpha(table, "nominal", draws, seed)
    rows = [(measure, *agreement) for measure, agreement in found.items()]
    return pd.DataFrame(rows, columns=["measure", "estimate", "low", "high", "units", "raters"])

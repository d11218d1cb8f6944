"""The models' profiles among themselves: distances, a tree, and a map in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist

from deepvalues.core.errors import UserError

Array = NDArray[np.float64]


class Map(NamedTuple):
    """Points of models in a plane, which way each theme lies, and the share of variance on each axis."""

    points: pd.DataFrame
    themes: pd.DataFrame
    shares: tuple[float, float]


def with_reference(profiles: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Mean profiles with the reference as one model more, under its name.

    Parameters
    ----------
    profiles
        mode, model, theme, mean, from `analysis.stability.profiles`.
    reference
        mode, reference, theme, mean, from `analysis.comparison.reference_profiles`.

    Returns
    -------
    pandas.DataFrame
        mode, model, theme, mean.
    """
    columns = ["mode", "model", "theme", "mean"]
    people = reference.rename(columns={"reference": "model"})
    return pd.concat([profiles[columns], people[columns]], ignore_index=True)


def centred_profiles(profiles: pd.DataFrame, mode: str, themes: Sequence[str]) -> pd.DataFrame:
    """Mean profiles of a mode without their elevation: a row per model, a column per theme, sorted by model.

    Parameters
    ----------
    profiles
        mode, model, theme, mean; the reference may be one of the models.

    Raises
    ------
    UserError
        With fewer than two models in the mode.
    """
    wide = profiles[profiles["mode"] == mode].pivot(index="model", columns="theme", values="mean")
    if len(wide) < 2:
        raise UserError(f"{mode}: a tree or map needs two models or more, and there is {len(wide)}")
    wide = wide[list(themes)].sort_index()
    return wide.sub(wide.mean(axis=1), axis=0)


def tree(centred: pd.DataFrame) -> Array:
    """Hierarchical clustering by average linkage of Euclidean distances between centred profiles.

    Distances are rounded, so that rounding errors settle no merger. The squared distance of two centred
    profiles is the sum of scatter and shape of Cronbach and Gleser.

    Returns
    -------
    numpy.ndarray
        A linkage matrix, shape (models − 1, 4), as from scipy.
    """
    return np.asarray(linkage(np.round(pdist(centred.to_numpy()), 9), method="average"))


def plane(centred: pd.DataFrame) -> Map:
    """A map whose distances are as near as can be to those between centred profiles.

    Classical scaling of Euclidean distances, which is principal components; signs are settled by the largest
    theme's loading being positive, so that the map is the same on every run.

    Returns
    -------
    Map
        points: x and y by model; themes: x and y by theme (loadings); shares of the variance of both axes.

    References
    ----------
    Torgerson (1952), Psychometrika 17; Gower (1966), Biometrika 53.
    """
    deviations = centred.to_numpy() - centred.to_numpy().mean(axis=0)
    u, sizes, loadings = np.linalg.svd(deviations, full_matrices=False)
    heaviest = np.abs(np.round(loadings, 9)).argmax(axis=1)
    signs = np.sign(loadings[np.arange(len(loadings)), heaviest])
    points, loadings = u * sizes * signs, loadings * signs[:, None]
    if len(sizes) < 2:
        points = np.column_stack([points, np.zeros(len(points))])
        loadings, sizes = np.vstack([loadings, 0 * loadings]), np.append(sizes, 0)
    total = (sizes**2).sum()
    shares = sizes[:2] ** 2 / total if total > 0 else np.full(2, np.nan)
    return Map(
        pd.DataFrame(points[:, :2], index=centred.index, columns=["x", "y"]),
        pd.DataFrame(loadings[:2].T, index=centred.columns, columns=["x", "y"]),
        (float(shares[0]), float(shares[1])),
    )

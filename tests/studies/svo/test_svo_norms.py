"""The human norms in `data/published`, computed from the item responses where these are on this machine.

Many Labs 2 put the six primary items to 6,234 people (Klein et al. 2018, Advances in Methods and Practices in
Psychological Science 1). Its own column with an angle, ``variable1``, is not used: it disagrees with the
items of its row.
"""

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pandas as pd
import pytest

from deepvalues.core import paths
from deepvalues.studies.svo.analysis import comparisons, scoring

RESPONSES = (
    paths.ROOT.parent / "shared" / "data" / "many_labs_2_svo_items.csv",
    paths.DATA / "downloads" / "vanLange_1_study_global_include_all_CLEAN_CASE.csv",
)
ITEMS = [f"item{item}" for item in range(1, 7)]
#: How far people may be from the histogram that stands for them, in degrees.
BIN_ERROR = 1.0


@pytest.fixture(scope="module", params=RESPONSES, ids=["extract", "public file"])
def responses(request):
    if not request.param.exists():
        pytest.skip(f"{request.param.name} is not on this machine; `make data` fetches the public file")
    frame = pd.read_csv(request.param, low_memory=False)
    plain = {column: column.lower().replace(".", "_") for column in frame.columns}
    items = {f"van.p1.2_{item[-1]}": item for item in ITEMS}
    return frame.rename(columns={**plain, **items}).dropna(subset=ITEMS).reset_index(drop=True)


@pytest.fixture(scope="module")
def scored(responses):
    return scoring.score(responses[ITEMS].to_numpy(dtype=np.int64) - 1)


def published(name):
    return pd.read_csv(paths.PUBLISHED / f"svo_human_{name}.csv")


def groups(responses, scored):
    found = {"all": np.ones(len(responses), bool), "transitive_only": scored["transitive"].to_numpy(bool)}
    if {"source", "weird", "study_order"} <= set(responses.columns):
        found |= {
            "weird_sites": responses["weird"] == 1,
            "non_weird_sites": responses["weird"] == 0,
            "svo_shown_first": responses["study_order"] == 1,
            "mturk_sources": responses["source"].str.contains("mturk"),
        }
    return found


def test_norms_come_out_as_published(responses, scored):
    printed = published("norms").set_index("group")
    assert len(responses) == 6234
    for name, rows in groups(responses, scored).items():
        own, row = scored[rows], printed.loc[name]
        angle = own["angle"]
        # The inverse of the distribution function, but for the median.
        ends = np.quantile(angle, [0.05, 0.25, 0.75, 0.95], method="inverted_cdf")
        found = [angle.mean(), angle.std(), *ends[:2], angle.median(), *ends[2:]]
        two = ["mean", "sd", "q05", "q25", "median", "q75", "q95"]
        assert row["n"] == len(own)
        assert found == pytest.approx(row[two].tolist(), abs=0.00501), name
        shares = own["category"].value_counts(normalize=True).reindex(scoring.CATEGORIES, fill_value=0)
        percent = [*100 * shares, 100 * own["transitive"].mean()]
        columns = [*(f"{category}_pct" for category in scoring.CATEGORIES), "transitive_pct"]
        assert percent == pytest.approx(row[columns].tolist(), abs=0.0501), name


def test_option_shares_come_out_as_published(responses):
    printed = published("option_shares")
    shares = [np.bincount(responses[item] - 1, minlength=9) / len(responses) for item in ITEMS]
    # Printed are four digits rounded to three: 246 of 6,234 is .0395 and printed as .040.
    four = [Decimal(f"{share:.4f}") for share in np.concatenate(shares)]
    three = [float(share.quantize(Decimal("0.001"), ROUND_HALF_UP)) for share in four]
    assert printed["share"].tolist() == three


def test_histogram_comes_out_as_published(scored):
    printed = published("histogram")
    # 45 degrees computed may lie a last digit below 45; an angle on a bin's lower edge is in it.
    counts, edges = np.histogram(scored["angle"].round(9), np.arange(-20, 70, 5))
    assert printed["count"].tolist() == counts.tolist()
    assert printed["bin_low_degrees"].tolist() == edges[:-1].tolist()


def test_binned_people_stand_in_for_people(scored):
    """How far the published histogram, spread evenly in its bins, is from the people themselves."""
    assert 0 < comparisons.wasserstein(scored["angle"].to_numpy(), published("histogram")) < BIN_ERROR

"""The human norms, recomputed from the item responses where these are on this machine."""

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pandas as pd
import pytest

from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.studies.svo.analysis import norms, people

RESPONSES = (
    paths.ROOT.parent / "shared" / "data" / "many_labs_2_svo_items.csv",
    paths.DATA / "downloads" / "vanLange_1_study_global_include_all_CLEAN_CASE.csv",
)


@pytest.fixture(scope="module", params=RESPONSES, ids=["extract", "public file"])
def responses(request):
    if not request.param.exists():
        pytest.skip(f"{request.param.name} is not on this machine; `make data` fetches the public file")
    return pd.read_csv(request.param, low_memory=False)


@pytest.fixture(scope="module")
def recomputed(responses):
    return norms.recompute(responses)


def published(name):
    return pd.read_csv(paths.PUBLISHED / f"svo_human_{name}.csv")


def test_norms_come_out_as_published(recomputed):
    printed = published("norms").set_index("group")
    found = recomputed.norms.set_index("group")
    assert found.loc["all", "n"] == 6234
    for group in found.index:
        row = found.loc[group]
        two = ["mean", "sd", "q05", "q25", "median", "q75", "q95"]
        assert row["n"] == printed.loc[group, "n"]
        assert row[two].tolist() == pytest.approx(printed.loc[group, two].tolist(), abs=0.00501), group
        shares = [column for column in printed if column.endswith("_pct")]
        assert row[shares].tolist() == pytest.approx(printed.loc[group, shares].tolist(), abs=0.0501), group
    assert {"all", "transitive_only"} <= set(found.index)


def test_option_shares_come_out_as_published(recomputed):
    printed = published("option_shares")
    # Printed are four digits rounded to three: 246 of 6,234 is .0395 and printed as .040.
    four = [Decimal(f"{share:.4f}") for share in recomputed.option_shares["share"]]
    three = [float(share.quantize(Decimal("0.001"), ROUND_HALF_UP)) for share in four]
    pd.testing.assert_frame_equal(recomputed.option_shares.assign(share=three), printed)


def test_histogram_comes_out_as_published(recomputed):
    pd.testing.assert_frame_equal(recomputed.histogram, published("histogram"))


def test_binned_people_stand_in_for_people(responses):
    """How far the published histogram, spread evenly in its bins, is from the people themselves."""
    table = norms.from_public(responses)[norms.ITEMS].to_numpy() - 1
    angles = norms.scoring.score(table)["angle"]
    distance = people.wasserstein(angles.to_numpy(), published("histogram"))
    assert 0 < distance < people.BIN_ERROR


def made_up(**changes):
    frame = pd.DataFrame([[1, 9, 9, 4, 5, 9], [1, 9, 9, 5, 5, 9]], columns=norms.ITEMS)
    return frame.assign(**changes)


def test_two_made_up_people():
    found = norms.recompute(made_up(variable1=99.0))
    row = found.norms.set_index("group").loc["all"]
    assert row["mean"] == pytest.approx((37.4824 + 34.8753) / 2, abs=1e-4)
    assert row["q25"] == pytest.approx(34.8753, abs=1e-4), "the inverse of the distribution function"
    assert row["median"] == pytest.approx(row["mean"])
    assert row["prosocial_pct"] == 100
    assert found.norms["group"].tolist() == ["all", "transitive_only"], "no groups without their columns"
    assert found.histogram.query("count > 0")[["bin_low_degrees", "count"]].values.tolist() == [
        [30, 1],
        [35, 1],
    ]
    shares = found.option_shares.set_index(["item", "option"])["share"]
    assert (shares[4, "D"], shares[4, "E"], shares[1, "A"]) == (0.5, 0.5, 1.0)


def test_groups_come_from_their_columns():
    found = norms.recompute(made_up(source=["mturk_india", "koc"], weird=[0, 1], study_order=[1, 2])).norms
    assert dict(zip(found["group"], found["n"], strict=True)) == {
        "all": 2,
        "weird_sites": 1,
        "non_weird_sites": 1,
        "svo_shown_first": 1,
        "mturk_sources": 1,
        "transitive_only": 2,
    }


def test_the_public_file_names_its_columns_otherwise():
    public = made_up().rename(columns={f"item{item}": f"van.p1.2_{item}" for item in range(1, 7)})
    public.loc[2] = [1, 2, np.nan, 4, 5, 6]
    pd.testing.assert_frame_equal(norms.recompute(public).norms, norms.recompute(made_up()).norms)


def test_an_angle_on_an_edge_is_in_the_upper_bin():
    assert norms.histogram(pd.Series([45.0, 45 - 1e-13])).query("count > 0")["bin_low_degrees"].tolist() == [
        45
    ]


@pytest.mark.parametrize(
    ("frame", "message"),
    [(made_up().drop(columns="item3"), "no column item3"), (made_up(item2=[0, 9]), "none of 1 to 9")],
)
def test_other_files_are_refused(frame, message):
    with pytest.raises(UserError, match=message):
        norms.recompute(frame)

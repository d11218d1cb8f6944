"""Asked against read: counted by hand on few trials, and what the figure shows of them."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from deepvalues.stats.clusters import clustered
from deepvalues.studies.dvb.analysis import asked_read
from deepvalues.studies.dvb.analysis.asked_read import ARMS, RESPONDENTS
from deepvalues.studies.dvb.figures import comparisons as figures

NAMES = {
    "tiny": "asked",
    "head-tiny-mean": "head, mean",
    "head-tiny-last": "head, last",
    "head-tiny-tokens": "head, tokens",
    "head-tiny-mean-shuffled": "null",
    "head-tiny-last-shuffled": "null",
}


def trials(rates, cells=30, numbers=(4, 20)):
    """Both orders of one test a cell, arm and N; ``rates`` by model's name and arm."""
    rng = np.random.default_rng(5)
    rows = [
        (name, f"c{cell:03d}.{arm}.n{n}.{order}", f"c{cell:03d}", arm, n, 0, float(rng.random() < rate))
        for (name, arm), rate in rates.items()
        for n in numbers
        for cell in range(cells)
        for order in "ab"
    ]
    return pd.DataFrame(rows, columns=["model", "item", "cell", "arm", "n_examples", "test", "followed"])


@pytest.fixture
def frame():
    rates = {(name, arm): 0.5 for name in NAMES for arm in ARMS}
    rates |= {("head-tiny-mean", "deconfounded"): 0.8, ("tiny", "deconfounded"): 0.3}
    # Models without heads and other arms take no part.
    rates |= {("other", "deconfounded"): 1.0, ("tiny", "seen"): 1.0, ("learner-words", "control"): 1.0}
    return trials(rates)


def test_rates_and_intervals_are_those_of_the_trials_by_hand(frame):
    table = asked_read.asked_against_read(frame)
    assert set(table["model"]) == {"tiny"} and len(table) == len(RESPONDENTS) * len(ARMS) * 2
    of = frame[(frame["model"] == "tiny") & (frame["arm"] == "deconfounded") & (frame["n_examples"] == 4)]
    row = table.iloc[0]
    assert list(row[["respondent", "arm", "n_examples", "cells", "answered"]]) == [
        "asked",
        "deconfounded",
        4,
        30,
        60,
    ]
    assert row["rate"] == of["followed"].mean()
    assert (row["low"], row["high"]) == clustered(of["followed"], of["cell"])
    # The null is of both poolings.
    assert set(table.loc[table["respondent"] == "null", "answered"]) == {120}


def test_rows_come_in_the_order_in_which_they_are_shown(frame):
    table = asked_read.asked_against_read(frame.sample(frac=1, random_state=1))
    assert list(dict.fromkeys(table["respondent"])) == list(RESPONDENTS)
    assert list(dict.fromkeys(table["arm"])) == list(ARMS)
    pd.testing.assert_frame_equal(table, asked_read.asked_against_read(frame))


def test_trials_without_an_answer_are_left_out(frame):
    frame.loc[frame.index[:4], "followed"] = np.nan
    assert asked_read.asked_against_read(frame)["answered"].iloc[0] == 56


def test_differences_are_of_items_that_both_answered(frame):
    frame.loc[frame.index[:10], "followed"] = np.nan
    table = asked_read.heads_compared(frame)
    first = table.iloc[0]
    assert list(first[["respondent", "other", "arm", "n_examples", "items"]]) == [
        *("head, mean", "asked", "deconfounded", 4, 50)
    ]
    assert first["difference"] == pytest.approx(first["rate_a"] - first["rate_b"])
    assert first["clustered_low"] > 0.2  # .8 against .3
    assert "asked" not in set(table["respondent"])


def test_heads_are_compared_with_the_encoder_on_the_same_items(frame):
    encoder = trials({("learner-encoder", "deconfounded"): 0.3}, cells=20, numbers=(4,))
    table = asked_read.heads_compared(pd.concat([frame, encoder]))
    table = table[table["other"] == "learner-encoder"]
    assert list(table["respondent"]) == ["head, mean", "head, last"]
    first = table.iloc[0]
    assert list(first[["arm", "n_examples", "items"]]) == ["deconfounded", 4, 40]
    ours = frame[(frame["model"] == "head-tiny-mean") & frame["item"].isin(encoder["item"])]
    assert first["rate_a"] == ours["followed"].mean() and first["rate_b"] == encoder["followed"].mean()
    assert "learner-encoder" not in set(asked_read.heads_compared(frame)["other"])


def test_heads_are_compared_with_each_other_and_with_token_embeddings(frame):
    table = asked_read.heads_compared(frame)
    assert table["difference"].dtype == float and table["items"].dtype == "int64"
    pairs = list(table[["respondent", "other"]].drop_duplicates().itertuples(index=False, name=None))
    assert pairs == [
        *(("head, mean", "asked"), ("head, last", "asked")),
        *(("head, mean", "lexical"), ("head, last", "lexical")),
        ("head, mean", "head, tokens"),
        ("head, last", "head, tokens"),
        ("head, mean", "head, last"),
    ]
    own = (
        frame[(frame["arm"] == "deconfounded") & (frame["n_examples"] == 4)]
        .groupby("model")["followed"]
        .mean()
    )
    last = table[(table["other"] == "head, last") & (table["arm"] == "deconfounded")].iloc[0]
    assert last["difference"] == pytest.approx(own["head-tiny-mean"] - own["head-tiny-last"])


def test_the_lexical_learner_held_against_heads_is_the_best_of_each_arm(frame):
    rates = {("learner-words", "probe_value"): 0.9, ("learner-nearest", "probe_value"): 0.2}
    rates |= {("learner-words", "probe_surface"): 0.2, ("learner-nearest", "probe_surface"): 0.9}
    learners = trials(rates, numbers=(4,))
    table = asked_read.heads_compared(pd.concat([frame, learners]))
    table = table[(table["other"] == "lexical") & table["arm"].str.startswith("probe")]
    own = learners.groupby(["model", "arm"])["followed"].mean()
    best = {"probe_value": own["learner-words"]["probe_value"]}
    best["probe_surface"] = own["learner-nearest"]["probe_surface"]
    assert set(table["n_examples"]) == {4}
    assert table.set_index("arm")["rate_b"].groupby(level=0).first().to_dict() == pytest.approx(best)


def test_gains_on_the_two_probes_are_compared_cell_by_cell(frame):
    table = asked_read.gains_apart(frame)
    table = table[table["other"] == "head, tokens"]
    assert list(table["respondent"]) == ["head, last"] * 2 + ["head, mean"] * 2
    assert set(table["cells"]) == {30}
    row = table.iloc[-1]
    own = frame[frame["n_examples"] == row["n_examples"]].groupby(["model", "arm"])["followed"].mean()
    value, surface = (
        own["head-tiny-mean", arm] - own["head-tiny-tokens", arm] for arm in ("probe_value", "probe_surface")
    )
    assert row["difference"] == pytest.approx(value - surface)
    assert row["low"] < row["difference"] < row["high"]
    one_probe = frame[frame["arm"] != "probe_surface"]
    assert asked_read.gains_apart(one_probe).empty


def test_gains_are_summarized_over_models_in_display_order(frame):
    second = frame.assign(model=frame["model"].str.replace("tiny", "larger"), followed=1 - frame["followed"])
    both = pd.concat([frame, second.assign(item="larger." + second["item"])])
    compared, apart = asked_read.heads_compared(both), asked_read.gains_apart(both)
    table = asked_read.gains(compared, apart)
    assert set(table["models"]) == {2}
    first = table.iloc[:4]
    assert list(first["measure"]) == ["value", "surface", "apart", "value"]
    assert list(first["respondent"]) == ["head, mean"] * 3 + ["head, last"]
    # The second model's outcomes are the reverse of the first's, and so are its differences.
    assert first["least"].tolist() == pytest.approx(list(-first["most"]))
    assert first["above"].tolist() == first["below"].tolist()
    own = compared[(compared["arm"] == "probe_value") & (compared["n_examples"] == 4)].iloc[0]
    assert abs(own["difference"]) == pytest.approx(first["most"].iloc[0])
    nothing = asked_read.heads_compared(both[:0]), asked_read.gains_apart(both[:0])
    assert asked_read.gains(*nothing).empty


def test_gains_on_the_ladder_are_those_of_the_same_cells():
    names = ["head-tiny-mean", "learner-words"]
    both = {(name, arm): 0.5 for name in names for arm in ("probe_value", "probe_surface")}
    frames = trials({**both, ("tiny", "probe_value"): 0.5}), trials(both, numbers=(80, 320))
    frame = pd.concat(frames, ignore_index=True)
    probe, most = frame["arm"].str.removeprefix("probe_"), frame["n_examples"] == 320
    head = frame["model"] == "head-tiny-mean"
    frame.loc[head & most, "followed"] = (probe == "value").astype(float)
    # A probe that was not answered takes its cell out.
    frame.loc[head & most & (frame["cell"] == "c000"), "followed"] = np.nan
    table = asked_read.ladder(frame)
    assert list(table["model"].unique()) == names and list(table["n_examples"].unique()) == [80, 320]
    of = table[(table["model"] == "head-tiny-mean") & (table["n_examples"] == 320)].set_index("measure")
    assert of["rate_a"].to_dict() == {"value": 1, "surface": 0, "apart": 1} and set(of["cells"]) == {29}
    before = frame[head & (frame["n_examples"] == 20) & (frame["cell"] != "c000")]
    means = before.groupby(probe)["followed"].mean()
    assert of.loc["value", "difference"] == pytest.approx(1 - means["value"])
    assert of.loc["apart", "difference"] == pytest.approx(1 - means["value"] + means["surface"])
    cells = before.pivot_table(values="followed", index="cell", columns="arm")
    apart = 1 - (cells["probe_value"] - cells["probe_surface"])
    low, high = stats.ttest_1samp(apart, 0).confidence_interval()
    assert of.loc["apart", ["low", "high"]].tolist() == pytest.approx([low, high])
    assert asked_read.ladder(trials(both)).empty


def test_a_comparison_may_join_numbers_of_examples_and_take_other_clusters(frame):
    by_dimension = frame.assign(dimension=frame["cell"].str[-1:])
    table = asked_read.heads_compared(by_dimension, by=["arm"], cluster="dimension")
    assert (table["other"] == "head, tokens").sum() == 2 * len(ARMS) and set(table["items"]) == {120}
    few = asked_read.heads_compared(by_dimension, by=["arm"])
    assert (table["clustered_low"] != few["clustered_low"]).any()
    pd.testing.assert_series_equal(table["difference"], few["difference"])


def test_two_orders_answered_alike_are_one_unit_of_mcnemars_test(frame):
    first = frame[frame["item"].str.endswith("a")]
    both = pd.concat([first, first.assign(item=first["item"].str.replace(r"a$", "b", regex=True))])
    columns = ["difference", "clustered_low", "clustered_high", "p_mcnemar"]
    one, two = (asked_read.heads_compared(each)[columns] for each in (first, both))
    pd.testing.assert_frame_equal(one, two)


def test_without_heads_there_is_nothing_to_compare(frame):
    alone = frame[frame["model"] == "tiny"]
    assert asked_read.asked_against_read(alone).empty and asked_read.heads_compared(alone).empty


def test_labels_of_numbers_of_examples_keep_apart():
    assert figures._apart([4, 20, 80, 160, 320]) == ["4", "20", "80", "", "320"]
    assert figures._apart([4]) == ["4"]


def test_the_figure_has_a_row_a_model_and_a_column_an_arm(frame):
    second = frame.assign(model=frame["model"].str.replace("tiny", "larger"))
    table = asked_read.asked_against_read(pd.concat([frame, second]))
    figure = figures.asked_against_read(table)
    assert len(figure.axes) == 2 * len(ARMS)
    titles = [axes.get_title(loc="left") for axes in figure.axes[:4]]
    assert titles == ["DVGR", "control", "value probe", "surface probe"]
    assert [axes.get_ylabel() for axes in figure.axes[::4]] == ["larger\naccuracy", "tiny\naccuracy"]
    shown = figure.axes[4].containers
    assert len(shown) == len(RESPONDENTS)
    for container, name in zip(shown, RESPONDENTS, strict=True):
        rows = table[
            (table["model"] == "tiny") & (table["arm"] == "deconfounded") & (table["respondent"] == name)
        ]
        assert list(container.lines[0].get_ydata()) == list(rows["rate"])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [
        "the model, asked",
        "read: mean of tokens",
        "read: last token",
        "token embeddings",
        "read, coin-flipped choices",
        "chance",
    ]


def test_models_that_were_not_asked_yet_leave_their_line_out(frame):
    table = asked_read.asked_against_read(frame[frame["model"] != "tiny"])
    figure = figures.asked_against_read(table)
    assert figure.legends[0].get_texts()[0].get_text() == "read: mean of tokens"


def test_without_heads_the_figure_says_so():
    (axes,) = figures.asked_against_read(
        asked_read.asked_against_read(trials({("tiny", "control"): 0.5}))
    ).axes
    assert [text.get_text() for text in axes.texts] == ["no head on hidden states is on record"]


def test_an_interval_without_width_is_drawn_whatever_rounding_leaves_of_it(frame):
    table = asked_read.asked_against_read(frame)
    turned = table.assign(low=table["rate"] + 1e-16, high=table["rate"] - 1e-16)
    assert len(figures.asked_against_read(turned).axes) == len(ARMS)

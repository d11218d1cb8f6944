"""The subset and the prompt variants: what is asked, what known agents must score, how variants compare."""

from itertools import product

import numpy as np
import pandas as pd
import pingouin as pg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

import bank_sums
from deepvalues.ask import catalogue, on_record, run_query
from deepvalues.ask.reading import Received
from deepvalues.core import stable_random
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.analysis.side_studies import (
    BASELINE,
    NAMES,
    PUBLISHED_VARIANTS,
    missing_by_variant,
    published_variants,
    variant_differences,
    variant_rates,
    variant_trials,
)
from deepvalues.studies.dvb.analysis.statistics import missing_by_reason, trials
from deepvalues.studies.dvb.items.items import CLAUSE_ORDERS, reworded
from deepvalues.studies.dvb.items.prompts import ANSWER_ONLY, parse_prompt, wants_rationale
from deepvalues.studies.dvb.items.subset import SIZE, Layout, choose, fourths
from deepvalues.studies.dvb.respondents.agents import MIXTURE_SHARE, RATIONALE

VARIANTS = ("dvb-explicit", "dvb-cot")


@pytest.fixture(scope="module")
def subset(study):
    return study.items("subset")


# The subset.


def test_the_size_has_the_power_that_it_is_chosen_for():
    accepted = np.arange(SIZE + 1)[stats.binom.cdf(np.arange(SIZE + 1), SIZE, 0.5) > 0.025]
    low, high = accepted.min(), SIZE - accepted.min()
    power = 1 - (stats.binom.cdf(high, SIZE, 0.55) - stats.binom.cdf(low - 1, SIZE, 0.55))
    assert 0.95 < power < 0.955


def test_every_cell_gives_three_or_four_tests_and_each_n_at_least_once(subset):
    assert len(subset) == SIZE
    assert subset["id"].is_unique
    assert set(subset["arm"]) == {"deconfounded"}
    assert subset.groupby("cell").size().value_counts().to_dict() == {3: 298, 4: 102}
    assert subset.groupby("cell")["n_examples"].nunique().eq(3).all()
    assert not subset.duplicated(["cell", "test"]).any(), "no cell gives the same test twice"


def test_n_right_letters_and_orders_of_clauses_are_balanced(subset):
    letters = pd.crosstab(subset["n_examples"], subset["right"])
    assert (letters == 217).all(axis=None)
    assert letters.shape == (3, 2)
    layouts = subset.groupby(["n_examples", "right", "clause_order"]).size()
    assert len(layouts) == 12
    assert set(layouts) == {108, 109}


def test_values_are_in_proportion_to_their_cells(subset, design):
    cells = pd.Series([cell.v1 for cell in design.cells]).value_counts()
    counts = subset["v1"].value_counts()
    assert (counts - SIZE * cells / len(design.cells)).abs().max() < 1
    assert subset["domain"].value_counts().max() - subset["domain"].value_counts().min() <= 1
    pairs = subset.groupby(["v1", "v2"]).size()
    assert len(pairs) == 50
    assert set(pairs) <= {26, 27}


@pytest.mark.parametrize("column", ["domain", "v1", "dimension", "direction", "clause_order"])
def test_the_right_letter_goes_with_nothing(subset, column):
    table = pd.crosstab(subset[column], subset["right"])
    assert stats.chi2_contingency(table).pvalue > 0.05


def test_items_of_the_smoke_set_are_the_same_in_the_subset(subset, items_smoke):
    both = subset.merge(items_smoke, on="id", suffixes=("", "_smoke"))
    assert len(both) >= 1
    for column in items_smoke.columns.drop("id"):
        assert (both[column] == both[f"{column}_smoke"]).all()


def test_fourth_tests_come_from_two_cells_of_a_pair_in_balanced_domains(design):
    cells = fourths(design)
    assert len({cell.id for cell in cells}) == len(cells) == 102
    pairs = pd.Series([(cell.v1, cell.v2) for cell in cells]).value_counts()
    assert sorted(pairs) == [2] * 48 + [3] * 2
    assert len({pair[0] for pair in pairs[pairs == 3].index}) == 2
    assert set(pd.Series([cell.domain for cell in cells]).value_counts()) <= {12, 13, 14}


@settings(max_examples=5)
@given(st.integers(0, 10**6))
def test_letters_stay_balanced_whatever_the_layouts(design, seed):
    rng = np.random.default_rng(seed)
    places = list(product([cell.id for cell in design.cells], range(10)))
    drawn = rng.integers(2, size=(len(places), 2))
    layouts = {place: Layout("AB"[a], CLAUSE_ORDERS[b]) for place, (a, b) in zip(places, drawn, strict=True)}
    chosen = choose(design, layouts)
    assert len(set(chosen)) == SIZE
    for n in (4, 20, 40):
        letters = [layouts[cell, test].right for cell, own, test in chosen if own == n]
        assert len(letters) == 434
        # A cell without the wanted letter puts the balance off, until the next cell.
        assert abs(letters.count("A") - letters.count("B")) <= 2


def test_a_cell_without_the_wanted_letter_gives_another_test(design):
    same = Layout("A", CLAUSE_ORDERS[0])
    layouts = {(cell.id, test): same for cell, test in product(design.cells, range(10))}
    chosen = choose(design, layouts)
    assert len(set(chosen)) == SIZE
    assert pd.Series([test for _, _, test in chosen]).value_counts().min() > 90, "tests are drawn evenly"


def test_an_unknown_set_is_refused_with_the_known_ones(study):
    with pytest.raises(UserError, match=r"unknown item set 'sample'; .*standard, ladder, full, subset"):
        study.items("sample")


# What the variants ask.


@pytest.fixture(scope="module")
def variants():
    return {name: catalogue.study(name) for name in VARIANTS}


@pytest.mark.parametrize("name", VARIANTS)
def test_only_the_end_of_a_prompt_changes(variants, subset, name):
    items = variants[name].items("subset")
    unchanged = [column for column in subset if column not in ("prompt", "hash")]
    pd.testing.assert_frame_equal(items[unchanged], subset[unchanged])
    for ours, baseline in zip(items["prompt"], subset["prompt"], strict=True):
        assert ours.startswith(baseline.removesuffix(ANSWER_ONLY))
        assert ours != baseline
        assert ours.count("Option A:") == baseline.count("Option A:")
    assert not set(items["hash"]) & set(subset["hash"])
    assert items["hash"].is_unique


def test_prompts_of_variants_are_those_that_answers_are_kept_for(variants, subset):
    asked = {"dvb": subset} | {name: variants[name].items("subset") for name in VARIANTS}
    kept = bank_sums.kept()
    assert {name: bank_sums.of_items(items) for name, items in asked.items()} == {
        name: kept[f"{name} subset"] for name in asked
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_share_the_prefix_of_the_examples(variants, study, items_smoke, name):
    theirs = variants[name].conversations(variants[name].items("smoke"))
    ours = study.conversations(items_smoke)
    assert [c.prefix for c in theirs] == [c.prefix for c in ours]
    assert [c.item for c in theirs] == [c.item for c in ours]
    assert any(c.prefix for c in theirs)


def test_variants_say_what_is_wanted(variants, items_smoke):
    explicit, cot = (variants[name].items("smoke")["prompt"].iloc[1] for name in VARIANTS)
    assert "go by the value" in explicit
    assert explicit.endswith(ANSWER_ONLY)
    assert not wants_rationale(explicit)
    assert "about 50 words" in cot
    assert wants_rationale(cot)
    assert not wants_rationale(items_smoke["prompt"].iloc[1])
    for prompt in (explicit, cot):
        assert parse_prompt(prompt) == parse_prompt(items_smoke["prompt"].iloc[1])


def test_longest_replies_and_seeds(variants, study):
    assert [dict(variants[name].parameters) for name in VARIANTS] == [{"max_tokens": 10}, {"max_tokens": 200}]
    assert {variants[name].seed for name in VARIANTS} == {study.seed}


def test_a_reply_is_read_the_same_under_every_instruction(variants):
    reply = Received("Option A and Option B differ in one thing.\nAnswer: Option B", None, "stop")
    assert variants["dvb-cot"].read(reply) == ("answered", "B")
    assert variants["dvb-explicit"].read(reply) == ("answered", "B")
    cut = Received("Option A speaks for the value, and so", None, "length")
    assert variants["dvb-cot"].read(cut).status == "truncated"


def test_prompts_of_another_make_are_not_reworded(items_smoke):
    other = items_smoke.assign(prompt=[*items_smoke["prompt"][:-1], "Which one?"])
    with pytest.raises(UserError, match="1 prompts do not end with"):
        reworded(other, "Answer.")


def test_items_are_written_and_read(variants, tmp_path):
    items = variants["dvb-cot"].items("smoke")
    items.to_parquet(tmp_path / "dvb-cot_smoke.parquet")
    pd.testing.assert_frame_equal(catalogue.read_items("dvb-cot", "smoke", tmp_path), items)
    with pytest.raises(UserError, match=r"dvb-cot_subset\.parquet: no items yet"):
        catalogue.read_items("dvb-cot", "subset", tmp_path)


# What known agents score.


def answers_of(study, items, agents):
    """Agents' answers as `Questions.answers` gives them, without a server."""
    rows = []
    for agent, (item, prompt) in product(agents, items[["id", "prompt"]].itertuples(index=False, name=None)):
        reply = agent.reply([{"role": "user", "content": prompt}], stable_random.integer(study.name, item))
        rows.append((agent.name, item, *study.read(Received(reply.text, None, "stop"))))
    return pd.DataFrame(rows, columns=["model", "item", "status", "choice"])


@pytest.fixture(scope="module")
def scored(variants, study, subset, agents):
    """Trials of three agents under all variants."""
    chosen = [agents[f"agent-{rule}"] for rule in ("value", "surface", "mixture")]
    found = {}
    for asked in (study, *variants.values()):
        items = subset if asked is study else asked.items("subset")
        # One test in six, so that the module stays quick; the whole subset is in the record.
        items = items.iloc[::6]
        found[asked.name] = trials(items, answers_of(asked, items, chosen))
    return variant_trials(found)


def test_agents_score_under_every_variant_what_their_rules_say(scored):
    assert (scored["status"] == "answered").all()
    table = variant_rates(scored).set_index(["study", "model"])
    assert len(table) == 9
    assert (table.xs("agent-value", level="model")["dvgr"] == 1).all()
    assert (table.xs("agent-surface", level="model")["dvgr"] == 0).all()
    for row in table.xs("agent-mixture", level="model").itertuples():
        assert stats.binomtest(row.followed, row.answered, MIXTURE_SHARE).pvalue > 0.01


def test_differences_of_certain_agents_are_nothing(scored):
    table = variant_differences(scored).set_index(["model", "study"])
    assert set(table.index.get_level_values("study")) == set(VARIANTS)
    certain = table.loc[["agent-value", "agent-surface"]]
    assert (certain[["difference", "only_a", "only_b"]] == 0).all(axis=None)
    assert certain[["p_mcnemar", "clustered_low"]].isna().all(axis=None)
    mixed = table.loc["agent-mixture"]
    assert ((mixed["clustered_low"] < 0) & (mixed["clustered_high"] > 0)).all()


def test_a_rationale_names_both_options_and_leaves_the_answer_to_its_line(agents, variants):
    prompt = variants["dvb-cot"].items("smoke")["prompt"].iloc[1]
    reply = agents["agent-value"].reply([{"role": "user", "content": prompt}], 1)
    first, second = reply.text.split("\n")
    assert first == RATIONALE
    assert "Option A" in first
    assert "Option B" in first
    assert second in ("Option A", "Option B")
    assert reply.alternatives is None


def test_learners_answer_variants_as_the_baseline(variants, items_smoke):
    learner = catalogue.local_models()["learner-words"]

    def choices(items):
        shown = items[items["n_examples"] == 20]["prompt"]
        return [learner.reply([{"role": "user", "content": prompt}], 1).text for prompt in shown]

    assert choices(variants["dvb-cot"].items("smoke")) == choices(items_smoke)


def test_a_rationale_comes_whole_through_the_server(variants, tmp_path):
    items = variants["dvb-cot"].items("smoke").head(8)
    models = catalogue.registry().choose(["agent-prose", "agent-value"], "dvb-cot")
    run_query.query("dvb-cot", models, items, record_folder=tmp_path)
    found = on_record.answers("dvb-cot", models, items, tmp_path)
    assert (tmp_path / "dvb-cot" / "agent-value.jsonl").is_file()
    whole = found[found["model"] == "agent-value"]
    assert (whole["status"] == "answered").all()
    joined = trials(items, whole)
    assert joined.loc[joined["arm"] == "deconfounded", "followed"].tolist() == [1.0] * 2


@pytest.mark.slow
def test_the_record_holds_the_whole_subset_under_every_variant(study, variants, subset):
    models = [m for m in catalogue.registry().choose([], "dvb-cot") if m.is_local]
    assert {"agent-value", "agent-surface", "agent-mixture", "learner-words"} == {m.name for m in models}
    found = {}
    for asked in (study, *variants.values()):
        items = subset if asked is study else asked.items("subset")
        found[asked.name] = trials(items, on_record.answers(asked.name, models, items))
    table = variant_rates(variant_trials(found)).set_index(["model", "study"])
    assert (table["answered"] == SIZE).all()
    assert (table.loc["agent-value", "followed"] == SIZE).all()
    assert (table.loc["agent-surface", "followed"] == 0).all()
    assert table.loc["learner-words", "followed"].nunique() == 1, "learners read the examples alone"
    for followed in table.loc["agent-mixture", "followed"]:
        assert stats.binomtest(int(followed), SIZE, MIXTURE_SHARE).pvalue > 0.01


# How variants are compared.


def made(studies, outcomes, cells=None):
    """Trials of one model from outcomes by study."""
    frames = {}
    for study, values in zip(studies, outcomes, strict=True):
        frames[study] = pd.DataFrame(
            {
                "model": "m",
                "item": [f"i{place}" for place in range(len(values))],
                "cell": cells or [f"c{place % 5}" for place in range(len(values))],
                "arm": "deconfounded",
                "followed": values,
            }
        )
    return variant_trials(frames)


outcome_lists = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=6)


@settings(max_examples=20)
@given(outcome_lists)
def test_mcnemars_test_is_that_of_statsmodels_and_pingouin(pairs):
    baseline, variant = zip(*pairs, strict=True)
    row = variant_differences(made(["dvb", "dvb-cot"], [baseline, variant])).iloc[0]
    table = pd.crosstab(
        pd.Categorical(variant, [0.0, 1.0]), pd.Categorical(baseline, [0.0, 1.0]), dropna=False
    )
    assert row["difference"] == pytest.approx(np.mean(variant) - np.mean(baseline))
    assert (row["only_a"], row["only_b"]) == (table.loc[1.0, 0.0], table.loc[0.0, 1.0])
    if row["only_a"] + row["only_b"]:
        assert row["p_mcnemar"] == pytest.approx(statsmodels_mcnemar(table.to_numpy(), exact=True).pvalue)
        if len(set(variant)) == len(set(baseline)) == 2:
            frame = pd.DataFrame({"a": np.array(variant, dtype=int), "b": np.array(baseline, dtype=int)})
            _, theirs = pg.chi2_mcnemar(frame, "a", "b")
            assert row["p_mcnemar"] == pytest.approx(theirs.loc["mcnemar"].filter(like="exact").iloc[0])
    else:
        assert np.isnan(row["p_mcnemar"])


def test_the_paired_interval_holds_a_known_difference():
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(40):
        baseline = (rng.random(300) < 0.3).astype(float)
        variant = np.where(rng.random(300) < 0.5, baseline, (rng.random(300) < 0.5).astype(float))
        cells = [f"c{place}" for place in range(100) for _ in range(3)]
        row = variant_differences(made(["dvb", "dvb-cot"], [baseline, variant], cells)).iloc[0]
        held += row["clustered_low"] <= 0.1 <= row["clustered_high"]
    assert 34 <= held <= 40


def test_tests_without_an_answer_leave_the_pair_out():
    baseline, variant = [1.0, 0.0, np.nan, 1.0], [1.0, 1.0, 1.0, np.nan]
    row = variant_differences(made(["dvb", "dvb-cot"], [baseline, variant])).iloc[0]
    assert (row["items"], row["rate_a"], row["rate_b"]) == (2, 1.0, 0.5)


def test_only_deconfounded_trials_are_compared(scored):
    other = scored.assign(arm="control").drop(columns="study")
    joined = variant_trials({"dvb": pd.concat([scored.drop(columns="study"), other])})
    assert len(joined) == len(scored)
    assert next(iter(joined)) == "study"


def test_variants_without_a_baseline_have_no_differences():
    table = variant_differences(made(["dvb-cot"], [[1.0, 0.0]]))
    assert table.empty
    assert {"study", "model", "difference", "p_mcnemar_holm"} <= set(table)


def test_published_rates_carry_our_names():
    published = pd.DataFrame(
        {
            "variant": ["chain_of_thought", "baseline", "explicit_instruction"],
            "dvgr": [0.25, 0.30, 0.33],
            "ci_low": [0.24, 0.30, 0.32],
            "ci_high": [0.26, 0.31, 0.34],
        }
    )
    table = published_variants(published)
    assert table["study"].tolist() == ["dvb", "dvb-cot", "dvb-explicit"]
    assert table["published_dvgr"].tolist() == [0.30, 0.25, 0.33]


def test_missing_replies_are_counted_by_variant():
    frame = pd.DataFrame(
        {"model": ["a", "a", "b", "b"], "status": ["answered", "refused", "answered", "answered"]}
    )
    table = missing_by_variant({"dvb": frame, "dvb-cot": frame.iloc[:2]})
    assert list(zip(table["study"], table["model"], strict=True)) == [
        ("dvb", "a"),
        ("dvb", "b"),
        ("dvb-cot", "a"),
    ]
    assert list(table)[-1] == "study"
    pd.testing.assert_frame_equal(table.head(2).drop(columns="study"), missing_by_reason(frame))


def test_every_published_variant_has_a_name_the_baseline_first():
    assert set(NAMES) == set(PUBLISHED_VARIANTS.values())
    assert next(iter(NAMES)) == BASELINE

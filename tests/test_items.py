"""Items: counts, balance, what items share, and that every column is true of the prompt's text.

The text is taken apart again, and what it shows is compared with what the columns say.
"""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict

import pandas as pd
import pytest

from deepvalues import catalogue
from deepvalues.dvb.bank import SPLITS
from deepvalues.dvb.items import build_items, read_items
from deepvalues.errors import UserError

#: SHA-256 of the standard prompts in order: every recorded answer is keyed by one of them.
STANDARD_PROMPTS = "12c0ca6b6758c38d9d66b2731e9b044da43ce75c8088ae424439573c154ba8a4"

# The table of section 8 of the specification: (value role, pole role) of the chosen and rejected
# option in the examples, of the target and the other option in the test.
CONFOUNDED = (("v1", "s1"), ("v2", "s2"))
DECONFOUNDED = (("v1", "s2"), ("v2", "s1"))
VALUE = (("v1", "="), ("v2", "="))
SURFACE = (("=", "s1"), ("=", "s2"))
TABLE = {
    "deconfounded": (CONFOUNDED, (4, 20, 40), DECONFOUNDED),
    "prior": (None, (0,), DECONFOUNDED),
    "control": (CONFOUNDED, (20,), CONFOUNDED),
    "probe_value": (CONFOUNDED, (20,), VALUE),
    "probe_surface": (CONFOUNDED, (20,), SURFACE),
    "value_only": (VALUE, (20,), VALUE),
    "surface_only": (SURFACE, (20,), SURFACE),
}
EQUAL_LAYER = {
    "probe_value": "pole",
    "value_only": "pole",
    "probe_surface": "value",
    "surface_only": "value",
}


def clauses(option):
    """The two clauses of an option, in the order of the text."""
    first, second = option.removeprefix("An agent that ").removesuffix(".").split(" and that ")
    return first, second


def contexts(prompt):
    return re.findall(r"^Context: (.*)$", prompt, re.MULTILINE)


def posed(item):
    """What follows the examples."""
    return item.prompt[item.prefix_chars :]


# ---- counts ----


@pytest.mark.parametrize(
    ("name", "cells", "deconfounded"), [("smoke", 5, 1), ("standard", 400, 1), ("full", 400, 10)]
)
def test_counts(request, name, cells, deconfounded):
    items = request.getfixturevalue(f"items_{name}")
    assert len(items) == {"smoke": 45, "standard": 3600, "full": 14_400}[name]
    counts = Counter(zip(items["arm"], items["n_examples"], strict=True))
    expected = {
        (arm, n): cells * (deconfounded if arm == "deconfounded" else 1)
        for arm, (_, numbers, _) in TABLE.items()
        for n in numbers
    }
    assert counts == expected
    assert set(Counter(items["cell"]).values()) == {3 * deconfounded + 6}


def test_sets_are_parts_of_larger_sets(items_smoke, items_standard, items_full):
    for part, whole in ((items_smoke, items_standard), (items_standard, items_full)):
        found = whole[whole["id"].isin(part["id"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, found)


def test_items_without_prompts_are_the_same_items(bank, design, items_smoke):
    without = build_items(bank, design, "smoke", prompts_too=False)
    pd.testing.assert_frame_equal(without, items_smoke.drop(columns="prompt"))


def test_unknown_set(bank, design):
    with pytest.raises(UserError, match="unknown item set 'huge'; there are smoke, standard, full"):
        build_items(bank, design, "huge")


# ---- balance ----


@pytest.mark.parametrize("name", ["smoke", "standard", "full"])
def test_position_and_clause_order_are_balanced_within_each_arm(request, name):
    """To within one item, each alone and crossed, for every N and every test."""
    items = request.getfixturevalue(f"items_{name}")
    for _, group in items.groupby(["arm", "n_examples", "test"]):
        crossed = Counter(zip(group["right"], group["clause_order"], strict=True))
        assert len(crossed) == 4
        assert max(crossed.values()) - min(crossed.values()) <= 1
        for column in ("right", "clause_order"):
            counts = Counter(group[column]).values()
            assert max(counts) - min(counts) <= 1


def test_positions_and_orders_of_examples_are_balanced_in_every_nested_set(
    items_standard, tasks, wording_ids
):
    for item in items_standard[items_standard["n_examples"] > 0].itertuples():
        chosen = re.findall(r"chose: Option ([AB])", item.prompt)
        orders = [
            "." in wording_ids[clauses(example.chosen)[0]].partition(".train")[0]
            for example in tasks[item.id].examples
        ]
        assert len(chosen) == len(orders) == item.n_examples
        # A pole's id has its dimension before a point, a value's has none: pole first, or value first.
        for start in range(0, item.n_examples, 4):
            block = set(zip(chosen[start : start + 4], orders[start : start + 4], strict=True))
            assert len(block) == 4, item.id


def test_the_equal_trait_is_either_one_in_half_of_the_cells_of_every_domain(items_standard):
    for arm, layer in EQUAL_LAYER.items():
        group = items_standard[items_standard["arm"] == arm]
        trait = group[f"target_{layer}_wording"].str.replace(r"\.test\.\d+$", "", regex=True)
        first = group["s1" if layer == "pole" else "v1"]
        of_domain = (trait == first).groupby(group["domain"])
        assert of_domain.sum().tolist() == [25] * 8


# ---- what items share ----


def test_the_test_is_the_same_at_every_n_word_for_word(items_full):
    deep = items_full[items_full["arm"] == "deconfounded"]
    tests = defaultdict(set)
    for item in deep.itertuples():
        tests[item.cell, item.test].add(posed(item))
    assert len(tests) == 4000
    assert all(len(texts) == 1 for texts in tests.values())
    assert len({text for texts in tests.values() for text in texts}) == 4000


def test_the_columns_of_a_test_are_the_same_at_every_n(items_full):
    deep = items_full[items_full["arm"] == "deconfounded"]
    varies = ["id", "n_examples", "example_activities", "prefix_chars", "prompt", "hash"]
    distinct = deep.drop(columns=varies).drop_duplicates()
    assert len(distinct) == 4000


def test_the_prior_asks_the_deconfounded_test_without_examples(items_standard, tasks):
    chosen = items_standard[items_standard["arm"].isin(["deconfounded", "prior"])]
    for _, group in chosen.groupby("cell"):
        assert len({tasks[id][1:] for id in group["id"]}) == 1
        assert len({contexts(prompt)[-1] for prompt in group["prompt"]}) == 1
        assert group["right"].nunique() == 1


def test_example_sets_are_nested(items_standard):
    deep = items_standard[items_standard["arm"] == "deconfounded"]
    for _, group in deep.groupby("cell"):
        four, twenty, forty = (
            item.prompt[: item.prefix_chars] for item in group.sort_values("n_examples").itertuples()
        )
        assert forty.startswith(twenty)
        assert twenty.startswith(four)
        assert len(four) < len(twenty) < len(forty)


def test_tests_of_one_cell_and_n_share_their_examples_word_for_word(items_full):
    """User name, opening line and examples; the arms that learn one layer have their own examples."""
    shared = defaultdict(set)
    for item in items_full.itertuples():
        examples = TABLE[item.arm][0]
        shared[item.cell, item.n_examples, examples].add(item.prompt[: item.prefix_chars])
    assert len(shared) == 400 * (3 + 2 + 1)
    assert all(len(prefixes) == 1 for prefixes in shared.values())
    prefixes = {prefix for found in shared.values() for prefix in found if prefix}
    assert len(prefixes) == 400 * 5
    assert all(prefix.endswith("\n\n") for prefix in prefixes)


def test_one_user_and_one_opening_line_in_a_cell(items_full, design):
    users = {cell.id: cell.user for cell in design.cells}
    for item in items_full.itertuples():
        user = users[item.cell]
        assert set(re.findall(r"user\d+", item.prompt)) == {user}
        opening, question = item.prompt.split("\n", 1)[0], item.prompt.rsplit("\n", 1)[1]
        if item.arm == "prior":
            assert opening == f"Here is a situation in which {user} compares two AI agents."
            assert "previous" not in item.prompt
        else:
            assert opening.startswith(f"Several situations follow in which {user} ")
            assert f"{user}'s previous choices" in question
        assert question.endswith('Answer with only "Option A" or "Option B".')


# ---- the text shows what the columns say ----


def roles(item, side, layer, equal):
    """The trait that a role of the table stands for in an item."""
    role = side[0 if layer == "value" else 1]
    return equal if role == "=" else getattr(item, role)


def assert_shows(item, contrast, one, other):
    """Two recognized options show the two sides of a row of the table."""
    for layer in ("value", "pole"):
        pair = (item.v1, item.v2) if layer == "value" else (item.s1, item.s2)
        equal = one[layer]
        assert equal in pair
        assert one[layer] == roles(item, contrast[0], layer, equal), item.id
        assert other[layer] == roles(item, contrast[1], layer, equal), item.id


def test_examples_and_tests_show_the_traits_of_their_arm(items_standard, tasks, recogniser):
    for item in items_standard.itertuples():
        examples, _, test = TABLE[item.arm]
        task = tasks[item.id]
        assert len(task.examples) == item.n_examples
        for example in task.examples:
            chosen, rejected = recogniser.option(example.chosen), recogniser.option(example.rejected)
            assert_shows(item, examples, chosen, rejected)
        a, b = recogniser.option(task.option_a), recogniser.option(task.option_b)
        target, other = (a, b) if item.right == "A" else (b, a)
        assert_shows(item, test, target, other)


def test_the_wordings_and_orders_of_the_columns_stand_in_the_test(items_standard, tasks, wording_ids):
    for item in items_standard.itertuples():
        task = tasks[item.id]
        options = {"A": task.option_a, "B": task.option_b}
        target = options.pop(item.right)
        (other,) = options.values()
        for side, text in (("target", target), ("other", other)):
            expected = [getattr(item, f"{side}_{layer}_wording") for layer in ("value", "pole")]
            if item.clause_order == "pole_first":
                expected.reverse()
            assert [wording_ids[clause] for clause in clauses(text)] == expected, item.id


def test_cell_columns_are_those_of_the_design(items_full, design, bank):
    cells = {cell.id: cell for cell in design.cells}
    columns = ["v1", "v2", "domain", "dimension", "direction"]
    shown = items_full[["cell", "value_set", "s1", "s2", *columns]].drop_duplicates()
    assert len(shown) == 400
    for row in shown.itertuples():
        cell = cells[row.cell]
        assert [getattr(row, column) for column in columns] == [getattr(cell, column) for column in columns]
        assert row.value_set == bank.values[row.v1].group
        poles = bank.dimensions[row.dimension].poles
        assert (row.s1, row.s2) == (poles if row.direction == "forward" else poles[::-1])


def test_no_option_names_a_trait_of_its_item(items_standard, tasks, bank):
    """Neither value nor pole is ever named, nor any of the word families listed for them."""
    patterns = {}
    for trait in bank.traits:
        words = [re.escape(family).replace(r"\*", r"\w*") for family in (*trait.families, trait.name.lower())]
        patterns[trait.id] = re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE)
    for item in items_standard.itertuples():
        task = tasks[item.id]
        for trait in (item.v1, item.v2, item.s1, item.s2):
            assert not patterns[trait].search(f"{task.option_a} {task.option_b}"), (item.id, trait)


def test_ids_and_hashes(items_full):
    row = items_full.iloc[1234]
    assert row["id"] == f"{row['cell']}.{row['arm']}.n{row['n_examples']:02d}.t{row['test']}"
    assert items_full["id"].is_unique
    digests = [hashlib.sha256(prompt.encode()).hexdigest()[:16] for prompt in items_full["prompt"]]
    assert digests == list(items_full["hash"])
    assert len(set(digests)) == len(items_full)


# ---- contexts ----


def expected_contexts(bank, item, activity, split):
    domain = bank.domains[item.domain]
    found = domain.activities[activity]
    return {
        scene.id: f"{domain.name}, {found.name}. {scene.template.format(**domain.nouns)}"
        for scene in found.scenes[split]
    }


def test_contexts_are_the_documented_activities_and_scenes(items_standard, bank):
    for item in items_standard.itertuples():
        *shown, asked = contexts(item.prompt)
        assert asked == expected_contexts(bank, item, item.activity, "test")[item.scene]
        used = item.example_activities.split()
        allowed = [set(expected_contexts(bank, item, activity, "train").values()) for activity in used]
        assert len(shown) == item.n_examples
        assert len(set(used)) == min(item.n_examples, 8)
        # Example after example takes the next activity.
        for number, context in enumerate(shown):
            assert context in allowed[number % 8], item.id


def test_tests_use_activities_that_the_examples_at_20_do_not_all_share(items_full):
    """Ten tests take all ten activities; the examples know eight of them, and not the first tests'."""
    deep = items_full[(items_full["arm"] == "deconfounded") & (items_full["n_examples"] == 20)]
    for _, group in deep.groupby("cell"):
        assert group["activity"].nunique() == 10
        (shown,) = set(group["example_activities"])
        unseen = set(group.loc[~group["activity"].isin(shown.split()), "test"])
        assert unseen == {0, 1}
    # In the standard set no test has an activity of its examples.
    standard = items_full[items_full["test"] == 0]
    assert not any(
        activity in shown.split()
        for activity, shown in zip(standard["activity"], standard["example_activities"], strict=True)
    )


# ---- wordings are held out, and repeat as little as they can ----


def test_examples_use_training_wordings_and_tests_test_wordings(items_standard, tasks, wording_ids):
    """And no test wording's text stands anywhere among the examples of its cell."""
    for item in items_standard.itertuples():
        task = tasks[item.id]
        in_examples = {
            wording_ids[clause].split(".")[-2]
            for example in task.examples
            for option in example
            for clause in clauses(option)
        }
        in_test = {
            wording_ids[clause].split(".")[-2]
            for option in (task.option_a, task.option_b)
            for clause in clauses(option)
        }
        assert in_examples <= {"train"}
        assert in_test == {"test"}


def test_no_test_wording_stands_in_the_examples(items_full, bank):
    prefixes = defaultdict(set)
    for item in items_full.itertuples():
        prefixes[item.domain].add(item.prompt[: item.prefix_chars])
    for domain in bank.domains.values():
        text = "\n".join(prefixes[domain.id])
        first = bank.traits[0].wordings["train"][0].template.format(**domain.nouns)
        assert first in text
        for trait in bank.traits:
            for wording in trait.wordings["test"]:
                assert wording.template.format(**domain.nouns) not in text


def test_equal_arms_test_two_wordings_of_one_trait(items_standard):
    for arm, layer in EQUAL_LAYER.items():
        group = items_standard[items_standard["arm"] == arm]
        target, other = group[f"target_{layer}_wording"], group[f"other_{layer}_wording"]
        traits = [column.str.replace(r"\.test\.\d+$", "", regex=True) for column in (target, other)]
        assert (target != other).all()
        assert (traits[0] == traits[1]).all()


@pytest.fixture(scope="module")
def sides(items_standard, tasks, wording_ids):
    """Of each item with equal examples: how often each wording of the equal layer is chosen, rejected."""
    found = {}
    for item in items_standard[items_standard["arm"].isin(["value_only", "surface_only"])].itertuples():
        place = 1 if item.arm == "value_only" else 0
        chosen, rejected = Counter(), Counter()
        for example in tasks[item.id].examples:
            for counter, option in zip((chosen, rejected), example, strict=True):
                ids = sorted(
                    (wording_ids[clause] for clause in clauses(option)), key=lambda id: id.count(".")
                )
                counter[ids[place]] += 1
        found[item.arm, item.cell] = chosen, rejected
    return found


def test_equal_traits_and_each_of_their_wordings_stand_on_both_sides_equally_often(sides):
    for (arm, cell), (chosen, rejected) in sides.items():
        assert chosen == rejected, (arm, cell)
        assert set(chosen.values()) == {1}, (arm, cell)
        traits = Counter(id.partition(".train")[0] for id in chosen)
        assert sorted(traits.values()) == [10, 10], (arm, cell)


def test_no_combination_of_wordings_comes_back_within_the_examples(items_standard, tasks):
    """Not among the 80 options of 40 examples, nor in the smaller sets."""
    for item in items_standard[items_standard["n_examples"] > 0].itertuples():
        pairs = [frozenset(clauses(option)) for example in tasks[item.id].examples for option in example]
        assert len(set(pairs)) == len(pairs) == 2 * item.n_examples, item.id


def test_ten_tests_of_a_cell_use_ten_wordings_of_each_value(items_full):
    deep = items_full[(items_full["arm"] == "deconfounded") & (items_full["n_examples"] == 4)]
    by_cell = deep.groupby("cell")
    for column in ("target_value_wording", "other_value_wording"):
        assert set(by_cell[column].nunique()) == {10}
    for column in ("target_pole_wording", "other_pole_wording"):
        assert set(by_cell[column].nunique()) == {6}


# ---- deterministic to the byte ----


def test_the_standard_prompts_are_those_that_answers_are_keyed_by(items_standard):
    assert hashlib.sha256("\0".join(items_standard["prompt"]).encode()).hexdigest() == STANDARD_PROMPTS


def test_the_same_seed_gives_the_same_bytes(bank, design, items_standard, tmp_path):
    again = build_items(bank, design, "standard")
    pd.testing.assert_frame_equal(again, items_standard)
    written = []
    for name, frame in (("one", items_standard), ("two", again)):
        path = tmp_path / f"{name}.parquet"
        frame.to_parquet(path, index=False, compression="zstd")
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_the_hash_seed_of_the_interpreter_does_not_matter(items_smoke):
    code = (
        "from deepvalues import paths\n"
        "from deepvalues.dvb.bank import read_bank\n"
        "from deepvalues.dvb.design import load_design\n"
        "from deepvalues.dvb.items import build_items\n"
        "bank = read_bank(paths.BANK)\n"
        "print(*build_items(bank, load_design(paths.DESIGNS, bank), 'smoke')['hash'])\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
    assert run.stdout.decode().split() == list(items_smoke["hash"])


# ---- the contract ----


def test_items_come_back_from_parquet(items_smoke, tmp_path):
    items_smoke.to_parquet(tmp_path / "items.parquet", index=False)
    pd.testing.assert_frame_equal(read_items(tmp_path / "items.parquet"), items_smoke)


def first(column, content):
    """Set one cell of the first row."""

    def change(items):
        items.loc[0, column] = content
        return items

    return change


def twice(column):
    def change(items):
        items.loc[1, column] = items.loc[0, column]
        return items

    return change


VIOLATIONS = {
    "an id twice": (twice("id"), "id"),
    "a hash twice": (twice("hash"), "hash"),
    "a short hash": (first("hash", "abc"), "hash"),
    "an unknown arm": (first("arm", "deep"), "arm"),
    "an unknown N": (first("n_examples", 6), "n_examples"),
    "a test too many": (first("test", 10), "test"),
    "an unknown letter": (first("right", "C"), "right"),
    "an unknown clause order": (first("clause_order", "both"), "clause_order"),
    "an unknown direction": (first("direction", "sideways"), "direction"),
    "an unknown value set": (first("value_set", "kant"), "value_set"),
    "a malformed cell": (first("cell", "cell 1"), "cell"),
    "a missing prompt": (first("prompt", None), "prompt"),
    "a negative prefix": (first("prefix_chars", -1), "prefix_chars"),
    "a value against itself": (lambda items: items.assign(v2=items["v1"]), "v1 and v2 are the same"),
    "N as text": (lambda items: items.assign(n_examples=items["n_examples"].astype(str)), "n_examples"),
    "a column too few": (lambda items: items.drop(columns="scene"), "scene"),
    "a column too many": (lambda items: items.assign(colour="red"), "colour"),
    "columns in another order": (lambda items: items[items.columns[::-1]], "out-of-order"),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_a_frame_that_breaks_the_contract_is_refused(items_smoke, tmp_path, violation):
    change, message = VIOLATIONS[violation]
    change(items_smoke.copy()).to_parquet(tmp_path / "items.parquet", index=False)
    with pytest.raises(UserError, match=rf"(?s)items\.parquet: not the items.*{message}.*run 01_load_data"):
        read_items(tmp_path / "items.parquet")


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "items.parquet").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"items\.parquet: not the items .*run 01_load_data"):
        read_items(tmp_path / "items.parquet")


def test_missing_items_say_what_to_run(tmp_path):
    with pytest.raises(UserError, match=r"none\.parquet: no items yet; run the notebook 01_load_data first"):
        read_items(tmp_path / "none.parquet")


@pytest.mark.parametrize("study", ["dvb", "dvb-cot", "dvb-ratings", "svo", "profiles", "profiles-open"])
def test_a_set_that_does_not_exist_is_told_with_those_that_do(study, tmp_path):
    with pytest.raises(UserError, match=r"unknown (item )?set 'nope'; (there are|\S+ has) \w+") as told:
        catalogue.read_items(study, "nope", tmp_path)
    assert "standard" in str(told.value) or "smoke" in str(told.value)


def test_splits_are_named_in_the_ids(wording_ids):
    assert {id.split(".")[-2] for id in wording_ids.values()} == set(SPLITS)


def test_sets_are_written_where_they_are_read(tmp_path):
    folder = tmp_path / "derived"
    built = catalogue.write_items({"svo": ["smoke"], "profiles": ["smoke"]}, folder)
    assert list(built) == [("svo", "smoke"), ("profiles", "smoke")]
    for (study, item_set), frame in built.items():
        pd.testing.assert_frame_equal(catalogue.read_items(study, item_set, folder), frame)


def test_an_unknown_study_is_not_written(tmp_path):
    with pytest.raises(UserError, match="unknown study 'dvbb'"):
        catalogue.write_items({"dvbb": ["smoke"]}, tmp_path)

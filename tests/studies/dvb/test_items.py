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

import bank_sums
from deepvalues.ask import catalogue
from deepvalues.ask.catalogue import read_items_file
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.items.items import CONTRACT, ITEM_SETS, build_items
from deepvalues.studies.dvb.items.prompts import situations
from deepvalues.studies.dvb.stimuli.bank import SPLITS
from deepvalues.studies.dvb.stimuli.design import balanced_order

# The table of arms: (value role, pole role) of the chosen and rejected option in the examples, numbers of
# examples, and (value role, pole role) of the target and the other option in the test.
CONFOUNDED = (("v1", "s1"), ("v2", "s2"))
DECONFOUNDED = (("v1", "s2"), ("v2", "s1"))
VALUE = (("v1", "="), ("v2", "="))
SURFACE = (("=", "s1"), ("=", "s2"))
TABLE = {
    "deconfounded": (CONFOUNDED, (4, 20, 40), DECONFOUNDED),
    "control": (CONFOUNDED, (4, 20, 40), CONFOUNDED),
    "probe_value": (CONFOUNDED, (4, 20, 40), VALUE),
    "probe_surface": (CONFOUNDED, (4, 20, 40), SURFACE),
    "prior": (None, (0,), DECONFOUNDED),
    "shuffled": (CONFOUNDED, (4,), DECONFOUNDED),
    "shuffled_control": (CONFOUNDED, (4,), CONFOUNDED),
    "shuffled_probe_value": (CONFOUNDED, (4,), VALUE),
    "shuffled_probe_surface": (CONFOUNDED, (4,), SURFACE),
    "repeat": (CONFOUNDED, (4,), CONFOUNDED),
    "seen": (CONFOUNDED, (4,), DECONFOUNDED),
    "value_only": (VALUE, (20,), VALUE),
    "surface_only": (SURFACE, (20,), SURFACE),
}
SHUFFLED = ("shuffled", "shuffled_control", "shuffled_probe_value", "shuffled_probe_surface")
#: Arms that show their own examples, with their choices as they fell.
#: The numbers of examples of each set, of all arms that are asked at these.
SETS = {"n4": (0, 4), "n20": (20,), "n40": (40,)}
SINGLE_LAYER = ("value_only", "surface_only")
EQUAL_LAYER = {
    "probe_value": "pole",
    "shuffled_probe_value": "pole",
    "value_only": "pole",
    "probe_surface": "value",
    "shuffled_probe_surface": "value",
    "surface_only": "value",
}
#: What the two orders of a test do not share.
OF_ONE_ORDER = ["id", "right", "swapped", "prompt", "hash"]


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


def arms_of(item_set):
    """(arm, N) of every test that a set asks of each of its cells."""
    layers = {(arm, 20) for arm in SINGLE_LAYER}
    asked = {
        name: {(arm, n) for arm, (_, own, _) in TABLE.items() for n in own if n in numbers} - layers
        for name, numbers in SETS.items()
    }
    asked |= {"layers": layers, "smoke": asked["n4"] | layers}
    return asked.get(item_set, asked["n4"] | asked["n20"] | asked["n40"] | layers)


@pytest.mark.parametrize(("name", "cells", "size"), [("smoke", 5, 130), ("standard", 400, 16_800)])
def test_counts(request, name, cells, size):
    items = request.getfixturevalue(f"items_{name}")
    assert len(items) == size
    counts = Counter(zip(items["arm"], items["n_examples"], strict=True))
    assert counts == dict.fromkeys(arms_of(name), 2 * cells)
    assert set(Counter(items["cell"]).values()) == {2 * len(arms_of(name))}
    assert set(items["test"]) == {0}


def test_every_arm_is_in_the_smoke_set(items_smoke):
    assert set(items_smoke["arm"]) == set(TABLE)


def test_full_has_ten_deconfounded_tests_in_one_order(items_full):
    assert len(items_full) == 12_000
    assert set(items_full["arm"]) == {"deconfounded"}
    assert set(Counter(zip(items_full["cell"], items_full["n_examples"], strict=True)).values()) == {10}
    assert not items_full["swapped"].any()


@pytest.mark.parametrize(("name", "size"), {"n4": 8800, "n20": 3200, "n40": 3200, "layers": 1600}.items())
def test_a_set_by_n_is_a_part_of_the_standard_one(bank, design, items_standard, name, size):
    part = build_items(bank, design, name, with_prompts=False)
    assert len(part) == size
    assert set(zip(part["arm"], part["n_examples"], strict=True)) == arms_of(name)
    assert_part(part, items_standard)


@pytest.mark.parametrize("name", [name for name in ITEM_SETS if "-" in name])
def test_a_set_of_fewer_cells_has_all_tests_of_the_first_in_balanced_order(
    bank, design, items_standard, name
):
    whole, cells = name.split("-")
    part = build_items(bank, design, name, with_prompts=False)
    first = {design.cells[place].id for place in balanced_order(design)[: int(cells)]}
    assert set(part["cell"]) == first
    assert len(part) == len(first) * 2 * len(arms_of(whole))
    assert list(part["cell"]) == sorted(part["cell"]), "in the order of the design"
    assert_part(part, items_standard)


def assert_part(part, whole):
    found = whole[whole["id"].isin(part["id"])].drop(columns="prompt").reset_index(drop=True)
    # The sets by N stand in `standard` one after another within each cell.
    found = found.set_index("id").loc[part["id"]].reset_index()[list(part.columns)]
    pd.testing.assert_frame_equal(part, found)


def test_sets_are_parts_of_larger_sets(items_smoke, items_standard, items_full):
    assert_part(items_smoke.drop(columns="prompt"), items_standard)
    deep = items_standard[(items_standard["arm"] == "deconfounded") & ~items_standard["swapped"]]
    assert_part(deep.drop(columns="prompt").reset_index(drop=True), items_full)


def test_items_without_prompts_are_the_same_items(bank, design, items_smoke):
    without = build_items(bank, design, "smoke", with_prompts=False)
    pd.testing.assert_frame_equal(without, items_smoke.drop(columns="prompt"))


# ---- balance ----


@pytest.mark.parametrize("name", ["smoke", "standard", "full"])
def test_position_and_clause_order_are_balanced_within_each_arm(request, name):
    """To within one item, each alone and crossed, for every N, every test and each order of the options."""
    items = request.getfixturevalue(f"items_{name}")
    for _, group in items[items["arm"] != "repeat"].groupby(["arm", "n_examples", "test", "swapped"]):
        crossed = Counter(zip(group["right"], group["clause_order"], strict=True))
        assert len(crossed) == 4
        assert max(crossed.values()) - min(crossed.values()) <= 1
        for column in ("right", "clause_order"):
            counts = Counter(group[column]).values()
            assert max(counts) - min(counts) <= 1


def test_over_both_orders_either_place_is_right_in_half_of_any_tests(items_standard):
    columns = ["cell", "arm", "n_examples", "test"]
    assert (
        (items_standard["right"] == "A").groupby([items_standard[name] for name in columns]).sum().eq(1).all()
    )


def test_positions_and_orders_of_examples_are_balanced_in_every_nested_set(
    items_standard, tasks, wording_ids
):
    own = items_standard[items_standard["n_examples"] > 0]
    for item in own[~own["arm"].isin(SHUFFLED)].itertuples():
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
        group = items_standard[(items_standard["arm"] == arm) & ~items_standard["swapped"]]
        for _, own in group.groupby("n_examples"):
            trait = own[f"target_{layer}_wording"].str.replace(r"\.test\.\d+$", "", regex=True)
            first = own["s1" if layer == "pole" else "v1"]
            of_domain = (trait == first).groupby(own["domain"])
            assert of_domain.sum().tolist() == [25] * 8


# ---- both orders ----


@pytest.fixture(scope="module")
def pairs(items_standard):
    """(first order, second order) of every test."""
    first = items_standard[~items_standard["swapped"]]
    second = items_standard[items_standard["swapped"]].set_index("id")
    second = second.loc[[f"{id[:-1]}b" for id in first["id"]]].reset_index()[list(first.columns)]
    return first.reset_index(drop=True), second


def test_every_test_is_asked_in_both_orders(items_standard, pairs):
    first, second = pairs
    assert len(first) == len(second) == len(items_standard) / 2
    assert first["id"].str.endswith("a").all()
    pd.testing.assert_frame_equal(first.drop(columns=OF_ONE_ORDER), second.drop(columns=OF_ONE_ORDER))
    assert (first["right"] != second["right"]).all()


@pytest.mark.slow
def test_the_second_order_is_the_first_with_its_options_in_each_others_place(pairs):
    """And nothing else: context, examples, user and question are the same to the byte."""
    for one, other in zip(*(frame.itertuples() for frame in pairs), strict=True):
        ((a,), (b,)) = (situations(posed(item)) for item in (one, other))
        assert (a.option_a, a.option_b) == (b.option_b, b.option_a)
        assert a.option_a != a.option_b
        mended = (
            posed(other).replace(f"Option A: {b.option_a}", "\0").replace(f"Option B: {b.option_b}", "\1")
        )
        mended = mended.replace("\0", f"Option A: {a.option_a}").replace("\1", f"Option B: {a.option_b}")
        assert mended == posed(one)
        assert one.prompt[: one.prefix_chars] == other.prompt[: other.prefix_chars]


# ---- what items share ----


@pytest.mark.parametrize(("name", "arms"), [("standard", 4), ("full", 1)])
def test_the_test_is_the_same_at_every_n_word_for_word(request, name, arms):
    """And none is like another."""
    items = request.getfixturevalue(f"items_{name}")
    tests = defaultdict(set)
    for item in items[items["arm"].isin(list(TABLE)[:4])].itertuples():
        tests[item.cell, item.arm, item.test, item.swapped].add(posed(item))
    assert len(tests) == {"standard": arms * 800, "full": 4000}[name]
    assert all(len(texts) == 1 for texts in tests.values())
    assert len({text for texts in tests.values() for text in texts}) == len(tests)


@pytest.mark.parametrize("name", ["standard", "full"])
def test_the_columns_of_a_test_are_the_same_at_every_n(request, name):
    items = request.getfixturevalue(f"items_{name}")
    several = items[items["arm"].isin(list(TABLE)[:4])]
    varies = ["id", "n_examples", "example_activities", "prefix_chars", "prompt", "hash"]
    assert len(several.drop(columns=varies).drop_duplicates()) == len(several) / 3


def test_the_prior_asks_the_deconfounded_test_without_examples(items_standard, tasks):
    chosen = items_standard[items_standard["arm"].isin(["deconfounded", "prior"])]
    for _, group in chosen.groupby(["cell", "swapped"]):
        assert len(group) == 4
        assert len({tasks[id][1:] for id in group["id"]}) == 1
        assert len({contexts(prompt)[-1] for prompt in group["prompt"]}) == 1
        assert group["right"].nunique() == 1


@pytest.mark.parametrize("arm", SHUFFLED)
def test_shuffled_arms_ask_the_tests_of_the_others_word_for_word(items_standard, arm):
    shuffled = items_standard[items_standard["arm"] == arm]
    like = "deconfounded" if arm == "shuffled" else arm.removeprefix("shuffled_")
    other = items_standard[(items_standard["arm"] == like) & (items_standard["n_examples"] == 4)]
    assert len(shuffled) == len(other) == 800
    assert list(shuffled["cell"]) == list(other["cell"])
    assert list(map(posed, shuffled.itertuples())) == list(map(posed, other.itertuples()))
    assert list(shuffled["right"]) == list(other["right"])


def test_shuffled_examples_have_two_of_four_choices_turned_one_of_each_letter(items_standard):
    n4 = items_standard[items_standard["n_examples"] == 4].set_index(["arm", "cell"])["prompt"]
    for arm in SHUFFLED:
        for cell, prompt in n4[arm][~n4[arm].index.duplicated()].items():
            *ours, _ = situations(prompt)
            *theirs, _ = situations(n4["deconfounded", cell].iloc[0])
            assert [example[:3] for example in ours] == [example[:3] for example in theirs]
            turned = [t.right for o, t in zip(ours, theirs, strict=True) if o.right != t.right]
            assert sorted(turned) == ["A", "B"], (arm, cell)
            assert sorted(example.right for example in ours) == ["A", "A", "B", "B"]


def test_shuffled_examples_speak_for_neither_layer(items_standard, tasks, recogniser):
    own = items_standard[items_standard["arm"].isin(SHUFFLED)]
    assert {tuple(recogniser.evidence(tasks[id])) for id in own["id"]} == {(0, 0)}


def test_which_choices_are_turned_goes_with_no_place(items_standard):
    """Each of the four examples in about half of the cells."""
    own = items_standard[items_standard["n_examples"].eq(4) & ~items_standard["swapped"]]
    turned = Counter()
    prompts = own.set_index(["arm", "cell"])["prompt"]
    for cell, prompt in prompts["shuffled"].items():
        pairs = zip(situations(prompt)[:-1], situations(prompts["deconfounded", cell])[:-1], strict=True)
        turned.update(number for number, (ours, theirs) in enumerate(pairs) if ours != theirs)
    assert sum(turned.values()) == 800
    assert all(160 <= turned[number] <= 240 for number in range(4))


def test_a_repeated_test_is_an_example_word_for_word_in_its_first_order_only(items_standard):
    places = defaultdict(Counter)
    for item in items_standard[items_standard["arm"] == "repeat"].itertuples():
        *examples, test = situations(item.prompt)
        found = [place for place, example in enumerate(examples) if example[:3] == test[:3]]
        mirrored = [place for place, (context, a, b, _) in enumerate(examples) if (context, b, a) == test[:3]]
        assert (len(found), len(mirrored)) == ((0, 1) if item.swapped else (1, 0))
        (place,) = found + mirrored
        # What was chosen in the example is right in the test.
        assert (item.right == examples[place].right) != item.swapped
        places[item.swapped][place] += 1
    # Each of the four in turn over cells.
    assert places[False] == places[True] == dict.fromkeys(range(4), 100)


def test_each_example_is_repeated_in_every_domain_and_value_pair(items_standard):
    own = items_standard[(items_standard["arm"] == "repeat") & ~items_standard["swapped"]]
    place = [
        next(n for n, example in enumerate(found) if example[:3] == found[-1][:3])
        for found in map(situations, own["prompt"])
    ]
    assert (pd.crosstab(own["v1"] + own["v2"], pd.Series(place, own.index)) == 2).all(axis=None)
    by_domain = pd.crosstab(own["domain"], pd.Series(place, own.index))
    assert by_domain.to_numpy().min() >= 12 and by_domain.to_numpy().max() <= 13


def test_seen_tests_have_the_wordings_of_the_four_examples_each_from_another(
    items_standard, tasks, wording_ids
):
    """And no option, nor any pair of clauses, of an example comes back."""
    begins = Counter()
    for item in items_standard[items_standard["arm"] == "seen"].itertuples():
        task = tasks[item.id]
        told = [
            {wording_ids[clause] for option in example for clause in clauses(option)}
            for example in task.examples
        ]
        options = [
            [wording_ids[clause] for clause in clauses(option)] for option in (task.option_a, task.option_b)
        ]
        shown = [id for option in options for id in option]
        from_example = [[place for place, ids in enumerate(told) if id in ids] for id in shown]
        assert all(len(places) == 1 for places in from_example), item.id
        assert sorted(places[0] for places in from_example) == [0, 1, 2, 3]
        assert {id.split(".")[-2] for id in shown} == {"train"}
        before = {frozenset(clauses(option)) for example in task.examples for option in example}
        assert not before & {frozenset(clauses(option)) for option in (task.option_a, task.option_b)}
        begins[next(place for place, ids in enumerate(told) if item.target_value_wording in ids)] += 1
    assert begins == dict.fromkeys(range(4), 200)


def test_seen_tests_have_a_scene_of_their_own(items_standard):
    own = items_standard[items_standard["arm"] == "seen"]
    assert own["scene"].str.contains(".test.", regex=False).all()
    assert not any(contexts(prompt)[-1] in contexts(prompt)[:-1] for prompt in own["prompt"])


@pytest.mark.slow
def test_example_sets_are_nested(items_standard):
    shown = defaultdict(dict)
    for item in items_standard[items_standard["arm"].isin(list(TABLE)[:4])].itertuples():
        shown[item.arm, item.cell, item.swapped][item.n_examples] = item.prompt[: item.prefix_chars]
    assert len(shown) == 4 * 800
    for prefixes in shown.values():
        assert sorted(prefixes) == [4, 20, 40]
        four, twenty, forty = (prefixes[n] for n in (4, 20, 40))
        assert forty.startswith(twenty)
        assert twenty.startswith(four)
        assert len(four) < len(twenty) < len(forty)


def test_tests_of_one_cell_and_n_share_their_examples_to_the_byte(items_standard, items_full):
    """User name, opening line and examples; arms with other choices or of one layer have their own."""
    shared = defaultdict(set)
    for items in (items_standard, items_full):
        for item in items.itertuples():
            key = item.cell, item.n_examples, TABLE[item.arm][0], item.arm in SHUFFLED
            shared[key].add(item.prompt[: item.prefix_chars])
    assert len(shared) == 400 * (1 + 3 + 1 + 2)
    assert all(len(prefixes) == 1 for prefixes in shared.values())
    prefixes = {prefix for found in shared.values() for prefix in found if prefix}
    assert len(prefixes) == 400 * 6
    assert all(prefix.endswith("\n\n") for prefix in prefixes)


def test_one_user_and_one_opening_line_in_a_cell(items_standard, design):
    users = {cell.id: cell.user for cell in design.cells}
    for item in items_standard.itertuples():
        user = users[item.cell]
        assert set(re.findall(r"user\d+", item.prompt)) == {user}
        opening, question = item.prompt.split("\n", 1)[0], item.prompt.rsplit("\n", 1)[1]
        if item.arm == "prior":
            assert opening == f"Here is a situation in which {user} compares two AI agents."
            assert "previous choices" not in item.prompt
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
            sides = recogniser.option(example.chosen), recogniser.option(example.rejected)
            if item.arm in SHUFFLED and sides[0]["value"] == item.v2:
                sides = sides[::-1]
            assert_shows(item, examples, *sides)
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


def test_cell_columns_are_those_of_the_design(items_standard, design, bank):
    cells = {cell.id: cell for cell in design.cells}
    columns = ["v1", "v2", "domain", "dimension", "direction"]
    shown = items_standard[["cell", "value_set", "s1", "s2", *columns]].drop_duplicates()
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


def test_ids_and_hashes(items_standard, items_full):
    for items in (items_standard, items_full):
        row = items.iloc[1234]
        order = "b" if row["swapped"] else "a"
        assert row["id"] == f"{row['cell']}.{row['arm']}.n{row['n_examples']:02d}.t{row['test']}{order}"
        assert items["id"].is_unique
        digests = [hashlib.sha256(prompt.encode()).hexdigest()[:16] for prompt in items["prompt"]]
        assert digests == list(items["hash"])
        assert len(set(digests)) == len(items)


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
        split = "train" if item.arm == "repeat" else "test"
        assert asked == expected_contexts(bank, item, item.activity, split)[item.scene]
        used = item.example_activities.split()
        allowed = [set(expected_contexts(bank, item, activity, "train").values()) for activity in used]
        assert len(shown) == item.n_examples
        assert len(set(used)) == min(item.n_examples, 8)
        # Example after example takes the next activity.
        for number, context in enumerate(shown):
            assert context in allowed[number % 8], item.id


def test_tests_use_activities_that_the_examples_at_20_do_not_all_share(items_standard, items_full):
    """Ten tests take all ten activities; the examples know eight of them, and not the first tests'."""
    deep = items_full[(items_full["arm"] == "deconfounded") & (items_full["n_examples"] == 20)]
    for _, group in deep.groupby("cell"):
        assert group["activity"].nunique() == 10
        (shown,) = set(group["example_activities"])
        unseen = set(group.loc[~group["activity"].isin(shown.split()), "test"])
        assert unseen == {0, 1}
    # In the standard set no test has an activity of its examples.
    standard = items_standard[items_standard["arm"] != "repeat"]
    assert not any(
        activity in shown.split()
        for activity, shown in zip(standard["activity"], standard["example_activities"], strict=True)
    )


# ---- wordings are held out, and repeat as little as they can ----


def test_examples_use_training_wordings_and_tests_test_wordings(items_standard, tasks, wording_ids):
    """But for the arms whose tests come back to their examples."""
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
        assert in_test == {"train" if item.arm in ("repeat", "seen") else "test"}


@pytest.mark.slow
def test_no_test_wording_stands_in_the_examples(items_standard, bank):
    lines = defaultdict(set)
    for domain, prefix in {
        (item.domain, item.prompt[: item.prefix_chars]) for item in items_standard.itertuples()
    }:
        lines[domain].update(prefix.splitlines())
    for domain in bank.domains.values():
        text = "\n".join(lines[domain.id])
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


def test_ten_tests_of_a_cell_use_ten_wordings_of_each_trait(items_full):
    deep = items_full[(items_full["arm"] == "deconfounded") & (items_full["n_examples"] == 4)]
    by_cell = deep.groupby("cell")
    for side in ("target", "other"):
        for layer in ("value", "pole"):
            assert set(by_cell[f"{side}_{layer}_wording"].nunique()) == {10}


# ---- deterministic to the byte ----


def test_the_standard_prompts_are_those_that_answers_are_keyed_by(items_standard):
    assert bank_sums.of_items(items_standard) == bank_sums.kept()["dvb standard"]


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
        "from deepvalues.core import paths\n"
        "from deepvalues.studies.dvb.stimuli.bank import read_bank\n"
        "from deepvalues.studies.dvb.stimuli.design import load_design\n"
        "from deepvalues.studies.dvb.items.items import build_items\n"
        "bank = read_bank(paths.BANK)\n"
        "print(*build_items(bank, load_design(paths.DESIGNS, bank), 'smoke')['hash'])\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
    assert run.stdout.decode().split() == list(items_smoke["hash"])


# ---- the contract ----


def test_items_come_back_from_parquet(items_smoke, tmp_path):
    items_smoke.to_parquet(tmp_path / "items.parquet", index=False)
    pd.testing.assert_frame_equal(read_items_file(tmp_path / "items.parquet", CONTRACT), items_smoke)


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
    with pytest.raises(
        UserError, match=rf"(?s)items\.parquet: items of another version.*{message}.*01_load_data"
    ):
        read_items_file(tmp_path / "items.parquet", CONTRACT)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "items.parquet").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"items\.parquet: items of another version .*01_load_data"):
        read_items_file(tmp_path / "items.parquet", CONTRACT)


def test_missing_items_say_what_to_run(tmp_path):
    with pytest.raises(UserError, match=r"none\.parquet: no items yet; run the notebook 01_load_data first"):
        read_items_file(tmp_path / "none.parquet", CONTRACT)


@pytest.mark.parametrize(
    "study",
    ["dvb", "dvb-cot", "dvb-ratings", "svo", "svo-letters", "profiles", "profiles-pairs", "profiles-open"],
)
def test_a_set_that_does_not_exist_is_told_with_those_that_do(study, tmp_path):
    with pytest.raises(UserError, match=rf"unknown item set 'nope'; {study} has \w+") as told:
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


def test_items_that_are_older_than_the_stimuli_are_told(tmp_path):
    catalogue.write_items({"svo": ["smoke"]}, tmp_path)
    os.utime(tmp_path / "svo_smoke.parquet", (0, 0))
    with pytest.raises(
        UserError, match=r"svo_smoke\.parquet is older than data/stimuli/.*; run the notebook 01_"
    ):
        catalogue.read_items("svo", "smoke", tmp_path)


def test_an_unknown_study_is_not_written(tmp_path):
    with pytest.raises(UserError, match="unknown study 'dvbb'"):
        catalogue.write_items({"dvbb": ["smoke"]}, tmp_path)

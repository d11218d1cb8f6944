"""Items: the prompts of a set, with all that the statistics need to know about them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, NamedTuple, TypeAlias

import pandas as pd
import pandera.pandas as pa

from deepvalues.core import stable_random
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.items import prompts
from deepvalues.studies.dvb.stimuli.bank import VALUE_SETS, Bank, Domain, Wording
from deepvalues.studies.dvb.stimuli.design import (
    ARMS,
    CONFOUNDED,
    DIRECTIONS,
    EXAMPLES,
    LADDER,
    Arm,
    Cell,
    Contrast,
    Design,
    Side,
    balanced_order,
)

#: Numbers of cells that a suffix reduces the sets ``n4``, ``n20`` and ``n40`` to, as in ``n4-200``.
FEWER_CELLS = (50, 100, 200)
#: Sets read from the published prompts, with their names in ``data/sources.yml``.
RELEASED_SETS = ("released", "released-1302")
#: The public prompts in the authors' repository. We have facts about them, but not their texts.
AUTHORS = "authors"
#: Those with at most so many examples, for models that are slow to ask.
AUTHORS_FEWER, AUTHORS_MOST_EXAMPLES = "authors-20", 20
#: Numbers of examples in these public prompts.
_AUTHORS_N_EXAMPLES = (4, 5, 15, 20, 30, 40)
#: Examples use the first eight of a cell's shuffled activities; tests take all ten, from the end.
EXAMPLE_ACTIVITIES = 8
CLAUSE_ORDERS = ("value_first", "pole_first")
#: Wordings used if both sides show the same trait: 20 examples of two traits need ten of each.
_EQUAL_WORDINGS = 10
_CELLS_AT_ONCE = 25

CONTRACT = pa.DataFrameSchema(
    {
        "id": pa.Column(str, unique=True),
        # A cell of the design or, in released prompts, v1/v2/s1/domain.
        "cell": pa.Column(str, pa.Check.str_matches(r"^(c\d{3}|[^/]+(/[^/]+){3})$")),
        "arm": pa.Column(str, pa.Check.isin(list(ARMS))),
        "n_examples": pa.Column("int64", pa.Check.isin([0, *EXAMPLES, *LADDER, *_AUTHORS_N_EXAMPLES])),
        "test": pa.Column("int64", pa.Check.ge(0)),
        "value_set": pa.Column(str, pa.Check.isin(VALUE_SETS)),
        "v1": pa.Column(str),
        "v2": pa.Column(str),
        "dimension": pa.Column(str),
        "direction": pa.Column(str, pa.Check.isin(DIRECTIONS)),
        "s1": pa.Column(str),
        "s2": pa.Column(str),
        "domain": pa.Column(str),
        "activity": pa.Column(str),
        "example_activities": pa.Column(str),
        "scene": pa.Column(str),
        "target_value_wording": pa.Column(str),
        "target_pole_wording": pa.Column(str),
        "other_value_wording": pa.Column(str),
        "other_pole_wording": pa.Column(str),
        "clause_order": pa.Column(str, pa.Check.isin([*CLAUSE_ORDERS, ""])),
        "right": pa.Column(str, pa.Check.isin(prompts.LETTERS)),
        # Whether the options are in the second order. A repeated example is an exact copy in the first.
        "swapped": pa.Column(bool),
        "prefix_chars": pa.Column("int64", pa.Check.ge(0)),
        "prompt": pa.Column(str),
        "hash": pa.Column(str, pa.Check.str_length(16, 16), unique=True),
    },
    checks=[
        pa.Check(lambda frame: frame["v1"] != frame["v2"], error="v1 and v2 are the same"),
        pa.Check(
            lambda frame: (frame["test"] < 10) | frame["cell"].str.contains("/"), error="an eleventh test"
        ),
    ],
    strict=True,
    ordered=True,
    name="items",
)


class Asked(NamedTuple):
    """One test that a set asks of each of its cells: arm, N, number of the test, and option order."""

    arm: Arm
    n_examples: int
    test: int
    swapped: bool


class ItemSet(NamedTuple):
    """What a set asks of each cell, and of how many; fewer cells are taken in the balanced order."""

    asked: tuple[Asked, ...]
    cells: int
    balanced: bool = False


def both_orders(numbers: Collection[int], arms: Iterable[str]) -> tuple[Asked, ...]:
    """One test of each arm, at those of the numbers that it has, in both orders of the options."""
    return tuple(
        Asked(ARMS[arm], n, 0, swapped)
        for arm in arms
        for n in ARMS[arm].n_examples
        if n in numbers
        for swapped in (False, True)
    )


_SINGLE_LAYER = ("value_only", "surface_only")
_LAYERS = both_orders((20,), _SINGLE_LAYER)
_BY_N = {
    "n4": both_orders((0, 4), ARMS),
    "n20": both_orders((20,), [arm for arm in ARMS if arm not in _SINGLE_LAYER]),
    "n40": both_orders((40,), ARMS),
}
_STANDARD = tuple(asked for group in (*_BY_N.values(), _LAYERS) for asked in group)
_LADDER = tuple(
    asked._replace(n_examples=n)
    for n in LADDER
    for asked in both_orders(EXAMPLES[:1], ("deconfounded", "control", "probe_value", "probe_surface"))
)
_FULL = tuple(Asked(ARMS["deconfounded"], n, test, False) for n in EXAMPLES for test in range(10))

#: The sets by name. ``standard`` is ``n4``, ``n20``, ``n40`` and ``layers`` together; ``full`` has the
#: published number of tests, each in one order.
ITEM_SETS = {
    "smoke": ItemSet((*_BY_N["n4"], *_LAYERS), 5),
    **{name: ItemSet(asked, 400) for name, asked in _BY_N.items()},
    **{
        f"{name}-{cells}": ItemSet(asked, cells, balanced=True)
        for name, asked in _BY_N.items()
        for cells in FEWER_CELLS
    },
    "layers": ItemSet(_LAYERS, 400),
    "standard": ItemSet(_STANDARD, 400),
    "ladder": ItemSet(_LADDER, 50, balanced=True),
    "full": ItemSet(_FULL, 400),
}


#: A value wording and a pole wording, which together make an option.
Clauses: TypeAlias = tuple[Wording, Wording]


@dataclass(frozen=True)
class _Maker:
    """What all items of a cell have in common."""

    bank: Bank
    cell: Cell
    seed: int
    texts: dict[str, str] = field(default_factory=dict)

    @cached_property
    def poles(self) -> tuple[str, str]:
        """The preferred pole and the other one."""
        first, second = self.bank.dimensions[self.cell.dimension].poles
        return (first, second) if self.cell.direction == "forward" else (second, first)

    @property
    def domain(self) -> Domain:
        return self.bank.domains[self.cell.domain]

    @cached_property
    def activities(self) -> list[str]:
        return stable_random.shuffled(list(self.domain.activities), self.seed, self.cell.id, "activities")

    def trait(self, role: str, alternate: int) -> str:
        """The id of the value or pole in a role; ``alternate`` decides which one ``=`` stands for."""
        pair = (self.cell.v1, self.cell.v2) if role[0] == "v" else self.poles
        return pair[alternate % 2 if role[1] == "=" else int(role[1]) - 1]

    @cached_property
    def wordings(self) -> dict[tuple[str, str], list[Wording]]:
        """The wordings of the cell's traits by trait and split, in this cell's own order."""
        values, poles = (self.cell.v1, self.cell.v2), self.poles
        traits = [*(self.bank.values[name] for name in values), *(self.bank.poles[name] for name in poles)]
        return {
            (trait.id, split): stable_random.shuffled(order, self.seed, self.cell.id, trait.id, split)
            for trait in traits
            for split, order in trait.wordings.items()
        }

    def context(self, activity: str, split: str, number: int) -> tuple[Wording, str]:
        domain = self.domain
        scenes = domain.activities[activity].scenes[split]
        scene = scenes[number % len(scenes)]
        return scene, f"{domain.name}, {domain.activities[activity].name}. {self.text(scene)}"

    def text(self, wording: Wording) -> str:
        """A wording with the nouns of the cell's domain."""
        if wording.id not in self.texts:
            self.texts[wording.id] = wording.fill(self.domain.nouns)
        return self.texts[wording.id]

    def pick(
        self, contrast: Contrast, side: Side, layer: str, split: str, number: int, alternate: int
    ) -> Wording:
        """The wording that one side of a contrast shows on a layer (``value`` or ``pole``).

        If both sides show the same trait, the other side takes the wording half an order away, and the order
        advances with every second example (``=`` alternates between two traits). At N = 20, ten wordings of
        each trait then appear once on each side, so they say nothing about the choice.
        Otherwise wordings follow in order, and `_wording_shift` varies how they are combined.
        """
        values = self.wordings[self.trait(side.value, alternate), split]
        poles = self.wordings[self.trait(side.pole, alternate), split]
        order, other = values if layer == "value" else poles, side == contrast.other
        if getattr(contrast.target, layer) == getattr(contrast.other, layer):
            order = order[:_EQUAL_WORDINGS]
            number = number // 2 + (len(order) // 2 if other else 0)
        else:
            number += _wording_shift(number, len(values), len(poles), layer, other=other)
        return order[number % len(order)]

    def sides(self, contrast: Contrast, split: str, number: int, alternate: int) -> tuple[Clauses, Clauses]:
        """The clauses of the target and of the other option."""

        def both(side: Side) -> Clauses:
            value = self.pick(contrast, side, "value", split, number, alternate)
            return value, self.pick(contrast, side, "pole", split, number, alternate)

        return both(contrast.target), both(contrast.other)

    def seen(self, example: int) -> tuple[Clauses, Clauses]:
        """`sides` of a deconfounded test, in wordings from the first four examples.

        Each of the four wordings comes from a different example, starting with the given one, so that no
        option of an example recurs as a whole.
        """

        def shown(role: str, layer: str, later: int) -> Wording:
            side = CONFOUNDED.target if role[1] == "1" else CONFOUNDED.other
            number = (example + later) % min(EXAMPLES)
            return self.pick(CONFOUNDED, side, layer, "train", number, alternate=number)

        target = shown("v1", "value", 0), shown("s2", "pole", 1)
        return target, (shown("v2", "value", 2), shown("s1", "pole", 3))

    def fill(self, sides: Clauses, clause_order: str) -> str:
        value, pole = sides
        return prompts.option(self.text(value), self.text(pole), value_first=clause_order == "value_first")


def _wording_shift(number: int, values: int, poles: int, layer: str, *, other: bool) -> int:
    """How far a layer's wordings are shifted at an example, so that no example recurs.

    Two orders would meet as before after their least common multiple; from there, poles are shifted by one.
    Once all combinations of a value's wordings with a pole's are used up, the other option is shifted by one,
    so that each option meets a different one than before.
    """
    later = number // math.lcm(values, poles) if layer == "pole" else 0
    return later + (number // (values * poles) if other else 0)


def _balanced(count: int, *key: object) -> list[tuple[str, str]]:
    """(right letter, clause order) for ``count`` positions in a list.

    Each block of four has all four combinations once. Every beginning of the list is therefore balanced to
    within one: the first examples of a cell, the first cells of a design, a value pair's cells.
    """
    four = [(letter, order) for letter in prompts.LETTERS for order in CLAUSE_ORDERS]
    blocks = (stable_random.shuffled(four, *key, block) for block in range(-(-count // 4)))
    return [combination for block in blocks for combination in block][:count]


class _Example(NamedTuple):
    """An example as shown, and what it is made of."""

    situation: prompts.Situation
    activity: str
    scene: Wording
    target: Clauses
    other: Clauses
    clause_order: str


def _examples(maker: _Maker, contrast: Contrast, kind: str, count: int) -> list[_Example]:
    """The first ``count`` examples of a cell; fewer examples are the beginning of more.

    Balanced in blocks of four, so that each nested set is balanced too. Value and pole wordings cycle through
    orders of different length, so that no pair of wordings recurs within 40 examples. After that, options
    recur, but no two of them together.
    """
    examples = []
    layout = _balanced(count, maker.seed, maker.cell.id, kind)
    for number, (right, order) in enumerate(layout):
        activity = maker.activities[number % EXAMPLE_ACTIVITIES]
        scene, context = maker.context(activity, "train", number // EXAMPLE_ACTIVITIES)
        target, other = maker.sides(contrast, "train", number, alternate=number)
        texts = maker.fill(target, order), maker.fill(other, order)
        posed = prompts.situation(context, *texts, right)
        examples.append(_Example(posed, activity, scene, target, other, order))
    return examples


def _shuffled(maker: _Maker, examples: Sequence[_Example]) -> list[_Example]:
    """The examples with half of the choices reversed, equally many of each letter."""
    flipped: set[int] = set()
    for letter in prompts.LETTERS:
        own = [number for number, example in enumerate(examples) if example.situation.right == letter]
        shuffled = stable_random.shuffled(own, maker.seed, maker.cell.id, "turned", letter)
        flipped |= set(shuffled[: len(own) // 2])
    return [
        example._replace(situation=_flipped(example.situation)) if number in flipped else example
        for number, example in enumerate(examples)
    ]


def _flipped(situation: prompts.Situation) -> prompts.Situation:
    """The same options with the other one chosen."""
    return situation._replace(right="B" if situation.right == "A" else "A")


def build_items(bank: Bank, design: Design, item_set: str, *, with_prompts: bool = True) -> pd.DataFrame:
    """Build the items of a set, one row per prompt, ordered by cell, arm, N, test and option order.

    Parameters
    ----------
    item_set
        ``smoke`` (130 prompts), ``n4`` (8,800), ``n20`` or ``n40`` (3,200 each), ``layers`` (1,600), the
        last four together as ``standard`` (16,800), ``ladder`` (1,200: more examples, in 50 cells),
        or ``full`` (12,000). A suffix, as in ``n4-200``, gives the number of cells, balanced over value
        pairs, domains and directed dimensions.
    with_prompts
        False leaves out the prompts, which take up nearly all of the items' memory.

    Returns
    -------
    pandas.DataFrame
        A frame that meets `CONTRACT`; ``prompt`` is missing if it was left out.
    """
    return items_of(bank, design, ITEM_SETS[item_set], with_prompts=with_prompts)


def items_of(bank: Bank, design: Design, item_set: ItemSet, *, with_prompts: bool = True) -> pd.DataFrame:
    """Build the items of any `ItemSet`; see `build_items` for those with a name."""
    contract = CONTRACT if with_prompts else CONTRACT.remove_columns(["prompt"])
    asked, cells, balanced = item_set
    order = balanced_order(design) if balanced else list(range(len(design.cells)))
    indices = sorted(order[:cells])
    # (right letter, clause order) of every cell, for each test of an arm: the same at every N.
    layouts = {
        key: _balanced(len(design.cells), design.seed, "layout", *key)
        for key in {(each.arm.same_test, each.test) for each in asked}
    }
    # In chunks: all prompts of `full`, as rows and as a frame, would take another half gigabyte.
    frames = []
    for first in range(0, len(indices), _CELLS_AT_ONCE):
        some = indices[first : first + _CELLS_AT_ONCE]
        rows = [row for index in some for row in _items_of_cell(bank, design, index, asked, layouts)]
        frames.append(pd.DataFrame(rows, columns=list(contract.columns)))
    return contract.validate(pd.concat(frames, ignore_index=True))


def _items_of_cell(
    bank: Bank,
    design: Design,
    index: int,
    asked: Sequence[Asked],
    layouts: Mapping[tuple[str, int], Sequence[tuple[str, str]]],
) -> Iterator[dict[str, Any]]:
    """The items of one cell, given by its position in the design."""
    cell = design.cells[index]
    maker = _Maker(bank, cell, design.seed)
    most: dict[Contrast, int] = {}
    for each in asked:
        if each.arm.examples:
            most[each.arm.examples] = max(each.n_examples, most.get(each.arm.examples, 0))
    examples = {kind: _examples(maker, kind, str(kind), count) for kind, count in most.items()}
    # Shifted by one with each value pair, so that it is not confounded with the domain.
    alternate = index + index // len(bank.domains)

    # Most items of a cell share their examples, and differ in the order of their options only.
    @cache
    def prefix(kind: Contrast, n: int, shuffled: bool) -> _Prefix:
        shown = _shuffled(maker, examples[kind][:n]) if shuffled else examples[kind][:n]
        text = prompts.examples_text(cell.user, [example.situation for example in shown])
        return _Prefix(text, hashlib.sha256(text.encode()))

    @cache
    def test(arm: str, number: int) -> _Example:
        return _asked_test(maker, ARMS[arm], number, layouts[arm, number][index], alternate)

    for each in asked:
        kind, n = each.arm.examples, each.n_examples
        repeated = each.arm.wordings == "repeat" and kind
        posed = examples[repeated][alternate % n] if repeated else test(each.arm.same_test, each.test)
        yield _item(maker, each, prefix(kind, n, each.arm.shuffled) if kind else _Prefix(), posed)


class _Prefix(NamedTuple):
    """The examples of a prompt, and their SHA-256, which the hash of the whole prompt continues."""

    text: str = ""
    hash: hashlib._Hash = hashlib.sha256()


def _asked_test(maker: _Maker, arm: Arm, number: int, layout: tuple[str, str], alternate: int) -> _Example:
    """The test as asked; its right letter stands where an example has the letter of the choice."""
    right, clause_order = layout
    activity = maker.activities[-1 - number]
    scene, context = maker.context(activity, "test", number)
    seen = arm.wordings == "seen"
    sides = maker.seen(alternate) if seen else maker.sides(arm.test, "test", number, alternate)
    target, other = (maker.fill(side, clause_order) for side in sides)
    return _Example(prompts.situation(context, target, other, right), activity, scene, *sides, clause_order)


def _swapped(situation: prompts.Situation) -> prompts.Situation:
    """The options in the other order; the right letter is adjusted."""
    context, a, b, _ = situation
    return prompts.Situation(context, b, a, _flipped(situation).right)


def _item(maker: _Maker, asked: Asked, prefix: _Prefix, test: _Example) -> dict[str, Any]:
    cell, (arm, n, number, swapped) = maker.cell, asked
    posed = _swapped(test.situation) if swapped else test.situation
    text = prompts.test_text(cell.user, posed, with_examples=n > 0)
    whole = prefix.hash.copy()
    whole.update(text.encode())
    return {
        "id": f"{cell.id}.{arm.name}.n{n:02d}.t{number}{'b' if swapped else 'a'}",
        "cell": cell.id,
        "arm": arm.name,
        "n_examples": n,
        "test": number,
        "value_set": maker.bank.values[cell.v1].group,
        "v1": cell.v1,
        "v2": cell.v2,
        "dimension": cell.dimension,
        "direction": cell.direction,
        "s1": maker.poles[0],
        "s2": maker.poles[1],
        "domain": cell.domain,
        "activity": test.activity,
        "example_activities": " ".join(maker.activities[: min(n, EXAMPLE_ACTIVITIES)]),
        "scene": test.scene.id,
        "target_value_wording": test.target[0].id,
        "target_pole_wording": test.target[1].id,
        "other_value_wording": test.other[0].id,
        "other_pole_wording": test.other[1].id,
        "clause_order": test.clause_order,
        "right": posed.right,
        "swapped": swapped,
        "prefix_chars": len(prefix.text),
        "prompt": prefix.text + text,
        "hash": whole.hexdigest()[:16],
    }


def reworded(items: pd.DataFrame, instruction: str) -> pd.DataFrame:
    """Items whose prompts end with another instruction; only prompt and hash change.

    Raises
    ------
    UserError
        When a prompt does not end with the baseline's instruction.
    """
    other = items.loc[~items["prompt"].str.endswith(prompts.ANSWER_ONLY), "id"]
    if len(other):
        raise UserError(
            f"{len(other)} prompts do not end with the benchmark's own instruction, the first is "
            f"{other.iloc[0]}: variants exist of the project's own item sets only"
        )
    texts = [prompt.removesuffix(prompts.ANSWER_ONLY) + instruction for prompt in items["prompt"]]
    hashes = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
    return items.assign(prompt=texts, hash=hashes)

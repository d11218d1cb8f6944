"""Items: the prompts of a set, with everything the statistics need to know about them."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pyarrow import ArrowInvalid

from deepvalues import draw
from deepvalues.dvb import prompts
from deepvalues.dvb.arms import ARMS, Arm, Contrast, Side
from deepvalues.dvb.bank import Bank, Domain, Wording
from deepvalues.dvb.design import DIRECTIONS, Cell, Design
from deepvalues.errors import UserError
from deepvalues.paths import shown

#: Deconfounded tests per cell and N, and cells, of each set.
ITEM_SETS = {"smoke": (1, 5), "standard": (1, 400), "full": (10, 400)}
#: Sets that are read from the published prompts, by the names that these have in ``data/sources.yml``.
RELEASED_SETS = ("released", "released-1302")
MOST_EXAMPLES = max(max(arm.n_examples) for arm in ARMS.values())
#: Examples draw on the first eight of a cell's shuffled activities, tests on all ten from the end.
EXAMPLE_ACTIVITIES = 8
CLAUSE_ORDERS = ("value_first", "pole_first")
#: Wordings in use where both sides show the same trait: 20 examples of two traits need ten of each.
_EQUAL_WORDINGS = 10
_CELLS_AT_ONCE = 25

CONTRACT = pa.DataFrameSchema(
    {
        "id": pa.Column(str, unique=True),
        # A cell of the design, or one of the release: v1/v2/s1/domain.
        "cell": pa.Column(str, pa.Check.str_matches(r"^(c\d{3}|[^/]+(/[^/]+){3})$")),
        "arm": pa.Column(str, pa.Check.isin(list(ARMS))),
        "n_examples": pa.Column("int64", pa.Check.isin([0, 4, 20, 40])),
        "test": pa.Column("int64", pa.Check.ge(0)),
        "value_set": pa.Column(str, pa.Check.isin(["ross_duty", "schwartz_social"])),
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


@dataclass(frozen=True)
class _Maker:
    """What all items of a cell share."""

    bank: Bank
    cell: Cell
    seed: int
    orders: dict[tuple[str, str], list[Wording]] = field(default_factory=dict)

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
        return draw.shuffled(list(self.domain.activities), self.seed, self.cell.id, "activities")

    def trait(self, role: str, alternate: int) -> str:
        """The id of the value or pole in a role; ``alternate`` settles which one ``=`` means."""
        pair = (self.cell.v1, self.cell.v2) if role[0] == "v" else self.poles
        return pair[{"1": 0, "2": 1, "=": alternate % 2}[role[1]]]

    def wordings(self, trait: str, split: str) -> list[Wording]:
        """A trait's wordings in this cell's own order."""
        if (trait, split) not in self.orders:
            owner = self.bank.values.get(trait) or self.bank.poles[trait]
            order = draw.shuffled(owner.wordings[split], self.seed, self.cell.id, trait, split)
            self.orders[trait, split] = order
        return self.orders[trait, split]

    def context(self, activity: str, split: str, number: int) -> tuple[Wording, str]:
        domain = self.domain
        scenes = domain.activities[activity].scenes[split]
        scene = scenes[number % len(scenes)]
        text = f"{domain.name}, {domain.activities[activity].name}. {scene.fill(domain.nouns)}"
        return scene, text

    def pick(
        self, contrast: Contrast, side: Side, layer: str, split: str, number: int, alternate: int
    ) -> Wording:
        """The wording that one side of a contrast shows on a layer (``value`` or ``pole``).

        Where both sides show the same trait, the other side takes the wording half an order away, and
        the order advances with every second example (``=`` alternates between two traits). At N = 20
        ten wordings of either trait then stand once on each side, and tell nothing about the choice.
        """
        same = getattr(contrast.target, layer) == getattr(contrast.other, layer)
        order = self.wordings(self.trait(getattr(side, layer), alternate), split)
        if same:
            order = order[:_EQUAL_WORDINGS]
            number = number // 2 + (len(order) // 2 if side == contrast.other else 0)
        return order[number % len(order)]

    def sides(
        self, contrast: Contrast, split: str, number: int, alternate: int
    ) -> tuple[tuple[Wording, Wording], tuple[Wording, Wording]]:
        """(value wording, pole wording) of the target and of the other option."""

        def both(side: Side) -> tuple[Wording, Wording]:
            value = self.pick(contrast, side, "value", split, number, alternate)
            return value, self.pick(contrast, side, "pole", split, number, alternate)

        return both(contrast.target), both(contrast.other)

    def fill(self, sides: tuple[Wording, Wording], clause_order: str) -> str:
        value, pole = (wording.fill(self.domain.nouns) for wording in sides)
        return prompts.option(value, pole, value_first=clause_order == "value_first")


def _balanced(count: int, *key: object) -> list[tuple[str, str]]:
    """(right letter, clause order) for ``count`` places.

    All four combinations occur once in each block of four places, so that every beginning of the list
    is balanced to one: the first examples of a cell, the first cells of a design, a value pair's cells.
    """
    four = [(letter, order) for letter in prompts.LETTERS for order in CLAUSE_ORDERS]
    blocks = (draw.shuffled(four, *key, block) for block in range(-(-count // 4)))
    return [combination for block in blocks for combination in block][:count]


def _examples(maker: _Maker, contrast: Contrast, kind: str) -> list[prompts.Situation]:
    """The 40 examples of a cell; smaller sets are their beginning.

    Balanced in blocks of four, so that each nested set is balanced as well. Value and pole wordings
    step through orders of different length, so that no pair of wordings comes back within 40.
    """
    examples = []
    layout = _balanced(MOST_EXAMPLES, maker.seed, maker.cell.id, kind)
    for number, (right, order) in enumerate(layout):
        activity = maker.activities[number % EXAMPLE_ACTIVITIES]
        _, context = maker.context(activity, "train", number // EXAMPLE_ACTIVITIES)
        target, other = maker.sides(contrast, "train", number, alternate=number)
        texts = maker.fill(target, order), maker.fill(other, order)
        examples.append(prompts.situation(context, *texts, right))
    return examples


def _tests(item_set: str) -> Iterator[tuple[Arm, int, int]]:
    """(arm, N, test number) of every prompt that a cell has in a set."""
    per_cell, _ = ITEM_SETS[item_set]
    for arm in ARMS.values():
        for n in arm.n_examples:
            for test in range(per_cell if arm.name == "deconfounded" else 1):
                yield arm, n, test


def _layout(design: Design, arm: str, test: int) -> list[tuple[str, str]]:
    """(right letter, clause order) of every cell, for one test of one arm: the same at every N.

    The prior asks the deconfounded test without examples, so it shares its layout.
    """
    same_test = "deconfounded" if arm == "prior" else arm
    return _balanced(len(design.cells), design.seed, "layout", same_test, test)


def build_items(bank: Bank, design: Design, item_set: str, *, prompts_too: bool = True) -> pd.DataFrame:
    """Build the items of a set, one row a prompt, ordered by cell, arm, N and test.

    Parameters
    ----------
    item_set
        ``smoke`` (45 prompts), ``standard`` (3,600) or ``full`` (14,400).
    prompts_too
        Prompts are nearly all of the memory that items take; what needs the design only goes without.

    Returns
    -------
    pandas.DataFrame
        A frame that meets `CONTRACT`, or all of it but ``prompt``.

    Raises
    ------
    UserError
        When the set is unknown.
    """
    if item_set not in ITEM_SETS:
        known = ", ".join((*ITEM_SETS, "subset", *RELEASED_SETS))
        raise UserError(f"unknown item set {item_set!r}; there are {known}")
    contract = CONTRACT if prompts_too else CONTRACT.remove_columns(["prompt"])
    cells = len(design.cells[: ITEM_SETS[item_set][1]])
    keys = list(_tests(item_set))
    layouts = {(arm.name, t): _layout(design, arm.name, t) for arm, _, t in keys}
    # Frame by frame: all prompts of `full` at once, as rows and as a frame, would take half a gigabyte more.
    frames = []
    for first in range(0, cells, _CELLS_AT_ONCE):
        places = range(first, min(first + _CELLS_AT_ONCE, cells))
        rows = [row for place in places for row in _of_cell(bank, design, place, keys, layouts)]
        frames.append(pd.DataFrame(rows, columns=list(contract.columns)))
    frame = pd.concat(frames, ignore_index=True)
    validated: pd.DataFrame = contract.validate(frame)
    return validated


def _of_cell(
    bank: Bank,
    design: Design,
    place: int,
    keys: Sequence[tuple[Arm, int, int]],
    layouts: Mapping[tuple[str, int], Sequence[tuple[str, str]]],
) -> Iterator[dict[str, Any]]:
    """The items of the cell at a place of the design."""
    cell = design.cells[place]
    maker = _Maker(bank, cell, design.seed)
    kinds = {arm.examples for arm, _, _ in keys if arm.examples}
    examples = {kind: _examples(maker, kind, str(kind)) for kind in kinds}
    # Shifted by one from value pair to value pair, or it would go with the domain.
    alternate = place + place // len(bank.domains)
    for arm, n, test in keys:
        shown = examples[arm.examples][:n] if arm.examples else []
        yield _item(maker, arm, n, test, shown, layouts[arm.name, test][place], alternate)


def _item(
    maker: _Maker,
    arm: Arm,
    n: int,
    test: int,
    shown: list[prompts.Situation],
    layout: tuple[str, str],
    alternate: int,
) -> dict[str, Any]:
    cell, (right, clause_order) = maker.cell, layout
    activity = maker.activities[-1 - test]
    scene, context = maker.context(activity, "test", test)
    target, other = maker.sides(arm.test, "test", test, alternate)
    texts = maker.fill(target, clause_order), maker.fill(other, clause_order)
    posed = prompts.situation(context, *texts, right)
    prefix = prompts.examples_text(cell.user, shown) if shown else ""
    prompt = prefix + prompts.test_text(cell.user, posed, with_examples=bool(shown))
    return {
        "id": f"{cell.id}.{arm.name}.n{n:02d}.t{test}",
        "cell": cell.id,
        "arm": arm.name,
        "n_examples": n,
        "test": test,
        "value_set": maker.bank.values[cell.v1].group,
        "v1": cell.v1,
        "v2": cell.v2,
        "dimension": cell.dimension,
        "direction": cell.direction,
        "s1": maker.poles[0],
        "s2": maker.poles[1],
        "domain": cell.domain,
        "activity": activity,
        "example_activities": " ".join(maker.activities[: min(n, EXAMPLE_ACTIVITIES)]),
        "scene": scene.id,
        "target_value_wording": target[0].id,
        "target_pole_wording": target[1].id,
        "other_value_wording": other[0].id,
        "other_pole_wording": other[1].id,
        "clause_order": clause_order,
        "right": right,
        "prefix_chars": len(prefix),
        "prompt": prompt,
        "hash": hashlib.sha256(prompt.encode()).hexdigest()[:16],
    }


def read_items(path: Path, contract: pa.DataFrameSchema = CONTRACT) -> pd.DataFrame:
    """Read items from Parquet and hold them to a contract, that of the benchmark's own items by default.

    Raises
    ------
    UserError
        When the file is missing, is no Parquet, or breaks the contract.
    """
    try:
        # From an open file: a read that pyarrow does by itself leaves no trace for the manifest.
        with path.open("rb") as file:
            validated: pd.DataFrame = contract.validate(pd.read_parquet(file))
    except FileNotFoundError:
        raise UserError(f"{shown(path)}: no items yet; run the notebook 01_load_data first") from None
    # pandera has one exception for columns' contents and another for the columns themselves.
    except (pa.errors.SchemaError, pa.errors.SchemaErrors, ArrowInvalid) as error:
        first = getattr(error, "schema_errors", [error])[0]
        reason = textwrap.shorten(str(first), 200, placeholder=" …")
        raise UserError(
            f"{shown(path)}: not the items this version writes ({reason}); run 01_load_data"
        ) from None
    return validated

"""The design: its cells, each a value pair with a dimension in a domain; and its arms.

400 cells = the 50 ordered value pairs within the two sets, in all 8 domains. The 40 directed dimensions
(20 dimensions, with either pole preferred) are spread over the cells: each in 10 cells, 6 with a Ross duty
and 4 with a Schwartz value, at most once with any preferred value, and once or twice in any domain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

from deepvalues.core import stable_random
from deepvalues.core.errors import UserError
from deepvalues.core.files import read_yaml
from deepvalues.core.paths import shown
from deepvalues.studies.dvb.stimuli.bank import VALUE_SETS, Bank

DIRECTIONS = ("forward", "reversed")
_SWAPS = 60_000


@dataclass(frozen=True)
class Cell:
    """A value pair, a directed dimension and a domain; ``forward`` means the first pole is preferred."""

    id: str
    user: str
    v1: str
    v2: str
    domain: str
    dimension: str
    direction: str


@dataclass(frozen=True)
class Design:
    """A seeded set of cells, made for one version of the bank."""

    seed: int
    bank: str
    cells: tuple[Cell, ...]


def _frames(bank: Bank) -> list[tuple[str, str, str]]:
    """(v1, v2, domain) of all 400 cells, ordered by preferred value."""
    frames = []
    for value_set in VALUE_SETS:
        members = [value.id for value in bank.values.values() if value.group == value_set]
        for v1, v2 in permutations(members, 2):
            frames += [(v1, v2, domain) for domain in bank.domains]
    return frames


def _initial_assignment(frames: list[tuple[str, str, str]], directed: int, seed: int) -> list[int]:
    """Assign directed dimensions so that none occurs twice with the same preferred value.

    A Ross duty has 40 cells and takes every directed dimension once. A Schwartz value has 32 and leaves out
    a block of 8, which is different for each of the five.
    """
    assigned: list[int] = []
    by_value = Counter(v1 for v1, _, _ in frames)
    left_out = 0
    for v1, count in by_value.items():
        numbers = list(range(directed))
        if count < directed:
            gap = directed - count
            numbers = numbers[:left_out] + numbers[left_out + gap :]
            left_out += gap
        assigned += stable_random.shuffled(numbers, seed, "dimension", v1)
    return assigned


def _balanced(frames: list[tuple[str, str, str]], assigned: list[int], seed: int) -> list[int]:
    """Balance domains and rejected values by swaps within a preferred value.

    A swap is kept unless it increases the sum of squared counts. Swaps within a preferred value do not change
    the balance over values.
    """
    assigned = list(assigned)
    in_domain = Counter((k, domain) for k, (_, _, domain) in zip(assigned, frames, strict=True))
    rejected = Counter((k, v2) for k, (_, v2, _) in zip(assigned, frames, strict=True))
    block: dict[str, list[int]] = {}
    for index, (v1, _, _) in enumerate(frames):
        block.setdefault(v1, []).append(index)

    def move(index: int, k: int, step: int) -> int:
        """Add or remove one cell; return the change in the sum of squares."""
        change = 0
        # Domains have more weight, because they are a factor of the analysis and rejected values are not.
        for weight, counts, key in (
            (8, in_domain, (k, frames[index][2])),
            (1, rejected, (k, frames[index][1])),
        ):
            change += weight * ((counts[key] + step) ** 2 - counts[key] ** 2)
            counts[key] += step
        return change

    def swap(a: int, b: int) -> int:
        ka, kb = assigned[a], assigned[b]
        change = move(a, ka, -1) + move(b, kb, -1) + move(a, kb, 1) + move(b, ka, 1)
        assigned[a], assigned[b] = kb, ka
        return change

    for step in range(_SWAPS):
        a = stable_random.integer(seed, "a", step) % len(frames)
        mates = block[frames[a][0]]
        b = mates[stable_random.integer(seed, "b", step) % len(mates)]
        if a != b and swap(a, b) > 0:
            swap(a, b)
    return assigned


def build_design(bank: Bank, seed: int) -> Design:
    """Build the 400 cells from a bank and a seed; the same seed gives the same cells."""
    directed = [(dim, direction) for dim in bank.dimensions for direction in DIRECTIONS]
    frames = _frames(bank)
    assigned = _balanced(frames, _initial_assignment(frames, len(directed), seed), seed)
    users = stable_random.shuffled(range(1000, 10_000), seed, "user")
    cells = tuple(
        Cell(f"c{index:03d}", f"user{users[index]}", v1, v2, domain, *directed[assigned[index]])
        for index, (v1, v2, domain) in enumerate(frames)
    )
    return Design(seed, bank.version, cells)


def balanced_order(design: Design) -> list[int]:
    """The indices of all cells, ordered so that every beginning of the list is balanced.

    Each next cell has a value pair that was used least so far, so that every 50 cells have each pair once.
    Among these cells, it is the one whose directed dimension and domain were used least, both as a share of
    their cells; ties are broken by the seed of the design.
    """
    # Shuffled once, so that ties do not follow the order of the design.
    left = stable_random.shuffled(range(len(design.cells)), design.seed, "balanced order")
    taken: Counter[object] = Counter()

    def usage(index: int) -> tuple[int, int]:
        cell = design.cells[index]
        # There are forty directed dimensions but eight domains, so one cell is a larger share of the former.
        others = 5 * taken[cell.dimension, cell.direction] + taken[cell.domain]
        return taken[cell.v1, cell.v2], others

    order = []
    while left:
        best = min(left, key=usage)
        left.remove(best)
        order.append(best)
        cell = design.cells[best]
        taken.update([(cell.v1, cell.v2), (cell.dimension, cell.direction), cell.domain])
    return order


def write_design(design: Design, path: Path) -> None:
    """Write a design as YAML, one cell per line."""

    def line(cell: Cell) -> str:
        return "- {" + ", ".join(f"{key}: {text}" for key, text in asdict(cell).items()) + "}"

    head = [
        "# Built by `deepvalues design`; do not edit by hand.",
        f"seed: {design.seed}",
        f"bank: {design.bank}",
        "cells:",
    ]
    path.write_text("\n".join([*head, *map(line, design.cells)]) + "\n", encoding="utf-8")


def load_design(path: Path, bank: Bank) -> Design:
    """Read a design and check that it was made for this bank.

    Raises
    ------
    UserError
        When the file is malformed, was made for another version, or names a value, domain or
        dimension that the bank does not have.
    """
    entry = read_yaml(path)
    try:
        design = Design(
            int(entry["seed"]), str(entry["bank"]), tuple(Cell(**cell) for cell in entry["cells"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{shown(path)}: not a design ({error!r}); run `deepvalues design`") from None
    if design.bank != bank.version:
        raise UserError(f"{shown(path)}: made for bank {design.bank}, but the bank read is {bank.version}")
    for cell in design.cells:
        _known(path, cell.id, "value", (cell.v1, cell.v2), bank.values)
        _known(path, cell.id, "domain", (cell.domain,), bank.domains)
        _known(path, cell.id, "dimension", (cell.dimension,), bank.dimensions)
        _known(path, cell.id, "direction", (cell.direction,), DIRECTIONS)
    if len(design.cells) != len(_frames(bank)):
        raise UserError(f"{shown(path)}: {len(design.cells)} cells, and this bank makes {len(_frames(bank))}")
    return design


def _known(path: Path, cell: str, kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    unknown = set(names) - set(known)
    if unknown:
        raise UserError(f"{shown(path)}: cell {cell}: unknown {kind} {', '.join(sorted(unknown))}")


# ---- arms: what the examples show, what the test asks, and what is right ----
#
# Roles stand for the traits of a cell: ``v1`` and ``s1`` are the preferred value and pole, ``v2`` and ``s2``
# the others. ``v=`` and ``s=`` mean the same value or pole on both sides, in two wordings, alternately one
# or the other of the two.


class Side(NamedTuple):
    """The roles of the value and the pole that one option shows."""

    value: str
    pole: str


class Contrast(NamedTuple):
    """Two options: chosen and rejected in examples, right and wrong in tests."""

    target: Side
    other: Side


@dataclass(frozen=True)
class Arm:
    """A row of the table of arms.

    ``always_value`` and ``always_surface`` are the rates of right answers that the reference agents with
    these names must reach exactly on the balanced design. ``shuffled`` arms reverse half of the choices in
    the examples, so that these favour neither layer. ``wordings`` says where those of the test come
    from: the ``test`` split, the examples (``seen``), or one example unchanged (``repeat``).
    """

    name: str
    examples: Contrast | None
    n_examples: tuple[int, ...]
    test: Contrast
    right_means: str
    always_value: float
    always_surface: float
    shuffled: bool = False
    wordings: str = "test"

    @property
    def same_test(self) -> str:
        """The arm that this arm takes its tests from: itself, except for prior and shuffled."""
        if self.name in ("prior", "shuffled"):
            return "deconfounded"
        return self.name.removeprefix("shuffled_")


CONFOUNDED = Contrast(Side("v1", "s1"), Side("v2", "s2"))
DECONFOUNDED = Contrast(Side("v1", "s2"), Side("v2", "s1"))
VALUE = Contrast(Side("v1", "s="), Side("v2", "s="))
SURFACE = Contrast(Side("v=", "s1"), Side("v=", "s2"))

#: Numbers of examples in deconfounded tests, control and probes.
EXAMPLES = (4, 20, 40)
#: Further numbers of examples, at which only learners are asked the same four arms, not language models.
LADDER = (80, 160, 320)
#: An agent without evidence takes the first option, so its mean over both orders is one half.
ARMS = {
    arm.name: arm
    for arm in (
        Arm("deconfounded", CONFOUNDED, EXAMPLES, DECONFOUNDED, "the value was followed", 1, 0),
        Arm("control", CONFOUNDED, EXAMPLES, CONFOUNDED, "anything was learned", 1, 1),
        Arm("probe_value", CONFOUNDED, EXAMPLES, VALUE, "the value was learned", 1, 0.5),
        Arm("probe_surface", CONFOUNDED, EXAMPLES, SURFACE, "the surface was learned", 0.5, 1),
        Arm("prior", None, (0,), DECONFOUNDED, "v1 and s2 are liked without evidence", 0.5, 0.5),
        Arm("shuffled", CONFOUNDED, (4,), DECONFOUNDED, "v1 and s2 are liked", 0.5, 0.5, shuffled=True),
        Arm("shuffled_control", CONFOUNDED, (4,), CONFOUNDED, "v1 and s1 are liked", 0.5, 0.5, shuffled=True),
        Arm("shuffled_probe_value", CONFOUNDED, (4,), VALUE, "v1 is liked", 0.5, 0.5, shuffled=True),
        Arm("shuffled_probe_surface", CONFOUNDED, (4,), SURFACE, "s1 is liked", 0.5, 0.5, shuffled=True),
        Arm("repeat", CONFOUNDED, (4,), CONFOUNDED, "an example is found again", 1, 1, wordings="repeat"),
        Arm("seen", CONFOUNDED, (4,), DECONFOUNDED, "the value was followed", 1, 0, wordings="seen"),
        Arm("value_only", VALUE, (20,), VALUE, "the value can be learned at all", 1, 0.5),
        Arm("surface_only", SURFACE, (20,), SURFACE, "the surface can be learned at all", 0.5, 1),
    )
}

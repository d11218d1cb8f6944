"""The arms of the design: what the examples show, what the test asks, and what is right.

Roles stand for the traits of a cell: ``v1`` and ``s1`` are the preferred value and pole, ``v2`` and
``s2`` the others. ``v=`` and ``s=`` mean the same value or pole on both sides, in two wordings; which
of the two it is alternates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Side(NamedTuple):
    """The value role and the pole role that one option shows."""

    value: str
    pole: str


class Contrast(NamedTuple):
    """Two options: in examples the chosen and the rejected one, in tests the right one and the other."""

    target: Side
    other: Side


@dataclass(frozen=True)
class Arm:
    """A row of the table of arms.

    ``always_value`` and ``always_surface`` are the rates of right answers that the reference agents of
    these names must reach, exactly, on the balanced design. ``shuffled`` arms turn half of the choices in
    the examples round, so that these speak for neither layer. ``wordings`` says where those of the test come
    from: the ``test`` split, the examples' own (``seen``), or one example as it stands (``repeat``).
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
        """The arm whose test items this arm asks: its own name, but for prior and shuffled."""
        if self.name in ("prior", "shuffled"):
            return "deconfounded"
        return self.name.removeprefix("shuffled_")


CONFOUNDED = Contrast(Side("v1", "s1"), Side("v2", "s2"))
DECONFOUNDED = Contrast(Side("v1", "s2"), Side("v2", "s1"))
VALUE = Contrast(Side("v1", "s="), Side("v2", "s="))
SURFACE = Contrast(Side("v=", "s1"), Side("v=", "s2"))

#: Numbers of examples at which deconfounded tests, control and probes are asked.
EXAMPLES = (4, 20, 40)
#: Numbers of examples beyond, at which the same four arms are asked of learners that are no language models.
LADDER = (80, 160, 320)
#: Where an agent without evidence takes the first option, the mean over both orders is one half.
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

"""Check sums of all that is made from the bank, kept in ``fixtures/bank_sums.json``.

Recorded answers are keyed by these texts, so a change of any is a change of the paper. After a wanted one
``python tests/support/bank_sums.py`` writes all sums anew.
"""

import hashlib
import json
from pathlib import Path

from deepvalues.ask import catalogue
from deepvalues.core import paths
from deepvalues.studies.dvb.stimuli.bank import checksum

KEPT = Path(__file__).parent / "fixtures" / "bank_sums.json"
#: Sets of studies whose prompts are kept by the hashes of their items.
ITEM_SETS = (
    ("dvb", "standard"),
    ("dvb", "subset"),
    ("dvb-explicit", "subset"),
    ("dvb-cot", "subset"),
    ("dvb-ratings", "standard"),
    ("dvb-validation", "standard"),
)


def kept():
    """The sums that were written last, by name."""
    return json.loads(KEPT.read_text(encoding="utf-8"))


def of_items(items):
    """The sum of the items' prompts in their order."""
    return hashlib.sha256("\0".join(items["prompt"]).encode()).hexdigest()


def main():
    """Write all sums as they are now."""
    sums = {"bank": checksum(paths.BANK)}
    for study, item_set in ITEM_SETS:
        sums[f"{study} {item_set}"] = of_items(catalogue.study(study).items(item_set))
    KEPT.write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

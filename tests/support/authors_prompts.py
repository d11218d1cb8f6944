"""Files in the shape of the authors' public prompts, in the project's own words: three with seven tests.

The files themselves are not ours to ship. One test of the second file has a choice that reads otherwise.
"""

import hashlib

import yaml

import released_prompts as made
from deepvalues.studies.dvb.items.public_prompts import FILES

NAMES = dict(zip(FILES, ("full.md", "sample.md", "tests.md"), strict=True))
DEBUGFULL, DEBUGSAMPLE, DEBUG = FILES
HEAD = """## Test {number}
**Context-correlation pair:** {v1}_{s1}_vs_{v2}_{s2} - {domain}

**Context:** {domain}: {activity}

**Shallow preferences:** ```{poles}```

**Deep values:** ```{values}```

**Number of training examples:** {n}

**Expected choice (if generalizing deep value):** Option {right}

**Alternative choice (if generalizing shallow preference):** Option {other}

### PROMPT

{end}
{prompt}{end}


---

"""
CHOICE = "\nCHOICE: Option {letter}"


def block(number, cell=made.CELLS[0], n=4, right="A", prompt=None, **changes):
    """A test as a file has it."""
    v1, v2, s1, s2, domain = cell
    entry = made.row(cell, n, number)
    said = {
        "number": number,
        "end": "  ",
        "v1": v1,
        "v2": v2,
        "s1": s1,
        "s2": s2,
        "domain": domain,
        "activity": "organizing, planning, and prioritizing work",
        "poles": entry["shallow_preferences"],
        "values": entry["deep_values"],
        "n": n,
        "right": right,
        "other": "BA"["AB".index(right)],
        "prompt": made.prompt(cell, n, number, right, CHOICE) if prompt is None else prompt,
    }
    return HEAD.format(**{**said, **changes})


def early(number):
    """A test of a value that the published benchmark no longer has."""
    values = made.row(made.CELLS[1], 5, 1)["deep_values"] | {"preferred": "gratitude"}
    return block(number, made.CELLS[1], 5, "B", values=values)


def texts():
    """The three files by name; test 2 of the second one can't be parsed."""
    unclear = made.prompt(made.CELLS[0], 4, 2, "A", "either Option A or Option B")
    tests = {
        DEBUGFULL: [block(1), block(2, n=20, right="B")],
        DEBUGSAMPLE: [block(1, made.CELLS[1], 40), block(2, prompt=unclear), block(3, made.CELLS[1])],
        DEBUG: [block(1, n=30, right="B"), early(2)],
    }
    return {name: "# Sample\n\n" + "".join(found) for name, found in tests.items()}


def sources(files, url="http://127.0.0.1:9/{file}"):
    """A list of sources that has the files with their check sums."""
    rest = {"what": "w", "cite": "c", "licence": "l"}
    return yaml.safe_dump(
        {
            name: {
                "file": NAMES[name],
                "url": url.format(file=NAMES[name]),
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
                **rest,
            }
            for name, text in files.items()
        },
        sort_keys=False,
    )

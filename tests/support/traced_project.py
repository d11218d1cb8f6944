"""A small project with a record, items, one notebook that was really run, and an article that cites it."""

import json
import shutil

import nbformat
import pandas as pd
from nbformat.v4 import new_code_cell, new_notebook, new_raw_cell

from deepvalues.core import paths
from deepvalues.paper import manifest
from deepvalues.paper.execute import run_notebook
from deepvalues.paper.numbers import write_variables

CELLS = (
    "from pathlib import Path\n\nimport pandas as pd\n\n"
    "from deepvalues.paper.results import Results, Table\n\n"
    'root = Path.cwd().parent\nresults = Results("demo", root)',
    'record = (root / "data/responses/demo/agent.jsonl").read_text().splitlines()\n'
    'design = (root / "data/stimuli/design.yml").read_text()\n'
    'with (root / "data/derived/demo.parquet").open("rb") as file:\n    items = pd.read_parquet(file)\n'
    'rates = pd.DataFrame({"model": ["agent"], "rate": [len(record) / len(items)]})',
    '#| label: tbl-rates\n#| tbl-cap: "Rates. [Source](notebooks/03_demo-preview.html#tbl-rates), '
    '[data](data/results/demo/rates.csv)."\n'
    'results.table(rates, "rates")\nTable("| model | rate |\\n|---|---:|\\n| agent | .50 |")',
    'results.number("pooled.rate", rates["rate"].iloc[0], ".500")\n'
    'for end in ("lowest", "highest"):\n    results.number(f"focus.{end}", 0.5, ".50")\n'
    'results.text("title", "A traced paper")\nresults.text("interval", "[.40, .60]")\n'
    'results.claim("half", True)',
    "results.close()",
)
ARTICLE = """---
title: "{{< var demo.title >}}"
author: A person
abstract: |
  In all {{< var demo.pooled.rate >}}.
bibliography: references.bib
date: 2026-01-15
---

# Results {#sec-results .results}

The rate was {{< var demo.pooled.rate >}} {{< var demo.interval >}}; it ran from {{< var demo.focus.lowest >}}
to {{< var demo.focus.highest >}}, [no more, no less]{.claim key="demo.claims.half"} (@tbl-rates).

{{< embed notebooks/03_demo.ipynb#tbl-rates >}}
"""
QUARTO = """project:
  type: manuscript
  output-dir: _site
manuscript:
  article: index.qmd
  notebooks:
    - notebooks/03_demo.ipynb
"""


HEADER = """---
title: Demo
reads: [data/derived/demo.parquet, data/responses/demo/*.jsonl, data/stimuli/design.yml]
makes: [data/results/demo/*]
---"""
#: The package as far as the notebook's imports lead, and a module that they don't lead to.
PACKAGE = {
    "__init__.py": "",
    "paper/__init__.py": "",
    "paper/results.py": "def close():\n    from deepvalues.core import files\n",
    "core/files.py": "import deepvalues.nowhere\n",
    "paper/execute.py": "",
    "study.py": "SEED = 5\n",
}


def notebook():
    """The source: header, parameters, and the cells above."""
    parameters = new_code_cell('draws_seed = 7  # of the bootstrap\nmodels = ["agent"]')
    parameters.metadata["tags"] = ["parameters"]
    cells = [new_raw_cell(HEADER), parameters, *map(new_code_cell, CELLS)]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def make_project(root):
    """Write the sources and our Makefile, run the notebook, and write variables and manifest."""
    for folder in ("data/responses/demo", "data/stimuli", "data/derived", "notebooks", "paper"):
        (root / folder).mkdir(parents=True)
    for path, code in PACKAGE.items():
        file = root / "src/deepvalues" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    (root / "data/stimuli/design.yml").write_text("seed: 11\ncells: []\n")
    lines = [json.dumps({"item": f"i{number}"}) + "\n" for number in range(2)]
    (root / "data/responses/demo/agent.jsonl").write_text("".join(lines))
    pd.DataFrame({"id": [f"i{i}" for i in range(4)], "n": range(4)}).to_parquet(
        root / "data/derived/demo.parquet"
    )
    (root / "requirements.lock").write_text("numpy==2.3.4 \\\n    --hash=sha256:aa\npandas==3.0.0\n")
    shutil.copy(paths.ROOT / "Makefile", root)
    (root / "paper/index.qmd").write_text(ARTICLE)
    (root / "paper/references.bib").write_text("")
    (root / "paper/_quarto.yml").write_text(QUARTO)
    nbformat.write(notebook(), root / "notebooks/03_demo.ipynb")
    run_notebook(root, "03_demo", {})
    write_variables([root / "data/results/demo/numbers.json"], root / "paper/_variables.yml")
    manifest.write(root)
    return root

"""Turn executed notebooks into a manuscript: numbers, checks, rendering."""

import sys

# nbformat imports jsonschema, which imports this IRI checker if it is installed, and the checker spends
# seconds compiling grammars. Notebook schemas contain no IRIs.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

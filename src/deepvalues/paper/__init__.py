"""From executed notebooks to a manuscript: numbers, checks, and the plain rendering."""

import sys

# nbformat imports jsonschema, which imports this checker of IRIs if it can, and that compiles grammars for
# seconds. No schema of notebooks has an IRI.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

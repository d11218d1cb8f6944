"""From executed notebooks to a manuscript: numbers, checks, and the plain rendering."""

import sys

# nbformat imports jsonschema, which takes this checker of IRIs with it if it can, and with it seconds of compiling
# grammars. No schema of notebooks has an IRI.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

"""``python -m deepvalues`` is the same as ``deepvalues``."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 -- by `python -m` an older one can come this far
    sys.exit("deepvalues: Python 3.11 or newer is needed; this is " + sys.version.split()[0])

from deepvalues.cli import main

sys.exit(main())

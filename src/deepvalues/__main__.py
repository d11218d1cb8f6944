"""``python -m deepvalues`` is the same as ``deepvalues``."""

import sys

from deepvalues.cli import main

sys.exit(main())

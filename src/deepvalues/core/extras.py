"""Optional parts of the installation, as ``pyproject.toml`` names them."""

from __future__ import annotations

import sys
from pathlib import Path

from deepvalues.core.paths import ROOT


def install(extra: str) -> str:
    """The command that installs an extra, typed in the project's folder."""
    own = Path(sys.executable)
    python = own.relative_to(ROOT) if own.is_relative_to(ROOT) else "python"
    return f'{python} -m pip install -e ".[{extra}]"'

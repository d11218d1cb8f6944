"""The one exception that means "the user can mend this"."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in input or set-up; its text says what is wrong, where, and what to do.

    The command line prints the text without a traceback and exits with status 2; a notebook shows it alone.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [str(self)]

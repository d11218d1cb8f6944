"""The exception for errors that the user can fix."""

from __future__ import annotations


class UserError(Exception):
    """An error in input or setup; its message says what is wrong, where, and what to do.

    The command line and notebooks show the message without a traceback; the exit status is 2.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback."""
        return [str(self)]

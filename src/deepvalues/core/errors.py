"""The one exception that means "the user can mend this"."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in input or set-up; its text says what is wrong, where, and what to do.

    The command line prints the text without a traceback and exits with status 2.
    """

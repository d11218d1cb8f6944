"""Study 1, the Deep Value Benchmark: bank, design, items, reading of replies, statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepvalues.dvb.counts import dvgr_summary
    from deepvalues.statistics.factors import factor_test

__all__ = ["dvgr_summary", "factor_test"]


def __getattr__(name: str) -> Any:
    # Loaded when asked for: building items should not wait for the statistics libraries.
    if name == "dvgr_summary":
        from deepvalues.dvb.counts import dvgr_summary

        return dvgr_summary
    if name == "factor_test":
        from deepvalues.statistics.factors import factor_test

        return factor_test
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Statistics that the studies share: pure functions, each with its formula and source."""

"""Numbers and sentences of the manuscript on study 1."""

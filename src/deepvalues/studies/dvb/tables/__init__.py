"""Tables of study 1."""

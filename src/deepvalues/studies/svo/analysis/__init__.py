"""Statistics of study 2, from items and answers to angles and value rationality."""

"""Statistics of study 1: pure functions from items and answers to estimates."""

"""Report cards: the results of the three studies for one model, or for two side by side, on one page."""

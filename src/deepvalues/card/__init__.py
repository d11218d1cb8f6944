"""Report cards: what the three studies say of one model, or of two side by side, on one page."""

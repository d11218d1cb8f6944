"""Figures: pure functions from data frames, in one theme."""

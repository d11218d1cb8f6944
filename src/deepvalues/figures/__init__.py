"""Figures and tables: pure functions from data frames, in one theme."""

"""Stimuli: the bank of wordings, the arms, the design, and how the wordings were chosen."""

"""Surveys for people: a form that works from disk, its codebook, and what completed forms say."""

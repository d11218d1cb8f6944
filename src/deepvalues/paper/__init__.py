"""From executed notebooks to a manuscript: numbers, checks, and the plain rendering."""

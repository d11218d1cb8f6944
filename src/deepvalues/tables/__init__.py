"""Tables of notebooks and paper: pure functions from data frames to Markdown."""

"""Reference agents of study 3, whose profiles are known before the run."""

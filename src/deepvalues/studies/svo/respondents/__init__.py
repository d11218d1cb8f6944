"""Reference agents of study 2, whose angles are known before the run."""

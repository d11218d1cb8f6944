"""Open models on this machine: fetching, checking and serving their weights."""

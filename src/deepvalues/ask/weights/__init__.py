"""Open models on this machine: their weights fetched and checked, and served while they are asked."""

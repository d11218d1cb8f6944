"""Study 1, the Deep Value Benchmark: bank, design, items, reading of replies, statistics."""

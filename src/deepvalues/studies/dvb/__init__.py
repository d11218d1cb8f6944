"""Study 1, the Deep Value Benchmark."""

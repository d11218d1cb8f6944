"""Items and their prompts: our own, the public ones, and the released ones."""

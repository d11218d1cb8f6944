"""Items and their prompts: the project's own, the published kind, and the released ones."""

"""Local models that answer: reference agents, learners of text, heads on hidden states."""

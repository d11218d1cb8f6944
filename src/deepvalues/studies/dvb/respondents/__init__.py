"""Local models that answer: reference agents, text learners, heads on hidden states."""

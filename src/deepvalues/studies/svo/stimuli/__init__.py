"""What is shown: the slider measure's payoffs and the words of a conversation."""

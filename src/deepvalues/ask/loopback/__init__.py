"""Local models and the loopback server that serves them by the OpenAI protocol."""

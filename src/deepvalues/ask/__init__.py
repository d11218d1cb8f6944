"""Sending conversations to models and recording every answer, independently of the studies."""

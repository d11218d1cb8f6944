"""Sending conversations to models and keeping every answer; no study is known here."""

"""Answers that break, at every position and in every way."""

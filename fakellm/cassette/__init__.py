"""Recorded sessions: the tapes, how they are recorded, replayed, matched and kept free of secrets."""

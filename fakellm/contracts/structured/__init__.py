"""Structured chunks and the moves that leave their meaning alone."""

"""Contracts of a consumer: the same document in every chunking."""

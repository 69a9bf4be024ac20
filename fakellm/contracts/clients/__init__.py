"""Contracts of a client: what reads the bytes of a provider, and hands on what they say."""

"""Contracts of a stream: on a model, a chain, anything that can be streamed."""

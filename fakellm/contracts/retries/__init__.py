"""Retries and patience: what an app does when its provider refuses, breaks off or falls silent."""

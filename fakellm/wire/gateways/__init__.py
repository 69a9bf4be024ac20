"""Gateways between a server and an app: what each does to an answer, as data, and the few mechanisms of it."""

"""Consumers over archives of recorded streams: `sweep`, what it reads, how it is spread, what it says."""

"""Real providers behind a port of this machine: what is asked there goes on to them, and is recorded."""

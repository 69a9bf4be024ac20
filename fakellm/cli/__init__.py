"""The command `fakellm`. Nothing of it is loaded before it is called."""

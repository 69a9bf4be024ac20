"""What a secret is, where one is in bytes, and what is shown in its place.

Tapes, and all that is shown to people, go through this room. Nothing of it is public: `fakellm.cassette.Redactor` is.
"""

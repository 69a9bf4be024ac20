"""The grammars of the providers' streams, rule by rule."""

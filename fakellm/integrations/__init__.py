"""Fakes as the models of other libraries; each room loads its library and is imported by its own name."""

"""Wires: one file per provider protocol, one row per provider. Pure: facts in, bytes out, and back."""

"""Derived logs: the bytes that one family of outputs shares, made once per stream."""

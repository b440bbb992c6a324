"""A live media server: one process, one log per stream, every output a cursor."""

__version__ = "0.1.0"

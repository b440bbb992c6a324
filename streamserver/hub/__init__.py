"""Streams, who reads them and who may append to them."""

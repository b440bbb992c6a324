"""The operations of the server, as plain calls."""

"""Webhooks: events sent to users' servers by HTTP, signed, in order, until they arrive."""

"""The HTTP API: one table of routes, thin handlers, the OpenAPI document."""

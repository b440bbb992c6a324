"""The rooms of a server, each put together of its parts; `streamserver.server` is the house."""

"""``streamserver doctor``: looks at this host, and tries the way from an encoder to a player."""

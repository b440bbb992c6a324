"""The doors: sockets, HTTP and TLS."""

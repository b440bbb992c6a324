"""Addresses, proxies and TLS: what decides whom we talk to and who talks to us."""

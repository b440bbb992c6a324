"""Addresses, proxies and TLS: what decides whom we talk to and who talks to us."""

from streamserver.net.addresses import Listening, is_loopback, lan_address, unmap, url_host
from streamserver.net.proxies import Origin, TrustedProxies
from streamserver.net.proxy_protocol import ProxyHeader, ProxyProtocolParser
from streamserver.net.tls import HTTP_ALPN, CertificateFiles, self_signed_context

__all__ = [
    "HTTP_ALPN",
    "CertificateFiles",
    "Listening",
    "Origin",
    "ProxyHeader",
    "ProxyProtocolParser",
    "TrustedProxies",
    "is_loopback",
    "lan_address",
    "self_signed_context",
    "unmap",
    "url_host",
]

"""Who may: access requests, deciders and credentials."""

from streamserver.auth.access import Access, AccessContext, GeneratedSecret, make_access
from streamserver.auth.bans import Ban, BanSettings, BanTable
from streamserver.auth.chain import Chain
from streamserver.auth.coroutine import CoroutineDecider
from streamserver.auth.gate import Gate
from streamserver.auth.headers import HttpCredentials, parse_authorization
from streamserver.auth.keys import StaticKeys
from streamserver.auth.loopback import is_loopback_request
from streamserver.auth.policy import DefaultPolicy
from streamserver.auth.request import AccessRequest, Action, Decider, Decision

__all__ = [
    "Access",
    "AccessContext",
    "AccessRequest",
    "Action",
    "Ban",
    "BanSettings",
    "BanTable",
    "Chain",
    "CoroutineDecider",
    "Decider",
    "Decision",
    "DefaultPolicy",
    "Gate",
    "GeneratedSecret",
    "HttpCredentials",
    "StaticKeys",
    "is_loopback_request",
    "make_access",
    "parse_authorization",
]

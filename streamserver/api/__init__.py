"""The HTTP API: one table of routes, thin handlers, the OpenAPI document."""

from streamserver.api.access import ApiRequest, Authorizer
from streamserver.api.app import Api, ApiSettings
from streamserver.api.authorizer import ChainAuthorizer
from streamserver.api.handlers import Heartbeat, Services
from streamserver.api.metrics import FrontCounters, MetricsSources, ServerMetrics
from streamserver.api.openapi import document
from streamserver.api.problems import UnauthenticatedError

__all__ = [
    "Api",
    "ApiRequest",
    "ApiSettings",
    "Authorizer",
    "ChainAuthorizer",
    "FrontCounters",
    "Heartbeat",
    "MetricsSources",
    "ServerMetrics",
    "Services",
    "UnauthenticatedError",
    "document",
]

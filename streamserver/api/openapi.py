"""The OpenAPI 3.1 document, made from the table of routes."""

import re
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import msgspec

from streamserver import __version__
from streamserver.api.access import Access
from streamserver.api.examples import EXAMPLES
from streamserver.api.idempotency import KEY_HEADER, KEY_PATTERN
from streamserver.api.problems import PROBLEM_TYPE, Problem
from streamserver.api.route import Route
from streamserver.api.routes import ROUTES

__all__ = ["document", "render"]

Json: TypeAlias = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_PATH_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_WORD: Final = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}"

_PATH_PARAMETERS: Final[dict[str, Json]] = {
    "app": {
        "description": "First segment of the stream's name.",
        "schema": {"type": "string", "pattern": f"^{_WORD}$"},
    },
    "name": {
        "description": "Second segment of the stream's name; @ marks renditions.",
        "schema": {"type": "string", "pattern": f"^{_WORD}(@{_WORD})?$"},
    },
    "scope": {
        "description": "Second segment of a stream's name, or * for all streams of the app.",
        "schema": {"type": "string", "pattern": rf"^(\*|{_WORD})$"},
    },
    "id": {"description": "An opaque id.", "schema": {"type": "string", "minLength": 1}},
}

_TAGS: Final = {
    "server": "The server as a whole.",
    "streams": "What is being published.",
    "viewers": "Who watches.",
    "destinations": "Where streams are sent on to.",
    "sessions": "Every connection.",
    "access": "Tokens, and addresses that are kept out.",
    "events": "What happens, and where it is sent to.",
    "settings": "What may change while the server runs.",
    "probes": "For load balancers and monitoring.",
}

_BEARER: Final[list[Json]] = [{"bearer": []}]
_SECURITY: Final[dict[Access, list[Json]]] = {
    Access.PUBLIC: [],
    # Each entry is an alternative, and an empty one is no credential at all.
    Access.READ: [{}, *_BEARER],
    Access.METRICS: [{}, *_BEARER],
    Access.VIEWER_COUNT: [{}, *_BEARER],
    Access.WRITE: _BEARER,
}

_STREAM_OF_ANSWER: Final = {"app": "$response.body#/app", "name": "$response.body#/name"}
_OF_STREAM: Final = {
    "app": "$request.path.app",
    "name": "$request.path.name",
    "id": "$response.body#/id",
}
_OF_ID: Final = {"id": "$response.body#/id"}
_FIRST: Final = {"id": "$response.body#/items/0/id"}

_LINKS: Final[dict[str, tuple[Json, tuple[str, ...]]]] = {
    "createStream": (
        _STREAM_OF_ANSWER,
        ("getStream", "changeStream", "newStreamKey", "addDestination", "removeStream"),
    ),
    "addDestination": (
        _OF_STREAM,
        ("getDestination", "changeDestination", "retryDestination", "removeDestination"),
    ),
    "addWebhook": (_OF_ID, ("getWebhook", "changeWebhook", "listDeliveries", "removeWebhook")),
    "createToken": (_OF_ID, ("revokeToken",)),
    "listViewers": (_FIRST, ("kickViewer",)),
    "listSessions": (_FIRST, ("kickSession",)),
}
"""By operation: what of it names the object of others."""

_DESCRIPTION: Final = (
    "Who is live, who watches, and the means to end it. Errors are problem documents (RFC 9457). "
    "Times are RFC 3339 in UTC, rates bits per second, sizes bytes; ids are opaque. Unknown query "
    "parameters are refused. Reading is open from the server's own host, unless a proxy is "
    "configured; every write, and every read from elsewhere, needs the bearer token."
)


def document(server_url: str = "/") -> Json:
    """The document as plain JSON values; ``server_url`` is where the server's root is."""
    made = {
        "openapi": "3.1.0",
        "info": {
            "title": "streamserver",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server_url}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "responses": {_response_name(status): _problem(status) for status in _statuses()},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "auth.api_token, or the token that the first run printed.",
                }
            },
        },
    }
    # Defaults of schemas may be tuples, which JSON does not know.
    plain: Json = msgspec.json.decode(msgspec.json.encode(made))
    return plain


def render(server_url: str = "/") -> bytes:
    """The document as JSON text."""
    return msgspec.json.encode(document(server_url))


def _paths() -> Json:
    paths: Json = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return paths


def _operation(route: Route[Any]) -> Json:
    operation: Json = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "security": _SECURITY[route.access],
        "responses": _responses(route),
    }
    if parameters := [
        *_path_parameters(route),
        *_query_parameters(route),
        *_header_parameters(route),
    ]:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"schema": _reference(route.body), "example": _example(route.body)}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    return operation


def _path_parameters(route: Route[Any]) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, **_path_parameter(name, route)}
        for name in _PATH_PARAMETER.findall(route.path)
    ]


def _path_parameter(name: str, route: Route[Any]) -> Json:
    if name == "name" and route.is_write:
        # Renditions can be looked at; what is changed is the stream.
        schema = {"type": "string", "pattern": f"^{_WORD}$"}
        return {"description": "Second segment of the stream's name.", "schema": schema}
    return _PATH_PARAMETERS[name]


def _query_parameters(route: Route[Any]) -> list[Json]:
    _, components = msgspec.json.schema_components([route.query], ref_template=_REF)
    schema: Json = components[route.query.__name__]
    parameters = []
    for name, described in schema["properties"].items():
        described = dict(described)
        parameter: Json = {"name": name, "in": "query", "required": False}
        if text := described.pop("description", None):
            parameter["description"] = text
        parameters.append({**parameter, "schema": described})
    return parameters


def _header_parameters(route: Route[Any]) -> list[Json]:
    if not route.replays:
        return []
    return [
        {
            "name": KEY_HEADER,
            "in": "header",
            "required": False,
            "description": "Of the client's choice. The same request with the same key within 24 "
            "hours gets the first answer, with Idempotent-Replayed: true, and makes nothing.",
            "schema": {"type": "string", "pattern": KEY_PATTERN},
        }
    ]


def _responses(route: Route[Any]) -> Json:
    responses: Json = {str(route.status): _success(route)}
    if route.name in _LINKS:
        parameters, targets = _LINKS[route.name]
        responses[str(route.status)]["links"] = {
            target: {"operationId": target, "parameters": parameters} for target in targets
        }
    for status in route.refusals:
        responses[str(status)] = {"$ref": f"#/components/responses/{_response_name(status)}"}
    return responses


def _success(route: Route[Any]) -> Json:
    if not route.has_answer:
        return {"description": "Done."}
    content: Json = {"schema": {"type": "string"}}
    if route.response is not None:
        content = {"schema": _reference(route.response), "example": _example(route.response)}
    elif route.content_type == "application/json":
        content = {"schema": {"type": "object"}}
    return {"description": "Done.", "content": {route.content_type: content}}


def _problem(status: int) -> Json:
    # The example's text fits one status only.
    content: Json = {"schema": _reference(Problem)}
    if status == 404:
        content["example"] = _example(Problem)
    response: Json = {
        "description": f"{HTTPStatus(status).phrase}.",
        "content": {PROBLEM_TYPE: content},
    }
    if status == 401:
        response["headers"] = {
            "WWW-Authenticate": {
                "description": "The scheme, Bearer (RFC 6750).",
                "schema": {"type": "string"},
            }
        }
    return response


def _statuses() -> list[int]:
    return sorted({status for route in ROUTES for status in route.refusals})


def _response_name(status: int) -> str:
    return HTTPStatus(status).name.title().replace("_", "")


def _schemas() -> Json:
    queries = {route.query for route in ROUTES}
    answers = {route.response for route in ROUTES if route.response is not None}
    bodies = {route.body for route in ROUTES if route.body is not None}
    _, components = msgspec.json.schema_components(
        [*queries, *answers, *bodies, Problem], ref_template=_REF
    )
    for query in queries:
        # These are parameters; only the types that they use belong here.
        del components[query.__name__]
    return dict(sorted(components.items()))


def _reference(kind: type[msgspec.Struct]) -> Json:
    return {"$ref": _REF.format(name=kind.__name__)}


def _example(kind: type[msgspec.Struct]) -> Any:
    return msgspec.to_builtins(EXAMPLES[kind])

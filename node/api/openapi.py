"""The OpenAPI 3.1 document, generated from the route table and the pydantic models: it cannot drift from either."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from tallystick.network.wire.reasons import RejectReason
from tallystick.node.api import schemas
from tallystick.node.api.problems import CONTENT_TYPE, status_of
from tallystick.node.api.routes import Route

_REF = "#/components/schemas/{model}"
_PATH_PATTERNS = {
    "account": "^(0x)?[0-9a-fA-F]{40}$",
    "id": "^(0x)?[0-9a-fA-F]{64}$",
    "height": "^[0-9]{1,18}$",
}
_QUERY_PATTERNS = {
    "digest": _PATH_PATTERNS["id"],
    "body_id": _PATH_PATTERNS["id"],
    "valid_until_ms": "^[0-9]{1,16}$",
    "read": "^(local|quorum)$",
    "form": "^(document|note)$",
    "from": "^[0-9]{1,18}$",
    "to": "^[0-9]{1,18}$",
}


def openapi_document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The whole document for these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tallystick node",
            "version": version,
            "description": "Settlement between banks; every outcome has a receipt that is verified offline.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "certificate": {"type": "mutualTLS"},
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": _responses(route),
    }
    if route.scopes is None:
        operation["security"] = []
    else:
        names = " or ".join(sorted(scope.value for scope in route.scopes))
        operation["description"] = f"Needs the scope {names}."
        operation["security"] = [{"bearer": []}, {"certificate": []}]
    if route.request is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {"schema": _ref(route.request)},
                "application/msgpack": {
                    "schema": {
                        "type": "string",
                        "format": "binary",
                        "description": "msgpack [wait 1..3, timeout_ms, [transaction bytes, ...]]",
                    }
                },
            },
        }
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    in_path = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": _PATH_PATTERNS[name]},
        }
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    in_query = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": meaning,
            "schema": {"type": "string", "pattern": _QUERY_PATTERNS[name]},
        }
        for name, meaning in route.query
    ]
    return in_path + in_query


def _responses(route: Route) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done."}
    if route.response is not None:
        good["content"] = {"application/json": {"schema": _ref(route.response)}}
        if route.request is not None:
            good["content"]["application/msgpack"] = {
                "schema": {
                    "type": "string",
                    "format": "binary",
                    "description": "msgpack [[state 0..3, body id, reason number, height, index], ...], [bundle, ...]",
                }
            }
    elif route.name == "metrics":
        good["content"] = {"text/plain": {"schema": {"type": "string"}}}
    else:
        good["content"] = {"application/json": {"schema": {"type": "object"}}}
    responses: dict[str, Any] = {"200": good}
    by_status: dict[int, list[RejectReason]] = {}
    for reason in route.possible_refusals():
        by_status.setdefault(status_of(reason), []).append(reason)
    for status, reasons in sorted(by_status.items()):
        responses[str(status)] = {
            "description": ", ".join(reason.code for reason in reasons),
            "content": {CONTENT_TYPE: {"schema": _ref(schemas.Problem)}},
        }
    if route.name == "readyz":
        responses["503"] = {"description": "Not ready.", "content": good["content"]}
    return responses


def _schemas(routes: Sequence[Route]) -> dict[str, Any]:
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(schemas.Problem, "serialization")]
    for route in routes:
        if route.request is not None:
            models.append((route.request, "validation"))
        if route.response is not None:
            models.append((route.response, "serialization"))
    _, definitions = models_json_schema(models, ref_template=_REF)
    found: dict[str, Any] = definitions["$defs"]
    return found


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}

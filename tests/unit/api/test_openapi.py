"""The description is made from the same table and models that serve, so it cannot say something else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tallystick.network.wire.reasons import RejectReason
from tallystick.node.api.openapi import openapi_document
from tallystick.node.api.problems import status_of
from tallystick.node.api.routes import ROUTES, observer_routes
from tallystick.node.api.schemas import plain
from tests.unit.wire import examples

DOCUMENT = openapi_document(ROUTES, "1")


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "$ref":
                yield item
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_it_is_openapi_3_1_with_every_route_and_no_other() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    described = {(m.upper(), p) for p, item in DOCUMENT["paths"].items() for m in item}
    assert described == {(route.method, route.path) for route in ROUTES}
    reading = openapi_document(observer_routes(), "1")
    assert "/v1/transactions" not in reading["paths"]


def test_every_reference_leads_to_a_schema() -> None:
    prefix = "#/components/schemas/"
    names = {reference.removeprefix(prefix) for reference in references(DOCUMENT)}
    assert names <= set(DOCUMENT["components"]["schemas"])


def test_operation_ids_are_unique_and_path_parameters_declared() -> None:
    operations = [op for item in DOCUMENT["paths"].values() for op in item.values()]
    ids = [op["operationId"] for op in operations]
    assert len(set(ids)) == len(ids)
    for path, item in DOCUMENT["paths"].items():
        for op in item.values():
            declared = {p["name"] for p in op["parameters"] if p["in"] == "path"}
            assert declared == set(re.findall(r"\{(\w+)\}", path))


def test_guarded_routes_ask_for_credentials_and_open_ones_do_not() -> None:
    for route in ROUTES:
        operation = DOCUMENT["paths"][route.path][route.method.lower()]
        assert bool(operation["security"]) == (route.scopes is not None)
        assert ("401" in operation["responses"]) == (route.scopes is not None)


@pytest.mark.parametrize("reason", [reason for reason in RejectReason if not reason.on_ledger])
def test_every_refusal_has_a_status_of_the_clients_or_of_waiting(reason: RejectReason) -> None:
    status = status_of(reason)
    assert status in {400, 401, 403, 404, 409, 410, 429, 503}
    assert reason.retryable == (status in {429, 503})


def test_it_is_json() -> None:
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


def test_the_plain_form_names_fields_and_writes_bytes_as_hex() -> None:
    shown = plain(examples.genesis())
    assert shown["members"][0]["vote_key"] == examples.genesis().members[0].vote_key.hex()
    assert plain({1: (b"\x01", None, True)}) == {"1": ["01", None, True]}
    with pytest.raises(TypeError, match="no JSON form for object"):
        plain(object())


def test_every_route_stands_on_the_page_for_people() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "api.md").read_text("utf-8")
    assert [route.path for route in ROUTES if f"{route.path}`" not in page] == []

"""A plain HTTPS client for tests at the edge: it sends what it is told, good or bad, and says what came back.

It takes an address and a certificate, so the same tests run against an app with fakes behind its ports and against a real node.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The problem's code, None for an answer that is none."""
        if self.headers.get("content-type", "").startswith("application/problem+json"):
            return str(self.document["code"])
        return None


class Edge:
    """One node's HTTPS address."""

    def __init__(self, host: str, port: int, certificate_pem: str, timeout_s: float = 20.0) -> None:
        self.host = host
        self.port = port
        self.timeout_s = timeout_s
        self._certificate_pem = certificate_pem

    def context(self, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=self._certificate_pem)
        if client is not None:
            context.load_cert_chain(*client)
        return context

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        client: tuple[Path, Path] | None = None,
    ) -> Reply:
        connection = http.client.HTTPSConnection(
            self.host, self.port, timeout=self.timeout_s, context=self.context(client)
        )
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            received = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, received, answer.read())
        finally:
            connection.close()

    def submit(self, token: str | None, *raws: bytes, wait: str = "received") -> Reply:
        document = {"transactions": [raw.hex() for raw in raws], "wait": wait}
        return self.post(json.dumps(document).encode(), token)

    def post(self, body: bytes, token: str | None, kind: str = "application/json") -> Reply:
        return self.call("POST", "/v1/transactions", body, token, {"Content-Type": kind})

    def connect(self) -> ssl.SSLSocket:
        """A bare TLS connection, for bytes that are no HTTP."""
        bare = socket.create_connection((self.host, self.port), timeout=self.timeout_s)
        return self.context().wrap_socket(bare)

"""One node's interface as the ledger's commands use it: blocks of a running node, and its rows for a backup.

The certificate that is given is the only one believed, as everywhere between a node's own command and itself.
"""

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tallystick.network.proofs.certificates import Certificate
from tallystick.network.proofs.document import from_document, receipt_from_bytes
from tallystick.network.proofs.receipts import OUTCOME
from tallystick.network.wire.blocks import HEADER, RESULT, Header, Result
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.transactions.codec import body_id, decode
from tallystick.node.cli.operate import pinned
from tallystick.node.core.ports import Store
from tallystick.node.upkeep.comparing import Seen
from tallystick.node.upkeep.manifest import CERTIFICATE
from tallystick.node.upkeep.segments import Row, Unframing

SECONDS_MAX = 30.0
"""For one answer, and between two pieces of a long one."""
ANSWER_BYTES_MAX = 64 * 1024 * 1024
PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class NodeClient:
    """Where a node listens for clients, whom to expect there, and a token."""

    host: str
    port: int
    certificate: Path
    token: str

    @classmethod
    def at(cls, url: str, certificate: Path, token: str) -> "NodeClient":
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.hostname is None or parts.path not in ("", "/"):
            raise OperationalError(f"{url} is not the https address of a node")
        return cls(parts.hostname, parts.port or 443, certificate, token)

    def read(self, path: str) -> bytes:
        """The answer's body; `OperationalError` with the node's own words when it says no."""
        connection = self._connection()
        try:
            return self._asked(connection, path).read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise OperationalError(f"no answer from {self.host}:{self.port}: {error}") from None
        finally:
            connection.close()

    def rows(self) -> Iterator[list[Row]]:
        """The certified ledger of this instant, as a running node sends it."""
        connection, unframing = self._connection(), Unframing()
        try:
            answer = self._asked(connection, "/v1/operations/backup")
            while piece := answer.read(PIECE_BYTES):
                yield list(unframing.feed(piece))
        except (OSError, http.client.HTTPException) as error:
            raise OperationalError(f"the node's answer was cut: {error}") from None
        finally:
            connection.close()
        unframing.finish()

    def _connection(self) -> http.client.HTTPSConnection:
        try:
            context = pinned(self.certificate)
        except OSError as error:
            raise OperationalError(f"{self.certificate}: {error}") from None
        return http.client.HTTPSConnection(
            self.host, self.port, timeout=SECONDS_MAX, context=context
        )

    def _asked(
        self, connection: http.client.HTTPSConnection, path: str
    ) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise OperationalError(f"no answer from {self.host}:{self.port}: {error}") from None
        if answer.status != 200:
            raise OperationalError(f"the node refused {path}: {_problem(answer.read(65_536))}")
        return answer


def _problem(body: bytes) -> str:
    try:
        document = json.loads(body)
        return f"{document['code']}: {document['detail']}"
    except (ValueError, KeyError, TypeError):
        return "it did not say why"


class HttpSide:
    """`comparing.Side` of a running node: blocks, and outcomes by their receipts."""

    def __init__(self, name: str, client: NodeClient) -> None:
        self.name = name
        self.store: Store | None = None
        self._client = client
        self._blocks: dict[int, dict[str, Any]] = {}
        self.height = int(self._json("/v1/status")["height"])

    def link(self, height: int) -> bytes:
        if height == 0:  # block 1 names its parent
            return bytes.fromhex(self._document(1)["header"]["parent_link"])
        return bytes.fromhex(self._document(height)["link"])

    def block(self, height: int) -> Seen:
        document = self._document(height)
        shown = document["certificate"]
        try:
            header = from_document(Header, HEADER, document["header"])
            result = from_document(Result, RESULT, document["result"])
            certificate = None if shown is None else from_document(Certificate, CERTIFICATE, shown)
            ids = tuple([bytes.fromhex(each) for each in document["body_ids"]])
        except (Refused, ValueError, KeyError, TypeError) as error:
            raise OperationalError(f"{self.name}: block {height} cannot be read: {error}") from None
        return Seen(header, result, certificate, ids, None, None)

    def outcomes(self, bodies: tuple[bytes, ...]) -> tuple[bytes, ...] | None:
        """The node's outcomes of these transactions, from their receipts; None if it has one of them not."""
        found: list[bytes] = []
        for raw in bodies:
            transaction = decode(raw)
            path = f"/v1/receipts/{transaction.account.hex()}/{transaction.id.hex()}"
            try:
                receipt = receipt_from_bytes(
                    self._client.read(f"{path}?body_id={body_id(raw).hex()}")
                )
            except (OperationalError, Refused):
                return None
            found.append(OUTCOME.encode(receipt.outcome))
        return tuple(found)

    def _document(self, height: int) -> dict[str, Any]:
        if height not in self._blocks:
            self._blocks[height] = self._json(f"/v1/blocks/{height}")
        return self._blocks[height]

    def _json(self, path: str) -> dict[str, Any]:
        try:
            document = json.loads(self._client.read(path))
        except ValueError as error:
            raise OperationalError(f"{self.name}: the answer is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise OperationalError(f"{self.name}: the answer is not a JSON object")
        return document

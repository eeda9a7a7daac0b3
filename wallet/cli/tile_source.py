"""Where tiles come from: a folder, or a web server that need not be trusted, since nothing of it is believed before it is proven."""

import http.client
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tallystick.network.wire import bounds
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import RejectReason

SECONDS_MAX: Final = 10.0
FILE_BYTES_MAX: Final = bounds.RECEIPT_BYTES_MAX
"""The largest is the checkpoint's document; a full bundle of entries has 8,704 bytes."""


def fetch_from(where: str) -> Callable[[str], bytes]:
    """A `tiles.Fetch`: `Refused` when a file is missing, too large, or the server is silent."""
    return _over_http(where) if where.startswith(("http://", "https://")) else _in_folder(where)


def _in_folder(where: str) -> Callable[[str], bytes]:
    def fetch(path: str) -> bytes:
        try:
            with (Path(where) / path).open("rb") as file:
                return _bounded(path, file.read(FILE_BYTES_MAX + 1))
        except OSError as error:
            raise Refused(RejectReason.BAD_PROOF, f"{path}: {error.strerror}") from None

    return fetch


def _over_http(where: str) -> Callable[[str], bytes]:
    parts = urlsplit(where)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection

    def fetch(path: str) -> bytes:
        connection = kind(parts.hostname or "", parts.port, timeout=SECONDS_MAX)
        try:
            connection.request("GET", f"{parts.path.rstrip('/')}/{path}")
            answer = connection.getresponse()
            data = answer.read(FILE_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            raise Refused(RejectReason.BAD_PROOF, f"{path}: {error}") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise Refused(RejectReason.BAD_PROOF, f"{path}: the server answers {answer.status}")
        return _bounded(path, data)

    return fetch


def _bounded(path: str, data: bytes) -> bytes:
    if len(data) > FILE_BYTES_MAX:
        raise Refused(RejectReason.OVERSIZED, f"{path} is larger than {FILE_BYTES_MAX} bytes")
    return data

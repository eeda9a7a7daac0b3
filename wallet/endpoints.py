"""Several nodes, one wallet: which to ask first, what each is worth just now, and one bounded HTTP call.

Decided here: the order of nodes (a node that was silent or lied rests, longer each time) and the bounds of every call. A call
says whether our bytes may have left, since "nothing was handed over" and "perhaps it was" are different answers.
Not here: what an answer means (`answers`), whether it is true (`checking`).
"""

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tallystick.network.wire import bounds
from tallystick.wallet.network_file import EndpointEntry
from tallystick.wallet.tls import Credentials, pinned_context

if TYPE_CHECKING:
    import ssl

    import aiohttp

ANSWER_BYTES_MAX = bounds.FRAME_BYTES_MAX
"""One HTTP answer. A bulk answer holds a bundle for each block."""

CONNECTIONS_PER_NODE = 32
"""Open connections to one node; more calls wait for one."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the wallet waits, in seconds. Tests make all of it tiny."""

    connect_s: float = 2.0
    """TCP and TLS to one node."""
    attempt_s: float = 5.0
    """One node's chance to bring a payment to its end, before another is asked as well."""
    bulk_s: float = 15.0
    """One node's chance to bring a chunk of many payments to its end."""
    answer_s: float = 2.0
    """What a node may take beyond the time-out that it was given, and for any plain question."""
    pause_s: float = 0.1
    """Between two rounds over all nodes; doubles up to `pause_s_max`."""
    pause_s_max: float = 2.0
    rest_s: float = 0.5
    """A node that failed once is asked last for this long; doubles with each failure up to `rest_s_max`."""
    rest_s_max: float = 30.0
    unreachable_s: float = 15.0
    """If no node could be reached at all for this long, and nothing left this machine, give up."""
    after_deadline_s: float = 60.0
    """How long to look for proof, after its deadline, that a transaction can never settle."""


PATIENCE = Patience()
"""The defaults."""


class Silent(Exception):
    """No usable HTTP answer. `sent`: our bytes may have reached the node."""

    def __init__(self, node: str, sentence: str, *, sent: bool) -> None:
        super().__init__(f"{node}: {sentence}")
        self.node = node
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, whole, at most `ANSWER_BYTES_MAX`."""

    node: str
    status: int
    content_type: str
    body: bytes
    retry_after_s: float | None = None


@dataclass(slots=True)
class Endpoint:
    """One node's API and what we remember of it."""

    entry: EndpointEntry
    failures: int = 0
    """In a row."""
    rests_until_s: float = 0.0
    last_failure: str = ""
    context: "ssl.SSLContext | None" = field(default=None, repr=False)
    session: "aiohttp.ClientSession | None" = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.entry.name


class Endpoints:
    """The nodes of one network, with their health. Not to be shared between event loops."""

    def __init__(
        self,
        entries: Sequence[EndpointEntry],
        credentials: Credentials,
        patience: Patience = PATIENCE,
        clock_s: Callable[[], float] = time.monotonic,
        watched: Sequence[EndpointEntry] = (),
    ) -> None:
        """`watched`: nodes that are never chosen, only called by name (observers)."""
        self.patience = patience
        self._credentials = credentials
        self._clock_s = clock_s
        self._all = [Endpoint(entry) for entry in entries]
        self.watched = tuple(Endpoint(entry) for entry in watched)

    @property
    def all(self) -> tuple[Endpoint, ...]:
        """In the order of the network file."""
        return tuple(self._all)

    def ordered(self) -> list[Endpoint]:
        """Whom to ask, best first: the well ones in the file's order, then the resting ones, the soonest rested first."""
        now_s = self._clock_s()
        well = [endpoint for endpoint in self._all if endpoint.rests_until_s <= now_s]
        resting = [endpoint for endpoint in self._all if endpoint.rests_until_s > now_s]
        return well + sorted(resting, key=lambda endpoint: endpoint.rests_until_s)

    def prefer(self, index: int) -> None:
        """Begin with another node of the file, for programs with many wallets: each may have a first node of its own."""
        shift = index % len(self._all)
        self._all = self._all[shift:] + self._all[:shift]

    def well(self, endpoint: Endpoint) -> None:
        """It answered properly."""
        endpoint.failures = 0
        endpoint.rests_until_s = 0.0
        endpoint.last_failure = ""

    def failed(self, endpoint: Endpoint, why: str, rest_s: float | None = None) -> None:
        """It was silent, full, or lied: ask it last for a while."""
        endpoint.failures += 1
        endpoint.last_failure = why
        doubled = self.patience.rest_s * 2 ** min(endpoint.failures - 1, 16)
        rest = min(self.patience.rest_s_max, doubled if rest_s is None else rest_s)
        endpoint.rests_until_s = self._clock_s() + rest

    async def call(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout_s: float | None = None,
    ) -> Answer:
        """One request, one whole answer. `Silent` for anything that is not an HTTP answer within its bounds."""
        import aiohttp

        session = self._session(endpoint)
        timeout = aiohttp.ClientTimeout(
            total=self.patience.answer_s if timeout_s is None else timeout_s,
            connect=self.patience.connect_s,
        )
        headers = {"Content-Type": content_type} if body is not None else {}
        url = endpoint.entry.url.rstrip("/") + path
        try:
            async with session.request(
                method,
                url,
                data=body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                ssl=self._context(endpoint),
            ) as response:
                return Answer(
                    endpoint.name,
                    response.status,
                    response.content_type,
                    await _whole(response, endpoint.name),
                    _seconds(response.headers.get("Retry-After")),
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Silent(endpoint.name, _sentence(error), sent=False) from None
        except (aiohttp.ClientError, TimeoutError, ConnectionError, ValueError) as error:
            raise Silent(endpoint.name, _sentence(error), sent=body is not None) from None

    async def close(self) -> None:
        """Close every connection."""
        for endpoint in (*self._all, *self.watched):
            if endpoint.session is not None:
                # Python before 3.11.3 fails so at a TLS connection that is gone already: nothing is left to close.
                with contextlib.suppress(AttributeError):
                    await endpoint.session.close()
                endpoint.session = None
        await asyncio.sleep(0)  # lets TLS transports say goodbye

    def _context(self, endpoint: Endpoint) -> "ssl.SSLContext":
        if endpoint.context is None:
            endpoint.context = pinned_context(endpoint.entry.pin, self._credentials)
        return endpoint.context

    def _session(self, endpoint: Endpoint) -> "aiohttp.ClientSession":
        import aiohttp

        if endpoint.session is None:
            headers: dict[str, str] = {"Accept": "application/json, application/problem+json"}
            if self._credentials.token:
                headers["Authorization"] = f"Bearer {self._credentials.token}"
            connector = aiohttp.TCPConnector(limit=CONNECTIONS_PER_NODE, enable_cleanup_closed=True)
            # No cookies, no proxies and no passwords from the environment: this session belongs to one pinned key.
            endpoint.session = aiohttp.ClientSession(
                connector=connector,
                headers=headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return endpoint.session


async def _whole(response: "aiohttp.ClientResponse", node: str) -> bytes:
    """The body, or `Silent` once it passes its bound."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(64 * 1024):
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            raise Silent(node, f"its answer is larger than {ANSWER_BYTES_MAX} bytes", sent=True)
        parts.append(part)
    return b"".join(parts)


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds, at most a minute; a date or nonsense counts as absent."""
    if header is None or not header.isascii() or not header.isdigit() or len(header) > 6:
        return None
    return min(60.0, float(header))


def _sentence(error: BaseException) -> str:
    import ssl

    cause: Any = getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLError):  # its own text is a tuple if it was raised without a number
        return str(cause.args[-1]) if cause.args else type(cause).__name__
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
        return os.strerror(cause.errno).lower()
    return str(cause) or type(error).__name__

"""Cables between the members of a network of real processes, which a test can cut or slow in each direction.

Each member's configuration is pointed at a relay of its own for every peer, so a cut knows who speaks to whom. Bytes pass
as they come (TLS is end to end). A cut holds back what is sent, as a network does that loses every packet: no reset, no end of
stream; new connections open and hear nothing. Mended, the bytes come late. No privileges are needed for that.
"""

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from local_network import LocalNetwork, free_ports

CHUNK_BYTES = 64 * 1024


@dataclass
class Cable:
    """What one member sends to another's port, and what comes back on the connections that it opened."""

    port: int
    target: int
    ends: tuple[str, str]
    """(who dials, whom)."""


@dataclass
class Relays:
    """All cables of a network, in a thread with a loop of its own. Use as a context manager, before the nodes start."""

    network: LocalNetwork
    cables: list[Cable] = field(default_factory=list)
    cut: set[tuple[str, str]] = field(default_factory=set)
    """(from, to): bytes in this direction wait."""
    delay_s: float = 0.0
    """Every chunk is this late, in both directions."""

    def __enter__(self) -> Self:
        self._lay()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="relays", daemon=True)
        self._ready = threading.Event()
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the relays did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def isolate(self, name: str) -> None:
        """Nothing passes between this member and the others, either way."""
        for other in self.network.members:
            if other != name:
                self.cut |= {(name, other), (other, name)}

    def part(self, some: Iterable[str]) -> None:
        """Nothing passes between these members and the others."""
        side = set(some)
        others = set(self.network.members) - side
        self.cut |= {(a, b) for a in side for b in others} | {(b, a) for a in side for b in others}

    def mend(self) -> None:
        self.cut.clear()

    # -- the cables ----------------------------------------------------------------------------------------------------

    def _lay(self) -> None:
        """Point every [[peers]] entry at a fresh port, and remember where it pointed."""
        members = self.network.members
        own = int(str(self.network.entry(members[-1])["url"]).rpartition(":")[2])
        base = free_ports(len(members) ** 2, first=own + 100)  # the nodes' own are free now, too
        for at, name in enumerate(members):
            path: Path = self.network.folder_of(name) / "node.toml"
            parts = path.read_text().split("[[peers]]")
            for index, part in enumerate(parts[1:], 1):
                peer = re.search(r'name = "([^"]+)"', part)
                port = re.search(r"port = (\d+)", part)
                if peer is None or port is None or peer[1] not in members:
                    continue  # an observer dials us
                laid = base + at * len(members) + members.index(peer[1])
                self.cables.append(Cable(laid, int(port[1]), (name, peer[1])))
                parts[index] = part.replace(port[0], f"port = {laid}")
            path.write_text("[[peers]]".join(parts))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._open())
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))

    async def _open(self) -> None:
        self._servers = [
            await asyncio.start_server(self._joiner(cable), "127.0.0.1", cable.port)
            for cable in self.cables
        ]

    def _joiner(self, cable: Cable):  # type: ignore[no-untyped-def]  # asyncio's callback
        async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", cable.target)
            except OSError:
                writer.close()
                return
            here, there = cable.ends
            await asyncio.gather(
                self._pump(reader, far_writer, (here, there)),
                self._pump(far_reader, writer, (there, here)),
            )

        return join

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: tuple[str, str]
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                while way in self.cut:
                    await asyncio.sleep(0.02)
                writer.write(chunk)
                await writer.drain()
        writer.close()

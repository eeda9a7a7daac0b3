"""A network of real processes on this machine, for the demo, the bench and the end-to-end tests.

Decided here: how a folder becomes running nodes, and that only processes started here (or by an earlier run, named in the
folder's `pids` file and still running from that folder) are ever signalled.
Not here: what the processes do (`tallystick.node`), or how clients speak to them (`tallystick.wallet`).
"""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

OBSERVER = "regulator"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Trouble(Exception):
    """The world did not do what the script needs; the sentence says what and where to look."""


@dataclass(slots=True)
class Running:
    """One process of ours."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid


@dataclass(slots=True)
class LocalNetwork:
    """A folder made by `tallystick network init`, and those of its nodes that run."""

    folder: Path
    keep: bool = False
    """True: the processes outlive this one."""
    running: dict[str, Running] = field(default_factory=dict)

    @classmethod
    def init(
        cls,
        folder: Path,
        members: int = 4,
        base_port: int = 0,
        keep: bool = False,
        engine: str = "pbft",
    ) -> "LocalNetwork":
        """Make a new network in `folder`, which must not exist yet."""
        port = base_port or free_ports(2 * members + 4)
        command = (
            "network",
            "init",
            str(folder),
            "--members",
            str(members),
            "--base-port",
            str(port),
            "--engine",
            engine,
        )
        run = subprocess.run(
            tallystick(*command), capture_output=True, text=True, check=False, cwd=folder.parent
        )
        if run.returncode != 0:
            raise Trouble(
                f"network init failed ({run.returncode}): {run.stderr.strip() or run.stdout.strip()}"
            )
        return cls(folder, keep)

    @property
    def document(self) -> dict[str, Any]:
        """network.json."""
        return dict(json.loads((self.folder / "network.json").read_text()))

    @property
    def members(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "nodes").iterdir())

    def folder_of(self, name: str) -> Path:
        return (
            self.folder / "observers" / name if name == OBSERVER else self.folder / "nodes" / name
        )

    def endpoint(self, name: str) -> tuple[str, Path]:
        """(URL of the node's API, its certificate file)."""
        certificate = self.folder_of(name) / "keys" / "tls.crt"
        return str(self.entry(name)["url"]), certificate

    def entry(self, name: str) -> dict[str, Any]:
        """What network.json says of a member or the observer."""
        document = self.document
        for entry in [*document["endpoints"], *document.get("observers", [])]:
            if entry["name"] == name:
                return dict(entry)
        raise Trouble(f"{self.folder}/network.json knows no node {name}")

    def token(self, principal: str) -> str:
        return (self.folder / "tokens" / f"{principal}.jwt").read_text().strip()

    def leave_plain(self) -> None:
        """Before the first start: the data folders are not sealed, so that one can measure what sealing costs."""
        for name in [*self.members, OBSERVER]:
            config = self.folder_of(name) / "node.toml"
            kept = config.read_text().replace("[storage]\n", "").splitlines(keepends=True)
            config.write_text(
                "".join(line for line in kept if not line.startswith('key = "file:keys/storage'))
            )

    def start(self, name: str, *options: str) -> Running:
        """Start one node; its output goes to node.log in its folder."""
        config = self.folder_of(name) / "node.toml"
        log = self.folder_of(name) / "node.log"
        command = (
            tallystick("observer", "run", "--config", str(config))
            if name == OBSERVER
            else [sys.executable, "-m", "tallystick.node", "run", "--config", str(config)]
        )
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*command, *options],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=self.keep,
            )
        self.running[name] = Running(name, process, log)
        self.write_pids()
        return self.running[name]

    def start_all(self, observer: bool = True, timeout_s: float = 30.0) -> None:
        """Every member and the observer, until all of them are ready."""
        names = [*self.members, OBSERVER] if observer else self.members
        for name in names:
            self.start(name)
        for name in names:
            self.wait_ready(name, timeout_s)

    def kill(self, name: str) -> None:
        """SIGKILL, as a power cut would have it."""
        self.signal(name, signal.SIGKILL)

    def signal(self, name: str, number: signal.Signals, timeout_s: float = 20.0) -> int:
        """Send a signal to a process started here and wait for its end. Its exit status."""
        running = self.running.pop(name)
        if running.process.poll() is None:
            running.process.send_signal(number)
        try:
            status = running.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            running.process.kill()
            status = running.process.wait(timeout_s)
        self.write_pids()
        return status

    def stop(self) -> None:
        """SIGTERM to all, then wait."""
        for running in self.running.values():
            if running.process.poll() is None:
                running.process.terminate()
        for name in list(self.running):
            self.signal(name, signal.SIGTERM)

    def write_pids(self) -> None:
        pids = "".join(f"{running.pid}\n" for running in self.running.values())
        (self.folder / "pids").write_text(pids)

    def get(self, name: str, path: str, timeout_s: float = 3.0) -> tuple[int, bytes]:
        """One GET with the regulator's token. `OSError` if nobody answers."""
        url, certificate = self.endpoint(name)
        parts = urlsplit(url)
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=timeout_s, context=trusting(certificate)
        )
        try:
            headers = {"Authorization": f"Bearer {self.token(OBSERVER)}"}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def status(self, name: str) -> dict[str, Any]:
        """`/v1/status`, or `Trouble` with the node's own words."""
        code, body = self.get(name, "/v1/status")
        if code != 200:
            raise Trouble(
                f"{name} answered {code} to /v1/status: {body[:300].decode(errors='replace')}"
            )
        return dict(json.loads(body))

    def metrics(self, name: str) -> dict[str, float]:
        """Every sample of `/metrics` by its full name with labels."""
        _, body = self.get(name, "/metrics")
        lines = [line for line in body.decode().splitlines() if line and not line.startswith("#")]
        return {key: float(value) for key, _, value in (line.rpartition(" ") for line in lines)}

    def wait_ready(self, name: str, timeout_s: float = 30.0) -> None:
        """Until `/readyz` says yes; `Trouble` with the end of its log if it does not come up."""
        until = time.monotonic() + timeout_s
        answer = "no answer"
        while time.monotonic() < until:
            running = self.running[name]
            if running.process.poll() is not None:
                raise Trouble(
                    f"{name} ended with {running.process.returncode}:\n{tail(running.log)}"
                )
            try:
                code, body = self.get(name, "/readyz")
                if code == 200:
                    return
                answer = body.decode(errors="replace")[:300]
            except OSError as error:
                answer = str(error)
            time.sleep(0.05)
        raise Trouble(
            f"{name} is not ready after {timeout_s:.0f} s ({answer}):\n{tail(self.running[name].log)}"
        )

    def leader(self) -> str:
        """The name of the member that leads now, as most running members see it."""
        votes: dict[int, int] = {}
        for name in self.members:
            if name in self.running:
                leader = int(self.status(name)["leader"])
                votes[leader] = votes.get(leader, 0) + 1
        leader = max(votes, key=lambda node: votes[node])
        members = self.status(next(iter(self.running)))["members"]
        return next(str(entry["name"]) for entry in members if entry["id"] == leader)

    def cpu_s(self, name: str) -> float:
        """Processor seconds of a node so far, user and system, with its threads (and children it has waited for)."""
        fields = Path(f"/proc/{self.running[name].pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(fields[index]) for index in (11, 12, 13, 14)) / TICKS_PER_S

    def wait_level(self, names: Iterable[str], timeout_s: float = 30.0) -> dict[str, str]:
        """State roots once all `names` stand at one height with one root. Their name → root in hex."""
        names = list(names)
        until = time.monotonic() + timeout_s
        roots: dict[str, str] = {}
        while time.monotonic() < until:
            seen = {}
            for name in names:
                try:
                    status = self.status(name)
                except OSError:
                    break
                seen[name] = (status["height"], str(status["state_root"]))
            roots = {name: root for name, (_, root) in seen.items()}
            if len(seen) == len(names) and len(set(roots.values())) == 1:
                return roots
            time.sleep(0.1)
        raise Trouble(f"not at one state after {timeout_s:.0f} s: {roots}")


def tallystick(*arguments: str) -> list[str]:
    """The command line of the one command, by this interpreter."""
    return [sys.executable, "-m", "tallystick", *arguments]


def trusting(certificate: Path) -> ssl.SSLContext:
    """TLS 1.3 to the holder of this very certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(certificate)
    return context


def free_ports(count: int, first: int = 7600) -> int:
    """The first of `count` neighbouring ports that are free now, from `first` on and below what clients' sockets are given."""
    for base in range(first, 30_000, 100):
        if all(is_free(base + offset) for offset in range(count)):
            return base
    raise Trouble(f"there is no row of free ports between {first} and 30000")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def stop_left_over(folder: Path, timeout_s: float = 10.0) -> None:
    """End what an earlier run left running from `folder`: only processes whose command line names it."""
    pids = folder / "pids"
    if not pids.is_file():
        return
    left = [int(line) for line in pids.read_text().split() if line.isdecimal()]
    ours = [pid for pid in left if str(folder) in command_line(pid)]
    for pid in ours:
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + timeout_s
    while any(str(folder) in command_line(pid) for pid in ours) and time.monotonic() < until:
        time.sleep(0.05)
    pids.unlink()


def command_line(pid: int) -> str:
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except OSError:
        return ""


def tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

"""One node's configuration: one frozen dataclass from one TOML file, each field with its unit, default and reason.

Unknown fields are errors, and `validate` returns all errors at once. Paths are relative to the file. What the whole network
must agree on is not here: that is the genesis document.
"""

import ipaddress
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from tallystick.network.session import OBSERVER_ID_MIN

Role = Literal["member", "observer"]
Verifiers = Literal["inline", "threads", "processes"]
LogLevel = Literal["debug", "info", "warning", "error"]

PEERS_MAX: Final = 256
"""Peers of one node: 64 members and as many observers several times over."""
CONFIG_BYTES_MAX: Final = 1024 * 1024
"""The file: 256 peers need about 60 kB."""


_KEY_SOURCES: Final = ("file:", "env:", "pkcs11:")


class ConfigError(Exception):
    """The file is not a configuration; `errors` holds one sentence for each fault."""

    def __init__(self, path: Path, errors: list[str]) -> None:
        self.path = path
        self.errors = errors
        super().__init__(f"{path}: " + "; ".join(errors))


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """Another node. Its address is its operator's business, its key is in genesis (members) or here (observers)."""

    id: int
    """u16; a member's id in genesis, or the number that the network gave to an observer."""
    name: str
    tls_key_hash: str
    """64 hex digits: SHA-256 of its TLS key's SubjectPublicKeyInfo."""
    certificate: Path
    """Its certificate file, which the TLS layer trusts alone; only the key in it counts."""
    host: str = ""
    """Empty: it dials us (an observer), we do not dial it."""
    port: int = 0
    """TCP port; 0 when `host` is empty."""
    role: Role = "member"


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """How the data folder is kept from whoever steals the disk. Keys are named, never written here."""

    key: str = ""
    """`file:PATH`, `env:NAME` or `pkcs11:…` of the key that opens the data; empty: the data is not sealed."""
    new_key: str = ""
    """The key that `tallystick node rekey` goes over to; once it has, it may take the place of `key`."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The keys that may open the data; none: it is not sealed."""
        return tuple(source for source in (self.key, self.new_key) if source)

    def wrong(self) -> Iterator[str]:
        """What is wrong with it, one sentence each."""
        for name, source in (("key", self.key), ("new_key", self.new_key)):
            if source and not source.startswith(_KEY_SOURCES):
                yield f"storage.{name} is {source!r}: wants file:PATH, env:NAME or pkcs11:…"
        if self.new_key and not self.key:
            yield "storage.new_key is set and storage.key is not"


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What one process needs to know of itself and its neighbours."""

    id: int
    """This node's number (u16)."""
    name: str
    """For people; in logs and status."""
    genesis: Path
    tls_key: Path
    """PEM; of this node alone, 0600."""
    tls_certificate: Path
    """PEM, self-signed."""
    data: Path
    """Folder of the database. On a disk whose fsync tells the truth."""

    role: Role = "member"
    vote_key: Path | None = None
    """Ed25519, PEM (PKCS#8, not encrypted), mode 0600; members only."""
    checkpoint_key: Path | None = None
    """BLS12-381, a heading and the secret in hex, mode 0600; members only, where genesis lists checkpoint keys."""
    guard: Path | None = None
    """The double-sign guard's record, kept beside the key; members only."""
    joining: bool = False
    """True: genesis does not know this id, neither as a member's nor as a spare; follow blocks until an epoch names it."""
    storage: StorageConfig = StorageConfig()
    """The key of the data folder; without one the data lies there in clear, which is for tests only."""
    peers: tuple[PeerConfig, ...] = ()
    peer_host: str = "127.0.0.1"
    """Address to listen on for other nodes. Loopback until an operator says otherwise. Unused by observers."""
    peer_port: int = 0
    """0: do not listen (observers)."""
    api_host: str = "127.0.0.1"
    """Address to listen on for clients. Loopback until an operator says otherwise."""
    api_port: int = 0
    """0: the operating system chooses, which is for tests only."""

    jwks: Path | None = None
    """Public keys of the token issuer; None: no tokens are taken."""
    principals: Path | None = None
    """TOML list of client certificates and what their owners may do; None: none."""
    requests_per_s: int = 2_000
    """Requests of one principal per second: above what one connection can send, below what two cores can answer."""
    transactions_per_s: int = 20_000
    """Transactions of one principal per second: three times what a network settles on two cores, so bursts pass."""
    participant_transactions_per_s: int = 20_000
    """The same of all principals of one participant together."""
    metrics_open_on_loopback: bool = False
    """True: /metrics needs no token from this machine, for a scraper beside the node."""

    verifiers: Verifiers = "inline"
    """Where signatures are checked: inline wins on two cores, processes from about four."""
    verifier_count: int = 1
    """Threads or processes; ignored when inline."""
    ready_lag_ms: int = 10_000
    """Age of the newest block up to which the node is ready: ten idle blocks of the default second."""
    observer_lag_alarm_ms: int = 30_000
    """Age of the newest block above which an observer logs a warning."""
    log_level: LogLevel = "info"
    """Least urgent lines that are written: info has a few lines per connection and view, none per transaction."""

    source: Path = field(default=Path(), compare=False)
    """The file it was read from."""

    def validate(self) -> list[str]:
        """All that is wrong, one sentence each; empty if a node may start. Reads nothing but whether files exist."""
        return [
            *self._wrong_numbers(),
            *self._wrong_role(),
            *self.storage.wrong(),
            *self._wrong_peers(),
            *self._missing_files(),
        ]

    def _wrong_numbers(self) -> Iterator[str]:
        if not self.name:
            yield "name is empty"
        for name, low, high in (
            ("id", 0, 2**16 - 1),
            ("peer_port", 0, 65_535),
            ("api_port", 0, 65_535),
            ("requests_per_s", 1, 1_000_000),
            ("transactions_per_s", 1, 10_000_000),
            ("participant_transactions_per_s", 1, 10_000_000),
            ("verifier_count", 1, 64),
            ("ready_lag_ms", 100, 3_600_000),
            ("observer_lag_alarm_ms", 100, 3_600_000),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                yield f"{name} is {value}, not within {low} to {high}"
        for name in ("peer_host", "api_host"):
            if not _is_address(getattr(self, name)):
                yield f"{name} is {getattr(self, name)!r}: wants an IP address to listen on, or localhost"

    def _wrong_role(self) -> Iterator[str]:
        if (self.role == "observer") != (self.id >= OBSERVER_ID_MIN):
            yield f"id {self.id} is not {self.role}'s: observers have ids from {OBSERVER_ID_MIN} on"
        if self.role == "observer":
            for name in ("vote_key", "guard", "checkpoint_key"):
                if getattr(self, name) is not None:
                    yield f"{name} is set: an observer holds no voting key"
            if self.peer_port:
                yield "peer_port is set: an observer only dials, it does not listen for nodes"
            if not any(peer.host for peer in self.peers):
                yield "peers: an observer needs at least one node to dial"
            return
        for name in ("vote_key", "guard"):
            if getattr(self, name) is None:
                yield f"{name} is missing: a member votes"
        if self.peer_port and self.peer_port == self.api_port:
            yield f"peer_port and api_port are both {self.peer_port}"

    def _wrong_peers(self) -> Iterator[str]:
        if len(self.peers) > PEERS_MAX:
            yield f"peers: {len(self.peers)} are listed, at most {PEERS_MAX} are used"
        ids = [peer.id for peer in self.peers]
        if len(set(ids)) != len(ids):
            yield "peers: an id stands twice"
        for peer in self.peers:
            where = f"peer {peer.id} ({peer.name})"
            if peer.id == self.id:
                yield f"{where}: has this node's own id"
            if not 0 <= peer.id <= 2**16 - 1:
                yield f"{where}: its id is not within 0 to 65535"
            if not _is_hash(peer.tls_key_hash):
                yield f"{where}: tls_key_hash is not 64 hex digits"
            if bool(peer.host) != bool(peer.port) or not 0 <= peer.port <= 65_535:
                yield f"{where}: wants host and port, or neither"

    def _missing_files(self) -> Iterator[str]:
        wanted: list[tuple[str, Path | None]] = [
            ("genesis", self.genesis),
            ("tls_key", self.tls_key),
            ("tls_certificate", self.tls_certificate),
            ("vote_key", self.vote_key),
            ("checkpoint_key", self.checkpoint_key),
            ("jwks", self.jwks),
            ("principals", self.principals),
            *((f"peer {peer.id} certificate", peer.certificate) for peer in self.peers),
        ]
        for name, path in wanted:
            if path is not None and not path.is_file():
                yield f"{name}: there is no file {path}"


def load_config(path: Path) -> NodeConfig:
    """The configuration in `path`, or `ConfigError` with every fault that was found."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(path, [f"cannot be read: {error.strerror}"]) from None
    if len(data) > CONFIG_BYTES_MAX:
        raise ConfigError(path, [f"is larger than {CONFIG_BYTES_MAX} bytes"])
    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(path, [f"is not TOML: {error}"]) from None
    errors: list[str] = []
    values = _values(NodeConfig, document, path.parent, "", errors)
    if errors:
        raise ConfigError(path, errors)
    config = NodeConfig(**values, source=path)
    if faults := config.validate():
        raise ConfigError(path, faults)
    return config


def _values(
    type_: type[NodeConfig] | type[PeerConfig] | type[StorageConfig],
    document: Mapping[str, object],
    folder: Path,
    where: str,
    errors: list[str],
) -> dict[str, Any]:
    """The document's values by the dataclass's types; faults are appended to `errors`."""
    hints = get_type_hints(type_)
    known = {entry.name: entry for entry in fields(type_) if entry.name != "source"}
    errors += [f"{where}{name}: there is no such setting" for name in document if name not in known]
    values: dict[str, Any] = {}
    for name, entry in known.items():
        if name in document:
            values[name] = _value(hints[name], document[name], folder, where + name, errors)
        elif entry.default is MISSING:
            errors.append(f"{where}{name}: is missing")
    return values


def _value(hint: Any, value: object, folder: Path, where: str, errors: list[str]) -> Any:
    if hint == tuple[PeerConfig, ...]:
        return _peers(value, folder, where, errors)
    if hint is StorageConfig:
        if not isinstance(value, dict):
            errors.append(f"{where}: wants a [storage] table")
            return StorageConfig()
        return StorageConfig(**_values(StorageConfig, value, folder, f"{where}.", errors))
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            errors.append(f"{where}: is {value!r}, not one of {', '.join(get_args(hint))}")
        return value
    if hint in (Path, Path | None):
        if isinstance(value, str) and value:
            return folder / value
        errors.append(f"{where}: wants a path in quotes")
        return Path()
    if type(value) is not hint:
        errors.append(f"{where}: is {value!r}, wants {_WORDS[hint]}")
    return value


def _peers(value: object, folder: Path, where: str, errors: list[str]) -> tuple[PeerConfig, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        errors.append(f"{where}: wants [[peers]] tables")
        return ()
    before = len(errors)
    found = [
        _values(PeerConfig, entry, folder, f"{where}[{position}].", errors)
        for position, entry in enumerate(value)
    ]
    return tuple(PeerConfig(**entry) for entry in found) if len(errors) == before else ()


_WORDS: Final[Mapping[Any, str]] = {
    int: "a whole number",
    str: "text in quotes",
    bool: "true or false",
}


def _is_address(text: str) -> bool:
    if text == "localhost":
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_hash(text: str) -> bool:
    digits = text.removeprefix("0x").lower()
    return len(digits) == 64 and all(digit in "0123456789abcdef" for digit in digits)

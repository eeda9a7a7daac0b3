"""A whole HTTP interface over real TLS on loopback, with a small fake ledger and a fake driver behind the real ports.

Everything between the socket and the port is the product's own. The clock stands still at `NOW_MS` unless a test moves it.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from tallystick.consensus.waiting import Phase, Waiting
from tallystick.contracts.deadlines import ordering_fault
from tallystick.contracts.state import Account
from tallystick.network.proofs.absence import AbsenceProof
from tallystick.network.proofs.certificates import Certificate, CertVote
from tallystick.network.proofs.checkpoints import Checkpoint, CheckpointDocument, Statement
from tallystick.network.proofs.evidence_file import EvidenceFile
from tallystick.network.proofs.notes import Note, NoteLine
from tallystick.network.proofs.receipts import (
    BUNDLE,
    OUTCOME,
    BlockProof,
    Bundle,
    BundleItem,
    Outcome,
    Receipt,
    Status,
)
from tallystick.network.proofs.state_map import StateMap
from tallystick.network.proofs.state_proof import StateProof
from tallystick.network.proofs.windows import WINDOWS_KEY, WindowsMark, window_key
from tallystick.network.transport.tls import spki_hash
from tallystick.network.wire.blocks import Header, Result
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import AccountId, BodyId, NodeId, ParticipantId
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import Transaction
from tallystick.network.wire.transactions.codec import TRANSACTION, body_id, encode, kind_of
from tallystick.node.api import bounds
from tallystick.node.api.access import Gate
from tallystick.node.api.app import ApiServer, make_app
from tallystick.node.api.metrics import Meters, NodeGauges
from tallystick.node.api.parts import ApiParts, Network
from tallystick.node.api.quotas import Quotas
from tallystick.node.api.routes import ROUTES, observer_routes
from tallystick.node.api.tls import server_context
from tallystick.node.api.tokens import Principal, Scope, Tokens, load_jwks
from tallystick.node.core.admission import BodyChecker
from tallystick.node.core.effects import Answer
from tallystick.node.core.events import BadBody, Wait
from tests.security.edge import Edge
from tests.unit.wire import examples

NOW_MS = 1_700_000_000_000
EXPIRES_S = NOW_MS // 1000 + 3_600
OWN, OTHER, THIRD = AccountId(b"\x02" * 20), AccountId(b"\x03" * 20), AccountId(b"\x04" * 20)
"""Accounts of participants 2, 3 and 4."""
NETWORK = Network(examples.genesis())
CHECKER = BodyChecker(NETWORK.genesis)


@dataclass(frozen=True)
class Place:
    height: int
    index: int
    digest: bytes


@dataclass(frozen=True)
class Block:
    header: Header
    result: Result
    certificate: Certificate | None
    body_ids: tuple[bytes, ...]


WAITING = Waiting(Phase.PROPOSAL, (NodeId(3),), 1, NOW_MS, 2, "a proposal of member 3")


@dataclass(frozen=True)
class NodeStatus:
    node: int = 0
    engine: str = "pbft"
    epoch: int = 0
    view: int = 3
    leader: int = 3
    height: int = 1
    link: bytes = b"\x0c" * 32
    state_root: bytes = b"\x0d" * 32
    block_time_ms: int = NOW_MS
    pool_size: int = 5
    peers_up: tuple[NodeId, ...] = (NodeId(1), NodeId(2))
    in_flight: int = 1
    waiting_for: str = "nothing"
    waiting: Waiting = WAITING
    peers_down: tuple[tuple[NodeId, int], ...] = ((NodeId(3), NOW_MS - 5_000),)
    catch_up_to: int | None = None
    level: bool = True
    alarm: str | None = None
    halted: str | None = None


def transfer_of(account: AccountId, creditor: AccountId, number: int = 1) -> bytes:
    """A transfer that spend key 1 signed."""
    draft = replace(
        examples.transfer(),
        chain=NETWORK.chain,
        account=account,
        creditor=creditor,
        id=number.to_bytes(32, "big"),
        valid_until_ms=NOW_MS + 60_000,
    )
    witness = examples.sign_spend(examples.spend_key(1), NETWORK.digest(draft))
    return encode(replace(draft, witnesses=(witness,)))


class FakeLedger:
    """One certified block of settled transfers, and one account for each of three participants."""

    def __init__(self, raws: Sequence[bytes]) -> None:
        self.height, self.time_ms = 1, NOW_MS
        self.link, self.state_root = b"\x0c" * 32, b"\x0d" * 32
        self.raws = list(raws)
        self.convicted: list[EvidenceFile] = []
        self.accounts = {
            name: Account(
                number,
                1,
                0,
                1,
                (examples.spend_key(1).public_key.format(),),
                bytes(16),
                {"USD": 10_000},
                {},
            )
            for name, number in ((OWN, 2), (OTHER, 3), (THIRD, 4))
        }

    def account(self, account: AccountId, /) -> Account | None:
        return self.accounts.get(account)

    def account_proof(
        self, account: AccountId, /
    ) -> tuple[bytes, bytes | None, bytes, StateProof, BlockProof]:
        record = self.accounts.get(account)
        value = None if record is None else record.encode()
        key = b"account/" + account
        state = StateMap()
        state.load([(sha256(key).digest(), bytes(32))])
        return key, value, bytes(32), state.prove(sha256(key).digest()), self._block_proof()

    def absence(
        self, account: bytes, payment_id: bytes, digest: bytes, valid_until_ms: int, /
    ) -> Callable[[], AbsenceProof]:
        """Every window up to now is closed and empty."""
        if valid_until_ms > NOW_MS:
            raise Refused(RejectReason.NOT_FOUND, "The window is not closed.")
        state = StateMap()
        mark = WindowsMark(1, NOW_MS + 1, NOW_MS + 1, 0, 0, b"")
        proofs = [state.prove(sha256(key).digest()) for key in (WINDOWS_KEY, window_key(0))]
        block = self._block_proof()
        return lambda: AbsenceProof(mark, proofs[0], None, proofs[1], None, None, block)

    def locate(self, account: bytes, payment_id: bytes, /) -> Place | None:
        for index, raw in enumerate(self.raws):
            transaction = TRANSACTION.decode(raw)
            if (transaction.account, transaction.id) == (account, payment_id):
                return Place(1, index, NETWORK.digest(transaction))
        return None

    def locate_body(self, wanted: bytes, /) -> Place | None:
        for index, raw in enumerate(self.raws):
            if body_id(raw) == wanted:
                return Place(1, index, NETWORK.digest(TRANSACTION.decode(raw)))
        return None

    def receipt(self, height: int, index: int, /) -> Receipt:
        return Receipt(1, self.raws[index], self._outcome(index), (), (), self._block_proof())

    def bundle(self, height: int, indexes: Sequence[int], /) -> bytes:
        items = tuple(BundleItem(self._outcome(index), (), ()) for index in indexes)
        return BUNDLE.encode(Bundle(self._block_proof(), items))

    def evidence(self) -> list[EvidenceFile]:
        return self.convicted

    def checkpoint(self, height: int | None, /) -> tuple[CheckpointDocument, Note]:
        if height not in (None, 1):
            raise Refused(RejectReason.NOT_FOUND, "There is no such checkpoint.")
        statement = Statement(0, 1, self.link, bytes(32))
        found = Checkpoint(statement, bytes(8), bytes(96))
        note = Note(statement.head(NETWORK.genesis), (NoteLine("a", bytes(4), bytes(64)),))
        return CheckpointDocument("tallystick/checkpoint", 1, found), note

    def links(self, first: int, count: int, /) -> bytes:
        return self.link * 2

    def consistency(self, first: int, second: int, /) -> tuple[bytes, bytes, list[bytes]]:
        if second > 2:
            raise Refused(RejectReason.NOT_FOUND, "There is no such height.")
        return bytes(32), bytes(32), []

    def block(self, height: int, /) -> Block | None:
        proof = self._block_proof()
        bodies = tuple(body_id(raw) for raw in self.raws)
        return Block(proof.header, proof.result, proof.certificate, bodies) if height == 1 else None

    def _outcome(self, index: int) -> Outcome:
        raw = self.raws[index]
        transaction: Transaction = TRANSACTION.decode(raw)
        outcome = Outcome(
            1,
            0,
            1,
            index,
            0,
            body_id(raw),
            NETWORK.digest(transaction),
            kind_of(transaction),
            transaction.account,
            transaction.id,
            Status.SETTLED,
            True,
            0,
        )
        return OUTCOME.decode(OUTCOME.encode(outcome))

    def _block_proof(self) -> BlockProof:
        root = bytes(32)
        header = Header(1, NETWORK.chain, 0, 0, 1, root, root, NOW_MS, 0, root)
        votes = tuple(CertVote(NodeId(n), bytes(64)) for n in range(3))
        certificate = Certificate(2, 0, 3, 1, self.link, root, votes)  # type: ignore[arg-type]
        return BlockProof(header, Result(self.state_root, root), certificate)


@dataclass
class FakeNode:
    """Behind the ports `Node` and `Submitter`. `answers` scripts the outcome of a body; others are received."""

    ledger: FakeLedger
    status_now: NodeStatus = NodeStatus()
    answers: dict[bytes, Answer] = field(default_factory=dict)
    seen: list[tuple[tuple[bytes, ...], Wait, ParticipantId | None, float]] = field(
        default_factory=list
    )
    refusal: Refused | None = None
    hold: threading.Event | None = None
    room: bool = True
    """If given, a submission waits for it: a driver that is slow."""

    @property
    def reader(self) -> FakeLedger:
        return self.ledger

    def status(self) -> NodeStatus:
        return self.status_now

    @property
    def has_room(self) -> bool:
        return self.room

    async def submit(
        self,
        bodies: Sequence[bytes],
        wait: Wait,
        participant: ParticipantId | None,
        timeout_s: float,
    ) -> tuple[Answer, ...]:
        self.seen.append((tuple(bodies), wait, participant, timeout_s))
        if self.refusal is not None:
            raise self.refusal
        if self.hold is not None:
            await asyncio.to_thread(self.hold.wait)
        return tuple(self._answer(raw, participant) for raw in bodies)

    def _answer(self, raw: bytes, participant: ParticipantId | None) -> Answer:
        if raw in self.answers:
            return self.answers[raw]
        if raw in self.ledger.raws:
            return Answer("final", body_id(raw), height=1, index=self.ledger.raws.index(raw))
        verdict = CHECKER.check(raw)
        if isinstance(verdict, BadBody):
            return Answer("refused", body_id(raw), verdict.reason, verdict.detail)
        until_ms, validity_ms = (
            verdict.transaction.valid_until_ms,
            NETWORK.genesis.parameters.max_validity_ms,
        )
        if fault := ordering_fault(until_ms, self.ledger.time_ms, validity_ms):
            return Answer("refused", body_id(raw), fault)
        record = self.ledger.accounts.get(verdict.transaction.account)
        if participant is not None and record is not None and record.participant != participant:
            return Answer("refused", body_id(raw), RejectReason.FOREIGN_ACCOUNT)
        return Answer("received", body_id(raw))


@dataclass
class FakeLeading:
    """Confirms every read, and hands over to member 1; a refusal, if one is given."""

    refusal: RejectReason | None = None
    reads: int = 0
    handed_to: list[NodeId | None] = field(default_factory=list)

    async def read_at_quorum(self) -> None:
        self.reads += 1
        if self.refusal is not None:
            raise Refused(self.refusal)

    async def hand_over(self, to: NodeId | None) -> bool:
        self.handed_to.append(to)
        if self.refusal is not None:
            raise Refused(self.refusal)
        return True


@dataclass
class FakeAudit:
    lag_ms: int = 120
    blocks_executed: int = 7
    divergence: str | None = None


class Clock:
    def __init__(self) -> None:
        self.ms = NOW_MS

    def now_ms(self) -> int:
        return self.ms

    def now_s(self) -> float:
        return self.ms / 1000


def certificate_files(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    crt, pem = folder / f"{name}.crt", folder / f"{name}.key"
    crt.write_bytes(certificate.public_bytes(Encoding.PEM))
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return crt, pem


class Issuer:
    """An issuer of tokens with an ES256 and an Ed25519 key."""

    def __init__(self) -> None:
        self.es256 = ECKey.generate_key("P-256", parameters={"kid": "p"})
        self.ed25519 = OKPKey.generate_key("Ed25519", parameters={"kid": "e"})

    def jwks(self) -> bytes:
        keys = [key.as_dict(private=False) for key in (self.es256, self.ed25519)]
        return json.dumps({"keys": keys}).encode()

    def token(self, scope: str, participant: int | None = None, **claims: object) -> str:
        """A good token; claims given replace or (None) remove those of a good one."""
        full: dict[str, object] = {
            "sub": "tester",
            "scope": scope,
            "aud": str(NETWORK.chain),
            "exp": EXPIRES_S,
            "participant": participant,
        }
        full = {name: value for name, value in (full | claims).items() if value is not None}
        return jwt.encode({"alg": "ES256", "kid": "p"}, full, self.es256)


class Stage:
    """Starts the server in a thread of its own; a context manager."""

    def __init__(
        self,
        folder: Path,
        observer: bool = False,
        requests_per_s: int = 10_000,
        idle_s: float = bounds.IDLE_CONNECTION_S,
    ) -> None:
        self.clock = Clock()
        self.issuer = Issuer()
        self.settled = transfer_of(OWN, OTHER, 1)
        self.foreign = transfer_of(OTHER, THIRD, 2)
        self.node = FakeNode(FakeLedger([self.settled, self.foreign]))
        self.audit = FakeAudit()
        self.leading = FakeLeading()
        self.principal_files = certificate_files(folder, "treasury")
        self.stranger_files = certificate_files(folder, "stranger")
        crt, key = certificate_files(folder, "node")
        treasury = self.principal_files[0].read_text()
        self.parts = self._parts(treasury, observer, requests_per_s)
        self.app = make_app(self.parts, observer_routes() if observer else ROUTES)
        self.context = server_context(crt, key, [treasury])
        self._certificate = crt.read_text()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.server = ApiServer(self.app, self.context, idle_s=idle_s)

    def _parts(self, treasury: str, observer: bool, requests_per_s: int) -> ApiParts:
        registry = CollectorRegistry()
        registry.register(NodeGauges(self.node.status, self.clock.now_ms))
        tokens = Tokens(load_jwks(self.issuer.jwks()), str(NETWORK.chain), self.clock.now_ms)
        owner = Principal("key:treasury", frozenset({Scope.SUBMIT}), ParticipantId(2))
        certified = {spki_hash(treasury.encode()): owner}
        return ApiParts(
            network=NETWORK,
            node=self.node,
            submitter=None if observer else self.node,
            gate=Gate(tokens, certified),
            quotas=Quotas(requests_per_s, 10_000, 10_000, self.clock.now_s),
            now_ms=self.clock.now_ms,
            registry=registry,
            meters=Meters(registry),
            audit=(lambda: self.audit) if observer else None,
            leading=None if observer else self.leading,
            ledger_rows=None if observer else lambda: iter([[(b"m/final", bytes(40))]]),
        )

    def __enter__(self) -> Self:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(
            self.server.start("127.0.0.1", 0), self._loop
        ).result()
        self.edge = Edge("127.0.0.1", port, self._certificate)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def refused(raw: bytes, reason: RejectReason) -> Answer:
    return Answer("refused", BodyId(body_id(raw)), reason)

"""A node's API behind real TLS, with scripted manners, over a ledger whose certificates are genuine.

The ledger is honest evidence: blocks signed by the small network's vote keys. What a fake node does with it is not.
"""

import asyncio
import datetime
import hashlib
import ssl
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tallystick.network.proofs.absence import AbsenceProof, Neighbour, sought
from tallystick.network.proofs.certificates import Certificate, CertVote
from tallystick.network.proofs.document import receipt_to_document, to_document
from tallystick.network.proofs.merkle import Tree, leaf_hash, leaf_hashes
from tallystick.network.proofs.receipts import (
    BUNDLE,
    OUTCOME,
    BlockProof,
    Bundle,
    BundleItem,
    Outcome,
    Receipt,
    Status,
    receipt_of,
)
from tallystick.network.proofs.state_map import StateMap
from tallystick.network.proofs.state_proof import leaf_hash as state_leaf
from tallystick.network.proofs.windows import (
    BYTES_ONLY,
    CLOSED_WINDOW,
    TOOK_ID,
    WINDOWS_KEY,
    WINDOWS_MARK,
    ClosedWindow,
    WindowsMark,
    window_key,
    window_start,
)
from tallystick.network.wire.blocks import Header, Result, link_of
from tallystick.network.wire.digest import Tag
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.signing import Phase, held_message, vote_message
from tallystick.network.wire.transactions import OpenAccount
from tallystick.network.wire.transactions.codec import body_id, decode, kind_of
from tallystick.wallet.network_file import EndpointEntry
from tests.unit.wallet.networks import NOW_MS, SmallNetwork

OPENED = bytes([5]) * 20
RECORD = msgspec.msgpack.encode((1, 2, 0, 1, 1, (bytes([2]) * 33,), (("USD", 12_345),), ()))


@dataclass
class Ledger:
    """Certified blocks of one or more transactions."""

    network: SmallNetwork
    height: int = 0
    time_ms: int = NOW_MS
    receipts: dict[bytes, Receipt] = field(default_factory=dict)
    """By body id."""

    def order(
        self, raws: list[bytes], reason: RejectReason | None = None, signers: int = 3
    ) -> None:
        """One block with these transactions, all settled or all rejected for `reason`."""
        self.height += 1
        ids = [body_id(raw) for raw in raws]
        outcomes = [self._outcome(raw, index, reason) for index, raw in enumerate(raws)]
        transactions = Tree(ids)
        results = Tree([leaf_hash(OUTCOME.encode(outcome)) for outcome in outcomes])
        proof = self.block(transactions.root, results.root, bytes(32), signers)
        for index, raw in enumerate(raws):
            item = BundleItem(outcomes[index], transactions.path(index), results.path(index))
            self.receipts[ids[index]] = receipt_of(raw, proof, item)

    def block(
        self, tx_root: bytes, receipts_root: bytes, state_root: bytes, signers: int = 3
    ) -> BlockProof:
        """A block at the present height, signed by the first `signers` members."""
        chain = self.network.terms.chain
        header = Header(
            1, chain, 0, 0, self.height, bytes([1]) * 32, bytes([2]) * 32, self.time_ms, 0, tx_root
        )
        result = Result(state_root, receipts_root)
        link = link_of(header, result)
        message = vote_message(
            chain,
            0,
            Epoch(0),
            View(0),
            Height(self.height),
            Phase.COMMIT,
            link,
            Link(header.parent_link),
        )
        votes = tuple(
            CertVote(NodeId(index), key.sign(message))
            for index, key in enumerate(self.network.vote_keys[:signers])
        )
        certificate = Certificate(
            Phase.COMMIT,
            Epoch(0),
            View(0),
            Height(self.height),
            link,
            Link(header.parent_link),
            votes,
        )
        return BlockProof(header, result, certificate)

    def bundles(self, ids: list[bytes]) -> list[bytes]:
        by_block: dict[int, list[Receipt]] = {}
        for each in ids:
            if (receipt := self.receipts.get(each)) is not None:
                by_block.setdefault(receipt.outcome.height, []).append(receipt)
        return [
            BUNDLE.encode(
                Bundle(
                    receipts[0].block,
                    tuple(
                        BundleItem(each.outcome, each.transaction_path, each.outcome_path)
                        for each in receipts
                    ),
                )
            )
            for _, receipts in sorted(by_block.items())
        ]

    def account(self, account: bytes) -> dict[str, Any]:
        """An answer to GET account, at a new height whose state holds this one record."""
        self.height += 1
        key, blind = b"account/" + account, bytes([7]) * 32
        key_hash = hashlib.sha256(key).digest()
        state = StateMap()
        state.load([(key_hash, state_leaf(key, RECORD, blind))])
        return {
            "headroom": [],
            "proof": {
                "key": key.hex(),
                "value": RECORD.hex(),
                "blind": blind.hex(),
                "state": to_document(state.prove(key_hash)),
                "block": to_document(self.block(bytes(32), bytes(32), state.root)),
            },
        }

    def absence(
        self, account: bytes, id_: bytes, digest: bytes, until_ms: int
    ) -> AbsenceProof | bytes | None:
        """As a node answers at the present time: the proof, the body id of the one that was ordered, None while it is open."""
        width = self.network.genesis.parameters.window_ms
        start_ms, oldest_ms = window_start(until_ms, width), window_start(self.time_ms, width)
        if start_ms >= oldest_ms:
            return None
        entries = sorted(
            each.outcome.account
            + each.outcome.id
            + each.outcome.digest
            + (BYTES_ONLY if each.outcome.reason == RejectReason.WRONG_KEYS.number else TOOK_ID)
            + each.outcome.body_id
            for each in self.receipts.values()
            if window_start(decode(each.transaction).valid_until_ms, width) == start_ms
        )
        place = sought(account, id_, digest)
        at = bisect_left(entries, place)
        if at < len(entries) and entries[at][:84] == place[:84]:
            return entries[at][-32:]
        tree = Tree(leaf_hashes(entries))
        window = ClosedWindow(tree.size, tree.root) if entries else None
        mark = WindowsMark(1, oldest_ms, oldest_ms, 0, 0, b"")
        records = {WINDOWS_KEY: WINDOWS_MARK.encode(mark)}
        if window is not None:
            records[window_key(start_ms)] = CLOSED_WINDOW.encode(window)
        keys = {key: hashlib.sha256(key).digest() for key in (WINDOWS_KEY, window_key(start_ms))}
        state = StateMap()
        state.load(sorted((keys[key], state_leaf(key, value)) for key, value in records.items()))
        self.height += 1
        block = self.block(bytes(32), bytes(32), state.root)
        before, after = (
            Neighbour(index, entries[index], tree.path(index))
            if 0 <= index < len(entries)
            else None
            for index in (at - 1, at)
        )
        proofs = [state.prove(key) for key in keys.values()]
        return AbsenceProof(mark, proofs[0], window, proofs[1], before, after, block)

    def _outcome(self, raw: bytes, index: int, reason: RejectReason | None) -> Outcome:
        transaction = decode(raw)
        return Outcome(
            version=1,
            lane=0,
            height=self.height,
            index=index,
            cause=0,
            body_id=body_id(raw),
            digest=self.network.digester.digest(transaction),
            kind=kind_of(transaction),
            account=transaction.account,
            id=transaction.id,
            status=Status.REJECTED if reason else Status.SETTLED,
            final=True,
            reason=reason.number if reason else 0,
            opened=OPENED if isinstance(transaction, OpenAccount) and not reason else b"",
        )


Manner = Callable[["FakeNode", list[bytes]], Any]
"""(node, raws) → the results of a JSON submission, or a `web.Response` or a `RejectReason`."""


@dataclass
class FakeNode:
    """One API. `manner` decides what POST answers; it may be changed while the node runs."""

    name: str
    ledger: Ledger
    manner: Manner
    member: int | None
    asked: list[bytes] = field(default_factory=list)
    """Every raw transaction handed in, repeats included."""
    tokens: list[str] = field(default_factory=list)
    genesis_hash: bytes | None = None
    conceals: bool = False
    """It says that it has no absence, whatever it has."""
    pruned: bool = False
    """It knows what was ordered, and has no transaction of it any more."""
    lags: bool = False
    """It knows of nothing."""
    url: str = ""
    key_hash: bytes = b""
    _runner: web.AppRunner | None = None

    async def start(self, folder: Path) -> EndpointEntry:
        certificate, key, self.key_hash = tls_files(folder, self.name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(certificate, key)
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_post("/v1/transactions", self._submit)
        app.router.add_get("/v1/receipts/{account}/{id}", self._receipt)
        app.router.add_get("/v1/absences/{account}/{id}", self._absence)
        app.router.add_get("/v1/transactions/{account}/{id}", self._missing)
        app.router.add_get("/v1/accounts/{account}", self._account)
        app.router.add_get("/v1/status", self._status)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"https://127.0.0.1:{port}"
        return EndpointEntry(self.name, self.url, self.key_hash.hex(), self.member)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _submit(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers.get("Authorization", ""))
        binary = request.content_type == "application/msgpack"
        body = await request.read()
        if binary:
            raws = msgspec.msgpack.decode(body)[2]
        else:
            raws = [bytes.fromhex(text) for text in msgspec.json.decode(body)["transactions"]]
        self.asked += raws
        results = self.manner(self, raws)
        if asyncio.iscoroutine(results):
            results = await results
        if isinstance(results, web.Response):
            return results
        if isinstance(results, RejectReason):
            return problem(results)
        if binary:
            return self._binary(raws, results)
        return web.json_response({"results": results})

    def _binary(self, raws: list[bytes], results: list[dict[str, Any]]) -> web.Response:
        rows = []
        for raw, result in zip(raws, results, strict=True):
            state = ("refused", "received", "accepted", "final").index(result["state"])
            reason = RejectReason[result["reason"]].number if result.get("reason") else 0
            receipt = self.ledger.receipts.get(body_id(raw))
            place = (receipt.outcome.height, receipt.outcome.index) if receipt else (0, 0)
            rows.append((state, body_id(raw), reason, *place))
        bundles = self.ledger.bundles([body_id(raw) for raw in raws])
        body = msgspec.msgpack.encode((rows, bundles))
        return web.Response(body=body, content_type="application/msgpack")

    async def _receipt(self, request: web.Request) -> web.Response:
        if self.pruned or self.lags:
            return problem(RejectReason.BELOW_SNAPSHOT if self.pruned else RejectReason.NOT_FOUND)
        for receipt in self.ledger.receipts.values():
            outcome = receipt.outcome
            names = {"account": outcome.account, "id": outcome.id}
            wanted = {**request.match_info, **request.query}
            wanted_bytes = {name: bytes.fromhex(text) for name, text in wanted.items()}
            names |= {"digest": outcome.digest, "body_id": outcome.body_id}
            if all(names[name] == value for name, value in wanted_bytes.items()):
                return web.json_response(receipt_to_document(receipt))
        return problem(RejectReason.NOT_FOUND)

    async def _absence(self, request: web.Request) -> web.Response:
        account, id_ = (bytes.fromhex(request.match_info[name]) for name in ("account", "id"))
        digest, until_ms = (
            bytes.fromhex(request.query["digest"]),
            int(request.query["valid_until_ms"]),
        )
        if self.conceals:
            return problem(RejectReason.NOT_FOUND)
        found = self.ledger.absence(account, id_, digest, until_ms)
        if found is None:
            return problem(RejectReason.NOT_FOUND)
        if isinstance(found, bytes):
            return web.json_response(
                {"code": RejectReason.ALREADY_ORDERED.code, "body_id": found.hex()},
                status=400,
                content_type="application/problem+json",
            )
        return web.json_response(to_document(found))

    async def _missing(self, request: web.Request) -> web.Response:
        return problem(RejectReason.NOT_FOUND)

    async def _account(self, request: web.Request) -> web.Response:
        return web.json_response(self.ledger.account(bytes.fromhex(request.match_info["account"])))

    async def _status(self, request: web.Request) -> web.Response:
        zeros = bytes(32).hex()
        genesis = self.genesis_hash or self.ledger.network.terms.genesis_hash
        return web.json_response(
            {
                "network": "small", "genesis_hash": genesis.hex(), "node": self.member or 0, "role": "member",
                "engine": "pbft", "epoch": 0, "view": 0, "leader": 0, "height": self.ledger.height, "link": zeros,
                "state_root": zeros, "block_time_ms": self.ledger.time_ms, "pool_size": 0, "in_flight": 0,
                "peers_up": [1, 2, 3], "halted": None, "ready": True,
            }
        )  # fmt: skip


def problem(reason: RejectReason, status: int | None = None) -> web.Response:
    statuses = {RejectReason.OVERLOADED: 429, RejectReason.NOT_FOUND: 404, RejectReason.UNAUTHENTICATED: 401,
                RejectReason.NOT_READY: 503, RejectReason.BELOW_SNAPSHOT: 410}  # fmt: skip
    return web.json_response(
        {
            "code": reason.code,
            "detail": reason.sentence,
            "title": "",
            "retryable": reason.retryable,
        },
        status=status or statuses.get(reason, 400),
        content_type="application/problem+json",
        headers={"Retry-After": "0"} if reason.retryable else {},
    )


def settling(node: FakeNode, raws: list[bytes]) -> list[dict[str, Any]]:
    """An honest node: orders what is new, answers what it knows."""
    new = [raw for raw in raws if body_id(raw) not in node.ledger.receipts]
    if new:
        node.ledger.order(new)
    return [
        {"state": "final", "receipt": receipt_to_document(node.ledger.receipts[body_id(raw)])}
        for raw in raws
    ]


def rejecting(reason: RejectReason) -> Manner:
    def manner(node: FakeNode, raws: list[bytes]) -> list[dict[str, Any]]:
        node.ledger.order(raws, reason)
        return settling(node, raws)

    return manner


def refusing(reason: RejectReason) -> Manner:
    """Each transaction for itself when there are several, the whole request when there is one."""

    def manner(node: FakeNode, raws: list[bytes]) -> Any:
        if len(raws) == 1 or reason.retryable:
            return reason
        return [{"state": "refused", "reason": reason.code} for _ in raws]

    return manner


async def _never() -> None:
    await asyncio.sleep(3_600)


def silent(node: FakeNode, raws: list[bytes]) -> Any:
    return _never()


def received(node: FakeNode, raws: list[bytes]) -> list[dict[str, Any]]:
    return [{"state": "received"} for _ in raws]


def accepted(node: FakeNode, raws: list[bytes], holders: int = 2) -> list[dict[str, Any]]:
    siblings = [body_id(raw) for raw in raws] + [bytes([9]) * 32]
    batch = Tag(b"tallystick/batch").hash(b"".join(siblings))
    network = node.ledger.network
    message = held_message(network.terms.chain, 0, batch)
    signed = [
        {"node": index, "signature": key.sign(message).hex()}
        for index, key in enumerate(network.vote_keys[:holders])
    ]
    return [
        {
            "state": "accepted",
            "holders": signed,
            "batch": batch.hex(),
            "siblings": [each.hex() for each in siblings],
        }
        for _ in raws
    ]


def tls_files(folder: Path, name: str) -> tuple[Path, Path, bytes]:
    """A self-signed certificate that expired long ago: identity is the key, dates do not matter."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    begin = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return *paths, hashlib.sha256(spki).digest()

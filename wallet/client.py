"""`Wallet`: one account, one signer, several nodes. What it returns has been verified; what it could not verify, it raises.

    async with Wallet.connect("network.json", signer, token=token) as wallet:
        outcome = await wallet.pay(creditor, "4.00", "USD")

Decided here: the calls of an app. Not here: going from node to node (`pursuit`), belief (`checking`), many at once (`bulk`).
"""

import secrets
import time
from collections.abc import Callable, Generator, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tallystick.network.wire.eip712 import Digester, Domain
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import genesis_hash
from tallystick.network.wire.ids import AccountId, PaymentId, TxDigest
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import Transaction
from tallystick.network.wire.transactions.codec import decode
from tallystick.wallet.bulk import Bulk
from tallystick.wallet.checking import Checker
from tallystick.wallet.core import build
from tallystick.wallet.core.approvals import Signer, signed_by
from tallystick.wallet.core.build import Terms, same_intent
from tallystick.wallet.core.outcomes import (
    Accepted,
    FinalOutcome,
    Outcome,
    Pending,
    Received,
    Rejected,
)
from tallystick.wallet.core.signed import Signed, names_of, seal
from tallystick.wallet.endpoints import PATIENCE, Endpoints, Patience
from tallystick.wallet.errors import (
    BadFile,
    WalletError,
    from_refused,
)
from tallystick.wallet.network_file import NetworkFile
from tallystick.wallet.pursuit import Pursuit, Wait
from tallystick.wallet.reading import Balance, NodeStatus, Reader
from tallystick.wallet.resolving import Resolving
from tallystick.wallet.tls import Credentials

T = TypeVar("T")


class Wallet:
    """See the module. Not to be shared between event loops; close it, or use it with `async with`."""

    def __init__(
        self,
        network: NetworkFile | Path | str,
        signer: Signer | None = None,
        account: AccountId | str | None = None,
        token: str | None = None,
        *,
        certificate: tuple[Path, Path] | None = None,
        patience: Patience = PATIENCE,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Reads files, opens no connection. See `connect`."""
        self.network = network if isinstance(network, NetworkFile) else NetworkFile.load(network)
        genesis = self.network.genesis
        self.terms = Terms.of(genesis)
        self.digester = Digester(Domain(self.terms.chain, genesis_hash(genesis)))
        self.checker = Checker(genesis)
        self.signer = signer
        self.now_ms = now_ms
        self.own_account = self._find_account(account)
        chain, key = certificate or (None, None)
        self.endpoints = Endpoints(
            self.network.endpoints,
            Credentials(token and token.strip(), chain, key),
            patience,
            watched=self.network.observers,
        )
        self.reader = Reader(self.endpoints, self.checker, self.terms, now_ms)

    @classmethod
    def connect(
        cls,
        network: NetworkFile | Path | str,
        signer: Signer | None = None,
        account: AccountId | str | None = None,
        token: str | None = None,
        *,
        certificate: tuple[Path, Path] | None = None,
        patience: Patience = PATIENCE,
    ) -> "Connecting":
        """`await` it or use it with `async with`. Checks that a node answers and speaks for this genesis file.

        `network`: network.json or its folder. `account`: who pays (40 hex digits); without it, the root account of the
        participant to whom the signer's key belongs. `token`: bearer token; `certificate`: (certificate, key) files.
        Raises `BadFile`, `Unreachable`, `Denied`, `WrongNetwork`.
        """
        return Connecting(
            lambda: cls(network, signer, account, token, certificate=certificate, patience=patience)
        )

    @property
    def account(self) -> AccountId:
        """Whom this wallet pays for. `BadFile` if it was told neither an account nor a key that has one."""
        if self.own_account is None:
            raise BadFile(
                "no account: the signer's key is no participant's root key",
                hint="Name the paying account (40 hex digits).",
            )
        return self.own_account

    async def pay(
        self,
        creditor: AccountId | str,
        amount: str | Decimal,
        asset: str,
        *,
        id: PaymentId | str | None = None,  # noqa: A002
        valid_for_s: int = 600,
        settle_by_ms: int = 0,
        payload_root: bytes = bytes(32),
        wait: Wait = "final",
        timeout_s: float | None = None,
        keep: Callable[[Signed], None] | None = None,
    ) -> Outcome:
        """Pay. Returns `Settled` or `Rejected` (verified), `Expired` (on evidence), or what `wait` asked for.

        `id`: 32 bytes, or text (64 hex digits, a UETR, a reference); random if absent. Under an id that this account has
        used, nothing is paid again: the same payment gets its first outcome, another one `Rejected` with ID_TAKEN.
        `keep` is told what was signed before it leaves: who keeps that can have it proven absent, should it be lost (`resolve`).
        Raises `NotTaken` (refused before ordering), `OutcomeUnknown` (ask again with its reference), `Unreachable`, `Denied`.
        """
        with _refusing():
            transaction = build.transfer(
                self.terms,
                account=self.account,
                creditor=_account(creditor),
                amount=amount,
                asset=asset,
                id=_id(id),
                now_ms=self.now_ms(),
                valid_for_ms=valid_for_s * 1_000,
                settle_by_ms=settle_by_ms,
                payload_root=payload_root,
            )
        signed = self.sign(transaction)
        if keep is not None:
            keep(signed)
        outcome = await self.send(signed, wait=wait, timeout_s=timeout_s)
        return outcome if id is None else await self.first_outcome(transaction, outcome)

    async def issue(
        self,
        creditor: AccountId | str,
        amount: str | Decimal,
        asset: str,
        *,
        id: PaymentId | str | None = None,  # noqa: A002
        valid_for_s: int = 600,
        wait: Wait = "final",
        timeout_s: float | None = None,
    ) -> Outcome:
        """Create an amount in `creditor`; the wallet's account must be the asset's issuer. As `pay` otherwise."""
        with _refusing():
            transaction = build.issue(
                self.terms,
                account=self.account,
                creditor=_account(creditor),
                amount=amount,
                asset=asset,
                id=_id(id),
                now_ms=self.now_ms(),
                valid_for_ms=valid_for_s * 1_000,
            )
        return await self.send(self.sign(transaction), wait=wait, timeout_s=timeout_s)

    async def open_account(
        self,
        keys: Sequence[bytes],
        threshold: int = 1,
        tier: int = 0,
        *,
        id: PaymentId | str | None = None,  # noqa: A002
        valid_for_s: int = 600,
        wait: Wait = "final",
        timeout_s: float | None = None,
    ) -> Outcome:
        """Open an account of this participant; `Settled.opened` is its id. The wallet's account must be the root one."""
        with _refusing():
            transaction = build.open_account(
                self.terms,
                account=self.account,
                keys=keys,
                threshold=threshold,
                tier=tier,
                seed=secrets.token_bytes(16),
                id=_id(id),
                now_ms=self.now_ms(),
                valid_for_ms=valid_for_s * 1_000,
            )
        return await self.send(self.sign(transaction), wait=wait, timeout_s=timeout_s)

    def sign(self, transaction: Transaction) -> Signed:
        """Sign with this wallet's one key. For several keys see `wallet.core.approvals`."""
        if self.signer is None:
            raise BadFile("this wallet has no key: it can only read", hint="Give a keystore.")
        with _refusing():
            digest = self.digester.digest(transaction)
            return seal(signed_by(transaction, digest, self.signer), self.digester)

    async def send(
        self, signed: Signed | Transaction, *, wait: Wait = "final", timeout_s: float | None = None
    ) -> Outcome:
        """Hand over what is signed, and pursue it. `timeout_s` None: until it is final or provably past its deadline."""
        with _refusing():
            sealed = signed if isinstance(signed, Signed) else seal(signed, self.digester)
        pursuit = Pursuit(self.endpoints, self.checker, sealed, wait, timeout_s, self.now_ms)
        return await pursuit.run()

    async def first_outcome(self, transaction: Transaction, outcome: T) -> T | FinalOutcome:
        """If `outcome` says ID_TAKEN by the very same payment (but for its deadline): that one's outcome, else `outcome`."""
        taken = isinstance(outcome, Rejected) and outcome.reason is RejectReason.ID_TAKEN
        if not taken:
            return outcome
        try:
            first = await self.resolve(transaction.account, transaction.id)
        except WalletError:
            return outcome
        if isinstance(first, Pending | Received | Accepted) or first.receipt is None:
            return outcome
        return first if same_intent(transaction, decode(first.receipt.transaction)) else outcome

    async def submit_many(
        self,
        transactions: Sequence[Signed | Transaction],
        *,
        sent_before: frozenset[int] = frozenset(),
        timeout_s: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[FinalOutcome | WalletError]:
        """Many at once by the binary route, over all nodes; one outcome or error for each, in order.

        `progress` is told how many are done, from time to time. `sent_before`: positions of those whose bytes an earlier
        call may have handed over, so that a passed deadline alone does not make them unpaid.
        """
        with _refusing():
            sealed = [
                each if isinstance(each, Signed) else seal(each, self.digester)
                for each in transactions
            ]
        bulk = Bulk(
            self.endpoints, self.checker, sealed, sent_before, timeout_s, progress, self.now_ms
        )
        return await bulk.run()

    async def resolve(
        self,
        account: AccountId | str,
        id: PaymentId | str,  # noqa: A002
        digest: TxDigest | bytes | None = None,
        *,
        transaction: Signed | Transaction | None = None,
        timeout_s: float | None = None,
    ) -> Outcome:
        """What became of (account, id): a verified final outcome, or `Pending`. `NotFound` if no node knows of it, `Archived`
        if those that answer only know that it was ordered.

        With `digest`, only that very transaction; without, the one that took the id. With `transaction` (its signatures
        are not needed) it asks on until there is the transaction's receipt, or the proof that it was never ordered and
        never can be (`Expired.absence`), up to a window after its deadline; `OutcomeUnknown` after `timeout_s`.
        """
        if transaction is None:
            return await self.reader.resolve(_account(account), _id(id), digest)
        with _refusing():
            plain = decode(transaction.raw) if isinstance(transaction, Signed) else transaction
            ours = names_of(plain, self.digester)
            if (ours.account, ours.id) != (_account(account), _id(id)) or (
                digest not in (None, ours.digest)
            ):
                raise Refused(RejectReason.BAD_FIELD, "the transaction is another one's")
        return await Resolving(self.endpoints, self.checker, plain, ours, timeout_s).run()

    async def balance(
        self, account: AccountId | str | None = None, *, confirmed: bool = False
    ) -> Balance:
        """The proven balances of an account (default: this wallet's own). `NotFound` if no node knows it.

        A proof says what was true at `time_ms`. With `confirmed`, the node first asks a quorum whether it has missed
        anything, so that the answer holds whatever was final anywhere when this was called; `NotTaken` with NOT_CONFIRMED
        if no node reaches a quorum. With PBFT no f members can spoil that; but it is the asked node's word that it asked.
        """
        wanted = self.account if account is None else _account(account)

        return await self.reader.balance(wanted, confirmed)

    async def status(self) -> list[NodeStatus]:
        """Every node's word about itself, in the order of the network file."""
        return await self.reader.status()

    async def close(self) -> None:
        await self.endpoints.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _find_account(self, account: AccountId | str | None) -> AccountId | None:
        if account is not None:
            return _account(account)
        if self.signer is None:
            return None
        for participant in self.network.genesis.participants:
            if self.signer.key in participant.keys:
                return self.terms.root_account(participant.id)
        return None


class Connecting:
    """What `Wallet.connect` returns: awaitable, and an asynchronous context manager."""

    def __init__(self, make: Callable[[], Wallet]) -> None:
        self._make = make
        self._wallet: Wallet | None = None

    def __await__(self) -> Generator[Any, None, Wallet]:
        return self._connected().__await__()

    async def __aenter__(self) -> Wallet:
        self._wallet = await self._connected()
        return self._wallet

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._wallet is not None:
            await self._wallet.close()

    async def _connected(self) -> Wallet:
        wallet = self._make()
        try:
            await wallet.reader.greet()
        except BaseException:
            await wallet.close()
            raise
        return wallet


class _refusing:  # noqa: N801  # reads as a statement: with _refusing(): ...
    """Our own refusals leave as `NotTaken`: nothing was sent."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, Refused):
            raise from_refused(error) from None


def _account(account: AccountId | bytes | str) -> AccountId:
    with _refusing():
        return build.parse_account(account) if isinstance(account, str) else AccountId(account)


def _id(id_: PaymentId | bytes | str | None) -> PaymentId:
    if id_ is None:
        return PaymentId(secrets.token_bytes(32))
    with _refusing():
        return build.parse_id(id_) if isinstance(id_, str) else PaymentId(id_)

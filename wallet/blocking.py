"""`BlockingWallet`: the same calls for programs without an event loop. Not for use inside a running one."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tallystick.network.wire.ids import AccountId, PaymentId, TxDigest
from tallystick.network.wire.transactions import Transaction
from tallystick.wallet.client import Wallet
from tallystick.wallet.core.approvals import Signer
from tallystick.wallet.core.outcomes import FinalOutcome, Outcome
from tallystick.wallet.core.signed import Signed
from tallystick.wallet.endpoints import PATIENCE, Patience
from tallystick.wallet.errors import WalletError
from tallystick.wallet.network_file import NetworkFile
from tallystick.wallet.pursuit import Wait
from tallystick.wallet.reading import Balance, NodeStatus

T = TypeVar("T")


class BlockingWallet:
    """See `Wallet`: each method has the same arguments, results and errors."""

    def __init__(self, wallet: Wallet, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.wallet = wallet

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
    ) -> Self:
        """As `Wallet.connect`; use it with `with`, or close it."""
        runner = asyncio.Runner()
        try:

            async def connected() -> Wallet:
                return await Wallet.connect(
                    network, signer, account, token, certificate=certificate, patience=patience
                )

            return cls(runner.run(connected()), runner)
        except BaseException:
            runner.close()
            raise

    @property
    def account(self) -> AccountId:
        return self.wallet.account

    def pay(
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
        return self._run(
            self.wallet.pay(
                creditor,
                amount,
                asset,
                id=id,
                valid_for_s=valid_for_s,
                settle_by_ms=settle_by_ms,
                payload_root=payload_root,
                wait=wait,
                timeout_s=timeout_s,
                keep=keep,
            )
        )

    def issue(
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
        return self._run(
            self.wallet.issue(
                creditor,
                amount,
                asset,
                id=id,
                valid_for_s=valid_for_s,
                wait=wait,
                timeout_s=timeout_s,
            )
        )

    def open_account(
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
        return self._run(
            self.wallet.open_account(
                keys,
                threshold,
                tier,
                id=id,
                valid_for_s=valid_for_s,
                wait=wait,
                timeout_s=timeout_s,
            )
        )

    def sign(self, transaction: Transaction) -> Signed:
        return self.wallet.sign(transaction)

    def send(
        self, signed: Signed | Transaction, *, wait: Wait = "final", timeout_s: float | None = None
    ) -> Outcome:
        return self._run(self.wallet.send(signed, wait=wait, timeout_s=timeout_s))

    def submit_many(
        self,
        transactions: Sequence[Signed | Transaction],
        *,
        sent_before: frozenset[int] = frozenset(),
        timeout_s: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[FinalOutcome | WalletError]:
        return self._run(
            self.wallet.submit_many(
                transactions, sent_before=sent_before, timeout_s=timeout_s, progress=progress
            )
        )

    def resolve(
        self,
        account: AccountId | str,
        id: PaymentId | str,  # noqa: A002
        digest: TxDigest | bytes | None = None,
        *,
        transaction: Signed | Transaction | None = None,
        timeout_s: float | None = None,
    ) -> Outcome:
        asked = self.wallet.resolve(
            account, id, digest, transaction=transaction, timeout_s=timeout_s
        )
        return self._run(asked)

    def balance(
        self, account: AccountId | str | None = None, *, confirmed: bool = False
    ) -> Balance:
        return self._run(self.wallet.balance(account, confirmed=confirmed))

    def status(self) -> list[NodeStatus]:
        return self._run(self.wallet.status())

    def close(self) -> None:
        self._run(self.wallet.close())
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(call)

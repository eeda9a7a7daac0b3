"""Tallystick: a settlement network for banks whose every outcome is verifiable offline. The face for apps.

    from tallystick import LocalSigner, Wallet

Names are imported when they are first used (PEP 562): importing `tallystick.network.wire` loads no wallet and no HTTP client.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallystick.network.proofs.absence import Absence, verify_absence
    from tallystick.network.proofs.document import (
        absence_from_bytes,
        absence_to_bytes,
        receipt_from_bytes,
        receipt_to_bytes,
    )
    from tallystick.network.proofs.receipts import Receipt
    from tallystick.network.proofs.verdict import Verdict
    from tallystick.network.proofs.verify import verify_receipt
    from tallystick.network.wire.genesis import Genesis
    from tallystick.wallet import errors
    from tallystick.wallet.blocking import BlockingWallet
    from tallystick.wallet.client import Wallet
    from tallystick.wallet.core import outcomes
    from tallystick.wallet.core.outcomes import (
        Accepted,
        Expired,
        Outcome,
        Pending,
        Received,
        Rejected,
        Settled,
    )
    from tallystick.wallet.errors import (
        NotTaken,
        OutcomeUnknown,
        Unreachable,
        Untrusted,
        WalletError,
    )
    from tallystick.wallet.network_file import NetworkFile, load_genesis
    from tallystick.wallet.reading import Balance
    from tallystick.wallet.signers import LocalSigner, Signer

_HOMES = {
    "tallystick.network.proofs.absence": ("Absence", "verify_absence"),
    "tallystick.network.proofs.document": (
        "absence_from_bytes",
        "absence_to_bytes",
        "receipt_from_bytes",
        "receipt_to_bytes",
    ),
    "tallystick.network.proofs.receipts": ("Receipt",),
    "tallystick.network.proofs.verdict": ("Verdict",),
    "tallystick.network.proofs.verify": ("verify_receipt",),
    "tallystick.network.wire.genesis": ("Genesis",),
    "tallystick.wallet.blocking": ("BlockingWallet",),
    "tallystick.wallet.client": ("Wallet",),
    "tallystick.wallet.core.outcomes": (
        "Accepted",
        "Expired",
        "Outcome",
        "Pending",
        "Received",
        "Rejected",
        "Settled",
    ),
    "tallystick.wallet.errors": (
        "NotTaken",
        "OutcomeUnknown",
        "Unreachable",
        "Untrusted",
        "WalletError",
    ),
    "tallystick.wallet.network_file": ("NetworkFile", "load_genesis"),
    "tallystick.wallet.reading": ("Balance",),
    "tallystick.wallet.signers": ("LocalSigner", "Signer"),
}
"""Module → the names that it lends to the face."""

_MODULES = {"errors": "tallystick.wallet.errors", "outcomes": "tallystick.wallet.core.outcomes"}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Absence",
    "Accepted",
    "Balance",
    "BlockingWallet",
    "Expired",
    "Genesis",
    "LocalSigner",
    "NetworkFile",
    "NotTaken",
    "Outcome",
    "OutcomeUnknown",
    "Pending",
    "Receipt",
    "Received",
    "Rejected",
    "Settled",
    "Signer",
    "Unreachable",
    "Untrusted",
    "Verdict",
    "Wallet",
    "WalletError",
    "absence_from_bytes",
    "absence_to_bytes",
    "errors",
    "load_genesis",
    "outcomes",
    "receipt_from_bytes",
    "receipt_to_bytes",
    "verify_absence",
    "verify_receipt",
]


if not TYPE_CHECKING:  # a type checker that saw this function would believe in every name

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _MODULES:
            found = import_module(_MODULES[name])
        elif name in _HOME_OF:
            found = getattr(import_module(_HOME_OF[name]), name)
        else:
            raise AttributeError(f"module 'tallystick' has no attribute {name!r}")
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""What can go wrong for an app, and what to do. Every error carries a stable `code`, a sentence and a `hint`.

A payment that the *ledger* rejects is not an error but an outcome with a receipt. Errors are: what was refused before it was
ordered, a node that lies, a network out of reach, and the one that matters most: `OutcomeUnknown`.
"""

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import BY_CODE, RejectReason
from tallystick.wallet.core.outcomes import Reference


class WalletError(Exception):
    """The root of them all."""

    code = "WALLET_ERROR"
    hint = ""

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        self.sentence = sentence
        self.hint = hint or type(self).hint
        super().__init__(sentence)


class BadFile(WalletError):
    """A network file, genesis file, token or certificate that cannot be used."""

    code = "BAD_FILE"
    hint = "Ask your operator for the network folder's files again: network.json and genesis.json."


class BadKeystore(WalletError):
    """The keystore file cannot be opened. Deliberately does not say which byte was wrong."""

    code = "BAD_KEYSTORE"
    hint = "Check the password and that the file is an Ethereum keystore of version 3, unchanged."


class WrongNetwork(WalletError):
    """A node speaks for another network than the genesis file."""

    code = "WRONG_NETWORK"
    hint = "Compare the genesis file with your operator's: its hash is the network's name."


class Unreachable(WalletError):
    """No node answered. Nothing was handed over by this call."""

    code = "UNREACHABLE"
    hint = "Check the addresses in network.json and the connection; `tallystick status` asks every node."


class Untrusted(WalletError):
    """A node gave an answer that its own evidence does not support. It was not believed."""

    code = "UNTRUSTED"
    hint = "Keep the message and tell the node's operator; the wallet goes on with other nodes."


class Denied(WalletError):
    """The node does not know us, or does not let us do this."""

    code = "FORBIDDEN"
    hint = "Renew the token (`tallystick network token`) or use one with the scope that this call needs."

    def __init__(self, sentence: str, reason: RejectReason, *, hint: str = "") -> None:
        super().__init__(sentence, hint=hint)
        self.reason = reason
        self.code = reason.code


class NotFound(WalletError):
    """There is no such account, transaction or receipt on the certified ledger."""

    code = "NOT_FOUND"
    hint = "Check the account and id; a payment that was never ordered has no receipt."


class Archived(WalletError):
    """The transaction was ordered, and of the nodes that answered none has its bytes any more: another node or an archive does."""

    code = "BELOW_SNAPSHOT"
    hint = (
        "Ask another node, or hand the same signed bytes in again: the answer brings the receipt."
    )


class NotTaken(WalletError):
    """Refused before ordering: nothing was accepted and there is no receipt. `reason` says why."""

    def __init__(self, reason: RejectReason, detail: str = "", *, hint: str = "") -> None:
        sentence = f"{reason.code}: {detail or reason.sentence}"
        super().__init__(sentence, hint=hint or HINTS.get(reason, ""))
        self.reason = reason
        self.detail = detail or reason.sentence
        self.code = reason.code
        self.retryable = reason.retryable


class OutcomeUnknown(WalletError):
    """Handed over, or perhaps handed over, and no final answer in time. Never sign a second id for the same intent.

    `reference` names the transaction: call `Wallet.resolve` with it until it is settled, rejected or expired.
    """

    code = "OUTCOME_UNKNOWN"
    hint = "Do not pay again under a new id. Ask again: `tallystick receipt show ACCOUNT ID`."

    def __init__(self, sentence: str, reference: Reference, *, hint: str = "") -> None:
        super().__init__(sentence, hint=hint)
        self.reference = reference


HINTS = {
    RejectReason.PAST_DEADLINE: "Check this machine's clock; sign again under the same id with a later deadline.",
    RejectReason.TOO_FAR_DEADLINE: "Choose a shorter validity, or check this machine's clock.",
    RejectReason.WRONG_CHAIN: "The genesis file is another network's: take the one beside network.json.",
    RejectReason.OVERLOADED: "Nothing was accepted. Wait as long as Retry-After says and send the same bytes again.",
    RejectReason.QUOTA_SPENT: "Nothing was accepted. Send more slowly, or ask for a larger quota.",
    RejectReason.NOT_READY: "Nothing was accepted. The node is starting or stopping; another one may be ready.",
    RejectReason.NOT_CONFIRMED: "Ask again: the members elect a leader, or too few are up. Without --confirmed, read what is proven.",
    RejectReason.BAD_SIGNATURE: "The key, the account or the genesis file do not belong together.",
    RejectReason.UNAUTHENTICATED: "Give a token (--token-file) or a client certificate that the node knows.",
    RejectReason.FOREIGN_ACCOUNT: "The token belongs to another participant than the account.",
    RejectReason.FORBIDDEN: "The token lacks the scope for this: submit, read:own or read:all.",
    RejectReason.UNKNOWN_ASSET: "See `assets` in the genesis file.",
    RejectReason.BAD_FIELD: "Correct the field and try again; nothing was sent.",
}
"""What to do about a reason, where that is not obvious."""


def from_problem(code: str, detail: str) -> WalletError:
    """The error for a node's problem code; codes that this release does not know are kept as they are."""
    reason = BY_CODE.get(code)
    if reason is None:
        error = WalletError(
            f"{code}: {detail}", hint="This release does not know the code: see the node's version."
        )
        error.code = code
        return error
    if reason in (
        RejectReason.UNAUTHENTICATED,
        RejectReason.FORBIDDEN,
        RejectReason.FOREIGN_ACCOUNT,
    ):
        return Denied(f"{code}: {detail or reason.sentence}", reason, hint=HINTS[reason])
    if reason is RejectReason.NOT_FOUND:
        return NotFound(detail or reason.sentence)
    if reason is RejectReason.BELOW_SNAPSHOT:
        return Archived(detail or reason.sentence)
    return NotTaken(reason, detail)


def from_refused(refused: Refused) -> NotTaken:
    """Our own check refused before anything was sent."""
    return NotTaken(refused.reason, refused.detail)

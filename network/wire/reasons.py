"""Every reason that Tallystick gives for saying no: a stable code, whose fault it is, whether to try again, one sentence.

A reason with `on_ledger` is given by the execution and stands in a receipt; the others refuse before ordering, so nothing
was accepted and no receipt exists. Codes are part of the format: add, never rename or renumber.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class _Reason:
    number: int
    code: str
    on_ledger: bool
    retryable: bool
    sentence: str


def _refusal(number: int, code: str, sentence: str, retryable: bool = False) -> _Reason:
    return _Reason(number, code, False, retryable, sentence)


def _outcome(number: int, code: str, sentence: str) -> _Reason:
    return _Reason(number, code, True, False, sentence)


class RejectReason(Enum):
    """Numbers below 100 refuse before ordering; from 100 they stand in receipts."""

    MALFORMED = _refusal(1, "MALFORMED", "The bytes are not a transaction of this version.")
    OVERSIZED = _refusal(2, "OVERSIZED", "The message is larger than its bound.")
    NON_CANONICAL = _refusal(
        3, "NON_CANONICAL", "The bytes are not the one canonical encoding of their value."
    )
    WRONG_CHAIN = _refusal(4, "WRONG_CHAIN", "The transaction is for another network.")
    WRONG_LANE = _refusal(5, "WRONG_LANE", "The transaction is for another lane.")
    PAST_DEADLINE = _refusal(6, "PAST_DEADLINE", "valid_until_ms lies before the ledger's time.")
    TOO_FAR_DEADLINE = _refusal(
        7, "TOO_FAR_DEADLINE", "valid_until_ms lies further ahead than this network allows."
    )
    BAD_SIGNATURE = _refusal(
        8, "BAD_SIGNATURE", "A signature does not match the transaction and its key."
    )
    HIGH_S_SIGNATURE = _refusal(
        9, "HIGH_S_SIGNATURE", "A signature is in high-s form; sign again with low s."
    )
    BAD_KEY = _refusal(10, "BAD_KEY", "A public key is not a compressed secp256k1 point.")
    NO_SIGNATURE = _refusal(11, "NO_SIGNATURE", "The transaction carries no signature.")
    TOO_MANY_SIGNATURES = _refusal(
        12, "TOO_MANY_SIGNATURES", "The transaction carries too many signatures."
    )
    UNSORTED_SIGNATURES = _refusal(
        13, "UNSORTED_SIGNATURES", "Signatures must be sorted by key, each key once."
    )
    UNKNOWN_SUITE = _refusal(
        14, "UNKNOWN_SUITE", "The signature suite is not known to this network."
    )
    BAD_FIELD = _refusal(15, "BAD_FIELD", "A field is outside its bounds.")
    BAD_CERTIFICATE = _refusal(16, "BAD_CERTIFICATE", "The certificate is not a quorum's.")
    BAD_PROOF = _refusal(17, "BAD_PROOF", "The proof does not lead to the certified root.")
    ALREADY_ORDERED = _refusal(
        18, "ALREADY_ORDERED", "It has been ordered before; its first receipt is its outcome."
    )
    BLOCK_TOO_LARGE = _refusal(
        19, "BLOCK_TOO_LARGE", "The block exceeds its bound of transactions or work."
    )
    OVERLOADED = _refusal(
        20, "OVERLOADED", "The node is full. Nothing was accepted.", retryable=True
    )
    QUOTA_SPENT = _refusal(
        21, "QUOTA_SPENT", "The quota is spent. Nothing was accepted.", retryable=True
    )
    NOT_READY = _refusal(
        22, "NOT_READY", "The node cannot take work now. Nothing was accepted.", retryable=True
    )
    UNAUTHENTICATED = _refusal(
        30, "UNAUTHENTICATED", "No valid token or client certificate was presented."
    )
    FORBIDDEN = _refusal(31, "FORBIDDEN", "The principal may not do this.")
    NOT_FOUND = _refusal(32, "NOT_FOUND", "There is no such thing on the certified ledger.")
    BAD_REQUEST = _refusal(
        33, "BAD_REQUEST", "The request does not fit the interface's description."
    )
    FOREIGN_ACCOUNT = _refusal(
        34, "FOREIGN_ACCOUNT", "The account does not belong to the principal's participant."
    )

    NOT_CONFIRMED = _refusal(
        35,
        "NOT_CONFIRMED",
        "No quorum confirmed in time that this node is current. Nothing was read.",
        retryable=True,
    )
    NOT_LEADER = _refusal(36, "NOT_LEADER", "This node does not lead; there is nothing to hand on.")
    BELOW_SNAPSHOT = _refusal(
        37,
        "BELOW_SNAPSHOT",
        "This node has no transactions of blocks so far down: it joined from a snapshot, or they were archived. Ask another node.",
    )

    UNKNOWN_ACCOUNT = _outcome(100, "UNKNOWN_ACCOUNT", "The paying account does not exist.")
    WRONG_KEYS = _outcome(
        101,
        "WRONG_KEYS",
        "The signatures are not by the account's keys, or not exactly its threshold.",
    )
    ID_TAKEN = _outcome(
        102, "ID_TAKEN", "The account has already used this id for another transaction."
    )
    UNKNOWN_CREDITOR = _outcome(103, "UNKNOWN_CREDITOR", "The receiving account does not exist.")
    UNKNOWN_ASSET = _outcome(104, "UNKNOWN_ASSET", "The asset does not exist.")
    INSUFFICIENT_FUNDS = _outcome(
        105, "INSUFFICIENT_FUNDS", "The balance does not cover the amount."
    )
    NOT_ISSUER = _outcome(106, "NOT_ISSUER", "Only the asset's issuer may issue it.")
    SUPPLY_CAP = _outcome(107, "SUPPLY_CAP", "The issue would exceed the asset's supply cap.")
    NOT_PERMITTED = _outcome(108, "NOT_PERMITTED", "The account may not do this.")
    SAME_ACCOUNT = _outcome(109, "SAME_ACCOUNT", "Payer and receiver are the same account.")
    SETTLE_BY_PASSED = _outcome(
        110, "SETTLE_BY_PASSED", "settle_by_ms had passed when the block was made."
    )
    CAP_PER_PAYMENT = _outcome(
        120, "CAP_PER_PAYMENT", "The amount exceeds the cap for one payment (rule R01)."
    )
    ROLLING_TOTAL = _outcome(
        121,
        "ROLLING_TOTAL",
        "The payments of the last 24 hours and this one exceed the limit (rule R04).",
    )
    MISSING_RULE = _outcome(
        122,
        "MISSING_RULE",
        "No limit is set for this asset and tier, and what is not set is not allowed.",
    )
    UNKNOWN_MEMBER = _outcome(130, "UNKNOWN_MEMBER", "The id is not a member's in this epoch.")
    UNKNOWN_SPARE = _outcome(
        131, "UNKNOWN_SPARE", "The id is not a spare that was approved for this participant."
    )
    MEMBER_ID_USED = _outcome(
        132,
        "MEMBER_ID_USED",
        "The id is a member's, was one, or is approved as a spare; no id is used again.",
    )
    MEMBER_KEY_USED = _outcome(
        133, "MEMBER_KEY_USED", "The vote key or TLS key is a member's, or was one's."
    )
    MEMBER_COUNT = _outcome(
        134,
        "MEMBER_COUNT",
        "An epoch has 1 to 64 members, under pbft not 2 or 3; this change would break that.",
    )
    EPOCH_CLOSING = _outcome(
        135,
        "EPOCH_CLOSING",
        "Another change in this block closes the epoch; sign this one again for the next.",
    )
    UNKNOWN_PARTICIPANT = _outcome(
        136, "UNKNOWN_PARTICIPANT", "The participant does not exist on this ledger."
    )
    TOO_MANY_SPARES = _outcome(137, "TOO_MANY_SPARES", "More spare ids would wait than are kept.")
    TOO_MANY_EPOCHS = _outcome(
        139,
        "TOO_MANY_EPOCHS",
        "Receipts would walk through more changes of members than they hold.",
    )

    BAD_VOTE_KEY = _outcome(140, "BAD_VOTE_KEY", "A vote key is not a canonical Ed25519 key.")

    @property
    def number(self) -> int:
        return self.value.number

    @property
    def code(self) -> str:
        return self.value.code

    @property
    def on_ledger(self) -> bool:
        return self.value.on_ledger

    @property
    def retryable(self) -> bool:
        return self.value.retryable

    @property
    def sentence(self) -> str:
        return self.value.sentence


BY_NUMBER = {reason.number: reason for reason in RejectReason}
BY_CODE = {reason.code: reason for reason in RejectReason}

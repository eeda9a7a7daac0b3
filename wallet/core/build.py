"""An intent becomes a transaction: amounts of people in, minor units and bounded fields out.

Decided here: how a payment's words become fields, and that nothing out of bounds is ever signed. Time and randomness come in
as arguments. Not here: signatures (`approvals`, `wallet.signers`), whether the money is there (the ledger's answer).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final, TypeVar, cast

import msgspec

from tallystick.network.wire import bounds, money
from tallystick.network.wire.digest import ZERO, Tag
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import Genesis, account_id, chain_of, genesis_hash
from tallystick.network.wire.ids import AccountId, NodeId, ParticipantId, PaymentId
from tallystick.network.wire.keys import check_spend_key
from tallystick.network.wire.membership import MemberEntry, SpareEntry
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import (
    ActivateSpare,
    ChangeMembers,
    Issue,
    OpenAccount,
    Transaction,
    Transfer,
)
from tallystick.network.wire.transactions.codec import decode, encode
from tallystick.network.wire.transactions.fields import field_fault

T = TypeVar("T", Transfer, Issue, OpenAccount, ChangeMembers, ActivateSpare)

VALID_FOR_MS: Final = 600_000
"""Ten minutes: longer than any fail-over, short enough that a lost payment is provably dead before a coffee is drunk."""

_UETR = re.compile(r"[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}")
_UETR_PAD: Final = bytes(16)
_REFERENCE = re.compile(r"[A-Za-z0-9._/:-]{1,64}")
_REFERENCE_TAG: Final = Tag(b"tallystick/payment-reference")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a builder must know of a network. All of it follows from the genesis document."""

    chain: int
    lane: int
    genesis_hash: bytes
    max_validity_ms: int
    exponents: Mapping[str, int]
    """Asset code → decimal places."""

    @classmethod
    def of(cls, genesis: Genesis) -> "Terms":
        hash_ = genesis_hash(genesis)
        exponents = {asset.code: asset.exponent for asset in genesis.assets}
        return cls(
            chain_of(hash_),
            genesis.lane,
            hash_,
            genesis.parameters.max_validity_ms,
            MappingProxyType(exponents),
        )

    def known_asset(self, asset: str) -> str:
        """The same code, or `Refused(UNKNOWN_ASSET)` naming those that exist."""
        if asset not in self.exponents:
            known = ", ".join(sorted(self.exponents)) or "none"
            raise Refused(
                RejectReason.UNKNOWN_ASSET,
                f"asset {asset!r} is not on this network (it has {known})",
            )
        return asset

    def minor(self, amount: Decimal | str, asset: str) -> int:
        """Minor units. `Refused` for an unknown asset, too many decimals, zero, a sign or a float."""
        if not isinstance(amount, Decimal | str):
            raise Refused(
                RejectReason.BAD_FIELD, f"amounts are text or Decimal, not {type(amount).__name__}"
            )
        text = amount if isinstance(amount, str) else f"{amount:f}"
        return money.parse_amount(text, self.exponents[self.known_asset(asset)])

    def text(self, minor: int, asset: str) -> str:
        """The amount as people write it, with all of the asset's decimals; bare minor units for an unknown asset."""
        return money.format_amount(minor, self.exponents.get(asset, 0))

    def root_account(self, participant: ParticipantId) -> AccountId:
        """The account with which a participant was born (serial 0)."""
        return account_id(self.chain, participant, 0)


def id_from_uetr(uetr: str) -> PaymentId:
    """The payment id of a UETR (UUID version 4, as ISO 20022 writes it): 16 zero bytes, then its 16 bytes."""
    text = uetr.strip().lower()
    if not _UETR.fullmatch(text):
        raise Refused(RejectReason.BAD_FIELD, f"{uetr!r} is not a UETR (a UUID of version 4)")
    return PaymentId(_UETR_PAD + bytes.fromhex(text.replace("-", "")))


def uetr_of(id_: bytes) -> str | None:
    """The UETR that an id was made from, None if it was not."""
    if len(id_) != 32 or id_[:16] != _UETR_PAD:
        return None
    raw = id_[16:].hex()
    text = "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]))
    return text if _UETR.fullmatch(text) else None


def id_from_reference(reference: str) -> PaymentId:
    """The payment id of a payer's own reference ("INV-2025-118"): a digest, the same each time the reference is used.

    Members see the digest and may guess at short references: names and account numbers do not belong in one.
    """
    if not _REFERENCE.fullmatch(reference):
        raise Refused(
            RejectReason.BAD_FIELD,
            f"{reference!r} is not a reference (1 to 64 letters, digits and . _ / : -)",
        )
    return PaymentId(_REFERENCE_TAG.hash(reference.encode("ascii")))


def parse_id(text: str) -> PaymentId:
    """64 hex digits (0x allowed), a UETR, or a reference. What looks like a hex id or a UETR must be one."""
    bare = text.strip()
    lower = bare.lower().removeprefix("0x")
    if re.fullmatch(r"[0-9a-f]{40,}", lower):
        if len(lower) != 64:
            raise Refused(
                RejectReason.BAD_FIELD, f"an id has 64 hex digits, {text!r} has {len(lower)}"
            )
        return PaymentId(bytes.fromhex(lower))
    if re.fullmatch(r"[0-9a-f]+(-[0-9a-f]+){4}", lower):
        return id_from_uetr(lower)
    return id_from_reference(bare)


def parse_account(text: str) -> AccountId:
    """40 hex digits, 0x allowed."""
    bare = text.strip().lower().removeprefix("0x")
    if not re.fullmatch(r"[0-9a-f]{40}", bare):
        raise Refused(RejectReason.BAD_FIELD, f"{text!r} is not an account (40 hex digits)")
    return AccountId(bytes.fromhex(bare))


def transfer(
    terms: Terms,
    *,
    account: AccountId,
    creditor: AccountId,
    amount: Decimal | str,
    asset: str,
    id: PaymentId,  # noqa: A002
    now_ms: int,
    valid_for_ms: int = VALID_FOR_MS,
    settle_by_ms: int = 0,
    payload_root: bytes = ZERO,
) -> Transfer:
    """An unsigned payment. `now_ms` and `settle_by_ms` in milliseconds since 1970; `Refused` if a field is out of bounds."""
    _check_common(account, id, payload_root)
    _check_account("creditor", creditor)
    if account == creditor:
        raise Refused(RejectReason.SAME_ACCOUNT)
    if settle_by_ms != 0 and not now_ms <= settle_by_ms <= bounds.TIME_MS_MAX:
        raise Refused(RejectReason.BAD_FIELD, "settle_by lies in the past")
    draft = Transfer(
        chain=terms.chain,
        lane=terms.lane,
        account=account,
        id=id,
        valid_until_ms=_deadline(terms, now_ms, valid_for_ms),
        payload_root=payload_root,
        creditor=creditor,
        asset=asset,
        amount_minor=terms.minor(amount, asset),
        settle_by_ms=settle_by_ms,
    )
    return _sound(draft)


def issue(
    terms: Terms,
    *,
    account: AccountId,
    creditor: AccountId,
    amount: Decimal | str,
    asset: str,
    id: PaymentId,  # noqa: A002
    now_ms: int,
    valid_for_ms: int = VALID_FOR_MS,
    payload_root: bytes = ZERO,
) -> Issue:
    """Unsigned: the asset's issuer (root account `account`) creates an amount in `creditor`."""
    _check_common(account, id, payload_root)
    _check_account("creditor", creditor)
    draft = Issue(
        chain=terms.chain,
        lane=terms.lane,
        account=account,
        id=id,
        valid_until_ms=_deadline(terms, now_ms, valid_for_ms),
        payload_root=payload_root,
        creditor=creditor,
        asset=asset,
        amount_minor=terms.minor(amount, asset),
    )
    return _sound(draft)


def open_account(
    terms: Terms,
    *,
    account: AccountId,
    keys: Sequence[bytes],
    threshold: int,
    tier: int,
    seed: bytes,
    id: PaymentId,  # noqa: A002
    now_ms: int,
    valid_for_ms: int = VALID_FOR_MS,
    payload_root: bytes = ZERO,
) -> OpenAccount:
    """Unsigned: a participant's root account opens an account. Keys are sorted here; `seed` is 16 random bytes, kept secret."""
    _check_common(account, id, payload_root)
    ordered = tuple(sorted(set(keys)))
    if len(ordered) != len(keys) or not 1 <= len(ordered) <= bounds.SIGNATURES_MAX:
        raise Refused(
            RejectReason.BAD_FIELD, f"an account has 1 to {bounds.SIGNATURES_MAX} different keys"
        )
    if not all(check_spend_key(key) for key in ordered):
        raise Refused(RejectReason.BAD_KEY)
    if not 1 <= threshold <= len(ordered):
        raise Refused(RejectReason.BAD_FIELD, "the threshold lies between 1 and the number of keys")
    if not 0 <= tier <= 3:
        raise Refused(RejectReason.BAD_FIELD, "tiers are 0 to 3")
    if len(seed) != 16:
        raise Refused(RejectReason.BAD_FIELD, "the seed has 16 bytes")
    draft = OpenAccount(
        chain=terms.chain,
        lane=terms.lane,
        account=account,
        id=id,
        valid_until_ms=_deadline(terms, now_ms, valid_for_ms),
        payload_root=payload_root,
        keys=ordered,
        threshold=threshold,
        tier=tier,
        seed=seed,
    )
    return _sound(draft)


def activate_spare(
    terms: Terms,
    *,
    account: AccountId,
    member: int,
    spare: int,
    vote_key: bytes,
    tls_key_hash: bytes,
    id: PaymentId,  # noqa: A002
    now_ms: int,
    valid_for_ms: int = VALID_FOR_MS,
) -> ActivateSpare:
    """Unsigned: a participant's root account puts its spare id with new keys in its member's place."""
    _check_common(account, id, ZERO)
    until_ms = _deadline(terms, now_ms, valid_for_ms)
    common = (terms.chain, terms.lane, account, id, until_ms, ZERO)
    draft = ActivateSpare(*common, NodeId(member), NodeId(spare), vote_key, tls_key_hash)
    return _without_fault(_sound(draft))


def change_members(
    terms: Terms,
    *,
    account: AccountId,
    leaving: Sequence[int] = (),
    joining: Sequence[MemberEntry] = (),
    spares: Sequence[SpareEntry] = (),
    id: PaymentId,  # noqa: A002
    now_ms: int,
    valid_for_ms: int = VALID_FOR_MS,
) -> ChangeMembers:
    """Unsigned: the governor's root account changes the members of the next epoch. The lists are sorted here."""
    _check_common(account, id, ZERO)
    until_ms = _deadline(terms, now_ms, valid_for_ms)
    draft = ChangeMembers(
        terms.chain,
        terms.lane,
        account,
        id,
        until_ms,
        ZERO,
        tuple(NodeId(each) for each in sorted(leaving)),
        tuple(sorted(joining, key=lambda entry: entry.id)),
        tuple(sorted(spares, key=lambda each: each.id)),
    )
    return _without_fault(_sound(draft))


def _without_fault(draft: T) -> T:
    fault = field_fault(draft)
    if fault is not None:
        raise Refused(RejectReason.BAD_FIELD, fault)
    return draft


def same_intent(one: Transaction, other: Transaction) -> bool:
    """Whether two transactions mean the same, whatever their deadline and signatures."""
    return _bare(one) == _bare(other)


def _bare(transaction: Transaction) -> Transaction:
    return msgspec.structs.replace(transaction, valid_until_ms=0, witnesses=())


def _sound(draft: T) -> T:
    """What the wire's decoder makes of the draft: msgspec checks no bounds on structs made by hand."""
    return cast("T", decode(encode(draft)))


def _check_account(name: str, account: bytes) -> None:
    if len(account) != 20:
        raise Refused(RejectReason.BAD_FIELD, f"{name} has {len(account)} bytes, an account has 20")


def _check_common(account: bytes, id_: bytes, payload_root: bytes) -> None:
    _check_account("account", account)
    if len(id_) != 32:
        raise Refused(RejectReason.BAD_FIELD, f"id has {len(id_)} bytes, it needs 32")
    if len(payload_root) != 32:
        raise Refused(
            RejectReason.BAD_FIELD, f"payload_root has {len(payload_root)} bytes, it needs 32"
        )


def _deadline(terms: Terms, now_ms: int, valid_for_ms: int) -> int:
    if not 1 <= valid_for_ms <= terms.max_validity_ms:
        raise Refused(
            RejectReason.TOO_FAR_DEADLINE,
            f"a validity of {valid_for_ms} ms is not within 1 … {terms.max_validity_ms} ms",
        )
    return now_ms + valid_for_ms

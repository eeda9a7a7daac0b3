"""Hypothesis strategies: every transaction kind, with the extremes of every field."""

from hypothesis import strategies as st

from tallystick.network.wire import bounds
from tallystick.network.wire.ids import AccountId, NodeId, ParticipantId, PaymentId
from tallystick.network.wire.membership import MemberEntry, SpareEntry
from tallystick.network.wire.transactions import (
    ActivateSpare,
    ChangeMembers,
    Issue,
    OpenAccount,
    Transaction,
    Transfer,
    Witness,
)


def exactly(size: int) -> st.SearchStrategy[bytes]:
    edges = st.sampled_from([bytes(size), b"\xff" * size, bytes(size - 1) + b"\x01"])
    return st.one_of(st.binary(min_size=size, max_size=size), edges)


def between(low: int, high: int) -> st.SearchStrategy[int]:
    return st.one_of(st.integers(low, high), st.sampled_from([low, high]))


ACCOUNTS = exactly(20).map(AccountId)
IDS = exactly(32).map(PaymentId)
TIMES = between(0, bounds.TIME_MS_MAX)
ASSETS = st.from_regex(
    rf"\A[A-Z][A-Z0-9]{{2,{bounds.ASSET_CODE_LENGTH_MAX - 1}}}\Z",
    alphabet=st.characters(codec="ascii"),
)
AMOUNTS = between(1, bounds.AMOUNT_MINOR_MAX)
CHAINS = between(1, 2**52 - 1)
LANES = between(0, 2**16 - 1)
KEYS = exactly(33)
WITNESSES = st.lists(
    st.builds(Witness, between(0, 255), KEYS, exactly(64)), max_size=bounds.SIGNATURES_MAX
).map(tuple)

_COMMON = {
    "chain": CHAINS,
    "lane": LANES,
    "account": ACCOUNTS,
    "id": IDS,
    "valid_until_ms": TIMES,
    "payload_root": exactly(32),
    "witnesses": WITNESSES,
}

OPENINGS: st.SearchStrategy[OpenAccount] = st.builds(
    OpenAccount,
    **_COMMON,
    keys=st.lists(KEYS, min_size=1, max_size=bounds.SIGNATURES_MAX).map(tuple),
    threshold=between(1, bounds.SIGNATURES_MAX),
    tier=between(0, 3),
    seed=exactly(16),
)
ISSUES: st.SearchStrategy[Issue] = st.builds(
    Issue, **_COMMON, creditor=ACCOUNTS, asset=ASSETS, amount_minor=AMOUNTS
)
TRANSFERS: st.SearchStrategy[Transfer] = st.builds(
    Transfer, **_COMMON, creditor=ACCOUNTS, asset=ASSETS, amount_minor=AMOUNTS, settle_by_ms=TIMES
)
MEMBER_IDS = between(0, bounds.MEMBER_ID_MAX).map(NodeId)
ENTRY_IDS = between(0, 2**16 - 1).map(NodeId)
PARTICIPANTS = between(0, 2**32 - 1).map(ParticipantId)
_FEW = 4
CHANGES: st.SearchStrategy[ChangeMembers] = st.builds(
    ChangeMembers,
    **_COMMON,
    leaving=st.lists(MEMBER_IDS, max_size=_FEW).map(tuple),
    joining=st.lists(
        st.builds(
            MemberEntry,
            ENTRY_IDS,
            st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64),
            PARTICIPANTS,
            exactly(32),
            exactly(32),
        ),
        max_size=_FEW,
    ).map(tuple),
    spares=st.lists(st.builds(SpareEntry, ENTRY_IDS, PARTICIPANTS), max_size=_FEW).map(tuple),
)
ACTIVATIONS: st.SearchStrategy[ActivateSpare] = st.builds(
    ActivateSpare,
    **_COMMON,
    member=MEMBER_IDS,
    spare=MEMBER_IDS,
    vote_key=exactly(32),
    tls_key_hash=exactly(32),
)
TRANSACTIONS: st.SearchStrategy[Transaction] = st.one_of(
    OPENINGS, ISSUES, TRANSFERS, CHANGES, ACTIVATIONS
)

"""Who may vote from the next epoch on: the governed change, and the spare id that a bank activates by itself.

Decided here: what a change needs, in the order of its checks, and the set that follows from it. A block holds at most one
change that settles, and it is the last block of its epoch: the set that it writes counts from its child on, when it is final
and nothing else is in flight. An id or a key that voted once is never used again.
Not here: the drained pipeline (consensus, `node.core`), certificates.
"""

from tallystick.contracts import decisions
from tallystick.contracts.authority import ROOT_SERIAL
from tallystick.contracts.decisions import Decision
from tallystick.contracts.state import (
    MEMBERS_KEY,
    MEMBERSHIP,
    Account,
    Membership,
    Retired,
    WorkingSet,
    own,
    participant_key,
)
from tallystick.network.wire import bounds
from tallystick.network.wire.faults import present
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.keys import check_vote_key
from tallystick.network.wire.membership import MemberEntry, SpareEntry, count_fault
from tallystick.network.wire.transactions import ActivateSpare, ChangeMembers


def first_membership(genesis: Genesis) -> dict[bytes, bytes]:
    """Epoch 0 as a record."""
    members = tuple(sorted(genesis.members, key=lambda entry: entry.id))
    spares = tuple(sorted(genesis.spares, key=lambda each: each.id))
    first = Membership(1, 0, genesis.governor, members, spares, ())
    return {MEMBERS_KEY: MEMBERSHIP.encode(first)}


def change_members(working: WorkingSet, change: ChangeMembers, account: Account) -> Decision:
    """Settled, or the first of NOT_PERMITTED, EPOCH_CLOSING, TOO_MANY_EPOCHS, UNKNOWN_MEMBER,
    MEMBER_ID_USED, UNKNOWN_PARTICIPANT, MEMBER_KEY_USED, BAD_VOTE_KEY, MEMBER_COUNT, TOO_MANY_SPARES."""
    now = _membership(working)
    if account.serial != ROOT_SERIAL or account.participant != now.governor:
        return decisions.NOT_PERMITTED
    if working.membership is not None:
        return decisions.EPOCH_CLOSING
    if now.epoch >= bounds.EPOCHS_PROVEN_MAX:
        return decisions.TOO_MANY_EPOCHS
    members = {entry.id: entry for entry in now.members}
    if not members.keys() >= set(change.leaving):
        return decisions.UNKNOWN_MEMBER
    used = _used_ids(now)
    fresh = [entry.id for entry in change.joining] + [each.id for each in change.spares]
    if not used.isdisjoint(fresh):
        return decisions.MEMBER_ID_USED
    banks = [each.participant for each in change.joining]
    for participant in banks + [each.participant for each in change.spares]:
        if working.state.record(participant_key(participant)) is None:
            return decisions.UNKNOWN_PARTICIPANT
    if not _keys_are_fresh(now, change.joining):
        return decisions.MEMBER_KEY_USED
    if not all(check_vote_key(entry.vote_key) for entry in change.joining):
        return decisions.BAD_VOTE_KEY
    left = [members.pop(id_) for id_ in change.leaving]
    voting = (*members.values(), *change.joining)
    if count_fault(working.engine, len(voting)) is not None:
        return decisions.MEMBER_COUNT
    if len(now.spares) + len(change.spares) > bounds.SPARES_MAX:
        return decisions.TOO_MANY_SPARES
    return _closes(working, now, left, voting, (*now.spares, *change.spares))


def activate_spare(working: WorkingSet, wish: ActivateSpare, account: Account) -> Decision:
    """Settled, or the first of UNKNOWN_MEMBER, NOT_PERMITTED, EPOCH_CLOSING, TOO_MANY_EPOCHS,
    UNKNOWN_SPARE, MEMBER_KEY_USED, BAD_VOTE_KEY."""
    now = _membership(working)
    old = next((entry for entry in now.members if entry.id == wish.member), None)
    if old is None:
        return decisions.UNKNOWN_MEMBER
    if account.serial != ROOT_SERIAL or account.participant != old.participant:
        return decisions.NOT_PERMITTED
    if working.membership is not None:
        return decisions.EPOCH_CLOSING
    if now.epoch >= bounds.EPOCHS_PROVEN_MAX:
        return decisions.TOO_MANY_EPOCHS
    if SpareEntry(wish.spare, old.participant) not in now.spares:
        return decisions.UNKNOWN_SPARE
    new = MemberEntry(wish.spare, old.name, old.participant, wish.vote_key, wish.tls_key_hash)
    if not _keys_are_fresh(now, (new,)):
        return decisions.MEMBER_KEY_USED
    if not check_vote_key(wish.vote_key):
        return decisions.BAD_VOTE_KEY
    voting = (*(entry for entry in now.members if entry.id != old.id), new)
    spares = tuple(each for each in now.spares if each.id != wish.spare)
    return _closes(working, now, [old], voting, spares)


def _membership(working: WorkingSet) -> Membership:
    """Every ledger has it from height 0 on."""
    now = own(MEMBERSHIP, working.state.record(MEMBERS_KEY))
    return present(now, "a ledger without a record of its members")


def _used_ids(now: Membership) -> set[NodeId]:
    members, spares = {each.id for each in now.members}, {each.id for each in now.spares}
    return members | spares | {each.id for each in now.retired}


def _keys_are_fresh(now: Membership, joining: tuple[MemberEntry, ...]) -> bool:
    """No key is a member's, was one's, or stands twice."""
    vote_keys = {each.vote_key for each in now.members} | {each.vote_key for each in now.retired}
    tls_keys = {each.tls_key_hash for each in now.members}
    tls_keys |= {each.tls_key_hash for each in now.retired}
    for entry in joining:
        if entry.vote_key in vote_keys or entry.tls_key_hash in tls_keys:
            return False
        vote_keys.add(entry.vote_key)
        tls_keys.add(entry.tls_key_hash)
    return True


def _closes(
    working: WorkingSet,
    now: Membership,
    left: list[MemberEntry],
    voting: tuple[MemberEntry, ...],
    spares: tuple[SpareEntry, ...],
) -> Decision:
    retired = [Retired(entry.id, entry.vote_key, entry.tls_key_hash) for entry in left]
    working.membership = Membership(
        1,
        now.epoch + 1,
        now.governor,
        tuple(sorted(voting, key=lambda entry: entry.id)),
        tuple(sorted(spares, key=lambda each: each.id)),
        tuple(sorted((*now.retired, *retired), key=lambda each: each.id)),
    )
    return decisions.SETTLED

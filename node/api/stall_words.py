"""What is missing, as a person would say it: "a connection to one of bank-c, bank-d".

Decided here: the words alone. What is missing, and of whom, is `consensus.waiting`.
"""

from collections.abc import Mapping
from typing import Final

from tallystick.consensus.waiting import Phase, Waiting, how_many

_SAID: Final[dict[Phase, tuple[str, str]]] = {
    Phase.PROPOSAL: ("a proposal of {whom}", "a proposal of {whom}"),
    Phase.OWN_BLOCK: ("the block that {whom} is making", "the block that {whom} is making"),
    Phase.JUDGEMENT: ("{whom} to judge the proposed block", "{whom} to judge the proposed block"),
    Phase.PREPARES: ("a prepare vote of {whom}", "prepare votes of {whom}"),
    Phase.COMMITS: ("a commit vote of {whom}", "commit votes of {whom}"),
    Phase.VIEW_CHANGES: ("a view-change message of {whom}", "view-change messages of {whom}"),
    Phase.NEW_VIEW: ("the new view of {whom}", "the new view of {whom}"),
    Phase.TIP: ("the block of the view's tip from {whom}", "the block of the view's tip from {whom}"),
    Phase.APPEND_ACKS: ("an append acknowledgement of {whom}", "append acknowledgements of {whom}"),
    Phase.COUNTERSIGNATURES: ("a countersignature of {whom}", "countersignatures of {whom}"),
    Phase.ELECTION_VOTES: ("a vote of {whom} in an election", "votes of {whom} in an election"),
    Phase.LEADER: ("{whom} to become the leader", "{whom} to become the leader"),
    Phase.CONNECTIONS: ("a connection to {whom}", "connections to {whom}"),
    Phase.ROLLBACK_CHECK: (
        "the answer of {whom} about what this node's key has signed",
        "answers of {whom} about what this node's key has signed",
    ),
    Phase.CATCH_UP: ("final blocks from {whom}", "final blocks from {whom}"),
    Phase.BODIES: ("bodies of transactions from {whom}", "bodies of transactions from {whom}"),
    Phase.BLOCKS: ("bytes of blocks from {whom}", "bytes of blocks from {whom}"),
    Phase.CLOCK: (
        "the proposed block's time, which is ahead of this node's clock",
        "the proposed block's time, which is ahead of this node's clock",
    ),
    Phase.DISK: ("the disk of {whom}", "the disk of {whom}"),
}  # fmt: skip
"""Of one, and of several. People are waited for in the sentence of whoever waits for them."""


def wanted(waiting: Waiting, names: Mapping[int, str]) -> str:
    """What would let it go on. `names`: of those who vote; a member that has none there is told by its number."""
    said = _SAID.get(waiting.phase)
    if said is None:
        return waiting.unblocks
    one = min(waiting.needed, len(waiting.awaited)) <= 1
    return said[0 if one else 1].format(whom=_whom(waiting, names))


def _whom(waiting: Waiting, names: Mapping[int, str]) -> str:
    """ "bank-c", "bank-c and bank-d", "two of bank-b, bank-c, bank-d"."""
    listed = [names.get(node, f"member {node}") for node in waiting.awaited]
    if not listed:
        return "any member"
    if 0 < waiting.needed < len(listed):
        return f"{how_many(waiting.needed)} of {', '.join(listed)}"
    *others, last = listed
    return f"{', '.join(others)} and {last}" if others else last

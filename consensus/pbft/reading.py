"""Reads that miss nothing: how far may the network have come by now, whatever f of its members say?

A block is final once q members have signed COMMIT for it, and whoever signed held its prepared certificate durably. Any q
answers to a question therefore contain one by an honest signer of each block that was final when the question was asked. It
shows its highest certificate, which proves itself: nobody can pretend a height, and who shows less hides at most his own.
Guaranteed: the index is at or above every block that was final anywhere when the round began. Not: that a block stands at the
index already; a prepared certificate may be shown of one that is decided later, or whose height another block takes.
"""

from tallystick.consensus.api import IndexKnown
from tallystick.consensus.pbft.messages import AskIndex, ShowIndex
from tallystick.consensus.pbft.ordering import on_commit_certificate
from tallystick.consensus.pbft.state import PbftState
from tallystick.consensus.pbft.view_change import genuine_certificate
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.ids import Height, NodeId

ROUNDS_MAX = 8
"""Rounds that wait for answers at once; the oldest is given up for a ninth. An owner begins one in so many milliseconds."""


def read(state: PbftState, round_: int) -> None:
    """Our own owner asks. We are one of the q ourselves, once we know that our disk was not set back."""
    if not state.may_sign:
        return
    shown = highest(state)
    own = shown.height if shown is not None else state.final_height
    state.reads[round_] = {state.setup.me: max(own, state.final_height)}
    while len(state.reads) > ROUNDS_MAX:
        del state.reads[min(state.reads)]
    state.say(AskIndex(state.setup.epoch, round_))
    _confirm(state, round_)


def on_ask_index(state: PbftState, sender: NodeId, ask: AskIndex) -> None:
    """Claims nothing about our disk: what it shows is durable at whoever signed it."""
    if ask.epoch == state.setup.epoch and sender != state.setup.me and state.may_sign:
        state.say(ShowIndex(state.setup.epoch, ask.round, highest(state)), sender)


def highest(state: PbftState) -> Certificate | None:
    """Our certificate over the highest block, prepared or commit. A commit certificate alone may be older than the largest
    one by (view, height), and the reverse."""
    known = [each for each in (state.high, state.final_certificate) if each is not None]
    return max(
        known, key=lambda certificate: (certificate.height, certificate.commits), default=None
    )


def on_show_index(state: PbftState, sender: NodeId, shown: ShowIndex, now_ms: int) -> None:
    """Signatures are checked only where they tell us something: above what we know ourselves, once per member and round.
    A commit certificate among them is news: in an idle network nobody else might tell us what we missed."""
    answers = state.reads.get(shown.round)
    if answers is None or shown.epoch != state.setup.epoch or sender in answers:
        return None
    certificate = shown.certificate
    height = certificate.height if certificate is not None else Height(0)
    if certificate is not None:
        decides = certificate.commits and height > state.final_height
        tells_us = decides or height > answers[state.setup.me]
        if tells_us and not genuine_certificate(state, certificate):
            return state.note("forged-certificate", sender=sender)
        if decides:
            on_commit_certificate(state, certificate, now_ms)
    answers[sender] = height
    return _confirm(state, shown.round)


def _confirm(state: PbftState, round_: int) -> None:
    answers = state.reads[round_]
    if len(answers) >= state.quorum:
        state.out.append(IndexKnown(round_, max(answers.values())))
        state.reads = {at: known for at, known in state.reads.items() if at > round_}

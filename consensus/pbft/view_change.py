"""View change with one tip (Castro and Liskov 1999, section 4.4, chain-linked; see DIVERGENCE.md).

Decided here: what a replica shows when it leaves a view, when it follows others, and the one block on which a new view
opens: the largest certificate by (view, height), prepared or commit, of any q view changes. There are no null blocks and
nothing below the tip is proposed again: its ancestors are implied.
Not here: when to leave (`synchronizer`), what is proposed after the tip (`ordering`).
"""

from collections.abc import Iterable

from tallystick.consensus.api import Behind, ViewEntered
from tallystick.consensus.pbft import accusing, rollback_check
from tallystick.consensus.pbft.messages import (
    Decided,
    NewView,
    Standing,
    ViewChange,
    Vote,
    certificate_digest,
    changes_digest,
)
from tallystick.consensus.pbft.ordering import (
    ask_for_tip,
    on_commit_certificate,
    on_proposal,
    signed_proposal,
)
from tallystick.consensus.pbft.state import PbftState
from tallystick.network.proofs.certificates import Certificate, check_certificate
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import Height, Link, NodeId, View
from tallystick.network.wire.signing import new_view_message, view_change_message


def tip_of(changes: Iterable[ViewChange]) -> Certificate | None:
    """The largest certificate by (view, height); at the same rank a commit one. None: nobody has any (first view only)."""
    shown = [change.certificate for change in changes if change.certificate is not None]
    return max(shown, key=lambda certificate: (certificate.rank, certificate.commits), default=None)


# -- leaving -----------------------------------------------------------------------------------------------------------


def leave(state: PbftState, view: View, now_ms: int) -> None:
    """Leave every view below `view`, showing our largest certificate, and the view that this one is of."""
    if state.high is not None:
        view = View(max(view, state.high.view + 1))
    if not state.may_sign or view <= state.view:
        return None
    statement = certificate_digest(state.high)
    if not state.guard.may_change_view(view, statement):
        return state.note("guard-refused", kind="view-change", view=view)
    state.begin_view(view, active=False)
    state.new_view = None
    state.change = signed_change(state, view, state.high)
    state.keep()
    state.keep_guard()
    state.promise(state.change)
    state.out.append(ViewEntered(view))
    state.synchronizer.left(now_ms)
    state.note("view-change", view=view, tip=state.high.rank if state.high is not None else None)
    return None


def hand_over(state: PbftState, to: NodeId | None, now_ms: int) -> None:
    """Give up leading: leave our own view, and the others follow at once. Views go round, so the next member leads."""
    following = View(state.view + 1)
    if not state.may_sign or not state.active or state.leader_of(state.view) != state.setup.me:
        return state.note("transfer-refused", why="we do not lead", to=to)
    if to not in (None, state.leader_of(following)):
        return state.note("transfer-refused", why="another member's turn", to=to)
    state.note("transfer", view=state.view, to=state.leader_of(following))
    return leave(state, following, now_ms)


def signed_change(state: PbftState, view: View, certificate: Certificate | None) -> ViewChange:
    message = _change_bytes(state, view, certificate)
    return ViewChange(state.setup.epoch, view, state.setup.me, certificate, state.sign(message))


def _change_bytes(state: PbftState, view: View, certificate: Certificate | None) -> bytes:
    setup = state.setup
    if certificate is None:
        none = (0, View(0), Height(0), Link(bytes(32)))
        return view_change_message(setup.chain, setup.lane, setup.epoch, view, *none)
    shown = (certificate.phase, certificate.view, certificate.height, certificate.link)
    return view_change_message(setup.chain, setup.lane, setup.epoch, view, *shown)


# -- hearing that others left ------------------------------------------------------------------------------------------


def on_view_change(state: PbftState, sender: NodeId, change: ViewChange, now_ms: int) -> None:
    """Remember each member's highest view change; follow f+1 of them; open the view if it is ours to open."""
    if change.signer != sender or change.epoch != state.setup.epoch:
        return None
    rollback_check.left(state, change)
    if change.view < state.view:
        return None
    if change.view == state.view and state.active:
        if state.new_view is not None and state.may_help(sender, now_ms):
            state.promise(state.new_view, to=sender)
        return None
    known = state.changes.get(sender)
    if known is not None and known.view >= change.view:
        if known.view == change.view and known.signature != change.signature and state.may_check(sender, now_ms):  # fmt: skip
            accusing.view_changes(state, change)
        return None
    if sender != state.setup.me:
        if not state.may_check(sender, now_ms):
            return None
        if not _genuine(state, change):
            return state.note("forged-view-change", sender=sender)
    state.changes[sender] = change
    _follow_its_leader(state, change, now_ms)
    _follow(state, now_ms)
    _open(state, now_ms)
    return None


def _genuine(state: PbftState, change: ViewChange) -> bool:
    """Signed by its signer, and its certificate is a quorum's."""
    setup = state.setup
    key = setup.vote_keys.get(change.signer)
    if key is None:
        return False
    if not state.crypto.verify(
        key, _change_bytes(state, change.view, change.certificate), change.signature
    ):
        return False
    certificate = change.certificate
    if certificate is None:
        return True
    return certificate.view < change.view and genuine_certificate(state, certificate)


def genuine_certificate(state: PbftState, certificate: Certificate) -> bool:
    if certificate == state.high or certificate == state.final_certificate:
        return True
    setup = state.setup
    if certificate.epoch != setup.epoch:
        return False
    try:
        check_certificate(
            certificate,
            setup.chain,
            setup.lane,
            setup.vote_keys,
            state.crypto.verify,
            state.quorum,
        )
    except Refused:
        return False
    accusing.signers_of(state, certificate)
    return True


def _follow(state: PbftState, now_ms: int) -> None:
    """f+1 members in higher views include an honest one: go with the lowest view that f+1 of them have reached."""
    ahead = sorted(
        (change.view for change in state.changes.values() if change.view > state.view), reverse=True
    )
    if len(ahead) > state.faults:
        leave(state, ahead[state.faults], now_ms)


def _follow_its_leader(state: PbftState, change: ViewChange, now_ms: int) -> None:
    """A leader that leaves its own view by one has given up leading: waiting for its next block is time lost. It can shorten
    nobody's view but its own."""
    gave_up = change.signer == state.leader_of(state.view) and change.view == state.view + 1
    if gave_up and state.active and state.reaches_quorum:
        leave(state, change.view, now_ms)


def _open(state: PbftState, now_ms: int) -> None:
    """With q view changes for our view, wait for its leader; if that is us, open it.

    Members that are further ahead already count for the waiting, too: they will not come back, so we must go on.
    """
    if state.active or not state.may_sign:
        return None
    left = [change for change in state.changes.values() if change.view >= state.view]
    if len(left) < state.quorum:
        return None
    state.synchronizer.quorum_left(now_ms)
    changes = [change for change in left if change.view == state.view]
    if len(changes) < state.quorum or state.leader_of(state.view) != state.setup.me:
        return None
    if not any(change.signer == state.setup.me for change in changes):
        return None
    chosen = tuple(sorted(changes, key=lambda change: change.signer))
    digest = changes_digest(chosen)
    if not state.guard.may_open_view(state.view, digest):
        return state.note("guard-refused", kind="new-view", view=state.view)
    setup = state.setup
    message = new_view_message(setup.chain, setup.lane, setup.epoch, state.view, digest)
    new_view = NewView(setup.epoch, state.view, chosen, state.sign(message))
    state.promise(new_view)
    enter(state, new_view, now_ms)
    return None


# -- entering ----------------------------------------------------------------------------------------------------------


def on_new_view(state: PbftState, sender: NodeId, new_view: NewView, now_ms: int) -> None:
    """The leader (or whoever passes its message on) shows why the view is open. Check all of it, then enter."""
    view = new_view.view
    if new_view.epoch != state.setup.epoch or view < state.view or state.halted:
        return None
    if view == 0 or (view == state.view and state.active):
        if view and sender != state.setup.me and state.may_check(sender, now_ms):
            accusing.two_new_views(state, sender, new_view)
        return None
    if sender != state.setup.me and not _justified(state, new_view):
        return state.note("forged-new-view", sender=sender, view=view)
    enter(state, new_view, now_ms)
    return None


def _justified(state: PbftState, new_view: NewView) -> bool:
    setup = state.setup
    signers = [change.signer for change in new_view.changes]
    if signers != sorted(set(signers)) or len(signers) < state.quorum:
        return False
    if any(
        change.view != new_view.view or change.epoch != setup.epoch for change in new_view.changes
    ):
        return False
    digest = changes_digest(new_view.changes)
    message = new_view_message(setup.chain, setup.lane, setup.epoch, new_view.view, digest)
    key = setup.vote_keys[state.leader_of(new_view.view)]
    if not state.crypto.verify(key, message, new_view.signature):
        return False
    if not all(_genuine(state, change) for change in new_view.changes):
        return False
    for change in new_view.changes:
        accusing.view_changes(state, change)
    return True


def enter(state: PbftState, new_view: NewView, now_ms: int) -> None:
    """Open the view on its one tip."""
    view, tip = new_view.view, tip_of(new_view.changes)
    state.begin_view(view, active=True)
    state.new_view = new_view
    rollback_check.opened(state, new_view)
    state.guard.join(view)
    state.tip = tip
    if tip is not None:
        state.raise_high(tip)
    state.changes = {
        sender: change for sender, change in state.changes.items() if change.view > view
    }
    state.keep()
    state.keep_guard()
    state.out.append(ViewEntered(view))
    state.synchronizer.entered(now_ms)
    state.note("new-view", view=view, tip=tip.rank if tip is not None else None)
    if tip is not None and tip.commits and tip.height > state.final_height:
        on_commit_certificate(state, tip, now_ms)
        if tip.height > state.final_height:
            state.out.append(Behind(tip))
    ask_for_tip(state)
    for proposal in state.stash.pop(view, []):
        on_proposal(state, state.leader_of(view), proposal)


def peers_were_asked(state: PbftState, now_ms: int) -> None:
    """From now on we may sign: whatever was waited for is owed from now on, and what we heard meanwhile counts."""
    state.synchronizer.reconnected(now_ms)
    _follow(state, now_ms)
    _open(state, now_ms)
    ask_for_tip(state)


# -- telling where we stand --------------------------------------------------------------------------------------------


def tell_standing(state: PbftState, to: NodeId | None = None) -> None:
    """Ask for what helps; a replica between views says its view change again too."""
    setup = state.setup
    state.say(Standing(setup.epoch, state.view, state.active, state.final_height), to)
    if not state.active and state.change is not None:
        state.promise(state.change, to)
    ask_for_tip(state)


def on_standing(state: PbftState, sender: NodeId, standing: Standing, now_ms: int) -> None:
    """Whoever is ahead helps: a certificate, a new view, or our own votes again."""
    if standing.epoch != state.setup.epoch or not state.may_help(sender, now_ms):
        return
    if standing.height < state.final_height and state.final_certificate is not None:
        state.say(Decided(state.final_certificate), to=sender)
    if (standing.view, standing.active) < (state.view, state.active):
        if state.active and state.new_view is not None:
            state.promise(state.new_view, to=sender)
        elif not state.active and state.change is not None:
            state.promise(state.change, to=sender)
    if state.active and (standing.view, standing.active) <= (state.view, state.active):
        _repeat(state, sender)


def _repeat(state: PbftState, to: NodeId) -> None:
    """What we said in this view about blocks that are not final, once more. The bytes are the ones said before."""
    me = state.setup.me
    if state.leads:
        for height in sorted(state.proposals):
            block = state.blocks.get(state.proposals[height])
            if block is not None:
                state.promise(signed_proposal(state, block), to)
    for (view, height, _), ballots in sorted(state.ballots.items()):
        own: Vote | None = ballots.get(me)
        if own is not None and view == state.view and height >= state.final_height:
            state.promise(own, to)

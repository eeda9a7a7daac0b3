"""What an operator or a reader asks of the engine (thesis, sections 3.10 and 6.4): hand over, and read by quorum index.

A read waits until a majority has answered a round that began after it, so that no later leader can have committed anything
it misses; there are no leases, because a paused process does not notice that its lease has run out (etcd 20418). A follower
asks its leader. Where an index cannot be had, nothing is answered: the owner asks again, and its reader has a time.
"""

from tallystick.consensus.api import IndexKnown
from tallystick.consensus.raft.elections import stand
from tallystick.consensus.raft.messages import AskIndex, GiveIndex, StandNow
from tallystick.consensus.raft.replication import ask_round
from tallystick.consensus.raft.state import READS_MAX, RaftState, Read
from tallystick.network.wire.ids import NodeId

# -- reads -------------------------------------------------------------------------------------------------------------


def read(state: RaftState, token: int, now_ms: int) -> None:
    """Our own owner asks: as a leader we ask a majority, as a follower the leader."""
    if state.leads:
        _begin(state, state.me, token, now_ms)
    elif state.leader is not None:
        state.say(AskIndex(state.setup.epoch, state.term, token), state.leader)
    else:
        state.note("read-refused", token=token, why="no leader is known")


def on_ask_index(state: RaftState, sender: NodeId, ask: AskIndex, now_ms: int) -> None:
    """Whatever term the asker knows: what is confirmed from here on is current."""
    if ask.epoch == state.setup.epoch and state.leads and sender != state.me:
        _begin(state, sender, ask.token, now_ms)


def on_give_index(state: RaftState, given: GiveIndex) -> None:
    """Good even if its giver has lost its term since: a majority followed it after we had asked."""
    if given.epoch == state.setup.epoch:
        state.out.append(IndexKnown(given.token, given.index))


def _begin(state: RaftState, asker: NodeId, token: int, now_ms: int) -> None:
    """Not before an entry of our own term is committed: until then we may not know how far our predecessors came."""
    current = state.log.term_at(state.commit) == state.term
    if not current or len(state.reads) >= READS_MAX:
        why = "too many wait" if current else "nothing of our term is committed yet"
        return state.note("read-refused", token=token, why=why)
    state.round += 1
    state.reads.append(Read(asker, token, state.commit, state.round))
    return ask_round(state, now_ms)


def confirm_reads(state: RaftState) -> None:
    """Reads whose round a majority has answered."""
    if not state.leads or not state.reads:
        return
    rounds = {peer: progress.round for peer, progress in state.progress.items()}
    rounds[state.me] = state.round
    reached = state.configuration.committed_index(rounds)
    done = [read for read in state.reads if read.round <= reached]
    state.reads = state.reads[len(done) :]
    for each in done:
        if each.asker == state.me:
            state.out.append(IndexKnown(each.token, each.index))
        else:
            state.say(GiveIndex(state.setup.epoch, each.token, each.index), each.asker)


# -- handing over ------------------------------------------------------------------------------------------------------


def transfer(state: RaftState, to: NodeId | None, now_ms: int) -> None:
    """Hand leadership to a member that is connected, to the one with the longest log if nobody is named. Until it stands,
    or for one span at most, we propose nothing."""
    heirs = [peer for peer in state.progress if peer in state.connected]
    if to is None and heirs:
        to = max(heirs, key=lambda peer: (state.progress[peer].match, -peer))
    if not state.leads or to not in heirs:
        return state.note("transfer-refused", to=to)
    state.transfer_to, state.transfer_until_ms = to, now_ms + state.clock.span_ms
    state.transfer_told = False
    return state.note("transfer", term=state.term, to=to)


def hand_over(state: RaftState) -> None:
    """Once its log is as long as ours, the chosen one may stand."""
    to = state.transfer_to
    if not state.leads or to is None or state.transfer_told:
        return
    progress = state.progress.get(to)
    if progress is not None and progress.match == state.log.last_height:
        state.transfer_told = True
        state.say(StandNow(state.setup.epoch, state.term), to)


def on_stand_now(state: RaftState, sender: NodeId, said: StandNow, now_ms: int) -> None:
    if said.epoch != state.setup.epoch or said.term != state.term or sender != state.leader:
        return
    if not state.barred(now_ms):
        stand(state, now_ms, transfer=True)

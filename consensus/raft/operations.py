"""What an operator or a reader asks of a leader (thesis, sections 3.10 and 6.4): hand over, and read by quorum index.

A read waits until a majority has answered a round that began after it, so that no later leader can have committed anything
it misses; there are no leases, because a paused process does not notice that its lease has run out (etcd 20418).
"""

from tallystick.consensus.raft.elections import stand
from tallystick.consensus.raft.messages import StandNow
from tallystick.consensus.raft.replication import beat
from tallystick.consensus.raft.state import READS_MAX, RaftState, Read
from tallystick.network.wire.ids import NodeId

# -- reads -------------------------------------------------------------------------------------------------------------


def read(state: RaftState, token: int, now_ms: int) -> bool:
    """Ask for an index. False: we do not lead, have committed nothing in our term yet, or too many wait."""
    current = state.log.term_at(state.commit) == state.term
    if not state.leads or not current or len(state.reads) >= READS_MAX:
        return False
    state.round += 1
    state.reads.append(Read(token, state.commit, state.round))
    beat(state, now_ms)
    return True


def confirm_reads(state: RaftState) -> None:
    """Reads whose round a majority of each active configuration has answered."""
    if not state.leads or not state.reads:
        return
    rounds = {peer: progress.round for peer, progress in state.progress.items()}
    rounds[state.me] = state.round
    reached = state.configuration.committed_index(rounds)
    done = [read for read in state.reads if read.round <= reached]
    state.confirmed.extend((read.token, read.index) for read in done)
    state.reads = state.reads[len(done) :]


# -- handing over ------------------------------------------------------------------------------------------------------


def transfer(state: RaftState, to: NodeId, now_ms: int) -> bool:
    """Hand leadership to a voter. Until it stands, or for one span at most, we propose nothing."""
    if not state.leads or to == state.me or not state.configuration.votes(to):
        return False
    state.transfer_to, state.transfer_until_ms = to, now_ms + state.clock.span_ms
    state.transfer_told = False
    state.note("transfer", term=state.term, to=to)
    return True


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
    if state.configuration.votes(state.me) and not state.barred(now_ms):
        stand(state, now_ms, transfer=True)

"""Famous bugs of both engines (and a few beside them), planted on purpose, each found by a golden play (`tests/scenarios`) or a named test.

They join the list of `planted`: what is said there holds here.
"""

import dataclasses
from typing import Any

import pytest
from msgspec import structs

from tallystick.consensus.api import Verdict
from tallystick.consensus.pbft import ordering
from tallystick.consensus.raft import (
    core,
    countersigning,
    election_clock,
    elections,
    following,
    log,
    membership,
    operations,
    quorums,
    replication,
)
from tallystick.consensus.raft.log import Entry
from tallystick.consensus.raft.messages import Append, Nack
from tallystick.consensus.raft.state import RaftState
from tallystick.contracts import authority, machine
from tallystick.network.wire.ids import Height, NodeId, View
from tallystick.node.core import fairness, mempool
from tests.explorer import test_explorer
from tests.mutants.killers import play, scenario
from tests.mutants.planted import MUTANTS, mutant
from tests.unit.contracts import test_machine
from tests.unit.core import test_fairness, test_raft_epochs, test_refuted_share
from tests.unit.raft import test_elections, test_epochs, test_operations

# -- Raft --------------------------------------------------------------------------------------------------------------


@mutant(scenario("raft/figure_8"))
def commits_old_terms_by_counting(patch: pytest.MonkeyPatch) -> None:
    """Figure 8 (R3): an entry of an older term is committed because a majority has it."""

    def commit(at: RaftState) -> None:
        if at.leads:
            matches = {peer: progress.match for peer, progress in at.progress.items()}
            matches[at.me] = at.own_match
            at.commit = max(at.commit, Height(at.configuration.committed_index(matches)))

    patch.setattr(replication, "commit", commit)


@mutant(scenario("raft/nack_is_not_match"))
def hint_taken_for_match(patch: pytest.MonkeyPatch) -> None:
    """A rejection moves the match index to its hint (R4; CCF 5324, 5326)."""
    honest = replication.on_nack

    def on_nack(at: RaftState, sender: NodeId, nack: Nack, now_ms: int) -> None:
        honest(at, sender, nack, now_ms)
        if sender in at.progress:
            at.progress[sender].match = nack.hint_height

    patch.setattr(replication, "on_nack", on_nack)


@mutant(scenario("raft/stale_append_truncates_nothing"))
def eager_truncation(patch: pytest.MonkeyPatch) -> None:
    """Whatever stands beyond an append goes, conflict or not (R5; CCF 5927, 5991, 6016)."""
    honest = following.on_append

    def on_append(at: RaftState, sender: NodeId, append: Append, now_ms: int) -> None:
        last = append.prev_height + len(append.entries)
        if append.term == at.term and at.final_height <= last < at.log.last_height:
            at.log.truncate_from(Height(last + 1))
        honest(at, sender, append, now_ms)

    patch.setattr(following, "on_append", on_append)


@mutant(scenario("raft/ack_past_the_append"))
def acknowledges_past_the_append(patch: pytest.MonkeyPatch) -> None:
    """An acknowledgement for the whole log, whatever the append had (R6; CCF 6001)."""
    test_explorer.acknowledges_its_whole_log(patch)


@mutant(scenario("raft/ack_past_the_append"))
def commit_index_past_the_append(patch: pytest.MonkeyPatch) -> None:
    """The leader's commit index is followed to the end of the own log (R6)."""
    test_explorer.commit_index_past_the_append(patch)


@mutant(scenario("raft/vote_survives_a_crash"))
def raft_vote_not_durable(patch: pytest.MonkeyPatch) -> None:
    """A vote is forgotten in a crash, and given again in the same term (R10; PySyncObj)."""
    test_explorer.vote_not_persisted(patch)


@mutant(scenario("raft/incomplete_log_gets_no_vote"))
def any_log_may_lead(patch: pytest.MonkeyPatch) -> None:
    """Votes do not look at the candidate's log."""
    test_explorer.any_log_may_lead(patch)


@mutant(scenario("raft/countersign_after_commit"))
def countersigned_at_append(patch: pytest.MonkeyPatch) -> None:
    """What is appended is signed at once: the receipt names a block that the next leader overwrites (R15)."""
    honest = countersigning.sign

    def sign(at: RaftState, now_ms: int) -> None:
        commit, at.commit = at.commit, at.log.last_height
        honest(at, now_ms)
        at.commit = commit

    patch.setattr(countersigning, "sign", sign)


@mutant(scenario("raft/low_term_is_told"))
def leader_of_a_lower_term_is_ignored(patch: pytest.MonkeyPatch) -> None:
    """Its append gets no answer, so that it never learns of the later term (R8; etcd 8243, 8501)."""
    honest = following.on_append

    def on_append(at: RaftState, sender: NodeId, append: Append, now_ms: int) -> None:
        if append.term >= at.term:
            honest(at, sender, append, now_ms)

    patch.setattr(following, "on_append", on_append)


@mutant(scenario("raft/prevote_disturbs_nobody"))
def no_trial_and_no_loyalty(patch: pytest.MonkeyPatch) -> None:
    """Who hears no leader stands at once, and everybody listens (R9; Cloudflare, 2020-11-02)."""
    patch.setattr(elections, "campaign", elections.stand)
    patch.setattr(election_clock.ElectionClock, "is_loyal", lambda *_: False)


@mutant(scenario("raft/check_quorum"))
def leader_without_a_quorum_goes_on(patch: pytest.MonkeyPatch) -> None:
    """A leader that nobody hears keeps its leadership, and serves what is stale (R9, R14)."""
    patch.setattr(replication, "check_quorum", lambda *_: None)


@mutant(play(test_elections.test_a_joint_majority_is_a_majority_of_each_half))
def quorum_of_the_union(patch: pytest.MonkeyPatch) -> None:
    """A joint configuration counts over both halves together (R2; CCF 3948, 4018, 4049)."""
    tally, index = quorums.joint_tally, quorums.joint_committed_index

    def union_tally(voters: Any, outgoing: Any, votes: Any) -> Any:
        return tally({*voters, *outgoing}, (), votes)

    def union_index(voters: Any, outgoing: Any, acknowledged: Any) -> Any:
        return index({*voters, *outgoing}, (), acknowledged)

    patch.setattr(membership, "joint_tally", union_tally)
    patch.setattr(membership, "joint_committed_index", union_index)


@mutant(scenario("raft/unsynced_vote_never_left"))
def promises_of_raft_leave_at_once(patch: pytest.MonkeyPatch) -> None:
    """A vote leaves before it is on the disk (R10; etcd 14370, 13766)."""
    patch.setattr(RaftState, "promise", RaftState.say)


@mutant(play(test_operations.test_a_leader_that_was_replaced_while_it_slept_serves_no_stale_read))
def read_confirmed_by_nobody(patch: pytest.MonkeyPatch) -> None:
    """A leader takes itself for current, as with a lease that a pause outlives (R14; etcd 20418)."""
    honest = operations.confirm_reads

    def confirm_reads(at: RaftState) -> None:
        for progress in at.progress.values():
            progress.round = at.round
        honest(at)

    patch.setattr(operations, "confirm_reads", confirm_reads)


@mutant(
    play(test_epochs.test_a_full_pipeline_drains_and_nothing_stands_on_the_last_block, 2),
    play(test_epochs.test_whatever_happens_members_agree_across_epochs, 0),
)
def raft_goes_on_above_the_last_block(patch: pytest.MonkeyPatch) -> None:
    """A leader appends to a log that ends with a closing block: one more block of an epoch that is over (P18)."""

    def due_ms(at: RaftState) -> int | None:
        return at.batching.due_ms(at.in_flight, at.batching.last_proposal_ms)

    patch.setattr(replication, "due_ms", due_ms)


@mutant(play(test_epochs.test_an_entry_above_the_last_one_is_an_alarm_and_is_never_acknowledged))
def raft_acknowledges_above_the_last_block(patch: pytest.MonkeyPatch) -> None:
    """A follower takes whatever its leader puts on a closing block."""
    honest = following._contradiction

    def contradiction(at: RaftState, entry: Any, known: Any) -> str | None:
        fault = honest(at, entry, known)
        return None if fault is not None and "closes the epoch" in fault else fault

    patch.setattr(following, "_contradiction", contradiction)
    patch.setattr(log.Log, "closed", property(lambda _: False))


@mutant(
    play(test_epochs.test_a_later_leader_takes_the_last_block_again_under_its_own_term),
    play(test_epochs.test_wherever_the_leader_dies_the_epoch_closes_once_or_not_yet, test_epochs.dies_when_all_have_it, False),
)  # fmt: skip
def last_block_is_not_taken_again(patch: pytest.MonkeyPatch) -> None:
    """A later leader leaves the closing block under its old term: nobody may count it, and no block may stand on it."""

    def close_again(at: RaftState) -> bool:
        return True

    patch.setattr(elections, "_close_again", close_again)


@mutant(play(test_epochs.test_an_old_terms_last_block_is_never_committed_by_counting))
def old_acknowledgement_counts_for_the_last_block(patch: pytest.MonkeyPatch) -> None:
    """The new leader asks from behind the closing block: who holds the old entry is counted for the new one (figure 8)."""
    honest = elections._lead

    def lead(at: RaftState, now_ms: int) -> None:
        honest(at, now_ms)
        for progress in at.progress.values():
            progress.next = at.log.last_height + 1

    patch.setattr(elections, "_lead", lead)


@mutant(play(test_epochs.test_the_time_of_a_last_block_that_is_taken_again_is_not_tested))
def time_test_on_a_last_block_taken_again(patch: pytest.MonkeyPatch) -> None:
    """It is as old as the first leader made it, and whoever lacks it refuses it: of three with one dead, nobody can lead."""
    honest = log.Log.take_again

    def take_again(self: log.Log, term: View) -> Entry:
        entry = honest(self, term)
        self.entries[-1] = Entry(entry.term, entry.block)
        return self.entries[-1]

    patch.setattr(log.Log, "take_again", take_again)
    patch.setattr(following, "_contradiction", lambda *_: None)


@mutant(play(test_epochs.test_a_later_epoch_is_a_hint_and_an_earlier_one_is_silence))
def terms_of_two_epochs_are_mixed(patch: pytest.MonkeyPatch) -> None:
    """What was said in an old epoch moves the engine of the next one, whose terms begin again."""
    patch.setattr(core, "epoch_of", lambda message: 1)


@mutant(play(test_epochs.test_the_next_engine_begins_in_term_zero_without_a_certificate_whatever_ended_the_last))  # fmt: skip
def next_engine_believes_the_old_terms(patch: pytest.MonkeyPatch) -> None:
    """The last certificate's term is taken for one of the new epoch: logs of members that know it and that do not never meet."""
    honest = core.Raft.__init__

    def init(self: core.Raft, setup: Any, crypto: Any, restored: Any, *rest: Any) -> None:
        final = restored.final
        if final is not None:
            final = structs.replace(final, epoch=setup.epoch)
        honest(self, setup, crypto, dataclasses.replace(restored, final=final), *rest)

    patch.setattr(core.Raft, "__init__", init)


@mutant(play(test_raft_epochs.test_who_was_put_out_while_it_was_down_learns_of_it_though_nobody_speaks_to_it, lab=test_raft_epochs.lab))  # fmt: skip
def silence_is_not_asked_about(patch: pytest.MonkeyPatch) -> None:
    """A member that was put out while it was down stands for election in its old epoch for ever."""
    patch.setattr(elections, "_ask_around", lambda _: None)


# -- PBFT --------------------------------------------------------------------------------------------------------------


@mutant(scenario("pbft/prepared_poison_stops"))
def poisoned_tip_does_not_stop(patch: pytest.MonkeyPatch) -> None:
    """f+1 members execute a prepared tip otherwise, and the network goes on without it (P25)."""
    honest = ordering.on_disagree

    def on_disagree(at: Any, sender: NodeId, said: Any) -> None:
        honest(at, sender, said)
        at.halted = False
        at.out = [each for each in at.out if not getattr(each, "halt", False)]

    patch.setattr(ordering, "on_disagree", on_disagree)


@mutant(scenario("pbft/poison_block"), scenario("pbft/leader_ten_years_ahead"))
def votes_before_it_executes(patch: pytest.MonkeyPatch) -> None:
    """PREPARE is for an order, whatever it results in, and whatever its time is (P15, P19)."""
    honest = ordering.on_judged

    def on_judged(at: Any, judged: Any) -> None:
        verdict = Verdict.ACCEPT
        honest(at, type(judged)(judged.view, judged.link, verdict, judged.link))

    patch.setattr(ordering, "on_judged", on_judged)


@mutant(play(test_fairness.test_a_leader_that_never_serves_one_bank_is_left_and_the_next_one_serves_it))  # fmt: skip
def censoring_leader_stays(patch: pytest.MonkeyPatch) -> None:
    """A leader fills its blocks with payments of its friends, and nobody minds (P28)."""
    patch.setattr(fairness.Fairness, "served_by", lambda *_: None)


@mutant(play(test_fairness.test_what_the_leader_cannot_have_heard_yet_is_not_held_against_it))
def a_leader_owes_what_it_never_heard_of(patch: pytest.MonkeyPatch) -> None:
    """Whatever came in here counts, sent on or not: who keeps a payment from the leader alone takes its view (P28)."""
    honest = fairness.Fairness.sent_on
    patch.setattr(fairness.Fairness, "sent_on", lambda at, _: honest(at, at.pool.arrived))


@mutant(play(test_refuted_share.test_forged_copies_of_one_payment_do_not_hold_it_up))
def forged_copies_have_the_banks_turn(patch: pytest.MonkeyPatch) -> None:
    """A copy under a stranger's key is taken before the payment, in one block after the other (P28)."""
    patch.setattr(mempool, "STRANGER", -2)


@mutant(play(test_machine.test_exactly_the_threshold_of_keys_signs))
def more_signatures_than_needed(patch: pytest.MonkeyPatch) -> None:
    """One signature too many is as good: a copy without it is ordered first, and the original is a duplicate (L5)."""
    honest = authority.meets

    def meets(account: Any, witnesses: Any) -> bool:
        return honest(account, witnesses[: account.threshold])

    patch.setattr(machine, "meets", meets)


MODULE_MUTANTS = {each.name for each in MUTANTS if each.plant.__module__ == __name__}
"""The names of what this module plants."""

__all__ = ["MODULE_MUTANTS", "MUTANTS"]

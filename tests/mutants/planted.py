"""Bugs that others made, or that a review of this design found, planted on purpose (see `test_mutants`).

Each says what it is, how to plant it, and which named test or seed must find it. A mutant that survives says where our tests are
blind; so it is mended by a better test, never by taking the mutant out.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from tallystick.consensus import api
from tallystick.consensus.accountability import guard
from tallystick.consensus.api import Judge, Restored
from tallystick.consensus.pbft import core, ordering, rollback_check, state, view_change
from tallystick.consensus.pbft.messages import ViewChange, Vote
from tallystick.contracts import invariants, machine, membership
from tallystick.contracts.state import Account, WorkingSet
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.frames import pack
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.transactions import Transfer
from tallystick.node.core import catch_up, intake, ledger, proposing, replica, schema, step
from tallystick.node.core.effects import Hearsay
from tallystick.node.core.mempool import Mempool
from tallystick.node.storage.memory import MemoryStore
from tests.explorer import test_explorer
from tests.mutants.killers import play, scenario, seed
from tests.sim import test_set_back
from tests.unit.consensus import test_epochs as test_engine_epochs
from tests.unit.consensus import test_guard, test_normal_case, test_rollback_check, test_view_change
from tests.unit.contracts import test_membership
from tests.unit.core import test_catch_up, test_epochs, test_judging, test_mempool, test_restart

Plant = Callable[[pytest.MonkeyPatch], None]
Killer = Callable[[], None]


@dataclass(frozen=True)
class Mutant:
    name: str
    story: str
    plant: Plant
    killers: tuple[Killer, ...]


MUTANTS: list[Mutant] = []


def mutant(*killers: Killer) -> Callable[[Plant], Plant]:
    """Registers a plant under its function's name, with its docstring as story."""

    def register(plant: Plant) -> Plant:
        MUTANTS.append(Mutant(plant.__name__, (plant.__doc__ or "").strip(), plant, killers))
        return plant

    return register


# -- the double-sign guard and the peers' memory ---------------------------------------------------------------------------


@mutant(
    scenario("pbft/machine_snapshot"),
    play(test_rollback_check.test_a_forgotten_view_change_halts_it),
    play(test_restart.test_a_machine_that_was_set_back_halts_before_it_signs),
    play(test_set_back.test_a_machine_that_is_set_back_halts_before_it_signs),
)
def starts_without_asking_its_peers(patch: pytest.MonkeyPatch) -> None:
    """A machine that was set back, guard and database together, votes from its old memory (P17)."""
    patch.setattr(rollback_check, "begin", lambda *_: None)


@mutant(play(test_rollback_check.test_a_claim_without_the_keys_signature_halts_nobody_and_blames_the_liar))  # fmt: skip
def believes_what_peers_say_that_it_signed(patch: pytest.MonkeyPatch) -> None:
    """One liar stops every member that restarts."""
    patch.setattr(rollback_check, "_genuine", lambda *_: True)


# -- durability --------------------------------------------------------------------------------------------------------


@mutant(
    play(test_restart.test_no_vote_leaves_before_its_batch_and_its_guard_are_durable),
    play(test_restart.test_a_holder_signs_only_when_the_batch_is_on_its_disk),
    seed(3),
)
def promise_released_before_durability(patch: pytest.MonkeyPatch) -> None:
    """A vote or an acknowledgement leaves at once (etcd 14370, PySyncObj)."""

    def promise(self: step.Step, channel: Any, payload: bytes, to: NodeId | None = None) -> None:
        self.now.append(Hearsay(to, pack(channel, payload)))

    patch.setattr(step.Step, "promise", promise)


@mutant(play(test_view_change.test_what_is_said_again_is_a_promise_again), seed(3))
def repeated_statements_do_not_wait(patch: pytest.MonkeyPatch) -> None:
    """What is said again leaves before the record that it rests on is durable."""
    promised = state.PbftState.promise

    def promise(self: state.PbftState, message: Any, to: NodeId | None = None) -> None:
        if to is None:
            promised(self, message)
        else:
            self.say(message, to)

    patch.setattr(state.PbftState, "promise", promise)


@mutant(play(test_restart.test_a_member_does_not_count_its_own_vote_before_it_is_durable))
def own_vote_counts_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    """The engine hears its promises when it makes them, not when they are on the disk."""
    carried_out = replica.Replica._carry_out

    def carry_out(self: replica.Replica, effect: Any, now_ms: int) -> Any:
        answer = carried_out(self, effect, now_ms)
        if isinstance(effect, api.Say) and effect.promise:
            self._step.durable.own.remove(effect.message)
            return api.Heard(self.me, effect.message)
        return answer

    patch.setattr(replica.Replica, "_carry_out", carry_out)


@mutant(
    play(test_restart.test_a_guard_behind_its_database_catches_up_before_anything_leaves), seed(87)
)
def guard_stays_behind_after_a_crash(patch: pytest.MonkeyPatch) -> None:
    """After a crash between database and guard the key's own record is not brought up."""
    patch.setattr(replica, "guard_to_repeat", lambda *_: None)


@mutant(play(test_restart.test_a_batch_that_is_sent_on_while_it_is_read_back_keeps_its_row))
def batch_row_deleted_while_it_is_needed(patch: pytest.MonkeyPatch) -> None:
    """A batch that is read back and brings nothing new is deleted, whoever else rests on its row."""
    plain = intake.Intake._from_disk

    def from_disk(self: intake.Intake, origin: Any, verdicts: Any, to: step.Step) -> None:
        plain(self, origin, verdicts, to)
        waiting = [self.pool.get(verdict.body_id) for verdict in verdicts]
        if all(each is None or each.entry != self.signer.node for each in waiting):
            to.pairs[schema.BATCH + origin.batch] = None

    patch.setattr(intake.Intake, "_from_disk", from_disk)


@mutant(seed(19), seed(34))
def disk_that_lies(patch: pytest.MonkeyPatch) -> None:
    """fsync says yes and keeps nothing of every third write (ATC '20). The checkers must see it; the nodes cannot."""
    honest = MemoryStore.write
    count = [0]

    def write(self: MemoryStore, batches: Any) -> None:
        count[0] += 1
        if count[0] % 3:
            honest(self, batches)

    patch.setattr(MemoryStore, "write", write)


# -- votes and the guard -----------------------------------------------------------------------------------------------


@mutant(
    play(
        test_normal_case.test_a_restarted_member_prepares_no_second_block_of_an_equivocating_leader
    ),
    play(test_guard.test_the_chain_rule_survives_a_restart),
)
def guard_not_consulted(patch: pytest.MonkeyPatch) -> None:
    """Everything may be signed, and nothing is remembered (CometBFT ADR-056)."""
    test_explorer.guard_not_consulted(patch)


@mutant(play(test_guard.test_kinds_and_heights_do_not_stand_in_each_others_way))
def guard_refuses_whatever_is_lower(patch: pytest.MonkeyPatch) -> None:
    """'Lower position: refuse' blocks the pipeline: COMMIT(1) after PREPARE(2)."""
    vacant = guard.Guard._vacant

    def stricter(self: guard.Guard, kind: int, view: Any, height: Any, link: bytes) -> bool:
        highest = max((place[1] for place in self._slots), default=0)
        return height >= highest and vacant(self, kind, view, height, link)

    patch.setattr(guard.Guard, "_vacant", stricter)


@mutant(play(test_guard.test_joining_a_view_by_whatever_message_raises_the_floor))
def joining_a_view_keeps_the_floor(patch: pytest.MonkeyPatch) -> None:
    """A member that joined by a new view may still sign in the old one."""
    patch.setattr(guard.Guard, "join", lambda *_: None)


@mutant(play(test_normal_case.test_votes_of_two_views_never_add_up))
def votes_of_two_views_add_up(patch: pytest.MonkeyPatch) -> None:
    """Equal votes of views 2 and 3 are pooled into one certificate."""
    heard = ordering.on_vote

    def on_vote(at: state.PbftState, sender: NodeId, vote: Vote) -> None:
        heard(at, sender, replace(vote, view=at.view))

    patch.setattr(ordering, "on_vote", on_vote)
    patch.setattr(state.PbftState, "_genuine", lambda *_: True)


@mutant(play(test_normal_case.test_five_members_do_not_decide_with_three_votes))
def quorum_of_2f_plus_1(patch: pytest.MonkeyPatch) -> None:
    """With five members {a,b,c} and {c,d,e} share only c."""
    patch.setattr(state, "quorum_of", lambda members: 2 * ((members - 1) // 3) + 1)


@mutant(play(test_normal_case.test_a_child_of_another_parent_gets_no_prepare))
def prepare_for_a_child_of_another_parent(patch: pytest.MonkeyPatch) -> None:
    """A leader certifies 1, then 2' on 1': PREPARE(2') would imply what nobody prepared."""
    test_explorer.prepare_for_a_child_of_another_parent(patch)


@mutant(play(test_normal_case.test_prepares_do_not_count_as_commits))
def commit_after_prepares(patch: pytest.MonkeyPatch) -> None:
    """A prepared certificate is taken for a decision: the fast path that breaks the view change."""
    prepared = ordering._on_prepared

    def on_prepared(at: state.PbftState, certificate: Certificate) -> None:
        prepared(at, certificate)
        ordering.on_commit_certificate(at, certificate, 0)

    patch.setattr(ordering, "_on_prepared", on_prepared)


# -- the view change ---------------------------------------------------------------------------------------------------


@mutant(play(test_view_change.test_of_one_view_the_tip_is_the_highest))
def tip_by_view_alone(patch: pytest.MonkeyPatch) -> None:
    """View 0 commits 1 and 2; a member that knows 1 only decides the tip; 2 is replaced."""
    tip_of = test_explorer.largest(lambda certificate: certificate.view)
    patch.setattr(view_change, "tip_of", tip_of)


@mutant(play(test_view_change.test_a_later_view_outranks_a_greater_height))
def tip_by_height_first(patch: pytest.MonkeyPatch) -> None:
    """View 0 prepares 1 and 2, view 1 commits another 1; view 2 takes the stale 2."""
    test_explorer.tip_by_height_first(patch)


@mutant(play(test_view_change.test_a_leader_dies_when_it_alone_knows_that_a_block_is_final))
def prepared_request_lost_in_a_view_change(patch: pytest.MonkeyPatch) -> None:
    """View changes show no prepared certificate (indy-plenum PR 1268)."""
    test_explorer.view_changes_show_nothing(patch)


@mutant(play(test_view_change.test_a_member_that_committed_and_then_prepared_nothing_shows_its_commit_certificate))  # fmt: skip
def view_change_omits_the_commit_certificate(patch: pytest.MonkeyPatch) -> None:
    """Once a block is known committed its certificate is shown no more; only that member knew."""
    signed = view_change.signed_change

    def omit(at: state.PbftState, view: Any, certificate: Certificate | None) -> ViewChange:
        commits = certificate is not None and certificate.commits
        return signed(at, view, None if commits else certificate)

    patch.setattr(view_change, "signed_change", omit)


@mutant(play(test_view_change.test_a_new_view_shows_q_view_changes))
def new_view_of_too_few(patch: pytest.MonkeyPatch) -> None:
    """Two view changes of four open a view."""
    patch.setattr(view_change, "_justified", lambda *_: True)


@mutant(play(test_view_change.test_a_view_change_with_a_certificate_that_is_none_does_not_count))
def certificates_of_view_changes_unchecked(patch: pytest.MonkeyPatch) -> None:
    """One liar's certificate becomes everybody's tip."""
    patch.setattr(view_change, "genuine_certificate", lambda *_: True)


@mutant(
    play(test_normal_case.test_a_proposal_is_judged_as_fresh_and_a_tip_that_is_carried_over_is_not)
)
def time_test_on_carried_over_blocks(patch: pytest.MonkeyPatch) -> None:
    """A block that was prepared grows old, and no view can finish it (indy-plenum 1488)."""
    patch.setattr(ordering, "Judge", lambda view, block, _, age: Judge(view, block, True, age))


@mutant(play(test_normal_case.test_the_age_of_a_view_is_counted_from_the_last_certificate))
def lateness_by_the_absolute_view(patch: pytest.MonkeyPatch) -> None:
    """At view 1,000 a leader may freeze time for hours."""
    patch.setattr(ordering, "Judge", lambda view, block, fresh, _: Judge(view, block, fresh, view))


@mutant(play(test_view_change.test_one_member_gone_ahead_alone_counts_as_gone))
def members_further_ahead_do_not_count(patch: pytest.MonkeyPatch) -> None:
    """Two wait for view 1, one has gone on to 2, one is dead: they wait for ever."""
    opened = view_change._open

    def open_(at: state.PbftState, now_ms: int) -> None:
        equal = [change for change in at.changes.values() if change.view == at.view]
        if len(equal) >= at.quorum:
            opened(at, now_ms)

    patch.setattr(view_change, "_open", open_)


@mutant(
    *(play(test_view_change.test_after_a_blackout_everybody_leaves_again, down) for down in (2, 3))
)
def own_view_change_forgotten_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    """Nobody counts itself, no q view changes come together, nobody's timer runs."""
    began = core.Pbft.__init__

    def init(self: core.Pbft, setup: Any, crypto: Any, restored: Restored, now_ms: int) -> None:
        began(self, setup, crypto, restored, now_ms)
        self._state.changes.clear()
        if not self._state.active:
            self._state.synchronizer.left(now_ms)

    patch.setattr(core.Pbft, "__init__", init)


@mutant(play(test_view_change.test_a_restarted_leader_hands_its_view_on))
def restarted_leader_goes_on(patch: pytest.MonkeyPatch) -> None:
    """It proposes again in a view in which it may have proposed something else."""
    began = core.Pbft.__init__

    def init(self: core.Pbft, setup: Any, crypto: Any, restored: Restored, now_ms: int) -> None:
        began(self, setup, crypto, restored, now_ms)
        self._leave_first, self._state.may_lead = False, True

    patch.setattr(core.Pbft, "__init__", init)


@mutant(play(test_normal_case.test_a_leader_that_is_alone_wakes_for_nothing), seed(26))
def deadline_in_the_past_while_isolated(patch: pytest.MonkeyPatch) -> None:
    """An isolated member asks for one tick after the other."""
    patch.setattr(state.PbftState, "reaches_quorum", property(lambda _: True))
    patch.setattr(view_change, "leave", lambda *_: None)


# -- the ledger --------------------------------------------------------------------------------------------------------


@mutant(play(test_judging.test_a_block_that_orders_something_again_is_refused), seed(1))
def exactly_once_off(patch: pytest.MonkeyPatch) -> None:
    """What was ordered is ordered again: the same receipt twice, the money twice."""
    patch.setattr(machine, "_ordering_fault", lambda *_: None)
    patch.setattr(proposing.Proposing, "_orderable", lambda self, bodies, *_: bodies)
    patch.setattr(intake.Intake, "_known_outcome", lambda *_: None)
    patch.setattr(
        intake.Intake,
        "_news",
        lambda self, bodies: [body for body in bodies if body.body_id not in self.pool],
    )
    patch.setattr(ledger.Ledger, "taken_by", lambda *_: None)
    patch.setattr(Mempool, "knows", lambda self, body_id: body_id in self)


def generous(working: WorkingSet, transaction: Transfer, debtor: Account) -> Any:
    decision = PLAIN_TRANSFER(working, transaction, debtor)
    if decision.status == 1:
        working.changed[transaction.creditor].balances[transaction.asset] += 1
    return decision


PLAIN_TRANSFER = machine._CONTRACTS[Transfer][1]


@mutant(seed(1))
def one_cent_too_many(patch: pytest.MonkeyPatch) -> None:
    """Conservation off by one: our own invariant halts the node before it signs."""
    patch.setitem(machine._CONTRACTS, Transfer, (3, generous))


@mutant(seed(1))
def one_cent_too_many_and_no_invariant(patch: pytest.MonkeyPatch) -> None:
    """The same with the invariant switched off: the simulator's own sums find it."""
    patch.setitem(machine._CONTRACTS, Transfer, (3, generous))
    patch.setattr(machine, "check_supply", lambda *_: None)
    patch.setattr(invariants, "check_supply", lambda *_: None)


@mutant(play(test_catch_up.test_a_hostile_answer_moves_and_stops_nobody, test_catch_up.other_transactions, lab=test_catch_up.lab), seed(78))  # fmt: skip
def transactions_of_a_run_unchecked(patch: pytest.MonkeyPatch) -> None:
    """A peer answers with genuine headers and other bodies, and the honest node halts."""

    class Anything(bytes):
        __hash__ = bytes.__hash__

        def __eq__(self, _: object) -> bool:
            return True

        def __ne__(self, _: object) -> bool:
            return False

    patch.setattr(catch_up, "root_of", lambda _: Anything())


@mutant(play(test_mempool.test_the_first_look_finds_all_that_is_overdue), seed(8))
def expired_transactions_stay(patch: pytest.MonkeyPatch) -> None:
    """After a restart the pool is never swept: what is overdue is owed for ever, and views change without end."""
    patch.setattr(Mempool, "expired", lambda *_: [])


@mutant(seed(72))
def far_deadlines_are_taken_in(patch: pytest.MonkeyPatch) -> None:
    """A hostile member hands on a deadline ten years ahead."""
    patch.setattr(intake.Intake, "_latest_ms", lambda *_: 2**63)


# -- members -----------------------------------------------------------------------------------------------------------


@mutant(
    play(test_engine_epochs.test_epoch_change_full_pipeline, 3),
    play(
        test_engine_epochs.test_a_hostile_leaders_child_of_the_last_block_is_not_even_judged, False
    ),
)
def epoch_change_inside_the_pipeline(patch: pytest.MonkeyPatch) -> None:
    """What stands on the block that changes the members is proposed and voted for by the old ones (P18)."""
    patch.setattr(state.PbftState, "closes", lambda *_: False)


@mutant(play(test_epochs.test_a_spare_waits_for_its_epoch))
def spare_votes_in_its_old_epoch(patch: pytest.MonkeyPatch) -> None:
    """A spare takes part as soon as it runs: with its old id the bank has two votes, and quorums do not intersect (P27)."""

    def engine(name: str, setup: api.Setup, *rest: Any) -> api.Engine:
        keys = {**setup.vote_keys, setup.me: bytes(32)}
        return core.Pbft(dataclasses.replace(setup, vote_keys=keys), *rest)

    patch.setattr(replica, "engine_of", engine)
    patch.setattr(replica.Replica, "votes", property(lambda _: True))


@mutant(play(test_engine_epochs.test_the_next_epoch_begins_with_no_view_and_no_certificate))
def certificate_of_the_old_epoch_is_carried_over(patch: pytest.MonkeyPatch) -> None:
    """The next epoch's engine shows the closing block's certificate, which its members cannot check: no view ever opens."""
    begun = core.Pbft.__init__

    def begin(self: core.Pbft, setup: Any, crypto: Any, restored: Restored, now_ms: int) -> None:
        begun(self, setup, crypto, restored, now_ms)
        self._state.high = restored.final

    patch.setattr(core.Pbft, "__init__", begin)


@mutant(play(test_membership.test_no_id_is_used_twice))
def retired_ids_come_back(patch: pytest.MonkeyPatch) -> None:
    """A bank rejoins under its old id after its disk was lost: it signs again what it has forgotten."""
    patch.setattr(membership, "_used_ids", lambda now: {each.id for each in now.members})

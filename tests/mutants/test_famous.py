"""The table of famous bugs, row by row: planted here and found by a play, or the reason why it is not. No row is left out.

A row names its mutants; or `Held`: a test that holds the rule, without a mutant of it; or `NotYet`: what would have to be built first.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tallystick.network.wire.faults import InvariantError
from tests.mutants import accusers, engines, planted
from tests.mutants.killers import scenario
from tests.mutants.planted import MUTANTS

ROOT = Path(__file__).resolve().parent.parent
LOUD = (AssertionError, InvariantError)


@dataclass(frozen=True)
class Held:
    file: str
    test: str


@dataclass(frozen=True)
class NotYet:
    reason: str


Row = tuple[str, ...] | Held | NotYet

FAMOUS: dict[str, Row] = {
    "R1": Held("unit/contracts/test_membership.py", "test_one_change_closes_the_epoch_and_a_second_in_its_block_is_refused"),
    "R2": ("quorum_of_the_union",),
    "R3": ("commits_old_terms_by_counting",),
    "R4": ("hint_taken_for_match",),
    "R5": ("eager_truncation",),
    "R6": ("acknowledges_past_the_append", "commit_index_past_the_append"),
    "R7": NotYet("no Raft member retires inside an epoch: members change at epoch boundaries"),
    "R8": ("leader_of_a_lower_term_is_ignored",),
    "R9": ("no_trial_and_no_loyalty", "leader_without_a_quorum_goes_on"),
    "R10": ("raft_vote_not_durable", "promises_of_raft_leave_at_once", "promise_released_before_durability"),
    "R11": Held("unit/raft/test_restarts.py", "test_snapshot_then_crash_the_ledger_and_the_log_go_back_together"),
    "R12": ("retired_ids_come_back",),
    "R13": Held("unit/raft/test_restarts.py", "test_two_snapshots_in_a_row_leave_the_later_one"),
    "R14": ("read_confirmed_by_nobody",),
    "R15": ("countersigned_at_append",),
    "P1": ("time_test_on_carried_over_blocks",),
    "P2": Held("spec/test_specification.py", "test_pbft_agrees_in_two_views_and_two_heights"),
    "P3": ("prepared_request_lost_in_a_view_change",),
    "P4": ("commit_after_prepares",),
    "P5": Held("scenarios/pbft/equivocating_leader.txt", "Holds off: P5"),
    "P6": Held("unit/core/test_quorum_reads.py", "test_a_leader_that_was_replaced_behind_a_partition_answers_no_reader"),
    "P7": ("guard_not_consulted",),
    "P8": ("members_further_ahead_do_not_count",),
    "P9": Held("unit/core/test_catch_up.py", "test_a_hostile_answer_moves_and_stops_nobody"),
    "P10": ("disk_that_lies",),
    "P11": ("votes_of_two_views_convict", "statements_of_two_epochs_convict", "evidence_is_kept_unchecked"),
    "P12": ("votes_of_two_views_add_up",),
    "P13": ("prepare_for_a_child_of_another_parent",),
    "P14": ("tip_by_view_alone",),
    "P15": ("votes_before_it_executes",),
    "P16": ("guard_refuses_whatever_is_lower",),
    "P17": ("starts_without_asking_its_peers",),
    "P18": ("epoch_change_inside_the_pipeline",),
    "P19": ("votes_before_it_executes", "far_deadlines_are_taken_in"),
    "P20": NotYet("no transaction rotates a key yet; validity reads bytes and header only"),
    "P21": NotYet("no hold or queue is swept yet; the view's timer and work bounds are tested without it"),
    "P22": ("quorum_of_2f_plus_1",),
    "P23": ("prepare_for_a_child_of_another_parent",),
    "P24": ("view_change_omits_the_commit_certificate",),
    "P25": ("poisoned_tip_does_not_stop",),
    "P26": ("lateness_by_the_absolute_view",),
    "P27": ("spare_votes_in_its_old_epoch",),
    "P28": ("censoring_leader_stays", "service_pays_nothing", "payments_of_the_leaders_own_bank_are_service", "left_one_block_too_late"),
    "L1": Held("unit/contracts/test_machine.py", "test_two_accounts_may_use_the_same_id"),
    "L2": ("exactly_once_off",),
    "L3": NotYet("nothing is pruned and no window is closed yet"),
    "L4": Held("vectors/test_wycheproof_ecdsa.py", "test_every_case_gets_the_published_verdict_but_high_s"),
    "L5": ("more_signatures_than_needed",),
    "L6": NotYet("no window sums yet; amounts and supply have their bound"),
    "L7": Held("unit/contracts/test_machine.py", "test_a_foreign_key_first_does_not_burn_the_digest_or_the_id"),
    "L8": NotYet("no window is archived yet"),
    "L9": NotYet("no window root enters the state yet"),
    "L10": ("promise_released_before_durability",),
    "L11": NotYet("no outcome is interim yet: every receipt is final"),
    "S1": Held("unit/runtime/test_disk_writer.py", "test_a_failed_sync_is_told_once_and_nothing_is_written_after_it"),
    "S2": Held("unit/storage/test_stores.py", "test_a_database_that_cannot_be_opened_says_which"),
    "S3": Held("unit/storage/test_stores.py", "test_a_flipped_byte_in_a_table_surfaces_at_the_read_and_in_the_audit"),
}  # fmt: skip

ROWS = [
    *(f"R{row}" for row in range(1, 16)),
    *(f"P{row}" for row in range(1, 29)),
    *(f"L{row}" for row in range(1, 12)),
    *(f"S{row}" for row in range(1, 4)),
]


def test_no_famous_bug_is_left_out() -> None:
    assert list(FAMOUS) == ROWS
    known = {mutant.name for mutant in MUTANTS}
    named = {name for row in FAMOUS.values() if isinstance(row, tuple) for name in row}
    assert named <= known
    for row in FAMOUS.values():
        if isinstance(row, Held):
            assert row.test in (ROOT / row.file).read_text("utf-8"), row
        elif isinstance(row, NotYet):
            assert row.reason
    assert known >= engines.MODULE_MUTANTS | accusers.ACCUSERS


ALSO_BY_A_PLAY = {
    "votes_of_two_views_add_up": "pbft/votes_of_two_views_never_add",
    "prepared_request_lost_in_a_view_change": "pbft/leader_dies_alone_with_commit",
    "tip_by_view_alone": "pbft/short_view_must_not_hide_tip",
    "tip_by_height_first": "pbft/later_view_outranks_height",
    "guard_refuses_whatever_is_lower": "pbft/commit_after_next_prepare",
    "guard_not_consulted": "pbft/restart_between_two_votes",
    "quorum_of_2f_plus_1": "pbft/five_members",
    "prepare_for_a_child_of_another_parent": "pbft/child_of_another_parent",
    "view_change_omits_the_commit_certificate": "pbft/committed_but_unprepared",
    "time_test_on_carried_over_blocks": "pbft/late_by_fetching",
    "censoring_leader_stays": "pbft/full_but_unfair",
    "payments_of_the_leaders_own_bank_are_service": "pbft/full_but_unfair",
    "left_one_block_too_late": "pbft/full_but_unfair",
    "left_one_block_too_early": "pbft/full_but_unfair",
}
"""Mutants that have a killer among the unit tests, and that their golden play must kill as well."""


@pytest.mark.parametrize("name", ALSO_BY_A_PLAY)
def test_a_golden_play_kills_the_bug_that_it_holds_off(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [mutant] = [each for each in planted.MUTANTS if each.name == name]
    mutant.plant(monkeypatch)
    with pytest.raises(LOUD):
        scenario(ALSO_BY_A_PLAY[name])()

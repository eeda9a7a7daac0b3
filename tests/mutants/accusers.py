"""Bugs of whoever accuses, planted on purpose: evidence that names an honest member, and a censorship bound that is none.

They join the list of `planted`: what is said there holds here.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from tallystick.consensus.accountability import evidence as weighing
from tallystick.consensus.pbft import accusing, ordering
from tallystick.network.proofs import evidence, evidence_file, verify
from tallystick.network.proofs.members import MemberSet
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import Epoch, View
from tallystick.network.wire.signing import Phase
from tallystick.node.core import fairness
from tests.mutants.killers import play
from tests.mutants.planted import MUTANTS, mutant
from tests.unit.consensus import test_evidence
from tests.unit.core import test_fairness
from tests.unit.proofs import test_equivocation, test_evidence_file

# -- evidence ------------------------------------------------------------------------------------------------------------


def _of_any(patch: pytest.MonkeyPatch, places: Callable[[Any], list[Any]]) -> None:
    """Each of the two signatures is looked for at every one of these places, and not at the one that is claimed."""

    def check_evidence(found: Any, chain: int, lane: int, key: bytes, genuine: Any) -> None:
        def anywhere(key: bytes, _: bytes, signature: bytes) -> bool:
            said = found.first if signature == found.first.signature else found.second
            return any(
                genuine(key, evidence.signed_bytes(place, said), signature)
                for place in places(found)
            )

        honest(found, chain, lane, key, anywhere)

    honest = evidence.check_evidence
    for module in (evidence, weighing):
        patch.setattr(module, "check_evidence", check_evidence)


@mutant(
    play(test_evidence.test_votes_of_two_views_or_two_phases_convict_nobody),
    play(test_evidence_file.test_no_two_statements_of_an_honest_member_convict_it_whatever_place_is_claimed),
)  # fmt: skip
def votes_of_two_views_convict(patch: pytest.MonkeyPatch) -> None:
    """Another block in a later view is taken for a double vote: every member that went through a view change is named (P11)."""
    _of_any(patch, lambda found: [replace(found, view=View(view)) for view in range(3)])
    honest = ordering.on_vote

    def on_vote(at: Any, sender: Any, vote: Any) -> None:
        for (_, height, phase), ballots in list(at.ballots.items()):
            earlier = ballots.get(sender)
            if (height, phase) == (vote.height, Phase(vote.phase)) and earlier is not None:
                accusing.two_votes(at, sender, earlier, vote)
        honest(at, sender, vote)

    patch.setattr(ordering, "on_vote", on_vote)


@mutant(play(test_evidence_file.test_no_two_statements_of_an_honest_member_convict_it_whatever_place_is_claimed))  # fmt: skip
def statements_of_two_epochs_convict(patch: pytest.MonkeyPatch) -> None:
    """Views begin again in each epoch, so an honest member that stays has left view 1 twice."""
    _of_any(patch, lambda found: [replace(found, epoch=Epoch(epoch)) for epoch in range(2)])


@mutant(play(test_evidence_file.test_no_two_statements_of_an_honest_member_convict_it_whatever_place_is_claimed))  # fmt: skip
def prepare_and_commit_exclude_each_other(patch: pytest.MonkeyPatch) -> None:
    """The kind is not part of what is compared: whoever PREPAREs one block and, a view later, COMMITs another is named."""
    _of_any(patch, lambda found: [replace(found, kind=kind) for kind in evidence.Kind])


@mutant(
    play(test_evidence_file.test_the_chain_of_another_epoch_convicts_nobody, 1, 0),
    play(test_evidence_file.test_the_chain_of_another_epoch_convicts_nobody, 0, 2),
)
def any_epochs_members_will_do(patch: pytest.MonkeyPatch) -> None:
    """The set that was reached is not compared with the evidence's epoch: who had the number before answers for who has it."""
    honest = evidence.verify_evidence

    def verify_evidence(found: Any, members: Any, *rest: Any) -> None:
        keys, engine = members.vote_keys, members.engine
        honest(found, MemberSet(found.epoch, keys, engine), *rest)

    patch.setattr(evidence_file, "verify_evidence", verify_evidence)


@mutant(play(test_evidence_file.test_a_chain_that_no_quorum_signed_convicts_nobody))
def members_chain_taken_on_faith(patch: pytest.MonkeyPatch) -> None:
    """The steps are followed and their certificates are not counted: anybody seats a key of his own under an honest number."""
    patch.setattr(verify.Verifier, "_signed", lambda *_: "")


@mutant(
    play(test_evidence.test_a_forged_second_vote_convicts_nobody_and_is_held_against_its_sender),
    play(test_evidence.test_a_second_proposal_that_the_leader_did_not_sign_convicts_nobody),
)
def evidence_is_kept_unchecked(patch: pytest.MonkeyPatch) -> None:
    """Two statements that differ are enough: one forged message convicts whom it names (P11)."""
    patch.setattr(weighing, "check_evidence", lambda *_: None)


def _file_unchecked(patch: pytest.MonkeyPatch, which: int) -> None:
    honest = evidence.check_evidence

    def check_evidence(found: Any, chain: int, lane: int, key: bytes, genuine: Any) -> None:
        unchecked = (found.first, found.second)[which]

        def lenient(key: bytes, message: bytes, signature: bytes) -> bool:
            return signature == unchecked.signature or bool(genuine(key, message, signature))

        honest(found, chain, lane, key, lenient)

    patch.setattr(evidence, "check_evidence", check_evidence)


@mutant(
    play(test_equivocation.test_no_changed_byte_convicts, test_equivocation.COMMITS),
    play(test_evidence_file.test_no_two_statements_of_an_honest_member_convict_it_whatever_place_is_claimed),
)  # fmt: skip
def first_signature_is_not_checked(patch: pytest.MonkeyPatch) -> None:
    """A genuine vote and an invented one make a file."""
    _file_unchecked(patch, 0)


@mutant(play(test_equivocation.test_no_changed_byte_convicts, test_equivocation.CHANGES))
def second_signature_is_not_checked(patch: pytest.MonkeyPatch) -> None:
    """The same, with the invented one in the other place."""
    _file_unchecked(patch, 1)


@mutant(play(test_equivocation.test_what_was_not_signed_convicts_nobody, {"second": test_equivocation.COMMITS.first}))  # fmt: skip
def one_statement_twice_convicts(patch: pytest.MonkeyPatch) -> None:
    """That the two differ is believed: whoever's vote is seen twice is named."""
    honest = evidence.check_evidence

    def check_evidence(found: Any, *rest: Any) -> None:
        try:
            honest(found, *rest)
        except Refused as refused:
            if "do not differ" not in refused.detail:
                raise

    patch.setattr(evidence, "check_evidence", check_evidence)


# -- the censorship bound ------------------------------------------------------------------------------------------------

Count = Callable[[fairness.Fairness, Mapping[int, int]], int | None]


def _counting(patch: pytest.MonkeyPatch, wrap: Callable[[Count, Any, Any], int | None]) -> None:
    honest: Any = fairness.Fairness.count
    patch.setattr(fairness.Fairness, "count", lambda at, served: wrap(honest, at, served))


@mutant(play(test_fairness.test_service_pays_what_is_owed_and_the_next_in_line_begins_anew))
def service_pays_nothing(patch: pytest.MonkeyPatch) -> None:
    """The count of a bank is never set back: after 16 unfair blocks in all its time, an honest leader goes (P28)."""

    def count(honest: Count, at: Any, served: Any) -> int | None:
        before = {bank: tracked.unfair for bank, tracked in at._banks.items()}
        said = honest(at, served)
        for bank, tracked in at._banks.items():
            if tracked.unfair < before.get(bank, 0):
                tracked.unfair = before[bank]
        return said

    _counting(patch, count)


@mutant(play(test_fairness.test_another_view_begins_with_a_clean_sheet))
def next_leader_inherits_the_count(patch: pytest.MonkeyPatch) -> None:
    """Whoever leads after a censor is left at once, for what the censor did (P28)."""

    def view_entered(at: fairness.Fairness) -> None:
        at._marks = ()

    patch.setattr(fairness.Fairness, "view_entered", view_entered)


@mutant(
    play(test_fairness.test_so_many_blocks_without_the_bank_and_no_fewer),
    play(test_fairness.test_a_leader_that_never_serves_one_bank_is_left_and_the_next_one_serves_it),
)
def payments_of_the_leaders_own_bank_are_service(patch: pytest.MonkeyPatch) -> None:
    """A block that holds anything is fair to everybody, so a censor's own payments keep its view (P28)."""

    def count(honest: Count, at: Any, served: Any) -> int | None:
        return honest(at, dict.fromkeys(at.pool.heads(), 0) if served else served)

    _counting(patch, count)


@mutant(play(test_fairness.test_a_bank_that_is_served_with_what_came_before_waits_on_and_with_what_came_later_is_passed_over))  # fmt: skip
def later_payments_of_the_bank_are_service(patch: pytest.MonkeyPatch) -> None:
    """One payment waits for ever while its own bank's later ones are taken (P28)."""
    _counting(patch, lambda honest, at, served: honest(at, dict.fromkeys(served, 0)))


@mutant(play(test_fairness.test_a_deadline_that_passes_does_not_pay_what_is_owed))
def lapsed_payments_are_service(patch: pytest.MonkeyPatch) -> None:
    """A censor waits until the payment's deadline has passed, and its count begins anew (P28)."""

    def count(honest: Count, at: Any, served: Any) -> int | None:
        for bank, (oldest, _) in at.pool.heads().items():
            if bank in at._banks and at._banks[bank].oldest != oldest:
                del at._banks[bank]
        return honest(at, served)

    _counting(patch, count)


@mutant(play(test_fairness.test_so_many_blocks_without_the_bank_and_no_fewer))
def left_one_block_too_late(patch: pytest.MonkeyPatch) -> None:
    """The bound is passed before it is felt: 17 blocks instead of 16 (P28)."""
    patch.setattr(fairness, "UNFAIR_BLOCKS_MAX", fairness.UNFAIR_BLOCKS_MAX + 1)


@mutant(play(test_fairness.test_so_many_blocks_without_the_bank_and_no_fewer))
def left_one_block_too_early(patch: pytest.MonkeyPatch) -> None:
    """15 blocks instead of 16: what was in flight when the leader first heard of a payment may be held against it (P28)."""
    patch.setattr(fairness, "UNFAIR_BLOCKS_MAX", fairness.UNFAIR_BLOCKS_MAX - 1)


ACCUSERS = {each.name for each in MUTANTS if each.plant.__module__ == __name__}
"""The names of what this module plants."""

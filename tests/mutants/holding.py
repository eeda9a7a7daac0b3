"""Bugs of rows that wait for the next write, planted on purpose: each lets something be said that no disk bears out."""

from collections.abc import Sequence

import pytest

from tallystick.network.wire.ids import BodyId, NodeId
from tallystick.node.core.intake import Intake
from tallystick.node.core.step import Step
from tests.mutants.planted import mutant
from tests.unit.core import test_signing_on_demand as on_demand


@mutant(
    on_demand.test_a_vote_takes_along_the_bodies_that_it_is_for,
    on_demand.test_who_is_asked_to_sign_for_what_it_holds_in_memory_writes_it_first,
)
def rows_that_wait_are_left_behind(patch: pytest.MonkeyPatch) -> None:
    """A vote, or a signature that a batch is held, becomes durable without the bodies that came before it."""
    patch.setattr(Step, "take_along", lambda step: None)


@mutant(on_demand.test_nobody_signs_for_a_payment_whose_client_waits_for_its_receipt)
def everybody_signs_for_everything(patch: pytest.MonkeyPatch) -> None:
    """What is not asked is answered all the same: safe, and a write, a signature and a frame for nothing."""
    honest = Intake._take_in

    def eager(
        intake: Intake,
        sender: NodeId,
        bodies: Sequence[bytes],
        forwarded: tuple[BodyId, ...],
        step: Step,
        sign: bool,
    ) -> None:
        honest(intake, sender, tuple(bodies), forwarded, step, sign or bool(forwarded))

    patch.setattr(Intake, "_take_in", eager)


HOLDING = {"rows_that_wait_are_left_behind", "everybody_signs_for_everything"}

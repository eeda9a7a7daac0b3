"""Every planted bug is found by the test that is named for it, and by nothing that the mutant itself broke: unplanted, it passes."""

import pytest

from tallystick.network.wire.faults import InvariantError
from tests.mutants import absences, accusers, epochs, holding, joining, sealed_rows
from tests.mutants.engines import MUTANTS
from tests.mutants.planted import Killer, Mutant
from tests.sim.checkers import Violation
from tests.unit.raft.owner import Broken

FOUND = (AssertionError, InvariantError, Violation, Broken, pytest.fail.Exception)
CASES = [(mutant, killer) for mutant in MUTANTS for killer in mutant.killers]
NAMES = [f"{mutant.name}-{killer.__name__}" for mutant, killer in CASES]


@pytest.mark.parametrize(("mutant", "killer"), CASES, ids=NAMES)
def test_a_planted_bug_is_found(
    mutant: Mutant, killer: Killer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mutant.story, "a mutant tells which bug it is"
    with monkeypatch.context() as patch:
        mutant.plant(patch)
        with pytest.raises(FOUND):
            killer()


KILLERS = {killer.__name__: killer for _, killer in CASES}


@pytest.mark.parametrize("name", KILLERS)
def test_the_test_that_finds_it_passes_without_it(name: str) -> None:
    KILLERS[name]()


def test_the_bugs_that_this_design_must_not_have_are_all_planted() -> None:
    """The list that the design names; a mutant may be added, none may be lost."""
    assert {mutant.name for mutant in MUTANTS} >= {
        "promise_released_before_durability",
        "guard_not_consulted",
        "tip_by_view_alone",
        "tip_by_height_first",
        "votes_of_two_views_add_up",
        "prepare_for_a_child_of_another_parent",
        "view_change_omits_the_commit_certificate",
        "exactly_once_off",
        "one_cent_too_many_and_no_invariant",
        "time_test_on_carried_over_blocks",
        "quorum_of_2f_plus_1",
        "guard_refuses_whatever_is_lower",
        "disk_that_lies",
        "epoch_change_inside_the_pipeline",
        "spare_votes_in_its_old_epoch",
        *sealed_rows.SEALED,
        *accusers.ACCUSERS,
        *joining.JOINING,
        *absences.ABSENCES,
        *epochs.EPOCHS,
        *holding.HOLDING,
    }

"""The specification alone: exhausted within its bound, and broken by each rule that is weakened (reliability: famous bugs)."""

import pytest

from tests.spec import pbft_spec, raft_spec
from tests.spec.search import search

ALL = None
NO_LYING_LEADER: frozenset[int] = frozenset()
FIRST_LEADER_LIES = frozenset([0])


def test_pbft_agrees_in_two_views_and_two_heights() -> None:
    found = search(pbft_spec.World(), 30_000)
    assert found.broken == ""
    assert found.states > 20_000


@pytest.mark.campaign
def test_pbft_agrees_in_three_views_and_two_heights() -> None:
    found = search(pbft_spec.World(views=3), 2_000_000)
    assert found.broken == ""
    assert found.states > 300_000


@pytest.mark.campaign
def test_pbft_agrees_in_six_views_and_one_height() -> None:
    found = search(pbft_spec.World(views=6, heights=1), 1_000_000)
    assert found.broken == ""
    assert found.states == 132_681, "as many as another checker of the same rules counted"


@pytest.mark.parametrize(
    ("rules", "views"),
    [
        (pbft_spec.TipByViewAlone, 2),
        (pbft_spec.TipByHeightAlone, 3),
        (pbft_spec.TipByHeightFirst, 3),
        (pbft_spec.FirstPrepareForAnAncestor, 2),
        (pbft_spec.FirstPrepareForAFreshBlock, 2),
        (pbft_spec.PreparesOfTwoViewsAdd, 2),
        (pbft_spec.VotesInAViewLeftBehind, 2),
        (pbft_spec.PrepareWithoutItsParent, 2),
        (pbft_spec.ShowsNothingOfWhatIsCommitted, 2),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_pbft_with_a_weaker_rule_commits_two_blocks_at_one_height(
    rules: type[pbft_spec.Rules], views: int
) -> None:
    found = search(pbft_spec.World(rules(), views), 200_000)
    assert "are committed" in found.broken
    assert found.trace[-1].startswith("COMMIT")


@pytest.mark.campaign
def test_pbft_with_commits_of_two_views_in_one_certificate_commits_two_blocks() -> None:
    """The shortest trace needs three views, and even the honest leaders of the last two."""
    world = pbft_spec.World(pbft_spec.CommitsOfTwoViewsAdd(), 3, 2, FIRST_LEADER_LIES)
    assert search(world, 500_000).broken != ""


FIGURE_8 = (
    "0 stands in 1",
    "1 votes for 0 in 1",
    "0 leads 1",
    "0 proposes 1 in 1",
    "2 stands in 1",
    "2 stands in 2",
    "1 votes for 2 in 2",
    "2 leads 2",
    "2 proposes 1 in 2",
)
"""Two leaders, two terms, an entry each at height 1, on their own disks. What may come of it, the search says."""


def test_raft_agrees_in_two_terms_and_two_entries() -> None:
    found = search(raft_spec.World(), 40_000)
    assert found.broken == ""
    assert found.states > 30_000


@pytest.mark.campaign
def test_raft_agrees_after_the_beginning_of_figure_8() -> None:
    world = raft_spec.World(terms=4, entries=1, after=FIGURE_8)
    assert search(world, 2_000_000).broken == ""


@pytest.mark.parametrize(
    ("rules", "story"),
    [
        (raft_spec.AnyLogMayLead, "committed"),
        (raft_spec.CommitIndexPastTheAppend, "committed"),
        (raft_spec.TruncatesOnEveryAppend, "does not match"),
        (raft_spec.VoteNotPersisted, "both elected"),
        (raft_spec.AcknowledgesItsWholeLog, "does not match"),
        (raft_spec.HintIsMatch, "does not match"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_raft_with_a_weaker_rule_breaks(rules: type[raft_spec.Rules], story: str) -> None:
    found = search(raft_spec.World(rules()), 60_000)
    assert story in found.broken


def test_raft_that_counts_entries_of_older_terms_breaks_as_figure_8_shows() -> None:
    rules = raft_spec.CountsEntriesOfOlderTerms()
    world = raft_spec.World(rules, terms=4, entries=1, after=FIGURE_8)
    found = search(world, 200_000)
    assert "committed" in found.broken
    assert any("commits 1 in 3" in step for step in found.trace)

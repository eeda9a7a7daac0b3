"""Catching up under attack: whatever a peer answers, a node believes only what a quorum certified, and asks the next one."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tallystick.consensus.pbft.messages import Decided
from tallystick.network.proofs.certificates import Certificate, CertVote
from tallystick.network.wire import bounds
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.signing import Phase, vote_message
from tallystick.node.core.catch_up import PATIENCE_MS, SETTLE_MS, CatchUp
from tallystick.node.core.events import BodiesChecked, PeerFrame, PeerUp, Tick
from tallystick.node.core.follower import Follower
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.messages import CATCH_UP_MESSAGE, AskBlocks, Blocks, FinalBlock
from tallystick.node.core.serving import serve
from tallystick.node.storage.memory import MemoryStore
from tests.unit.core.lab import Lab

BLOCKS = 5


@pytest.fixture
def lab() -> Lab:
    """Members 0 to 2 have gone on without member 3, which stands at height 1."""
    lab = Lab()
    lab.cut = {pair for other in (0, 1, 2) for pair in ((3, other), (other, 3))}
    lab.answer(0, lab.issue())
    for _ in range(BLOCKS - 1):
        lab.answer(0, lab.pay())
    assert lab.heights() == [1 + BLOCKS] * 3 + [1]
    lab.sent.clear()
    return lab


def asked(lab: Lab) -> int:
    """Member 3 learns that it is behind, and asks; whom it asked last."""
    certificate = lab.core(0).ledger.certificate
    assert certificate is not None
    if not lab.core(3).catch_up.behind:
        lab.say(0, 3, Decided(certificate))
        lab.pass_time(SETTLE_MS)
    questions = [
        to
        for who, to, frame in lab.sent
        if who == 3
        and frame[0] == Channel.CATCH_UP
        and isinstance(CATCH_UP_MESSAGE.decode(frame[1:]), AskBlocks)
    ]
    return int(questions[-1] or 0)


def run_from(ledger: Ledger, height: int) -> Blocks:
    """What a member serves that has executed every block."""
    answer = serve(ledger, height)
    assert isinstance(answer, Blocks)
    return answer


def honest(lab: Lab, height: int = 2) -> Blocks:
    return run_from(lab.core(0).ledger, height)


def vote(lab: Lab, certificate: Certificate, signer: int, view: int | None = None) -> CertVote:
    message = vote_message(
        lab.purse.chain,
        0,
        Epoch(0),
        View(certificate.view if view is None else view),
        certificate.height,
        Phase(certificate.phase),
        certificate.link,
        certificate.parent_link,
    )
    return CertVote(NodeId(signer), lab.keys.sign(signer, message))


def last(run: Blocks) -> Certificate:
    assert run.certificate is not None
    return run.certificate


def with_first(run: Blocks, **changes: object) -> Blocks:
    return replace(run, blocks=(replace(run.blocks[0], **changes), *run.blocks[1:]))


def other_network(lab: Lab) -> Blocks:
    """A genuine run of a network with other rules."""
    stranger = Lab(parameters=replace(lab.genesis.parameters, window_ms=5_000))
    for _ in range(BLOCKS):
        stranger.answer(0, stranger.issue())
    return run_from(stranger.core(0).ledger, 2)


def fewer_votes(lab: Lab) -> Blocks:
    run = honest(lab)
    return replace(run, certificate=replace(last(run), votes=last(run).votes[:2]))


def one_vote_twice(lab: Lab) -> Blocks:
    run = honest(lab)
    votes = last(run).votes
    return replace(run, certificate=replace(last(run), votes=(votes[0], votes[1], votes[1])))


def votes_of_two_views(lab: Lab) -> Blocks:
    run = honest(lab)
    mixed = tuple(vote(lab, last(run), signer, view) for signer, view in ((0, 0), (1, 0), (2, 1)))
    return replace(run, certificate=replace(last(run), votes=mixed))


def prepares_instead_of_commits(lab: Lab) -> Blocks:
    run = honest(lab)
    prepared = replace(last(run), phase=int(Phase.PREPARE))
    votes = tuple(vote(lab, prepared, signer) for signer in (0, 1, 2))
    return replace(run, certificate=replace(prepared, votes=votes))


def a_stranger_among_the_signers(lab: Lab) -> Blocks:
    run = honest(lab)
    votes = (*last(run).votes[:2], CertVote(NodeId(9), bytes(64)))
    return replace(run, certificate=replace(last(run), votes=votes))


def certificate_of_another_block(lab: Lab) -> Blocks:
    run = honest(lab)
    below = lab.core(0).ledger.block(3)
    assert below is not None
    return replace(run, certificate=below.certificate)


def cut_off(lab: Lab) -> Blocks:
    run = honest(lab)
    return replace(run, blocks=run.blocks[:-1])


def with_a_hole(lab: Lab) -> Blocks:
    run = honest(lab)
    return replace(run, blocks=(run.blocks[0], *run.blocks[2:]))


def too_high(lab: Lab) -> Blocks:
    return honest(lab, 4)


def claims_without_blocks(lab: Lab) -> Blocks:
    return Blocks(2, 2**40, (), None)


def blocks_without_certificate(lab: Lab) -> Blocks:
    return replace(honest(lab), certificate=None)


def other_header(lab: Lab) -> Blocks:
    run = honest(lab)
    header = run.blocks[0].header
    return with_first(run, header=replace(header, time_ms=header.time_ms + 1))


def other_result(lab: Lab) -> Blocks:
    run = honest(lab)
    return with_first(run, result=replace(run.blocks[0].result, state_root=b"\x66" * 32))


def other_transactions(lab: Lab) -> Blocks:
    return with_first(honest(lab), bodies=(lab.pay(),))


def a_transaction_missing(lab: Lab) -> Blocks:
    return with_first(honest(lab), bodies=())


def garbage_for_a_transaction(lab: Lab) -> Blocks:
    return with_first(honest(lab), bodies=(b"\x90",))


HOSTILE: tuple[Callable[[Lab], Blocks], ...] = (
    other_network,
    fewer_votes,
    one_vote_twice,
    votes_of_two_views,
    prepares_instead_of_commits,
    a_stranger_among_the_signers,
    certificate_of_another_block,
    cut_off,
    with_a_hole,
    too_high,
    claims_without_blocks,
    blocks_without_certificate,
    other_header,
    other_result,
    other_transactions,
    a_transaction_missing,
    garbage_for_a_transaction,
)


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda answer: str(answer.__name__))
def test_a_hostile_answer_moves_and_stops_nobody(lab: Lab, answer: Callable[[Lab], Blocks]) -> None:
    liar = asked(lab)
    lab.say_catch_up(liar, 3, answer(lab))
    assert lab.core(3).ledger.height == 1
    assert lab.box(3).halted is None
    assert asked(lab) != liar
    lab.say_catch_up(asked(lab), 3, honest(lab))
    assert lab.core(3).ledger.height == 1 + BLOCKS
    assert lab.core(3).ledger.state.root == lab.core(0).ledger.state.root


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda answer: str(answer.__name__))
def test_nor_does_it_stop_an_observer(lab: Lab, answer: Callable[[Lab], Blocks]) -> None:
    observer = Follower(NodeId(1_000), lab.genesis, MemoryStore(), lab.now_ms, lab.keys.verify)
    catch_up = CatchUp(observer.ledger, lab.keys.verify)
    assert catch_up.on_blocks(replace(answer(lab), height=1)) is None or answer is too_high
    assert observer.halted is None


def test_whoever_is_behind_asks_for_the_next_height_and_after_a_bad_answer_the_next_member(
    lab: Lab,
) -> None:
    first = asked(lab)
    assert [said.height for said in lab.said_catch_up(3) if isinstance(said, AskBlocks)] == [2]
    lab.say_catch_up(first, 3, claims_without_blocks(lab))
    second = asked(lab)
    assert second != first
    lab.say_catch_up(second, 3, honest(lab))
    assert lab.core(3).ledger.height == 1 + BLOCKS


def catch_up_frames(lab: Lab) -> list[tuple[NodeId, NodeId | None, bytes]]:
    return [sent for sent in lab.sent if sent[0] == 3 and sent[2][0] == 3]


def test_a_silent_member_is_passed_over_after_a_while(lab: Lab) -> None:
    certificate = lab.core(0).ledger.certificate
    assert certificate is not None
    lab.say(0, 3, Decided(certificate))
    lab.pass_time(SETTLE_MS + 2 * PATIENCE_MS + 10)
    targets = [to for _, to, _ in catch_up_frames(lab)]
    assert len(set(targets)) >= 3


def test_a_claim_is_never_a_target(lab: Lab) -> None:
    """CVE-2025-24371: a peer that lowers or raises its claimed height makes nobody wait."""
    lab.say_catch_up(1, 3, claims_without_blocks(lab))
    assert not lab.core(3).catch_up.behind
    lab.pass_time(5 * PATIENCE_MS)
    assert [said for said in lab.said_catch_up(3) if isinstance(said, AskBlocks)] == []


def test_an_old_answer_is_of_no_use_and_an_overlapping_one_is(lab: Lab) -> None:
    ledger = lab.core(0).ledger
    old = replace(honest(lab), height=0)
    lab.say_catch_up(asked(lab), 3, old)
    assert lab.core(3).ledger.height == 1
    lab.say_catch_up(asked(lab), 3, run_from(ledger, 1))
    assert lab.core(3).ledger.height == 1 + BLOCKS


def test_blocks_that_become_final_by_votes_while_they_are_checked_are_applied_once(
    lab: Lab,
) -> None:
    lab.box(3).checks_held = []
    lab.say_catch_up(asked(lab), 3, honest(lab))
    lab.cut.clear()
    lab.answer(0, lab.pay())
    lab.checks_go_on(3)
    lab.pass_time(PATIENCE_MS + SETTLE_MS)
    assert lab.heights() == [2 + BLOCKS] * 4
    assert lab.box(3).halted is None


def test_a_run_is_bounded_in_blocks_and_ends_with_its_own_certificate() -> None:
    lab = Lab(members=1)
    lab.answer(0, lab.issue())
    for _ in range(bounds.CATCH_UP_BLOCKS_MAX + 5):
        lab.answer(0, lab.pay(amount_minor=1))
    run = run_from(lab.core(0).ledger, 1)
    assert len(run.blocks) == bounds.CATCH_UP_BLOCKS_MAX
    assert run.certificate is not None
    assert run.certificate.height == bounds.CATCH_UP_BLOCKS_MAX
    rest = run_from(lab.core(0).ledger, bounds.CATCH_UP_BLOCKS_MAX + 1)
    assert rest.certificate is not None
    assert rest.certificate.height == lab.core(0).ledger.height


def test_whoever_asks_beyond_the_end_gets_nothing(lab: Lab) -> None:
    run = run_from(lab.core(0).ledger, 100)
    assert (run.blocks, run.certificate) == ((), None)


def test_an_observer_follows_and_computes_the_same_roots(lab: Lab) -> None:
    observer = Follower(NodeId(1_000), lab.genesis, MemoryStore(), lab.now_ms, lab.keys.verify)
    observer.handle(PeerUp(NodeId(1)), lab.now_ms)
    now_ms = lab.now_ms
    for _ in range(4):
        now_ms += 300
        effects = observer.handle(Tick(), now_ms)
        for asked in effects.immediate:
            lab.hear(1, PeerFrame(NodeId(1_000), asked.frame))  # type: ignore[union-attr]
            frame = next(frame for who, to, frame in reversed(lab.sent) if (who, to) == (1, 1_000))
            checks = observer.handle(PeerFrame(NodeId(1), frame), now_ms).immediate
            for check in checks:
                verdicts = tuple([lab.bodies.check(raw) for raw in check.bodies])  # type: ignore[union-attr]
                observer.handle(BodiesChecked(check.token, verdicts), now_ms)  # type: ignore[union-attr]
    assert observer.ledger.height == 1 + BLOCKS
    assert observer.ledger.state.root == lab.core(0).ledger.state.root
    assert observer.blocks_executed == 1 + BLOCKS


def test_a_ledger_that_was_reloaded_serves_the_same_run(lab: Lab) -> None:
    again = Ledger(lab.genesis, MemoryStore(lab.box(0).store.snapshot()))
    assert run_from(again, 1) == run_from(lab.core(0).ledger, 1)
    assert isinstance(run_from(again, 1).blocks[0], FinalBlock)
    assert Link(again.link) == lab.core(0).ledger.link
    assert Height(again.height) == 1 + BLOCKS


def test_an_old_question_without_an_answer_does_not_wake_us_before_the_new_target_may_be_asked_for(
    lab: Lab,
) -> None:
    behind = CatchUp(Ledger(lab.genesis, MemoryStore()))
    certificate = last(honest(lab))
    behind.toward(certificate, 1_000)
    assert behind.ask(1_000 + SETTLE_MS, [NodeId(0)]) is not None
    behind.target = None  # what was missing came by votes; the peer never answered
    now_ms = 1_000 + SETTLE_MS + 2 * PATIENCE_MS
    behind.toward(certificate, now_ms)
    assert behind.ask(now_ms, [NodeId(0)]) is None
    assert behind.deadline_ms == now_ms + SETTLE_MS
    assert behind.ask(now_ms + SETTLE_MS, [NodeId(0)]) is not None

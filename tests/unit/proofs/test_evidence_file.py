"""Evidence of any epoch, from the genesis file alone: the liar is named by the number that it had then, and nobody else ever is."""

import json
from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tallystick.network.proofs.evidence import (
    Evidence,
    Kind,
    Said,
    about_block,
    about_changes,
    about_view,
    signed_bytes,
    sorted_pair,
    verify_evidence,
)
from tallystick.network.proofs.evidence_file import (
    EVIDENCE_FILE,
    EvidenceFile,
    convict,
    evidence_from_bytes,
    evidence_to_bytes,
    evidence_to_document,
    name_of,
)
from tallystick.network.proofs.members import MemberSet
from tallystick.network.proofs.receipts import EpochStep
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.keys import verify_vote
from tallystick.network.wire.membership import EpochMembers
from tallystick.network.wire.signing import Phase
from tests.unit.proofs.evidence import CHAIN, GENESIS
from tests.unit.proofs.test_epochs import FIRST, SECOND, member, step
from tests.unit.wire.examples import vote_key

ONE, OTHER, PARENT = (Link(bytes([byte]) * 32) for byte in (1, 2, 3))
CHAINS: tuple[tuple[EpochStep, ...], ...] = ((), (FIRST,), (FIRST, SECOND))
"""Epoch 0 has the members 0, 1, 2, 3; epoch 1 has 0, 1, 2 and the spare 9; epoch 2 has 0, 1, 4, 9."""


def twice(signer: int, epoch: int, kind: Kind = Kind.COMMIT, key: int | None = None) -> Evidence:
    """Two COMMITs at one place, or two VIEW-CHANGEs; member n signs with key n + 1."""
    unsigned, height = bytes(64), Height(9)
    said = [about_block(link, PARENT, unsigned) for link in (ONE, OTHER)]
    if kind is Kind.VIEW_CHANGE:
        height = Height(0)
        said = [about_view(0, 0, 0, bytes(32), unsigned), about_view(1, 0, 8, ONE, unsigned)]
    place = 1, CHAIN, 0, Epoch(epoch), NodeId(signer), kind, View(1), height
    draft = Evidence(*place, *sorted_pair(*said))
    secret = vote_key(signer + 1 if key is None else key)
    first, second = (
        replace(each, signature=secret.sign(signed_bytes(draft, each)))
        for each in (draft.first, draft.second)
    )
    return replace(draft, first=first, second=second)


def reason(file: EvidenceFile) -> str:
    """Why it proves nothing; empty if it convicts."""
    failed = convict(file, GENESIS).failed
    return "" if failed is None else f"{failed.name}: {failed.sentence}"


@pytest.mark.parametrize("kind", [Kind.COMMIT, Kind.VIEW_CHANGE])
@pytest.mark.parametrize(("epoch", "liar", "name"), [(0, 3, "bank-d"), (1, 9, "m9"), (2, 4, "m4")])
def test_a_liar_of_any_epoch_is_named_from_genesis(
    epoch: int, liar: int, name: str, kind: Kind
) -> None:
    file = EvidenceFile(twice(liar, epoch, kind), CHAINS[epoch])
    verdict = convict(file, GENESIS)
    assert verdict.ok, verdict.failed
    assert [check.name for check in verdict.checks] == ["members", "statements"]
    assert f"member {liar} signed two different" in verdict.checks[-1].sentence
    assert verdict.checks[-1].sentence.endswith(f"of epoch {epoch}")
    assert name_of(file, GENESIS) == name
    assert evidence_from_bytes(evidence_to_bytes(file)) == file


@pytest.mark.parametrize("epoch", [0, 1, 2])
@pytest.mark.parametrize("claimed", [0, 1, 2])
def test_the_chain_of_another_epoch_convicts_nobody(epoch: int, claimed: int) -> None:
    """Member 0 sits in all three epochs with one key, so only the number of the epoch can tell."""
    file = EvidenceFile(twice(0, epoch), CHAINS[claimed])
    assert reason(file) == (
        ""
        if epoch == claimed
        else f"statements: it is about epoch {epoch}, these are the members of {claimed}"
    )


@pytest.mark.parametrize(("signer", "epoch"), [(9, 0), (4, 0), (3, 1), (4, 1), (2, 2), (3, 2)])
def test_who_was_no_member_in_that_epoch_is_not_convicted(signer: int, epoch: int) -> None:
    file = EvidenceFile(twice(signer, epoch), CHAINS[epoch])
    assert reason(file) == f"statements: {signer} is no member of that epoch"


def test_a_number_that_came_back_with_another_key_means_somebody_else() -> None:
    """Should a set ever list a number again (the contract forbids it): whoever has it now answers for now, and not for then."""
    newcomer = replace(member(20), id=NodeId(3), name="newcomer")
    opens = EpochMembers(2, (member(0), member(1), newcomer, member(9)))
    chain = FIRST, step(1, 8, opens, 0, 2, 9)
    new, old = 21, 4
    assert name_of(EvidenceFile(twice(3, 2, key=new), chain), GENESIS) == "newcomer"
    assert reason(EvidenceFile(twice(3, 2, key=new), chain)) == ""
    assert reason(EvidenceFile(twice(3, 0, key=old), ())) == ""
    for file in (
        EvidenceFile(twice(3, 2, key=old), chain),
        EvidenceFile(twice(3, 0, key=new), ()),
        EvidenceFile(replace(twice(3, 0, key=old), epoch=Epoch(2)), chain),
        EvidenceFile(replace(twice(3, 2, key=new), epoch=Epoch(0)), ()),
    ):
        assert reason(file) == "statements: a signature is not member 3's"


def test_the_spare_does_not_answer_for_the_member_whose_place_it_took() -> None:
    """Member 3's statements of epoch 0, under the number of the spare 9 and in its epoch."""
    lied = twice(3, 0)
    for changed in (
        replace(lied, signer=NodeId(9)),
        replace(lied, signer=NodeId(9), epoch=Epoch(1)),
        replace(lied, epoch=Epoch(1)),
    ):
        assert all(reason(EvidenceFile(changed, chain)) for chain in CHAINS)


def test_a_chain_that_no_quorum_signed_convicts_nobody() -> None:
    """Two members put a stranger's key in a seat, to frame whoever sits there."""
    framed = replace(member(20), id=NodeId(2), name="m2")
    opens = EpochMembers(1, (member(0), member(1), framed, member(3)))
    forged = step(0, 5, opens, 1, 3)
    assert reason(EvidenceFile(twice(2, 1, key=21), (forged,))) == "members: fewer votes than a quorum"  # fmt: skip
    spoiled = replace(FIRST, members=opens)
    assert "names other members" in reason(EvidenceFile(twice(2, 1, key=21), (spoiled,)))


# -- an honest member ----------------------------------------------------------------------------------------------------

Place = tuple[Kind, int, int, int]
"""(kind, epoch, view, height)."""


def honest_statements() -> list[tuple[Place, Said]]:
    """All that an honest member 0 may ever sign in two epochs, two views and two heights: one of each kind at each place."""
    found: list[tuple[Place, Said]] = []
    for number, (kind, epoch, view) in enumerate(product(Kind, (0, 1), (0, 1))):
        for height in (1, 2) if kind in (Kind.PROPOSAL, Kind.PREPARE, Kind.COMMIT) else (0,):
            link = Link(bytes([number, height]) * 16)
            said = about_block(link, PARENT, bytes(64))
            if kind is Kind.VIEW_CHANGE:
                said = about_view(Phase.PREPARE, view, 1, link, bytes(64))
            elif kind is Kind.NEW_VIEW:
                said = about_changes(link, bytes(64))
            at = 1, CHAIN, 0, Epoch(epoch), NodeId(0), kind, View(view), Height(height)
            signature = vote_key(1).sign(signed_bytes(Evidence(*at, said, said), said))
            found.append(((kind, epoch, view, height), replace(said, signature=signature)))
    return found


def test_no_two_statements_of_an_honest_member_convict_it_whatever_place_is_claimed() -> None:
    """Of two views, two epochs, two heights, two kinds: each pair, under every place that mixes theirs."""
    tried, sets = 0, (MemberSet.from_genesis(GENESIS), MemberSet.of(FIRST.members, "pbft"))
    for (here, one), (there, other) in combinations(honest_statements(), 2):
        pair = sorted_pair(one, other)
        for kind, epoch, view, height in set(product(*zip(here, there, strict=True))):
            at = 1, CHAIN, 0, Epoch(epoch), NodeId(0), kind, View(view), Height(height)
            with pytest.raises(Refused):
                verify_evidence(Evidence(*at, *pair), sets[epoch], CHAIN, 0, verify_vote)
            tried += 1
    assert tried > 2_000


# -- changes of a genuine file -------------------------------------------------------------------------------------------

LIAR = 9
GENUINE = EvidenceFile(twice(LIAR, 2), CHAINS[2])
TEXT = evidence_to_bytes(GENUINE)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.integers(1, 255))
def test_no_changed_byte_of_the_file_convicts(at: int, xor: int) -> None:
    changed = TEXT[:at] + bytes([TEXT[at] ^ xor]) + TEXT[at + 1 :]
    try:
        file = evidence_from_bytes(changed)
    except Refused:
        return
    # Only white space is free: what reads as the same value is the same file.
    assert reason(file) if file != GENUINE else not (chr(TEXT[at]) + chr(changed[at])).strip()


RANDOM_FIELD = st.sampled_from(["epoch", "signer", "kind", "view", "height", "chain", "lane"])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(RANDOM_FIELD, st.integers(0, 10)), max_size=3),
    st.lists(st.sampled_from([*CHAINS[2], step(0, 5, SECOND.members, 0, 1, 3)]), max_size=3),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=2),
)
def test_whatever_is_changed_nobody_but_the_liar_is_named(
    fields: list[tuple[str, int]],
    chain: list[EpochStep],
    keep_chain: bool,
    flips: list[tuple[int, int]],
) -> None:
    """Fields of the evidence, steps left out, repeated and reordered, and bytes of the encoding."""
    evidence = GENUINE.evidence
    for name, value in fields:
        evidence = replace(evidence, **{name: min(value, 4) if name == "kind" else value})
    file = EvidenceFile(evidence, GENUINE.epochs if keep_chain else tuple(chain))
    encoded = bytearray(EVIDENCE_FILE.encode(file))
    for at, xor in flips:
        encoded[at % len(encoded)] ^= xor
    try:
        found = EVIDENCE_FILE.decode(bytes(encoded))
    except Refused:
        return
    if not reason(found):
        assert (found.evidence.signer, found.evidence.epoch) == (LIAR, 2)
        assert name_of(found, GENESIS) == f"m{LIAR}"
        assert found.epochs == GENUINE.epochs


# -- the text ------------------------------------------------------------------------------------------------------------


def test_white_space_is_free_and_nothing_else_is() -> None:
    document = evidence_to_document(GENUINE)
    names = list(document)
    assert (names[0], names[-1]) == ("format", "epochs")
    assert evidence_from_bytes(json.dumps(document).encode()) == GENUINE
    turned = dict(reversed(document.items()))
    for text in (
        json.dumps(turned),
        json.dumps(document).replace('"version": 1', '"version": 1, "version": 1', 1),
        json.dumps(document | {"epochs": []}),
        json.dumps(document).replace("tally", "\\u0074ally", 1),
        json.dumps({**document, "signer": 9.0}),
    ):
        with pytest.raises(Refused):
            evidence_from_bytes(text.encode())


def test_a_file_of_the_first_epoch_names_no_steps() -> None:
    file = EvidenceFile(twice(3, 0))
    document = evidence_to_document(file)
    assert "epochs" not in document
    with pytest.raises(Refused, match="stands there only where there are any"):
        evidence_from_bytes(json.dumps(document | {"epochs": []}).encode())


def test_a_file_walks_through_a_bounded_number_of_changes() -> None:
    most = EvidenceFile(twice(9, 2), (FIRST,) * 64)
    assert evidence_from_bytes(evidence_to_bytes(most)) == most
    with pytest.raises(Refused, match="length <= 64"):
        evidence_from_bytes(evidence_to_bytes(replace(most, epochs=(FIRST,) * 65)))

"""False receipts that a dishonest quorum signed: each must be found by one step of a verifier, and by no other.

A forgery is wrong in one place, and everything after that place is signed as if it were right, so a verifier that lacks the
step takes it. Keys are the published ones. Not here: texts that are no receipt at all (`receipt_vectors`).
"""

from collections.abc import Iterator
from hashlib import sha512
from typing import Any

from coincurve import PrivateKey
from msgspec.structs import replace

from format_examples import (
    CREATED_MS,
    LANE,
    Network,
    example_changes,
    example_payments,
    spend_key,
    vote_key,
)
from receipt_examples import (
    FILLER,
    Example,
    Maker,
    anchored,
    closing,
    geneses,
    in_block,
    in_certificate,
    next_epoch,
)
from tallystick.network.proofs.certificates import CertVote
from tallystick.network.proofs.receipts import Anchor, Finding, Receipt
from tallystick.network.wire import signing
from tallystick.network.wire.blocks import link_of
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.membership import EpochMembers, members_digest
from tallystick.network.wire.signing import Phase
from tallystick.network.wire.transactions import ChangeMembers, Witness


def forgeries(make: Maker) -> Iterator[Example]:
    """Every one, in the order of the checks."""
    yield from false_epochs(make)
    yield from false_blocks(make)
    yield from false_certificates(make)
    yield from false_transactions(make)
    yield from false_signatures(make)
    yield from false_places(make)
    yield from false_outcomes(make)


def false_epochs(make: Maker) -> Iterator[Example]:
    step = closing(make)
    members = step.members
    twins = (members.members[0], replace(members.members[1], vote_key=members.members[0].vote_key))
    by_new = make.certificate(step.header, step.certificate.link, (0, 2, 101))
    for name, steps in {
        "the closing block names other members": (
            replace(step, members=replace(members, members=members.members[:3])),
        ),
        "the members of an epoch that is not the next one": (
            reclosed(make, replace(members, epoch=2)),
        ),
        "two members with one vote key": (
            reclosed(make, replace(members, members=(*twins, *members.members[2:]))),
        ),
        "two members with one id": (
            reclosed(make, replace(members, members=(members.members[0], *members.members[:3]))),
        ),
        "the new members sign themselves in": (replace(step, certificate=by_new),),
        "an epoch that closes before it begins": (step, step),
    }.items():
        yield Example(name, "pbft", next_epoch(make, *steps), "members")
    early = next_epoch(make, height=1)
    yield Example("a block that is older than its epoch", "pbft", early, "certificate")
    none = in_block(next_epoch(make), epochs=())
    yield Example("members of epoch 1 whom nothing leads to", "pbft", none, "header")


def reclosed(make: Maker, members: EpochMembers) -> Any:
    """The closing block as it would be with these members, signed by the old ones."""
    step = closing(make)
    result = replace(step.result, next_epoch=members_digest(members))
    certificate = make.certificate(step.header, link_of(step.header, result))
    return replace(step, result=result, certificate=certificate, members=members)


def false_blocks(make: Maker) -> Iterator[Example]:
    payment = make.transfer()
    good, later = make.receipt(payment), anchored(make)
    headers: dict[str, dict[str, Any]] = {
        "a header of another version": {"version": 2},
        "a block of another network": {"chain": make.network.chain ^ 1},
        "a block of another lane": {"lane": 1},
        "a block of an epoch that nothing leads to": {"epoch": 1},
        "a block at height 0": {"height": 0},
    }
    for name, changes in headers.items():
        yield Example(name, "pbft", make.receipt(payment, None, changes), "header")
    block, anchor = good.block, later.block.anchor
    assert anchor is not None
    for name, receipt in {
        "the block's time is another": in_block(good, header=replace(block.header, time_ms=1)),
        "the state's root is another": in_block(
            good, result=replace(block.result, state_root=FILLER)
        ),
        "the later block's certificate without the later block": in_block(later, anchor=None),
        "a history that leads elsewhere": in_block(later, anchor=replace(anchor, path=(FILLER,))),
        "a history with a hash too many": in_block(
            later, anchor=replace(anchor, path=(*anchor.path, FILLER))
        ),
        "a later block that is the block itself": in_block(
            good, anchor=Anchor(block.header, block.result, ())
        ),
    }.items():
        yield Example(name, "pbft", receipt, "link")


def false_certificates(make: Maker) -> Iterator[Example]:
    payment = make.transfer()
    good = make.receipt(payment)
    votes = good.block.certificate.votes
    swapped = replace(votes[1], signature=votes[0].signature)
    first = votes[0].signature
    order = 2**252 + 27742317777372353535851937790883648493
    long_s = (int.from_bytes(first[32:], "little") + order).to_bytes(32, "little")
    for name, receipt in {
        "two of four sign": make.receipt(payment, signers=(0, 2)),
        "one member signs twice": make.receipt(payment, signers=(0, 2, 2)),
        "signers out of order": make.receipt(payment, signers=(2, 0, 3)),
        "somebody signs who is no member": make.receipt(payment, signers=(0, 2, 9)),
        "votes to prepare": make.receipt(payment, phase=Phase.PREPARE),
        "votes of another epoch": make.receipt(payment, epoch=Epoch(1)),
        "votes for another height": make.receipt(payment, height=Height(2)),
        "votes on another parent": make.receipt(payment, parent_link=Link(FILLER)),
        "votes of one view under the name of another": in_certificate(good, view=View(1)),
        "a vote that another member cast": in_certificate(
            good, votes=(votes[0], swapped, votes[2])
        ),
        "a vote whose s is not below the order": in_certificate(
            good, votes=(replace(votes[0], signature=first[:32] + long_s), *votes[1:])
        ),
        "a vote that holds only with the cofactor": in_certificate(
            good, votes=(with_torsion(make, good), *votes[1:])
        ),
    }.items():
        yield Example(name, "pbft", receipt, "certificate")
    weak = Maker(Network(geneses()["weak"]))
    nothing = (1).to_bytes(32, "little") + bytes(32)
    made = weak.receipt(weak.transfer())
    forged = replace(made.block.certificate.votes[0], signature=nothing)
    anybody = in_certificate(made, votes=(forged, *made.block.certificate.votes[1:]))
    yield Example("anybody's vote for a key of small order", "weak", anybody, "certificate")


def with_torsion(make: Maker, receipt: Receipt) -> CertVote:
    """Member 0's vote with a point of order 2 added to R: [8][s]B = [8](R + [k]A) holds, [s]B = R + [k]A does not."""
    certificate, key = receipt.block.certificate, vote_key(0x10)
    message = signing.vote_message(
        make.network.chain,
        LANE,
        certificate.epoch,
        certificate.view,
        certificate.height,
        Phase.COMMIT,
        certificate.link,
        certificate.parent_link,
    )
    prime, order = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
    digest = bytearray(sha512(b"\x10" * 32).digest()[:32])
    digest[0], digest[31] = digest[0] & 248, digest[31] & 127 | 64
    secret = int.from_bytes(digest, "little")
    honest, public = key.sign(message), key.public_key().public_bytes_raw()
    challenge = int.from_bytes(sha512(honest[:32] + public + message).digest(), "little")
    nonce = (int.from_bytes(honest[32:], "little") - challenge * secret) % order
    # (x, y) + (0, -1) = (-x, -y), so the encoding has another y and the other sign.
    point = int.from_bytes(honest[:32], "little")
    y, sign = prime - point % 2**255, 1 - (point >> 255)
    commitment = (y + (sign << 255)).to_bytes(32, "little")
    challenge = int.from_bytes(sha512(commitment + public + message).digest(), "little")
    s = (nonce + challenge * secret) % order
    return CertVote(NodeId(0), commitment + s.to_bytes(32, "little"))


def false_transactions(make: Maker) -> Iterator[Example]:
    opening = example_payments(make.network)[0]
    change = example_changes(make.network)[0]
    assert isinstance(change, ChangeMembers)
    assert hasattr(opening, "keys")
    day_ms = make.network.genesis.parameters.max_validity_ms
    joins = change.joining[0]
    for name, transaction in {
        "a payment on another network": make.transfer(chain=make.network.chain ^ 1),
        "a payment on another lane": make.transfer(lane=1),
        "a payment after its deadline": make.transfer(valid_until_ms=CREATED_MS + 999),
        "a deadline too far ahead": make.transfer(valid_until_ms=CREATED_MS + 1_001 + day_ms),
        "keys out of order": make.signed(replace(opening, keys=opening.keys[::-1]), 2, 9),
        "a threshold above the keys": make.signed(replace(opening, threshold=4), 2, 9),
        "a change of nothing": make.signed(replace(change, leaving=(), joining=(), spares=()), 1),
        "one id leaves and joins": make.signed(replace(change, leaving=(joins.id,)), 1),
        "an id leaves twice": make.signed(replace(change, leaving=(NodeId(3), NodeId(3))), 1),
        "a member's name that does not show": make.signed(
            replace(change, joining=(replace(joins, name="node-4\u200b"),)), 1
        ),
        "a member's id that is too large": make.signed(
            replace(change, joining=(replace(joins, id=NodeId(1_000)),)), 1
        ),
    }.items():
        yield Example(name, "pbft", make.receipt(transaction), "transaction")
    payment = make.transfer()
    for name, said in {
        "an outcome about other bytes": {"body_id": FILLER},
        "an outcome about another digest": {"digest": FILLER},
    }.items():
        yield Example(name, "pbft", make.receipt(payment, said), "identity")


def false_signatures(make: Maker) -> Iterator[Example]:
    payment = make.transfer()
    one, two = payment.witnesses
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high_s = (order - int.from_bytes(one.signature[32:], "big")).to_bytes(32, "big")
    digest = make.network.digester.digest(payment)
    many = sorted((witness_of(spend_key(each), digest) for each in range(1, 12)), key=key_of)
    for name, witnesses in {
        "no signature": (),
        "eleven signatures": tuple(many),
        "signatures out of order": (two, one),
        "one key signs twice": (one, one),
        "a suite that nobody knows": (replace(one, suite=1), two),
        "a signature with high s": (replace(one, signature=one.signature[:32] + high_s), two),
        "a signature by another key": (replace(one, signature=two.signature), two),
        "a signature of zeros": (replace(one, signature=bytes(64)), two),
        "an r that is not below the order": (
            replace(one, signature=b"\xff" * 32 + one.signature[32:]),
            two,
        ),
        "a key that is not on the curve": (replace(one, key=b"\x02" + bytes(31) + b"\x05"), two),
        "a key in another spelling": (replace(one, key=b"\x01" + one.key[1:]), two),
    }.items():
        forged = make.receipt(replace(payment, witnesses=witnesses))
        yield Example(name, "pbft", forged, "signatures")


def witness_of(key: PrivateKey, digest: bytes) -> Witness:
    return Witness(0, key.public_key.format(), key.sign_recoverable(digest, hasher=None)[:64])


def key_of(witness: Witness) -> bytes:
    return witness.key


def false_places(make: Maker) -> Iterator[Example]:
    payment = make.transfer()
    good, second = make.receipt(payment), make.receipt(payment, {"index": 1})
    for name, receipt in {
        "the other place in the block": second,
        "a path to nowhere": replace(good, transaction_path=(bytes(32),)),
        "a path with a hash too many": replace(good, transaction_path=(FILLER, FILLER)),
        "no path": replace(good, transaction_path=()),
    }.items():
        yield Example(name, "pbft", receipt, "ordered")
    for name, path in {
        "an outcome's path to nowhere": (bytes(32),),
        "an outcome's path with a hash too few": (),
    }.items():
        yield Example(name, "pbft", replace(good, outcome_path=path), "executed")


def false_outcomes(make: Maker) -> Iterator[Example]:
    payment, opening = make.transfer(), example_payments(make.network)[0]
    late = make.transfer(settle_by_ms=CREATED_MS + 999)
    forbids = (Finding(1, 1, 2, 1, 0, 0),)
    of_payment: dict[str, dict[str, Any]] = {
        "an outcome of another version": {"version": 2},
        "an outcome of another lane": {"lane": 1},
        "an outcome of another height": {"height": 2},
        "an outcome about another kind": {"kind": 2},
        "an outcome about another account": {"account": bytes(20)},
        "an outcome about another id": {"id": bytes(32)},
        "an outcome that is not final": {"final": False},
        "settled, with a reason not to": {"reason": 105},
        "settled, though a rule holds it": {"findings": forbids},
        "rejected without a reason": {"status": 2},
        "rejected for a reason that no ledger gives": {"status": 2, "reason": 8},
        "a payment that opens an account": {"opened": bytes(20)},
    }
    of_opening: dict[str, dict[str, Any]] = {
        "an opening without an account": {},
        "an opening with half an account": {"opened": bytes(10)},
        "a rejected opening with an account": {"status": 2, "reason": 108, "opened": bytes(20)},
    }
    for name, said in of_payment.items():
        yield Example(name, "pbft", make.receipt(payment, said), "outcome")
    yield Example("settled after its settle_by_ms", "pbft", make.receipt(late), "outcome")
    for name, said in of_opening.items():
        yield Example(name, "pbft", make.receipt(opening, said), "outcome")
    unknown = replace(make.receipt(payment), version=2)
    yield Example("a receipt of another version", "pbft", unknown, "outcome")

"""Publishes the wire formats' worked vectors: `tests/vectors/formats.json`, and the hex in `docs/formats.md`.

Run `.venv/bin/python scripts/formats.py` after a format was changed on purpose; a test fails while the files and the code differ.
The state root is that of the small map below, not of an execution: what the contracts keep is not a matter of the wire.
"""

import re
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from format_absences import absence_vectors
from format_checkpoints import checkpoint_vectors
from format_examples import (
    CREATED_MS,
    EPOCH,
    HEIGHT,
    LANE,
    VIEW,
    Network,
    commit_certificate,
    example_changes,
    example_outcomes,
    example_transactions,
    members_of_epoch_1,
    vote_key,
)
from tallystick.network.proofs.document import receipt_to_bytes
from tallystick.network.proofs.evidence import (
    EVIDENCE,
    Evidence,
    Kind,
    Said,
    about_block,
    about_view,
    signed_bytes,
    sorted_pair,
)
from tallystick.network.proofs.evidence_file import EvidenceFile, evidence_to_bytes
from tallystick.network.proofs.merkle import Log, Tree, leaf_hash
from tallystick.network.proofs.receipts import (
    BLOCK_PROOF,
    OUTCOME,
    RECEIPT,
    Anchor,
    BlockProof,
    EpochStep,
    Receipt,
)
from tallystick.network.proofs.state_map import StateMap
from tallystick.network.proofs.state_proof import EMPTY_ROOT, NO_BLIND, STATE_PROOF, blind_of
from tallystick.network.proofs.state_proof import leaf_hash as state_leaf
from tallystick.network.wire import eip712, signing
from tallystick.network.wire.blocks import (
    HEADER,
    RESULT,
    Header,
    Result,
    block_hash,
    genesis_link,
    link_of,
)
from tallystick.network.wire.frames import Channel, pack, pack_many
from tallystick.network.wire.genesis import GENESIS, genesis_to_json
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.membership import EPOCH_MEMBERS, members_digest
from tallystick.network.wire.readable import to_readable
from tallystick.network.wire.signing import Phase
from tallystick.network.wire.transactions import Transaction
from tallystick.network.wire.transactions.codec import body_id, encode, kind_of

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "tests" / "vectors" / "formats.json"
PAGE = ROOT / "docs" / "formats.md"


def transaction_vector(network: Network, transaction: Transaction) -> dict[str, Any]:
    kind = type(transaction)
    types = eip712.types_of(kind)
    raw = encode(transaction)
    type_string = eip712.encode_type(kind.__name__, types)
    hashed = eip712.compile_struct(kind.__name__, types, eip712.read_struct)(transaction)
    return {
        "kind": kind_of(transaction),
        "fields": to_readable(transaction),
        "type_string": type_string,
        "type_hash": eip712.keccak(type_string.encode()),
        "struct_hash": hashed,
        "digest": network.digester.digest(transaction),
        "raw": raw,
        "body_id": body_id(raw),
    }


def refused_vectors(raw: bytes) -> dict[str, Any]:
    """Bytes that no node takes, each with its reason. `raw` is the transfer above."""
    amount = b"\xce\x00\x01\xe8\x93"
    shorter = msgspec.msgpack.encode(msgspec.msgpack.decode(raw)[:-1])
    return {
        "an amount in eight bytes where four do": ["NON_CANONICAL", raw.replace(amount, b"\xcf\x00\x00\x00\x00" + amount[1:])],
        "a text with a length byte where none is needed": ["NON_CANONICAL", raw.replace(b"\xa3USD", b"\xd9\x03USD")],
        "witnesses left out": ["NON_CANONICAL", shorter],
        "an amount of zero": ["MALFORMED", raw.replace(amount, b"\x00")],
        "an asset that ends in a line feed": ["MALFORMED", raw.replace(b"\xa3USD", b"\xa4USD\n")],
        "an unknown kind": ["MALFORMED", raw[:1] + b"\x7f" + raw[2:]],
        "a byte too many": ["MALFORMED", raw + b"\x00"],
        "a byte too few": ["MALFORMED", raw[:-1]],
    }  # fmt: skip


def state_vectors() -> tuple[dict[str, Any], bytes]:
    """Leaves, a bucket, a map that has split, a proof of presence and one of absence; the map's root."""
    seed, height = b"\x5e" * 16, 7
    account, value = b"account/" + b"\xac" * 20, b"\x01\x02\x03"
    blind = blind_of(seed, height)
    records = [(b"asset/USD", b"value of USD", NO_BLIND), (account, value, blind)]
    leaves = [
        (sha256(key).digest(), state_leaf(key, data, hidden)) for key, data, hidden in records
    ]
    small = StateMap()
    small.load(sorted(leaves))
    large = StateMap()
    fillers = [
        (sha256(bytes([number])).digest(), state_leaf(bytes([number]), b"")) for number in range(60)
    ]
    large.load(sorted(leaves + fillers))
    absent = sha256(b"asset/EUR").digest()
    vector = {
        "empty_root": EMPTY_ROOT,
        "blind": {"seed": seed, "height": height, "blind": blind},
        "leaves": [
            {"key": key, "value": data, "blind": hidden, "key_hash": at, "leaf": leaf}
            for (key, data, hidden), (at, leaf) in zip(records, leaves, strict=True)
        ],
        "bucket_root": small.root,
        "split": {
            "fillers": "for n in 0..59: key is the byte n, value is empty, blind is zeros",
            "keys": large.size,
            "root": large.root,
            "proof_of_account": STATE_PROOF.encode(large.prove(leaves[1][0])),
            "absent_key": b"asset/EUR",
            "proof_of_absence": STATE_PROOF.encode(large.prove(absent)),
        },
    }
    return vector, large.root


def merkle_vectors() -> dict[str, Any]:
    leaves = [leaf_hash(bytes([number])) for number in range(5)]
    tree = Tree(leaves)
    return {
        "entries": [bytes([number]) for number in range(5)],
        "leaf_hashes": leaves,
        "root": tree.root,
        "empty_root": Tree([]).root,
        "path_of_2": list(tree.path(2)),
        "path_of_4": list(tree.path(4)),
    }


def signed_vectors(network: Network, link: Link, parent: Link) -> dict[str, Any]:
    """Every message that a vote key signs, by member 0 (seed 0x10, 32 times)."""
    place = network.chain, LANE, EPOCH
    other = Link(sha256(b"other").digest())
    messages = {
        "prepare": signing.vote_message(*place, VIEW, HEIGHT, Phase.PREPARE, link, parent),
        "commit": signing.vote_message(*place, VIEW, HEIGHT, Phase.COMMIT, link, parent),
        "proposal": signing.proposal_message(*place, VIEW, HEIGHT, link, parent),
        "view_change": signing.view_change_message(*place, View(1), 2, VIEW, HEIGHT, link),
        "view_change_without_certificate": signing.view_change_message(
            *place, View(1), 0, View(0), Height(0), Link(bytes(32))
        ),
        "new_view": signing.new_view_message(*place, View(1), other),
        "held": signing.held_message(network.chain, LANE, other),
        "disagree": signing.disagree_message(*place, VIEW, HEIGHT, link, other),
    }
    key = vote_key(0x10)
    return {name: {"message": each, "signature": key.sign(each)} for name, each in messages.items()}


def evidence_pair(
    network: Network, epoch: int, signer: int, place: tuple[Kind, View, Height], *said: Said
) -> Evidence:
    """Both statements, signed by this member for this place."""
    kind, view, height = place
    key, where = vote_key(0x10 + signer), (network.chain, LANE, Epoch(epoch))
    draft = Evidence(1, *where, NodeId(signer), kind, view, height, *sorted_pair(*said))
    one, two = (
        replace(each, signature=key.sign(signed_bytes(draft, each)))
        for each in (draft.first, draft.second)
    )
    return replace(draft, first=one, second=two)


def evidence_vectors(network: Network, link: Link, parent: Link) -> dict[str, Any]:
    """Member 0 COMMITs to two blocks, and leaves for view 1 with and without a certificate."""
    unsigned, other = bytes(64), Link(sha256(b"other").digest())
    blocks = [about_block(each, parent, unsigned) for each in (link, other)]
    shown = about_view(Phase.COMMIT, VIEW, HEIGHT, link, unsigned)
    nothing = about_view(0, 0, 0, bytes(32), unsigned)
    commits = evidence_pair(network, 0, 0, (Kind.COMMIT, VIEW, HEIGHT), *blocks)
    leaving = Kind.VIEW_CHANGE, View(1), Height(0)
    return {
        "commits": EVIDENCE.encode(commits),
        "view_changes": EVIDENCE.encode(evidence_pair(network, 0, 0, leaving, shown, nothing)),
        "commits_file": evidence_to_bytes(EvidenceFile(commits)).decode(),
    }


def block_vectors(
    network: Network, transactions: Sequence[Transaction], state_root: bytes
) -> dict[str, Any]:
    """One block of three payments, its receipts, a receipt through a later block, and one of the next epoch."""
    transactions = transactions[:3]
    outcomes = example_outcomes(network, transactions)
    ordered = Tree([body_id(encode(each)) for each in transactions])
    executed = Tree([leaf_hash(OUTCOME.encode(each)) for each in outcomes])
    first = genesis_link(network.hash, EMPTY_ROOT)
    history = Log([leaf_hash(first)])
    header = Header(
        1,
        network.chain,
        LANE,
        EPOCH,
        HEIGHT,
        first,
        history.root(),
        CREATED_MS + 1_000,
        0,
        ordered.root,
    )
    result = Result(state_root, executed.root)
    link = link_of(header, result)
    history.append(leaf_hash(link))
    empty = Tree([]).root
    later = Header(
        1, network.chain, LANE, EPOCH, Height(2), link, history.root(), CREATED_MS + 2_000, 0, empty
    )
    later_result = Result(state_root, empty)
    direct = BlockProof(header, result, commit_certificate(network, header, link))
    anchored = BlockProof(
        header,
        result,
        commit_certificate(network, later, link_of(later, later_result)),
        Anchor(later, later_result, history.path(HEIGHT, 2)),
    )

    def receipt(index: int, block: BlockProof) -> Receipt:
        raw = encode(transactions[index])
        return Receipt(1, raw, outcomes[index], ordered.path(index), executed.path(index), block)

    return {
        "genesis_link": {"state_root": EMPTY_ROOT, "link": first},
        "outcomes": [
            {"encoded": OUTCOME.encode(each), "leaf": leaf_hash(OUTCOME.encode(each))}
            for each in outcomes
        ],
        "header": HEADER.encode(header),
        "block_hash": block_hash(header),
        "result": RESULT.encode(result),
        "link": link,
        "signed": signed_vectors(network, link, first),
        "evidence": evidence_vectors(network, link, first),
        "certificate": msgspec.msgpack.encode(direct.certificate),
        "block_proof": BLOCK_PROOF.encode(direct),
        "receipt_settled": RECEIPT.encode(receipt(1, direct)),
        "receipt_rejected": RECEIPT.encode(receipt(2, direct)),
        "receipt_anchored": RECEIPT.encode(receipt(0, anchored)),
        **epoch_vectors(network, transactions[1], later, later_result, history),
        "receipt_rejected_file": receipt_to_bytes(receipt(2, direct)).decode(),
    }


def epoch_vectors(
    network: Network, paid: Transaction, parent: Header, parent_result: Result, history: Log
) -> dict[str, Any]:
    """Block 3 closes epoch 0; a receipt of block 4, which the members of epoch 1 signed; and the spare's two PREPAREs there."""
    members, activation = members_of_epoch_1(network), example_changes(network)[1]
    above, empty = link_of(parent, parent_result), Tree([]).root
    history.append(leaf_hash(above))

    def header(epoch: int, height: int, on: Link, ordered: bytes) -> Header:
        time_ms = CREATED_MS + 1_000 * height
        return Header(
            1, network.chain, LANE, epoch, height, on, history.root(), time_ms, 0, ordered
        )

    closing = header(0, 3, above, Tree([body_id(encode(activation))]).root)
    result = Result(parent_result.state_root, empty, members_digest(members))
    link = link_of(closing, result)
    step = EpochStep(closing, result, commit_certificate(network, closing, link), members)
    history.append(leaf_hash(link))
    outcome = replace(example_outcomes(network, [activation, paid])[1], height=4, index=0)
    first = header(1, 4, link, Tree([body_id(encode(paid))]).root)
    executed = Result(parent_result.state_root, Tree([leaf_hash(OUTCOME.encode(outcome))]).root)
    signed = commit_certificate(network, first, link_of(first, executed), (0, 2, 101))
    proof = BlockProof(first, executed, signed, None, (step,))
    voted = [about_block(each, link, bytes(64)) for each in (signed.link, above)]
    evidence = evidence_pair(network, 1, 101, (Kind.PREPARE, VIEW, Height(4)), *voted)
    return {
        "members_of_epoch_1": EPOCH_MEMBERS.encode(members),
        "next_epoch": members_digest(members),
        "receipt_epoch_1": RECEIPT.encode(Receipt(1, encode(paid), outcome, (), (), proof)),
        "evidence_epoch_1_file": evidence_to_bytes(EvidenceFile(evidence, (step,))).decode(),
    }


def vectors() -> dict[str, Any]:
    """Everything that is published, bytes still as bytes."""
    network = Network()
    transactions = example_transactions(network)
    state, state_root = state_vectors()
    frames = [pack(Channel.CONSENSUS, b"vote"), pack(Channel.BODIES, b"")]
    return {
        "genesis": {
            "file": genesis_to_json(network.genesis).decode(),
            "encoded": GENESIS.encode(network.genesis),
            "hash": network.hash,
            "chain": network.chain,
            "root_accounts": {str(number): network.account(number) for number in (1, 2, 3)},
        },
        "domain": {
            "type_string": eip712.encode_type("EIP712Domain", {"EIP712Domain": eip712.DOMAIN_TYPE}),
            "separator": network.domain.separator(),
        },
        "transactions": {
            type(each).__name__: transaction_vector(network, each) for each in transactions
        },
        "refused": refused_vectors(encode(transactions[2])),
        "merkle": merkle_vectors(),
        "state": state,
        "block": block_vectors(network, transactions, state_root),
        "absence": absence_vectors(network),
        "checkpoint": checkpoint_vectors(network),
        "frames": {"parts": frames, "message": pack_many(frames)},
    }


def in_hex(value: Any) -> Any:
    """The same with bytes as lower-case hex: what the file holds."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: in_hex(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [in_hex(each) for each in value]
    return value


def as_file(published: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(in_hex(published)), indent=1) + b"\n"


_LINE = re.compile(r"^([A-Za-z][\w.]*) =.*$", re.MULTILINE)
_FENCE = re.compile(r"```vectors\n.*?```", re.DOTALL)


def filled_page(page: str, published: dict[str, Any]) -> str:
    """The page with every `name = …` in a `vectors` block set to the published value. KeyError for an unknown name."""
    plain = in_hex(published)

    def value_of(match: re.Match[str]) -> str:
        value = plain
        for part in match[1].split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
        return f"{match[1]} = {value}"

    return _FENCE.sub(lambda fence: _LINE.sub(value_of, fence[0]), page)


def main() -> int:
    published = vectors()
    VECTORS.write_bytes(as_file(published))
    PAGE.write_text(filled_page(PAGE.read_text("utf-8"), published), "utf-8")
    print(f"wrote {VECTORS.relative_to(ROOT)} and the vectors of {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

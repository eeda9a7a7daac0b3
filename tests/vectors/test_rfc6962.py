"""RFC 6962 proofs from transparency-dev/merkle: 8 to accept, 112 to refuse, and a tree of 8 leaves with its 9 roots."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

from tallystick.network.proofs.merkle import (
    Log,
    Tree,
    leaf_hash,
    root_of,
    root_of_path,
    verify_consistency,
    verify_inclusion,
)


def cases(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    # Names hold brackets, so no globbing by name.
    files = [path for path in folder.rglob("*") if path.suffix == ".json"]
    return [(path, json.loads(path.read_text())) for path in sorted(files)]


def unpacked(text: str | None) -> bytes:
    return b64decode(text or "")


def test_every_published_proof_gets_its_published_verdict(shared_vectors: Path) -> None:
    accepted = 0
    inclusion = cases(shared_vectors / "rfc6962" / "inclusion")
    for path, case in inclusion:
        leaf, index, size = unpacked(case["leafHash"]), case["leafIdx"], case["treeSize"]
        proof = [unpacked(part) for part in case["proof"] or ()]
        root = unpacked(case["root"])
        verdict = verify_inclusion(leaf, index, size, proof, root)
        assert verdict is not case["wantErr"], path
        assert not verdict or root_of_path(leaf, index, proof) == root, path
        accepted += verdict
    consistency = cases(shared_vectors / "rfc6962" / "consistency")
    for path, case in consistency:
        roots = unpacked(case["root1"]), unpacked(case["root2"])
        proof = [unpacked(part) for part in case["proof"] or ()]
        verdict = verify_consistency(case["size1"], case["size2"], *roots, proof)
        assert verdict is not case["wantErr"], path
        accepted += verdict
    assert (len(inclusion), len(consistency), accepted) == (60, 60, 8)


def test_the_published_tree_has_its_published_roots(shared_vectors: Path) -> None:
    tree = json.loads((shared_vectors / "rfc6962" / "tree.json").read_text())
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in tree["leaves"]]
    roots = [bytes.fromhex(root) for root in tree["roots_by_tree_size"]]
    assert (len(leaves), len(roots)) == (8, 9)
    log = Log(leaves)
    for size, root in enumerate(roots):
        assert root_of(leaves[:size]) == Tree(leaves[:size]).root == log.root(size) == root

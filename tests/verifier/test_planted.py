"""The published vectors find a verifier that lacks a check: bugs planted in the second one, each with the case that must tell.

The bugs are those that whoever writes a verifier is likely to make: a library's own idea of a signature, numbers as doubles,
a step that genuine receipts never need.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import verifier
from tests.verifier.other import Other, about, encoded
from tests.verifier.published import PUBLISHED, file_of, genesis_of, published_form

pytestmark = pytest.mark.campaign

PLANTED = {
    "a-vote-is-checked-with-the-cofactor": (
        "keys.js",
        "return equal(Point.BASE.multiplyUnsafe(s).subtract(point.multiplyUnsafe(k)).toBytes(), R);",
        "return ed25519.verify(signature, message, key, { zip215: false });",
        "a vote that holds only with the cofactor",
    ),
    "a-key-of-small-order-may-vote": (
        "keys.js",
        "point.isSmallOrder() ? null : point",
        "point",
        "anybody's vote for a key of small order",
    ),
    "one-vote-counts-twice": (
        "members.js",
        "if (!ascending)",
        "if (false)",
        "one member signs twice",
    ),
    "a-prepare-is-taken-for-a-commit": (
        "verify.js",
        'certificate.phase === "COMMIT"',
        "true",
        "votes to prepare",
    ),
    "the-new-members-may-certify-the-block-that-names-them": (
        "verify.js",
        "checkSigned(certificate, header, network, members);\n      members = memberSet(step.members.epoch, step.members.members, network.genesis.engine);",
        "members = memberSet(step.members.epoch, step.members.members, network.genesis.engine);",
        "the new members sign themselves in",
    ),
    "an-epoch-reaches-back": (
        "verify.js",
        'expect(block.header.height > after, "the block is older than its epoch");',
        "",
        "a block that is older than its epoch",
    ),
    "numbers-are-doubles": (
        "json.js",
        "BigInt(found[0])",
        "BigInt(Number(found[0]))",
        "numbers that no double holds",
    ),
    "the-text-is-not-compared": (
        "document.js",
        "if (`${write(written, 2)}\\n` !== textOf(data))",
        "if (false)",
        "two spaces after a colon",
    ),
}


def bundled(source: Path, folder: Path) -> Path:
    """The modules of `source` as the one file that node runs."""
    target = folder / "batch.mjs"
    esbuild = str(verifier.SOURCE / "node_modules" / ".bin" / "esbuild")
    options = ("--bundle", "--platform=node", "--format=esm", "--log-level=error")
    subprocess.run(
        [esbuild, str(source / "batch.js"), *options, f"--outfile={target}"],
        env=os.environ | {"NODE_PATH": str(verifier.SOURCE / "node_modules")},
        check=True,
    )
    return target


@pytest.mark.parametrize(("file", "found", "put", "case"), PLANTED.values(), ids=PLANTED)
@pytest.mark.usefixtures("other")
def test_a_check_that_is_missing_is_found(
    tmp_path: Path, file: str, found: str, put: str, case: str
) -> None:
    source = tmp_path / "src"
    shutil.copytree(verifier.SOURCE / "src", source)
    text = (source / file).read_text("utf-8")
    assert text.count(found) == 1
    (source / file).write_text(text.replace(found, put), "utf-8")
    asked = next(each for each in PUBLISHED["receipts"] if each["name"] == case)
    mutant = Other(bundled(source, tmp_path))
    _, verdict = mutant.ask([about(genesis_of(asked)), {"receipt": encoded(file_of(asked))}])
    assert published_form(verdict) != asked["expect"]

"""Tokens for a network that is tried out: an ES256 issuer key of its own, and tokens signed with it.

A bank in production has an issuer (OAuth2) and gives the node its JWKS file; nothing here is needed then.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey

from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.ids import ParticipantId
from tallystick.node.api.tokens import Scope

DAYS_MAX = 3_650
"""A token of a try-out network lives ten years at most."""


def make_issuer(folder: Path) -> ECKey:
    """Write `issuer.key` (0600) and `jwks.json` into the folder."""
    key = ECKey.generate_key("P-256", auto_kid=True)
    write_private(folder / "issuer.key", key.as_pem(private=True))
    public = {**key.as_dict(private=False), "alg": "ES256", "use": "sig"}
    (folder / "jwks.json").write_text(json.dumps({"keys": [public]}, indent=2) + "\n")
    return key


def load_issuer(folder: Path) -> ECKey:
    """The issuer's key. `OperationalError` if it is not there or is none."""
    path = folder / "issuer.key"
    try:
        key = ECKey.import_key(path.read_bytes())
    except OSError as error:
        raise OperationalError(
            f"{path}: {error.strerror}. Is this a folder that `tallystick network init` made?"
        ) from None
    except ValueError as error:
        raise OperationalError(f"{path} is not an EC key in PEM form: {error}") from None
    key.ensure_kid()
    return key


def issue(
    key: ECKey,
    chain: int,
    subject: str,
    scopes: Iterable[Scope],
    participant: ParticipantId | None,
    expires_s: int,
) -> str:
    """A signed token. `expires_s`: seconds since 1970."""
    claims: dict[str, object] = {
        "sub": subject,
        "aud": str(chain),
        "exp": expires_s,
        "scope": " ".join(sorted(scope.value for scope in scopes)),
    }
    if participant is not None:
        claims["participant"] = participant
    return jwt.encode({"alg": "ES256", "kid": str(key.kid)}, claims, key)


def write_private(path: Path, content: bytes) -> None:
    """A new file that only its owner reads (0600); never over an existing one."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)

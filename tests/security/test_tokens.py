"""Tokens that must not be believed, each for its own reason, at the edge and in the verifier."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.api import bounds
from tallystick.node.api.tokens import IssuerKey, Scope, Tokens, load_jwks, verified_payload
from tests.security.stage import EXPIRES_S, NETWORK, NOW_MS, Clock, Issuer, Stage

ISSUER = Issuer()
AUDIENCE = str(NETWORK.chain)


def part(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes: object) -> dict[str, object]:
    full: dict[str, object] = {"sub": "t", "scope": "read:all", "aud": AUDIENCE, "exp": EXPIRES_S}
    return full | changes


def signed_with_header(header: dict[str, object]) -> str:
    """A token whose signature is genuine, whatever its header says beside the algorithm."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    text = f"{part(header)}.{part(claims())}"
    key = ISSUER.es256.private_key
    assert key is not None
    r, s = utils.decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def signed_payload(payload: bytes) -> str:
    from joserfc import jws

    return jws.serialize_compact({"alg": "ES256", "kid": "p"}, payload, ISSUER.es256)


def hmac_with_public_key() -> str:
    text = f"{part({'alg': 'HS256', 'kid': 'p'})}.{part(claims())}"
    secret = ISSUER.es256.as_pem(private=False)
    return f"{text}.{part(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def other_key_of_the_same_name() -> str:
    stranger = ECKey.generate_key("P-256")
    return jwt.encode({"alg": "ES256", "kid": "p"}, claims(), stranger)


def good() -> str:
    return ISSUER.token("read:all")


def with_stray_bits() -> str:
    """The last character of the signature carries bits beyond the last byte: another spelling of the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = good()
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


BAD: dict[str, tuple[Callable[[], str], str]] = {
    "empty": (lambda: "", "three base64url parts"),
    "not a token": (lambda: "hunter2", "three base64url parts"),
    "a JWE's five parts": (lambda: "a.b.c.d.e", "three base64url parts"),
    "padded": (lambda: good() + "==", "three base64url parts"),
    "standard alphabet": (lambda: good()[:-2] + "+/", "three base64url parts"),
    "a space inside": (lambda: good().replace(".", ". ", 1), "three base64url parts"),
    "stray bits": (with_stray_bits, "not canonical base64url"),
    "impossible length": (
        lambda: good() + ("A" if len(good().split(".")[2]) % 4 == 0 else "AAA"),
        "",
    ),
    "too long": (lambda: "a." + "b" * bounds.TOKEN_BYTES_MAX + ".c", "longer than"),
    "alg none": (
        lambda: f"{part({'alg': 'none', 'kid': 'p'})}.{part(claims())}.AA",
        "alg is not ES256",
    ),
    "alg none, no signature": (lambda: f"{part({'alg': 'none'})}.{part(claims())}.", "three"),
    "alg None": (lambda: f"{part({'alg': 'None', 'kid': 'p'})}.{part(claims())}.AA", "alg is not"),
    "no alg": (lambda: f"{part({'kid': 'p'})}.{part(claims())}.AA", "alg is not"),
    "public key as HMAC secret": (hmac_with_public_key, "alg is not ES256"),
    "another key's algorithm": (
        lambda: signed_with_header({"alg": "ES256", "kid": "e"}),
        "alg is not",
    ),
    "unknown kid": (lambda: signed_with_header({"alg": "ES256", "kid": "x"}), "key is not one of"),
    "no kid among two keys": (lambda: signed_with_header({"alg": "ES256"}), "key is not one of"),
    "own key brought along": (
        lambda: signed_with_header({"alg": "ES256", "kid": "p", "jwk": {}}),
        "'jwk'",
    ),
    "a key's address": (
        lambda: signed_with_header({"alg": "ES256", "kid": "p", "jku": "https://x.invalid"}),
        "'jku'",
    ),
    "critical extension": (
        lambda: signed_with_header({"alg": "ES256", "kid": "p", "crit": ["b64"], "b64": False}),
        "which is not used here",
    ),
    "another's signature": (other_key_of_the_same_name, "signature is not by its key"),
    "changed claims": (lambda: _swap_claims(good(), claims(scope="submit")), "signature is not"),
    "claims not JSON": (lambda: signed_payload(b"hello"), "one JSON object"),
    "claims a list": (lambda: signed_payload(b"[]"), "one JSON object"),
    "claims not UTF-8": (lambda: signed_payload(b'{"a":"\xff"}'), "one JSON object"),
    "nested without end": (lambda: signed_payload(b"[" * 2_500), "one JSON object"),
    "a claim twice": (
        lambda: signed_payload(b'{"exp":1,"exp":99999999999,"sub":"t"}'),
        "one JSON object",
    ),
    "expired": (lambda: ISSUER.token("read:all", exp=NOW_MS // 1000), "has expired"),
    "no exp": (lambda: ISSUER.token("read:all", exp=None), "has no exp"),
    "exp a text": (lambda: ISSUER.token("read:all", exp=str(EXPIRES_S)), "has no exp"),
    "exp a float": (lambda: signed_payload(json.dumps(claims(exp=1e12)).encode()), "has no exp"),
    "exp true": (lambda: signed_payload(json.dumps(claims(exp=True)).encode()), "has no exp"),
    "not yet valid": (lambda: ISSUER.token("read:all", nbf=NOW_MS // 1000 + 31), "not valid yet"),
    "other audience": (lambda: ISSUER.token("read:all", aud="1"), "another audience"),
    "audience a number": (
        lambda: signed_payload(json.dumps(claims(aud=NETWORK.chain)).encode()),
        "aud",
    ),
    "no audience": (lambda: ISSUER.token("read:all", aud=None), "another audience"),
    "no subject": (lambda: ISSUER.token("read:all", sub=None), "no sub"),
    "subject too long": (lambda: ISSUER.token("read:all", sub="s" * 129), "no sub"),
    "scope a list": (
        lambda: signed_payload(json.dumps(claims(scope=["read:all"])).encode()),
        "scope",
    ),
    "participant a text": (
        lambda: signed_payload(json.dumps(claims(participant="2")).encode()),
        "participant",
    ),
    "participant true": (
        lambda: signed_payload(json.dumps(claims(participant=True)).encode()),
        "participant",
    ),
    "participant too large": (
        lambda: signed_payload(json.dumps(claims(participant=2**32)).encode()),
        "participant",
    ),
    "bound to a certificate": (lambda: ISSUER.token("read:all", cnf={"x5t#S256": "x"}), "bound to"),
}


def _swap_claims(token: str, changed: dict[str, object]) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{part(changed)}.{signature}"


def tokens(cache_max: int = 4, clock: Clock | None = None) -> Tokens:
    return Tokens(load_jwks(ISSUER.jwks()), AUDIENCE, (clock or Clock()).now_ms, cache_max)


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_token_is_refused_for_its_reason(name: str) -> None:
    make, sentence = BAD[name]
    with pytest.raises(Refused) as refused:
        tokens().principal(make())
    assert refused.value.reason is RejectReason.UNAUTHENTICATED
    assert sentence in refused.value.detail


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage")) as stage:
        stage.parts.gate._tokens = tokens(clock=stage.clock)
        yield stage


@pytest.mark.parametrize("name", sorted(name for name in BAD if name != "a space inside"))
def test_a_bad_token_gets_401_at_the_edge_and_its_bytes_are_not_echoed(
    stage: Stage, name: str
) -> None:
    token = BAD[name][0]()
    reply = stage.edge.call("GET", "/v1/status", token=token)
    assert (reply.status, reply.code) == (401, "UNAUTHENTICATED")
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert len(token) < 8 or token.encode() not in reply.body


def test_other_schemes_and_no_credentials_get_401(stage: Stage) -> None:
    for headers in ({}, {"Authorization": "Basic dDp0"}, {"Authorization": good()}):
        reply = stage.edge.call("GET", "/v1/status", headers=headers)
        assert (reply.status, reply.code) == (401, "UNAUTHENTICATED")


def test_two_authorization_headers_get_401(stage: Stage) -> None:
    with stage.edge.connect() as bare:
        line = f"Authorization: Bearer {good()}\r\n"
        bare.sendall(f"GET /v1/status HTTP/1.1\r\nHost: x\r\n{line}{line}\r\n".encode())
        assert bare.recv(64).startswith(b"HTTP/1.1 40")


def test_a_wrong_scope_gets_403_and_the_needed_one_is_named(stage: Stage) -> None:
    reply = stage.edge.submit(ISSUER.token("read:all"), stage.settled)
    assert (reply.status, reply.code) == (403, "FORBIDDEN")
    assert "submit" in reply.document["detail"]


def test_good_tokens_of_both_algorithms_are_taken() -> None:
    ed = jwt.encode(
        {"alg": "Ed25519", "kid": "e"}, claims(), ISSUER.ed25519, algorithms=["Ed25519"]
    )
    for token in (good(), ed, ISSUER.token("read:all", aud=["x", AUDIENCE])):
        principal = tokens().principal(token)
        assert principal.scopes == frozenset({Scope.READ_ALL})
    assert tokens().principal(ISSUER.token("submit read:own fly", 2)).scopes == frozenset(
        {Scope.SUBMIT, Scope.READ_OWN}
    )


def test_a_remembered_token_is_forgotten_when_it_expires() -> None:
    clock = Clock()
    verifier = tokens(clock=clock)
    token = good()
    verifier.principal(token)
    assert verifier.remembered == 1
    clock.ms = EXPIRES_S * 1000 - 1
    verifier.principal(token)
    clock.ms = EXPIRES_S * 1000
    with pytest.raises(Refused, match="expired"):
        verifier.principal(token)
    assert verifier.remembered == 0


def test_the_memory_of_tokens_is_bounded() -> None:
    verifier = tokens(cache_max=4)
    for number in range(4):
        verifier.principal(ISSUER.token("read:all", sub=f"s{number}"))
    assert verifier.remembered == 4
    verifier.principal(ISSUER.token("read:all", sub="one more"))
    assert verifier.remembered == 4


def test_a_refused_token_is_never_remembered() -> None:
    verifier = tokens()
    for make, _ in BAD.values():
        with pytest.raises(Refused):
            verifier.principal(make())
    assert verifier.remembered == 0


def jwk(**changes: object) -> dict[str, object]:
    key = ISSUER.es256.as_dict(private=False) | changes
    return {name: value for name, value in key.items() if value is not None}


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ([], "1 to 64 keys"),
        ([jwk(kid=None)], "has no kid"),
        ([jwk(), jwk()], "appears twice"),
        ([{"kty": "oct", "k": "AAAA", "kid": "s"}], "only EC P-256"),
        ([{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "r"}], "only EC P-256"),
        ([jwk(crv="P-384")], "only EC P-256"),
        ([jwk(alg="ES384")], "does not fit"),
        ([jwk(use="enc")], "does not fit"),
        ([jwk(key_ops=["sign"])], "key_ops"),
        ([jwk(d="AAAA")], "private key"),
        ([jwk(y=jwk()["x"])], "key 0"),
        ([jwk(x=None)], "key 0"),
        (["p"], "not an object"),
        ([jwk(kid=f"k{n}") for n in range(65)], "1 to 64 keys"),
    ],
)
def test_an_unfit_key_file_is_refused_by_name(keys: list[object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_jwks(json.dumps({"keys": keys}).encode())


def test_sixty_four_keys_are_taken() -> None:
    keys = [jwk(kid=f"k{n}") for n in range(64)]
    assert len(load_jwks(json.dumps({"keys": keys}).encode())) == 64


def test_every_published_signature_vector_for_our_keys_is_judged_right(
    shared_vectors: Path,
) -> None:
    """Wycheproof's JWS set: the P-256 and Ed25519 groups. A group whose key we refuse refuses its tokens."""
    path = shared_vectors / "wycheproof" / "json_web_signature_subset_test.json"
    if not path.is_file():
        pytest.skip(f"no {path}")
    ran = 0
    for group in json.loads(path.read_text())["testGroups"]:
        key = group.get("public", {})
        if key.get("kty") not in ("EC", "OKP"):
            continue
        try:
            keys = load_jwks(json.dumps({"keys": [key]}).encode())
        except ValueError:
            keys = {}
        for case in group["tests"]:
            ran += 1
            genuine = case["result"] == "valid" and bool(keys)
            assert _accepts(keys, case["jws"]) == genuine, case
    assert ran == 26


def _accepts(keys: dict[str, IssuerKey], token: object) -> bool:
    try:
        verified_payload(str(token), keys)
    except Refused:
        return False
    return True

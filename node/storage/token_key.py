"""A key-encryption key in a PKCS#11 token, named by a URI of RFC 7512; it never leaves the token.

`pkcs11:token=LABEL;object=LABEL?module-path=/usr/lib/…/module.so&pin-source=file:keys/pin`; `pin-source=env:NAME` is read, too. The
key is an AES-256 secret key with CKA_WRAP and CKA_UNWRAP; the mechanism is CKM_AES_KEY_WRAP, so the same key in a file opens
the same keyring. Needs the package python-pkcs11, which the extra `pkcs11` names. Tested against SoftHSM 2.
"""

import os
import threading
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from tallystick.network.wire.faults import OperationalError
from tallystick.node.storage.key_encryption import KEY_BYTES, id_by_wrapping

_WANTED: Final = ("token", "object", "module-path", "pin-source")


class TokenKey:
    """`key_encryption.KeyEncryption` by a session with the token; calls are made one at a time."""

    def __init__(self, session: Any, key: Any, source: str) -> None:
        self._session = session
        self._key = key
        self._lock = threading.Lock()
        self.source = source
        self.id = id_by_wrapping(self.wrap)

    def wrap(self, key: bytes) -> bytes:
        import pkcs11

        template = {
            pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
            pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.AES,
            pkcs11.Attribute.VALUE: key,
            pkcs11.Attribute.EXTRACTABLE: True,
            pkcs11.Attribute.SENSITIVE: False,
            pkcs11.Attribute.TOKEN: False,
        }
        with self._lock:
            try:
                wrapped: bytes = self._key.wrap_key(
                    self._session.create_object(template), mechanism=pkcs11.Mechanism.AES_KEY_WRAP
                )
            except pkcs11.PKCS11Error as error:
                raise OperationalError(
                    f"the token cannot wrap with {self.source}: {_said(error)}"
                ) from error
        return wrapped

    def unwrap(self, wrapped: bytes) -> bytes | None:
        import pkcs11

        template = {
            pkcs11.Attribute.EXTRACTABLE: True,
            pkcs11.Attribute.SENSITIVE: False,
            pkcs11.Attribute.TOKEN: False,
        }
        with self._lock:
            try:
                key = self._key.unwrap_key(
                    pkcs11.ObjectClass.SECRET_KEY,
                    pkcs11.KeyType.AES,
                    wrapped,
                    mechanism=pkcs11.Mechanism.AES_KEY_WRAP,
                    template=template,
                )
                value: bytes = key[pkcs11.Attribute.VALUE]
            except (
                pkcs11.exceptions.WrappedKeyInvalid,
                pkcs11.exceptions.WrappedKeyLenRange,
                pkcs11.exceptions.GeneralError,  # what SoftHSM says of a wrong key
                pkcs11.exceptions.FunctionFailed,
                pkcs11.exceptions.EncryptedDataInvalid,
            ):
                return None
            except pkcs11.PKCS11Error as error:
                raise OperationalError(
                    f"the token cannot unwrap with {self.source}: {_said(error)}"
                ) from error
        return value if len(value) == KEY_BYTES else None


def open_token_key(source: str, folder: Path) -> TokenKey:
    """The key that the URI names. `OperationalError` says what is missing; a PIN is never quoted."""
    wanted = _parts(source)
    try:
        import pkcs11
    except ImportError:
        raise OperationalError(
            "a key in a PKCS#11 token needs the package python-pkcs11: pip install python-pkcs11"
        ) from None
    pin = _pin(wanted["pin-source"], folder)
    try:
        token = pkcs11.lib(wanted["module-path"]).get_token(token_label=wanted["token"])
        try:
            session = token.open(user_pin=pin)
        except pkcs11.exceptions.UserAlreadyLoggedIn:
            session = token.open()  # a login is the process's, not the session's
        key = session.get_key(object_class=pkcs11.ObjectClass.SECRET_KEY, label=wanted["object"])
    except (pkcs11.PKCS11Error, RuntimeError) as error:
        raise OperationalError(
            f"cannot use the key {wanted['object']!r} of the token {wanted['token']!r}: {_said(error)}"
        ) from None
    return TokenKey(session, key, source)


def _parts(source: str) -> dict[str, str]:
    path, _, query = source.removeprefix("pkcs11:").partition("?")
    parts = dict(part.partition("=")[::2] for part in path.split(";") if part)
    parts = {name: unquote(value) for name, value in parts.items()} | dict(parse_qsl(query))
    missing = [name for name in _WANTED if not parts.get(name)]
    if missing:
        raise OperationalError(f"the key's URI {source!r} names no {', no '.join(missing)}")
    return parts


def _pin(source: str, folder: Path) -> str:
    kind, _, rest = source.partition(":")
    if kind == "env":
        if (pin := os.environ.get(rest)) is None:
            raise OperationalError(f"the environment has no variable {rest}, the token's PIN")
        return pin
    try:
        return (folder / (rest if kind == "file" else source)).read_text().strip()
    except OSError as error:
        raise OperationalError(f"cannot read the token's PIN: {error}") from None


def _said(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()

"""Bugs of sealed data folders, planted on purpose: nonces that come again, rows that may move, keys that are forgotten too early."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tallystick.network.wire.faults import OperationalError
from tallystick.node.storage.keyring import Keyring
from tallystick.node.storage.sealed import SealedStore
from tallystick.node.storage.sealing import Names, Opener, Sealer
from tests.mutants.planted import MUTANTS, Killer, mutant
from tests.unit.storage import test_rekeying, test_sealed


def in_a_folder(test: Callable[[Path], None]) -> Killer:
    """Runs a test of a folder in one of its own."""

    def kill() -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                test(Path(folder))
            except OperationalError as error:
                pytest.fail(f"a row was lost: {error}")

    kill.__name__ = test.__name__
    return kill


@mutant(in_a_folder(test_sealed.test_batches_of_one_life_never_share_a_nonce))
def counter_begins_anew_with_each_batch(patch: pytest.MonkeyPatch) -> None:
    """The counter is the row's place in its batch: only the salt keeps nonces apart, so the bound is that of 64 random bits."""
    honest = Sealer.sealed

    def sealed(self: Sealer, pairs: Mapping[bytes, bytes | None]) -> dict[bytes, bytes | None]:
        self._counter = 0
        return honest(self, pairs)

    patch.setattr(Sealer, "sealed", sealed)


@mutant(in_a_folder(test_sealed.test_a_restart_begins_a_new_key))
def restart_goes_on_with_the_newest_key(patch: pytest.MonkeyPatch) -> None:
    """A life begins with the data key of the last one, whose counter it does not know."""
    honest = Keyring.add_data_key

    def add_data_key(self: Keyring) -> tuple[int, bytes]:
        return max(self.data_keys.items()) if self.data_keys else honest(self)

    patch.setattr(Keyring, "add_data_key", add_data_key)


@mutant(
    in_a_folder(test_sealed.test_a_row_under_a_wrong_name_is_refused_though_our_own_key_sealed_it)
)
def name_inside_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    """Two names that collide, or a bug of ours, show one row under the other's name."""

    def get(self: SealedStore, key: bytes) -> bytes | None:
        hidden = self._names.opaque(key)
        row = self._below.get(hidden)
        return None if row is None else self._opener.opened(hidden, row)[1]

    patch.setattr(SealedStore, "get", get)


@mutant(in_a_folder(test_sealed.test_rows_that_were_swapped_or_copied_to_another_name_are_refused))
def rows_are_not_bound_to_their_names(patch: pytest.MonkeyPatch) -> None:
    """The associated data is empty, and nothing looks at the name inside."""
    honest_seal, honest_open = Sealer.sealed, Opener.opened

    def sealed(self: Sealer, pairs: Mapping[bytes, bytes | None]) -> dict[bytes, bytes | None]:
        real = self._names
        batch: dict[bytes, bytes | None] = {}
        for name, value in pairs.items():
            self._names = _Unbound()
            (row,) = honest_seal(self, {name: value}).values()
            batch[real.opaque(name)] = row
        self._names = real
        return batch

    def opened(self: Opener, hidden: bytes, row: bytes) -> tuple[bytes, bytes]:
        return honest_open(self, b"", row)

    def get(self: SealedStore, key: bytes) -> bytes | None:
        row = self._below.get(self._names.opaque(key))
        return None if row is None else self._opener.opened(b"", row)[1]

    patch.setattr(Sealer, "sealed", sealed)
    patch.setattr(Opener, "opened", opened)
    patch.setattr(SealedStore, "get", get)


class _Unbound(Names):
    def __init__(self) -> None:
        super().__init__(bytes(32), frozenset())

    def opaque(self, name: bytes) -> bytes:
        return b""


@mutant(in_a_folder(test_rekeying.test_a_rekeying_during_a_write_loses_no_row))
def walk_asks_twice_which_keys_retire(patch: pytest.MonkeyPatch) -> None:
    """A change of keys arrives in the middle of a write: the walk passes over rows under the key in use, then forgets it."""
    honest = SealedStore._walk

    def walk(
        self: SealedStore, batch: dict[bytes, bytes | None], retire_below: int, rows_max: int
    ) -> bool:
        walked = honest(self, batch, retire_below, rows_max)
        if walked:
            self._ring.forget_below(self._ring.retire_below)
        return walked

    patch.setattr(SealedStore, "_walk", walk)


SEALED = {each.name for each in MUTANTS if each.plant.__module__ == __name__}
"""The names of what this module plants."""

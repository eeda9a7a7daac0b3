"""Real processes on loopback: a network for a whole module, ended when the module is done."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_network import LocalNetwork


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """Four members and the observer, ready."""
    folder: Path = tmp_path_factory.mktemp("e2e") / "network"
    made = LocalNetwork.init(folder)
    try:
        made.start_all()
        yield made
    finally:
        made.stop()

"""The checker of histories is itself checked: on every published history with its verdict, on short ones by hand, and on what
a simulated network's clients lived through, as it was and with one answer changed.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tallystick.network.wire.ids import BodyId
from tests.sim.checkers import Violation
from tests.sim.histories import (
    REFUSED,
    UNKNOWN,
    Operation,
    bank,
    register,
    strictly_serialisable,
    text,
)
from tests.sim.plan import Engine, plan_of
from tests.sim.run import Play

# -- the published histories -------------------------------------------------------------------------------------------

_JEPSEN = re.compile(r"^INFO\s+jepsen\.util - (\d+)\s+:(\w+)\s+:(\w+)\s+(.*)$")
_KV = re.compile(r':process (\d+), :type :(\w+), :f :(\w+), :key "([^"]*)", :value (?:"([^"]*)"|nil)')  # fmt: skip


def jepsen(lines: list[str]) -> list[Operation]:
    """A register of etcd. A failed comparison is an answer; a write that timed out may have happened at any later time."""
    begun: dict[str, tuple[int, tuple[Any, ...]]] = {}
    done: list[Operation] = []
    for moment, line in enumerate(lines):
        found = _JEPSEN.match(line.strip())
        if found is None:
            continue
        process, kind, name, value = found.groups()
        if kind == "invoke":
            numbers = [None if word == "nil" else int(word) for word in re.findall(r"nil|\d+", value)]  # fmt: skip
            begun[process] = (moment, (name, *numbers) if name != "read" else ("read",))
            continue
        invoked, call = begun.pop(process)
        if kind == "ok":
            answer: Any = UNKNOWN
            if name == "read":
                answer = (None if value == "nil" else int(value),)
            elif name == "cas":
                answer = "swapped"
            done.append(Operation(invoked, moment, call, answer))
        elif kind == "fail" and name == "cas" and "timed-out" not in value:
            done.append(Operation(invoked, moment, call, REFUSED))
        elif kind == "info" and name != "read":
            done.append(Operation(invoked, None, call))
    done.extend(Operation(invoked, None, call) for invoked, call in begun.values() if call != ("read",))  # fmt: skip
    return done


def by_key(lines: list[str]) -> list[list[Operation]]:
    """A store's operations, apart for each key."""
    begun: dict[str, tuple[int, str, tuple[Any, ...]]] = {}
    keys: dict[str, list[Operation]] = {}
    for moment, line in enumerate(lines):
        found = _KV.search(line)
        if found is None:
            continue
        process, kind, name, key, value = found.groups()
        if kind == "invoke":
            begun[process] = (moment, key, ("get",) if name == "get" else (name, value))
        else:
            invoked, key, call = begun.pop(process)
            answer = value if name == "get" else UNKNOWN
            keys.setdefault(key, []).append(Operation(invoked, moment, call, answer))
    for invoked, key, call in begun.values():
        if call != ("get",):
            keys.setdefault(key, []).append(Operation(invoked, None, call))
    return [keys[key] for key in sorted(keys)]


def test_every_published_verdict_is_ours_too(shared_vectors: Path) -> None:
    folder = shared_vectors / "histories"
    verdicts = json.loads((folder / "verdicts.json").read_text())
    assert len(verdicts) > 60
    for name, fact in verdicts.items():
        lines = (folder / name).read_text().splitlines()
        if fact["model"] == "register":
            operations = jepsen(lines)
            found = strictly_serialisable(operations, (None,), register)
        else:
            parts = by_key(lines)
            operations = [each for part in parts for each in part]
            found = all(strictly_serialisable(part, "", text) for part in parts)
        if fact["linearizable"] is None:
            assert operations == []
        else:
            assert found == fact["linearizable"], name


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_a_read_that_misses_a_write_which_had_ended_is_found() -> None:
    write = Operation(1, 2, ("write", 7))
    assert not strictly_serialisable([write, Operation(3, 4, ("read",), (None,))], (None,), register)  # fmt: skip
    assert strictly_serialisable([write, Operation(3, 4, ("read",), (7,))], (None,), register)
    overlapping = replace(write, returned=5)
    assert strictly_serialisable([overlapping, Operation(3, 4, ("read",), (None,))], (None,), register)  # fmt: skip


def test_a_write_that_never_returned_may_have_happened_or_not_but_not_both() -> None:
    lost = Operation(1, None, ("write", 7))
    old, new = Operation(3, 4, ("read",), (None,)), Operation(5, 6, ("read",), (7,))
    assert strictly_serialisable([lost, old, new], (None,), register)
    flipped = [lost, Operation(3, 4, ("read",), (7,)), Operation(5, 6, ("read",), (None,))]
    assert not strictly_serialisable(flipped, (None,), register)


def test_two_payments_cannot_both_spend_the_same_money() -> None:
    first = Operation(1, 10, ("transfer", "a", "b", "USD", 6), "settled")
    second = Operation(2, 9, ("transfer", "a", "c", "USD", 6), "settled")
    assert not strictly_serialisable([first, second], ((("a", "USD"), 10),), bank)
    refused = replace(second, answer=REFUSED)
    assert strictly_serialisable([first, refused], ((("a", "USD"), 10),), bank)
    assert not strictly_serialisable([first, refused], ((("a", "USD"), 12),), bank)


# -- a simulated network's clients -------------------------------------------------------------------------------------


def lived(seed: int, engine: Engine) -> Play:
    """A short run with few clients, so that a search that does not know the ledger's order ends soon."""
    plan = plan_of(seed, engine)
    play = Play(replace(plan, chaos_ms=3_000, submissions_every_ms=60, bodies_per_submission=1))
    play.chaos()
    play.calm()
    play.afterwards()
    return play


@pytest.mark.parametrize(("engine", "seed"), [("pbft", 2), ("pbft", 10_004), ("raft", 4), ("raft", 6)])  # fmt: skip
def test_the_search_and_the_ledgers_order_agree_on_what_clients_lived_through(
    engine: Engine, seed: int
) -> None:
    history = lived(seed, engine).world.history
    operations = history.operations("USD")
    end = 10**9
    balances = history.model.balances
    accounts = [account for account, asset in history.known if asset == "USD"]
    for number, account in enumerate(accounts):
        amount = balances.get((account, "USD"), 0)
        moment = end + 2 * number
        operations.append(Operation(moment, moment + 1, ("read", account, "USD"), amount))
    assert len(operations) > 10
    assert {each.answer for each in operations} >= {"settled", REFUSED}
    assert history.reads > 10
    assert strictly_serialisable(operations, (), bank)
    last = operations[-1]
    wrong = [*operations[:-1], replace(last, answer=last.answer + 1)]
    assert not strictly_serialisable(wrong, (), bank)


def test_an_order_against_real_time_is_found() -> None:
    history = lived(2, "pbft").world.history
    bodies = sorted(history.answered, key=lambda body: history.model.bodies.get(body, (0, 0)))
    ended = next(body for body in bodies if body in history.model.bodies)
    later: BodyId = next(
        body
        for body in history.asked
        if history.asked[body] > history.answered[ended] and body in history.model.bodies
    )
    places = history.model.bodies
    places[ended], places[later] = places[later], places[ended]
    with pytest.raises(Violation, match="I9"):
        history.check()


def test_a_read_of_what_the_payments_do_not_make_is_found() -> None:
    play = lived(2, "pbft")
    history, host = play.world.history, play.world.honest[0]
    assert host.core is not None
    account, asset = history.known[0]
    history.read(host.name, host.core.ledger, account, asset)
    history.told[host.name] = host.core.ledger.height + 1
    with pytest.raises(Violation, match="I9"):
        history.read(host.name, host.core.ledger, account, asset)
    history.told.clear()
    history._shown[account, asset].append((host.core.ledger.height, -1))
    with pytest.raises(Violation, match="I9"):
        history.read(host.name, host.core.ledger, account, asset)

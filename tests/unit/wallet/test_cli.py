"""The wallet's commands, as people and scripts use them, against fake nodes behind real TLS."""

import asyncio
import json
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tallystick.network.proofs.document import receipt_to_bytes, receipt_to_document
from tallystick.network.wire.genesis import genesis_to_json
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions.codec import body_id, decode
from tallystick.wallet import keystore
from tallystick.wallet.cli import mount
from tests.unit.wallet.fake_node import OPENED, FakeNode, Ledger, Manner, refusing, settling, silent
from tests.unit.wallet.networks import small_network
from tests.unit.wallet.test_client import one_id_once


def command() -> typer.Typer:
    app = typer.Typer()
    mount(app)
    return app


class Desk:
    """A network folder as `tallystick network init` makes it, one fake node, and a terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = small_network()
        self.ledger = Ledger(self.network, time_ms=time.time_ns() // 1_000_000)
        self.node = FakeNode("node-0", self.ledger, settling, 0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        entry = self._do(self.node.start(folder))
        (folder / "genesis.json").write_bytes(genesis_to_json(self.network.genesis))
        endpoint = {"node": 0, "name": entry.name, "url": entry.url, "tls_key_hash": entry.tls_key_hash, "certificate": "x.crt"}  # fmt: skip
        document = {
            "name": "small",
            "genesis": "genesis.json",
            "endpoints": [endpoint],
            "observers": [endpoint | {"name": "regulator"}],
        }
        (folder / "network.json").write_text(json.dumps(document), "utf-8")
        for name in ("wallets", "tokens"):
            (folder / name).mkdir()
        bank = self.network.signers[1]
        keystore.save(
            folder / "wallets" / "bank-a.keystore.json", bank.to_keystore("pässwörd", fast=True)
        )
        (folder / "wallets" / "bank-a.password").write_text("pässwörd\n", "utf-8")
        (folder / "tokens" / "bank-a.jwt").write_text("t0ken\n", "utf-8")

    def _do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def stop_node(self) -> None:
        self._do(self.node.stop())

    def close(self) -> None:
        self.stop_node()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def run(self, *words: str, input: str | None = None) -> Result:  # noqa: A002
        env = {"TALLYSTICK_NETWORK": str(self.folder), "TALLYSTICK_AS": "bank-a", "COLUMNS": "200"}
        return CliRunner().invoke(command(), words, input=input, env=env)

    @property
    def creditor(self) -> str:
        return self.network.accounts[2].hex()

    def file(self, *lines: str, name: str = "payments.csv") -> Path:
        path = self.folder / name
        path.write_text("\n".join(("id,creditor,amount,asset", *lines)) + "\n", "utf-8")
        return path


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def test_pay_says_settled_and_shows_where(desk: Desk) -> None:
    done = desk.run("pay", desk.creditor, "4.00", "USD", "--id", "INV-1")
    assert done.exit_code == 0, done.output
    assert "settled" in done.stdout
    assert desk.node.tokens == ["Bearer t0ken"]
    assert decode(desk.node.asked[0]).amount_minor == 400  # type: ignore[union-attr]


def test_pay_for_machines(desk: Desk) -> None:
    desk.node.manner = one_id_once
    done = desk.run("pay", desk.creditor, "4.00", "USD", "--json")
    document = json.loads(done.stdout)
    assert document["outcome"] == "settled"
    assert document["height"] == 1


@pytest.mark.parametrize(
    ("manner", "exit_code", "says"),
    [
        (refusing(RejectReason.BAD_SIGNATURE), 4, "BAD_SIGNATURE"),
        (refusing(RejectReason.OVERLOADED), 4, "Nothing was accepted"),
        (refusing(RejectReason.UNAUTHENTICATED), 4, "token"),
        (silent, 3, "Do not pay again"),
    ],
)
def test_errors_say_what_to_do_and_have_their_exit_codes(
    desk: Desk, manner: Manner, exit_code: int, says: str
) -> None:
    desk.node.manner = manner
    done = desk.run("pay", desk.creditor, "4.00", "USD", "--timeout", "0.2")
    assert done.exit_code == exit_code, done.output
    assert says in done.stderr
    assert "Traceback" not in done.output


def test_a_bad_amount_is_a_usage_error_and_sends_nothing(desk: Desk) -> None:
    done = desk.run("pay", desk.creditor, "4.001", "USD", "--json")
    assert done.exit_code == 4
    assert json.loads(done.stdout)["error"]["code"] == "BAD_FIELD"
    assert desk.node.asked == []


def test_no_key_no_network_no_password(desk: Desk, tmp_path: Path) -> None:
    env = {"TALLYSTICK_NETWORK": str(desk.folder), "TALLYSTICK_AS": ""}
    done = CliRunner().invoke(command(), ["pay", desk.creditor, "1", "USD"], env=env)
    assert (done.exit_code, "--keystore" in done.stderr) == (2, True)
    done = CliRunner().invoke(
        command(), ["pay", desk.creditor, "1", "USD", "-n", str(tmp_path / "absent")], env=env
    )
    assert done.exit_code == 2
    assert "No such file" in done.stderr
    (desk.folder / "wallets" / "bank-a.password").write_text("wrong", "utf-8")
    done = desk.run("pay", desk.creditor, "1", "USD")
    assert done.exit_code == 2
    assert "wrong password" in done.stderr


def test_a_file_with_a_bad_line_sends_nothing_and_names_line_and_column(desk: Desk) -> None:
    path = desk.file(f"a,{desk.creditor},4.00,USD", f"b,{desk.creditor},4.001,USD")
    done = desk.run("pay", "--file", str(path))
    assert done.exit_code == 2
    assert "line 3, column 3 (amount)" in done.stderr
    assert desk.node.asked == []
    done = desk.run("pay", "--file", str(path), "--json")
    assert json.loads(done.stdout)["faults"][0] == {
        "line": 3, "column": "amount", "position": 3, "sentence": "'4.001' has more than 2 decimals",
    }  # fmt: skip
    assert not path.with_name("payments.csv.journal").exists()


def test_nobody_is_told_to_skip_the_line_that_names_the_columns(desk: Desk) -> None:
    path = desk.folder / "payments.csv"
    path.write_text("id,creditor\na,b\n", "utf-8")
    done = desk.run("pay", "--file", str(path))
    assert (done.exit_code, "missing columns" in done.stderr) == (2, True)
    assert done.stderr.endswith("Nothing was sent. Correct the lines.\n")


def test_a_file_with_a_bad_line_pays_the_others_when_told_so(desk: Desk) -> None:
    path = desk.file(
        f"a,{desk.creditor},4.00,USD", f"b,{desk.creditor},4.001,USD", f"c,{desk.creditor},5.00,USD"
    )
    done = desk.run("pay", "--file", str(path), "--skip-bad", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [row["outcome"] for row in document["results"]] == ["settled", "settled"]
    assert [each["line"] for each in document["skipped"]] == [3]


def test_a_file_paid_twice_is_answered_not_repeated(desk: Desk) -> None:
    desk.node.manner = one_id_once
    path = desk.file(*(f"a{number},{desk.creditor},4.00,USD" for number in range(30)))
    first = desk.run("pay", "--file", str(path), "--receipts", str(desk.folder / "receipts"))
    assert first.exit_code == 0, first.output
    assert "30" in first.stdout
    assert len(list((desk.folder / "receipts").iterdir())) == 30
    blocks = desk.ledger.height
    again = desk.run("pay", "--file", str(path))
    assert again.exit_code == 0, again.output
    assert desk.ledger.height == blocks
    assert len(set(desk.node.asked)) == 30, "the same bytes again"
    journal = path.with_name("payments.csv.journal")
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    results = path.with_name("payments.csv.results.csv").read_text("utf-8").splitlines()
    assert len(results) == 31
    assert results[1].startswith("2,a0,")


def test_without_its_journal_a_file_still_pays_nothing_twice(desk: Desk) -> None:
    desk.node.manner = one_id_once
    path = desk.file(f"a,{desk.creditor},4.00,USD")
    desk.run("pay", "--file", str(path))
    path.with_name("payments.csv.journal").unlink()
    again = desk.run("pay", "--file", str(path), "--valid-for", "700", "--json")
    assert again.exit_code == 0, again.output
    settled = [r for r in desk.ledger.receipts.values() if not r.outcome.reason]
    assert len(settled) == 1


def test_a_changed_line_under_a_used_id_is_a_fault(desk: Desk) -> None:
    path = desk.file(f"a,{desk.creditor},4.00,USD")
    desk.run("pay", "--file", str(path))
    path = desk.file(f"a,{desk.creditor},9.00,USD")
    done = desk.run("pay", "--file", str(path))
    assert done.exit_code == 2
    assert "line 2, column 1 (id): this id was signed before for another payment" in done.stderr
    assert len(desk.node.asked) == 1


def test_a_run_that_broke_off_is_resumed_with_the_same_bytes(desk: Desk) -> None:
    desk.node.manner = silent
    path = desk.file(f"a,{desk.creditor},4.00,USD", f"b,{desk.creditor},5.00,USD")
    broken = desk.run("pay", "--file", str(path), "--timeout", "0.2", "--json")
    assert broken.exit_code == 3, broken.output
    assert {row["outcome"] for row in json.loads(broken.stdout)["results"]} == {"unknown"}
    journal = path.with_name("payments.csv.journal")
    journal.write_bytes(journal.read_bytes() + b'{"raw":"ab')  # torn in the middle of a line
    desk.node.manner = settling
    asked = set(desk.node.asked)
    done = desk.run("pay", "--file", str(path))
    assert done.exit_code == 0, done.output
    assert set(desk.node.asked) == asked


def test_a_spoilt_journal_stops_everything(desk: Desk) -> None:
    path = desk.file(f"a,{desk.creditor},4.00,USD")
    path.with_name("payments.csv.journal").write_bytes(b'{"raw":"abcd"}\n')
    done = desk.run("pay", "--file", str(path))
    assert done.exit_code == 2
    assert "may pay twice" in done.stderr
    assert desk.node.asked == []


def test_rejections_are_counted_by_reason(desk: Desk) -> None:
    def one_rejected(node: FakeNode, raws: list[bytes]) -> Any:
        for raw in raws:
            if body_id(raw) not in node.ledger.receipts:
                poor = decode(raw).amount_minor > 500  # type: ignore[union-attr]
                node.ledger.order([raw], RejectReason.INSUFFICIENT_FUNDS if poor else None)
        return settling(node, raws)

    desk.node.manner = one_rejected
    path = desk.file(f"a,{desk.creditor},4.00,USD", f"b,{desk.creditor},9.00,USD")
    done = desk.run("pay", "--file", str(path), "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["summary"] == [
        {"outcome": "rejected", "reason": "INSUFFICIENT_FUNDS", "payments": 1},
        {"outcome": "settled", "reason": None, "payments": 1},
    ]


def test_receipts_are_shown_kept_and_verified_offline(desk: Desk) -> None:
    desk.run("pay", desk.creditor, "4.00", "USD", "--id", "INV-1")
    account, out = desk.network.accounts[1].hex(), desk.folder / "r.json"
    done = desk.run("receipt", "show", account, "INV-1", "--out", str(out))
    assert done.exit_code == 0, done.output
    desk.stop_node()
    genesis = str(desk.folder / "genesis.json")
    done = desk.run("receipt", "verify", str(out), "--genesis", genesis)
    assert done.exit_code == 0, done.output
    assert "VERIFIED, assurance BFT: settled" in done.stdout
    assert "certificate" in done.stdout
    document = json.loads(
        desk.run("receipt", "verify", str(out), "--genesis", genesis, "--json").stdout
    )
    assert document["verified"] is True
    assert document["outcome"] == "settled"


def test_an_absence_is_fetched_kept_and_verified_offline(desk: Desk) -> None:
    """A payment that no node ordered, from the bytes that were signed for it."""
    from tallystick.network.wire.ids import PaymentId
    from tallystick.network.wire.transactions import Transfer
    from tallystick.network.wire.transactions.codec import encode

    lost = Transfer(
        chain=desk.network.terms.chain,
        lane=0,
        account=desk.network.accounts[1],
        id=PaymentId(bytes([7]) * 32),
        valid_until_ms=desk.ledger.time_ms - 120_000,
        payload_root=bytes(32),
        creditor=desk.network.accounts[2],
        asset="USD",
        amount_minor=5,
    )
    digest = desk.network.digester.digest(lost).hex()
    signed, out = desk.folder / "journal", desk.folder / "absent.json"
    signed.write_text(json.dumps({"raw": encode(lost).hex()}) + "\n")
    asked = ("receipt", "absent", lost.account.hex(), lost.id.hex(), digest)
    done = desk.run(*asked, "--transaction", str(signed), "--out", str(out))
    assert done.exit_code == 0, done.output
    assert "never ordered, and never can be" in done.output
    assert desk.run(*asked, "-x", str(signed), "--out", str(out)).exit_code == 2  # it exists
    nothing = desk.run(*asked[:4], "00" * 32, "-x", str(signed))
    assert (nothing.exit_code, "no transaction of this digest" in nothing.output) == (2, True)
    desk.stop_node()
    genesis = str(desk.folder / "genesis.json")
    done = desk.run("receipt", "verify", str(out), "--genesis", genesis)
    assert done.exit_code == 0, done.output
    assert "VERIFIED, assurance BFT: never ordered" in done.stdout
    said = json.loads(desk.run("receipt", "verify", str(out), "-g", genesis, "--json").stdout)
    assert (said["verified"], said["outcome"]) == (True, "absent")
    content = bytearray(out.read_bytes())
    content[len(content) // 2] ^= 1
    out.write_bytes(content)
    assert desk.run("receipt", "verify", str(out), "--genesis", genesis).exit_code == 1


def test_what_was_signed_is_kept_before_it_is_sent(desk: Desk) -> None:
    """Nobody answers, so the outcome is unknown; what would prove the loss is on the disk."""
    desk.node.manner = silent
    kept = desk.folder / "kept"
    words = ("pay", desk.creditor, "4.00", "USD", "--keep", str(kept), "--timeout", "0.2", "--json")
    done = desk.run(*words)
    assert done.exit_code == 3, done.output
    unknown = json.loads(done.stdout)["error"]
    desk.ledger.time_ms += 3_600_000
    asked = ("receipt", "absent", unknown["account"], unknown["id"], unknown["digest"])
    proven = desk.run(*asked, "--transaction", str(kept), "--json")
    assert proven.exit_code == 0, proven.output
    said = json.loads(proven.stdout)
    assert (said["outcome"], said["absent"]) == ("expired", True)


def test_a_receipt_in_one_line_as_the_api_gives_it_verifies_too(desk: Desk) -> None:
    import msgspec

    desk.run("pay", desk.creditor, "4.00", "USD")
    (receipt,) = desk.ledger.receipts.values()
    path = desk.folder / "line.json"
    path.write_bytes(msgspec.json.encode(receipt_to_document(receipt)))
    assert (
        desk.run(
            "receipt", "verify", str(path), "--genesis", str(desk.folder / "genesis.json")
        ).exit_code
        == 0
    )


def test_any_changed_byte_of_a_receipt_fails(desk: Desk) -> None:
    desk.run("pay", desk.creditor, "4.00", "USD")
    (receipt,) = desk.ledger.receipts.values()
    content = receipt_to_bytes(receipt)
    path, genesis = desk.folder / "r.json", str(desk.folder / "genesis.json")
    for place in range(0, len(content), max(1, len(content) // 40)):
        changed = bytearray(content)
        changed[place] = changed[place] ^ 1
        path.write_bytes(changed)
        done = desk.run("receipt", "verify", str(path), "--genesis", genesis)
        assert done.exit_code == 1, (place, done.output)
        assert "Traceback" not in done.output


def test_verify_wants_a_genesis_file(desk: Desk) -> None:
    (desk.folder / "r.json").write_bytes(b"{}")
    absent = str(desk.folder / "nowhere.json")
    assert (
        desk.run("receipt", "verify", str(desk.folder / "r.json"), "--genesis", absent).exit_code
        == 2
    )
    genesis = str(desk.folder / "genesis.json")
    assert (
        desk.run("receipt", "verify", str(desk.folder / "r.json"), "--genesis", genesis).exit_code
        == 1
    )


def test_status_of_all_nodes(desk: Desk) -> None:
    done = desk.run("status")
    assert done.exit_code == 0, done.output
    assert "node-0" in done.stdout
    nodes = json.loads(desk.run("status", "--json").stdout)["nodes"]
    assert [(node["name"], node["up"]) for node in nodes] == [("node-0", True), ("regulator", True)]
    desk.stop_node()
    done = desk.run("status", "--json")
    assert done.exit_code == 5
    assert json.loads(done.stdout)["nodes"][0]["up"] is False


def test_status_fits_a_terminal_of_80_columns_and_says_what_is_wrong_below(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    network = json.loads((desk.folder / "network.json").read_text("utf-8"))
    network["observers"][0]["tls_key_hash"] = "00" * 32
    (desk.folder / "network.json").write_text(json.dumps(network), "utf-8")
    env = {"TALLYSTICK_NETWORK": str(desk.folder), "TALLYSTICK_AS": "bank-a"}
    done = CliRunner().invoke(command(), ["status"], env=env)
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[2:4]] == [["node-0", "ready"], ["regulator", "down"]]
    assert "regulator: the node presented another key than the one that network.json names" in lines
    assert len(lines) == 5


def test_balances_are_shown(desk: Desk) -> None:
    done = desk.run("account", "balance", "--json")
    assert json.loads(done.stdout)["balances"] == {"USD": "123.45"}
    assert "123.45" in desk.run("account", "show").stdout
    assert "123.45" in desk.run("account", "balance", desk.creditor).stdout


def test_an_account_is_opened_and_money_issued(desk: Desk) -> None:
    done = desk.run("account", "open", "--tier", "1", "--json")
    assert json.loads(done.stdout)["opened"] == OPENED.hex()
    assert decode(desk.node.asked[0]).tier == 1  # type: ignore[union-attr]
    done = desk.run("issue", desk.creditor, "100.00", "USD", "--json")
    assert json.loads(done.stdout)["outcome"] == "settled"


@pytest.mark.parametrize(
    "words",
    [
        ("--joining", f"four:bank-e:5:{'11' * 32}:{'22' * 32}"),
        ("--joining", f"4:bank-e:5:{'11' * 31}:{'22' * 32}"),
        ("--joining", "4:bank-e:5"),
        ("--approve", "4:bank-e"),
    ],
)
def test_members_that_are_not_well_written_are_a_usage_error_before_a_key_is_opened(
    desk: Desk, words: tuple[str, str]
) -> None:
    (desk.folder / "wallets" / "bank-a.keystore.json").unlink()
    done = desk.run("members", "change", *words)
    assert done.exit_code == 2
    assert "Invalid value" in done.output
    assert desk.node.asked == []


def test_keys_are_made_listed_and_exported(tmp_path: Path) -> None:
    runner, app = CliRunner(), command()
    path, password = tmp_path / "k.json", tmp_path / "pw"
    password.write_text("secret words\n", "utf-8")
    words = ["keys", "new", str(path), "--password-file", str(password), "--fast", "--json"]
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = runner.invoke(app, words)
    assert again.exit_code == 2
    assert "--force" in json.loads(again.stdout)["error"]["hint"]
    listed = json.loads(runner.invoke(app, ["keys", "list", str(tmp_path), "--json"]).stdout)
    assert listed["keys"] == [{"file": "k.json", "address": made["address"], "private": True}]
    public = runner.invoke(
        app, ["keys", "export", str(path), "--password-file", str(password), "--json"]
    )
    assert json.loads(public.stdout) == {
        "public_key": made["public_key"],
        "address": made["address"],
    }
    private = runner.invoke(
        app, ["keys", "export", str(path), "--password-file", str(password), "--private", "--json"]
    )
    secret = json.loads(private.stdout)["private_key"]
    assert keystore.decrypt(keystore.load(path), "secret words").hex() == secret
    assert secret not in public.output

"""From a command to the outcome of its transaction: what every command that signs and sends has in common.

Not here: what is signed (each command), what an outcome looks like and which exit code it has (`output`).
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tallystick.wallet.cli.options import Who
from tallystick.wallet.cli.output import show_outcome, telling

if TYPE_CHECKING:
    from tallystick.wallet.client import Wallet
    from tallystick.wallet.core.build import Terms
    from tallystick.wallet.core.outcomes import Outcome


def send(who: Who, call: "Callable[[Wallet], Awaitable[Outcome]]", asset: str, json: bool) -> None:
    """Open the key, let `call` send, print the outcome (amounts in `asset`), and leave with its code unless it settled."""

    async def with_terms(wallet: "Wallet") -> "tuple[Outcome, Terms]":
        return await call(wallet), wallet.terms

    with telling(json):
        outcome, terms = who.run(with_terms, key=True)
        show_outcome(outcome, terms, asset, json)

"""Readers who want to be sure that this node is not behind: which round of questions serves whom, and when.

Decided here: readers share a round, and one that comes while a round is on its way waits for the next, since only a round that
began after a question answers it; a round without an answer is asked again; a reader is served when the certified ledger has
reached the index that his round brought. An answer holds within its epoch: past a change of members it is asked for again.
Not here: what makes an index true (`consensus`), how long a reader waits (`runtime.driver`).
"""

from tallystick.network.wire.ids import Height

ASK_AGAIN_MS = 200
"""A round without an answer is followed by another: a lost message, or a leader that fell. Late answers still count."""

ROUND_BITS = 20
"""Rounds begin at the clock, shifted by this: an answer to an earlier life of this process is never taken for one to this."""


class QuorumReads:
    """One per replica."""

    def __init__(self, now_ms: int) -> None:
        self._round = now_ms << ROUND_BITS
        self._asked_ms: int | None = None
        """When the newest round was asked for; None when it has been answered."""
        self._epoch: int = 0
        self._waiting: dict[int, int] = {}
        """token → the first round that answers it."""
        self._known: tuple[int, Height] = (-1, Height(0))
        """The newest round that was answered, and its index."""

    def ask(self, token: int) -> None:
        """A reader came."""
        self._waiting[token] = self._round + 1

    @property
    def waits(self) -> bool:
        """Is there a reader?"""
        return bool(self._waiting)

    def forget(self, token: int) -> None:
        """Nobody waits for this answer any more."""
        self._waiting.pop(token, None)

    def round_due(self, now_ms: int, epoch: int) -> int | None:
        """The round that the engine should be asked for now."""
        if epoch != self._epoch:
            self._epoch, self._asked_ms = epoch, None
            self._waiting = dict.fromkeys(self._waiting, self._round + 1)
        if not self._wanting:
            return None
        if self._asked_ms is not None and now_ms < self._asked_ms + ASK_AGAIN_MS:
            return None
        self._round, self._asked_ms = self._round + 1, now_ms
        return self._round

    def known(self, round_: int, index: Height) -> None:
        """The engine's answer to a round, perhaps not the newest."""
        if round_ > self._known[0]:
            self._known = (round_, index)
        if round_ >= self._round:
            self._asked_ms = None

    def readable(self, height: int) -> list[int]:
        """Readers whose round is answered and whose index the certified ledger, at `height`, has reached."""
        round_, index = self._known
        if height < index:
            return []
        served = [token for token, first in self._waiting.items() if first <= round_]
        for token in served:
            del self._waiting[token]
        return served

    @property
    def deadline_ms(self) -> int | None:
        """When the newest round wants to be asked again; None while nobody waits for one."""
        return (
            self._asked_ms + ASK_AGAIN_MS if self._wanting and self._asked_ms is not None else None
        )

    @property
    def _wanting(self) -> bool:
        """Somebody waits for a round that is not answered."""
        return any(first > self._known[0] for first in self._waiting.values())

"""Rolling sums inside the account's own record: a ring of hourly buckets per asset (domain: windows are rings of buckets).

A ring of n buckets remembers between n-1 and n bucket lengths, so 24 hours need 25 hourly buckets: the error is always on
the strict side, less than one hour. Sums count turnover, which no supply cap bounds, so they saturate and never raise.
Only settled payments are added. Not here: what a limit is, and what follows from exceeding it (`rules.totals`).
"""

from typing import Annotated

from msgspec import Meta, Struct

from tallystick.network.wire.bounds import AMOUNT_MINOR_MAX
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import RejectReason

BUCKET_MS = 3_600_000
"""One bucket is one hour of block time, counted from 1970."""

BUCKETS = 25
"""Hours remembered, the running one included: one more than the window of 24."""

Hour = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Sum = Annotated[int, Meta(ge=0, le=AMOUNT_MINOR_MAX)]


def hour_of(time_ms: int) -> int:
    """The bucket that a block of `time_ms` falls into."""
    return time_ms // BUCKET_MS


class Window(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """What one account sent of one asset, by the hour. Amounts in minor units, saturated at 2**63 - 1."""

    hour: Hour
    """The latest hour with a settled payment."""
    current_minor: Sum
    """Sent in that hour."""
    earlier_minor: Sum
    """Sum over `earlier`, kept so that a payment need not add up 24 numbers."""
    earlier: Annotated[tuple[tuple[Hour, Sum], ...], Meta(max_length=BUCKETS - 1)] = ()
    """(hour, sent) of the remembered earlier hours with any payment, ascending."""

    def sent_minor(self, hour: int) -> int:
        """The rolling sum as it stands in `hour`."""
        total = self.current_minor + self.earlier_minor
        if hour > self.hour:
            oldest = hour - BUCKETS + 1
            total = sum(sent for at, sent in self.earlier if at >= oldest)
            if self.hour >= oldest:
                total += self.current_minor
        return min(AMOUNT_MINOR_MAX, total)

    def with_payment(self, hour: int, amount_minor: int) -> "Window":
        """This window after a payment settled in `hour`. Block time never runs back; if it did, the latest hour counts."""
        if hour <= self.hour:
            current = self.current_minor + amount_minor
            if current > AMOUNT_MINOR_MAX:
                current = AMOUNT_MINOR_MAX
            return Window(self.hour, current, self.earlier_minor, self.earlier)
        oldest = hour - BUCKETS + 1
        remembered = (*self.earlier, (self.hour, self.current_minor))
        earlier = tuple(bucket for bucket in remembered if bucket[0] >= oldest)
        return Window(hour, amount_minor, _saturated_sum(earlier), earlier)

    def check(self) -> None:
        """`Refused(NON_CANONICAL)` unless this is a window that `with_payment` could have made."""
        hours = [at for at, _ in self.earlier]
        oldest = self.hour - BUCKETS + 1
        if hours != sorted(set(hours)) or (
            hours and not oldest <= hours[0] <= hours[-1] < self.hour
        ):
            raise Refused(
                RejectReason.NON_CANONICAL, "a window's hours are not ascending or not within 25"
            )
        if self.earlier_minor != _saturated_sum(self.earlier):
            raise Refused(
                RejectReason.NON_CANONICAL, "a window's sum is not the sum of its buckets"
            )


def _saturated_sum(buckets: tuple[tuple[int, int], ...]) -> int:
    return min(AMOUNT_MINOR_MAX, sum(sent for _, sent in buckets))

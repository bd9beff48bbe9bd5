"""Rest between pieces of work, so that who uses the same machine gets their turn: gh-ost's nice-ratio."""

from __future__ import annotations

from domicile.host import Host


class Nice:
    """After each piece of work rest `ratio` times as long as it took; 0 never rests.

    Made where the work begins, and told by `rest` where a piece of it is over; what a caller does between two pieces
    counts as work, resting does not.
    """

    def __init__(self, ratio: float, host: Host) -> None:
        self._ratio = ratio
        self._host = host
        self._since = host.monotonic_s()

    def rest(self) -> float:
        """Rest for the piece of work that is over now; return how many seconds that took."""
        worked_s = self._host.monotonic_s() - self._since
        if self._ratio:
            self._host.pause(worked_s * self._ratio)
        self._since = self._host.monotonic_s()
        return worked_s

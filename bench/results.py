"""Measurements, ratios between systems, and how both are shown and stored."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table

OURS = "xlt_jax"


@dataclass(frozen=True)
class Result:
    """One quantity of one system.

    Attributes:
        part: Of the benchmark, such as "train".
        name: What was measured; results of the same name are compared.
        system: ``OURS`` or a peer.
        unit: Of ``runs``: "s", "MiB", or something per second.
        runs: One value per run, in order.
        note: Settings a reader needs.
    """

    part: str
    name: str
    system: str
    unit: str
    runs: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float:
        """Of the runs."""
        return statistics.median(self.runs)

    @property
    def more_is_better(self) -> bool:
        """Whether this is a rate rather than a cost."""
        return self.unit.endswith("/s")


@dataclass(frozen=True)
class Skipped:
    """What was not measured, and why."""

    part: str
    system: str
    why: str
    failed: bool = False  # it was tried


@dataclass
class Report:
    """Everything measured so far."""

    results: list[Result] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def ours(self, name: str) -> Result | None:
        """Our result of that name, or the one that a peer's ``name`` is compared with."""
        return next((r for r in self.results if r.name == name and r.system == OURS), None)

    def ratio(self, peer: Result) -> float | None:
        """How many times better ours is than the peer's; None for our own or where ours is missing.

        Above 1 is better for a rate (ours / peer) and for a cost (peer / ours).
        """
        ours = self.ours(peer.name)
        if peer.system == OURS or ours is None or ours.unit != peer.unit:
            return None
        if peer.more_is_better:
            return ours.median / peer.median
        return peer.median / ours.median

    def as_json(self) -> dict:
        """``results`` with median, min, max and the ratio, and ``skipped``."""
        return {
            "results": [
                {
                    "part": result.part,
                    "name": result.name,
                    "system": result.system,
                    "unit": result.unit,
                    "median": result.median,
                    "min": min(result.runs),
                    "max": max(result.runs),
                    "runs": list(result.runs),
                    "times_better_is_ours": self.ratio(result),
                    "note": result.note,
                }
                for result in self.results
            ],
            "skipped": [vars(item) for item in self.skipped],
        }

    def table(self) -> Table:
        """All results; the last column says how many times better ours is than that row."""
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("measured", max_width=38)
        table.add_column("system")
        table.add_column("median", justify="right")
        table.add_column("min - max", justify="right")
        table.add_column("unit")
        table.add_column("ours is", justify="right")
        table.add_column("note", max_width=60)
        previous = None
        for result in sorted(self.results, key=lambda item: self._order(item)):
            ratio = self.ratio(result)
            first = result.name != previous
            table.add_row(
                result.name if first else "",
                result.system,
                number(result.median),
                f"{number(min(result.runs))} - {number(max(result.runs))}",
                result.unit,
                "" if ratio is None else f"{ratio:.2f}x",
                result.note,
            )
            previous = result.name
        return table

    def _order(self, result: Result) -> tuple[int, int]:
        names = list(dict.fromkeys(item.name for item in self.results))
        return names.index(result.name), result.system != OURS


def number(value: float) -> str:
    """Three significant digits, thousands separated."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def rates(amount: float, seconds: Sequence[float]) -> tuple[float, ...]:
    """``amount`` per second for every run."""
    return tuple(amount / value for value in seconds)

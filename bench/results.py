"""What a run of the bench found: the figures as JSON, and as a page that a person reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.pairing import Ratio, Round, Sample, typical

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One ratio with what it should be, if anything was promised."""

    name: str
    ratio: Ratio
    target: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the median reaches the target."""
        if self.target is None:
            return ""
        return "reached" if self.ratio.median >= self.target else "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One comparison: all its rounds, and the figures made of them."""

    title: str
    rounds: tuple[Round, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything."""

    machine: Mapping[str, str | int | float]
    sizes: Mapping[str, int]
    once_s: Mapping[str, float]
    parts: tuple[Part, ...]
    memory: Mapping[str, Sample]


def write(results: Results, folder: Path, name: str) -> tuple[Path, Path]:
    """Write NAME.json and NAME.md; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    data, page = folder / f"{name}.json", folder / f"{name}.md"
    data.write_text(json.dumps(asdict(results), indent=1) + "\n", encoding="utf-8")
    page.write_text("\n".join(lines(results)) + "\n", encoding="utf-8")
    return data, page


def tell(name: str, sample: Sample) -> None:
    """Print one run as it ends."""
    print(f"  {name:28} {sample.seconds:7.2f} s {sample.client_cpu_s:7.2f} s CPU {sample.rows:>11,} rows", flush=True)


def lines(results: Results) -> Iterator[str]:
    """The page."""
    yield "# Results of `make bench`"
    yield ""
    yield "How it is measured, and where the figures fall short: [docs/bench.md](../../docs/bench.md)."
    yield ""
    yield from _table(("machine", ""), [(key.replace("_", " "), str(value)) for key, value in results.machine.items()])
    yield from _table(("size", ""), [(key.replace("_", " "), f"{value:,}") for key, value in results.sizes.items()])
    for part in results.parts:
        yield from _part(part)
    if results.once_s:
        yield "## Once for the whole move"
        yield ""
        yield from _table(("step", "seconds"), [(name, f"{seconds:.1f}") for name, seconds in results.once_s.items()])
    if not results.memory:
        return
    yield "## Memory of the copying process, at its highest"
    yield ""
    yield from _table(
        ("copied", "rows", "MiB"),
        [(name, f"{one.rows:,}", f"{one.peak_rss_bytes / MIB:.0f}") for name, one in results.memory.items()],
    )


def _part(part: Part) -> Iterator[str]:
    yield f"## {part.title}"
    yield ""
    yield f"Medians of {len(part.rounds)} interleaved rounds; in brackets the least and the greatest round."
    yield ""
    yield from _table(
        ("speed", "ratio", "target", ""),
        [
            (figure.name, str(figure.ratio), f"≥ {figure.target}" if figure.target else "", figure.verdict)
            for figure in part.figures
        ],
    )
    rows = []
    for name in part.rounds[0]:
        one = typical(part.rounds, name)
        rows.append((name, f"{one.seconds:.2f}", f"{one.client_cpu_s:.2f}", f"{one.peak_rss_bytes / MIB:.0f}"))
    yield from _table(("contender", "seconds", "client CPU seconds", "client memory, MiB"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""

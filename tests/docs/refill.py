"""Fill the examples of the pages about formats anew from the golden files: `python -m tests.docs.refill`.

Where a form changed on purpose, the golden files are made first (`python -m tests.vectors.make`), and read afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.docs import test_checker, test_formats, test_formats_receipts, test_formats_spot_check

DOCS: Final = Path(__file__).parents[2] / "docs"
CHARS_MAX: Final = 118
PAGES: Final[dict[str, Callable[[str, str, str], str]]] = {
    "formats.md": test_formats.real,
    "formats-receipts.md": test_formats_receipts.real,
    "formats-spot-check.md": test_formats_spot_check.real,
}


def wrapped(kind: str, text: str) -> str:
    """An example's lines: text as it is, hex in pairs, JSON broken behind commas (an envelope anywhere)."""
    if kind == "text":
        return text if text.endswith("\n") else f"{text}\n"
    if kind == "hex":
        pairs = re.findall("..", text)
        parts = [f"{pair} " for pair in pairs] if len(pairs) > 32 else [text]
        return "".join(f"{''.join(parts[start : start + 32]).strip()}\n" for start in range(0, len(parts), 32))
    if text.startswith('{"payload"'):
        return "".join(f"{text[start : start + CHARS_MAX]}\n" for start in range(0, len(text), CHARS_MAX))
    lines = [""]
    for part in re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^",])+,?', text):
        if lines[-1] and len(lines[-1]) + len(part) > CHARS_MAX:
            lines.append(" ")
        lines[-1] += part
    return "".join(f"{line}\n" for line in lines)


def refilled(text: str, real: Callable[[str, str, str], str]) -> str:
    """The page with each example that rots replaced; what is right stays as somebody broke its lines."""

    def put(found: re.Match[str]) -> str:
        kind, place, body = found.groups()
        if kind == "shape" or place.count(" ") < 2:
            return found[0]
        name, where, part = place.split(" ", 2)
        joined = "".join(line.strip() for line in body.splitlines())
        now = real(name, where, part)
        same = now.removesuffix("\n") == {"json": joined, "hex": joined.replace(" ", ""), "text": body[:-1]}[kind]
        return found[0] if same else f"```{kind} {place}\n{wrapped(kind, now)}```"

    return re.sub(r"^```(\w+) ?(.*)\n((?:.*\n)*?)```$", put, text, flags=re.MULTILINE)


def main() -> None:
    """Write the pages."""
    for name, real in PAGES.items():
        page = DOCS / name
        page.write_text(refilled(page.read_text(encoding="utf-8"), real), encoding="utf-8")
    reading = test_checker.PAGE
    reading.write_text(test_checker.refilled(reading.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

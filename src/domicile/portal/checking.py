"""The second checker in the page: its script, the hash that lets only it run, and the bundle as data ([ADR 0041]).

The script is six files in `scripts/`, put together as they are: `bytes.js` (texts, JSON, keys), `bundle.js` (checks 1
to 9), `story.js` (10 to 17), `certificate.js` (18 to 24), `policy.js` (whom the reader believes), `page.js` (what the
reader sees). It is written from docs/formats.md and shares no code with `domicile_audit`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

BUNDLE_BYTES_MAX: Final = 8 * 1024 * 1024
"""A longer bundle is not put into the page; the reader gives it."""
_PARTS: Final = ("bytes.js", "bundle.js", "story.js", "certificate.js", "policy.js", "page.js")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """What the template needs: the script and the policy that allows it alone, the bundle in base64, and words."""

    script: str
    policy: str
    bundle: str | None
    without: str
    checks: int


def self_check(bundle: bytes | None, *, certified: bool) -> SelfCheck:
    """The page's own check of a bundle; without one, or with one over `BUNDLE_BYTES_MAX`, the page says why."""
    fits = bundle is not None and certified and len(bundle) <= BUNDLE_BYTES_MAX
    return SelfCheck(
        script=script(),
        policy=f"default-src 'none'; script-src '{_source_hash(script())}'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'",
        bundle=base64.b64encode(bundle).decode() if fits and bundle is not None else None,
        without=_without(bundle, certified=certified),
        checks=_count_checks(),
    )


@cache
def script() -> str:
    """The script as it stands between its tags; RuntimeError if it would end them."""
    folder = files("domicile.portal") / "scripts"
    text = "\n" + "\n".join((folder / name).read_text(encoding="utf-8") for name in _PARTS)
    if re.search("</script|<!--", text, re.IGNORECASE):
        raise RuntimeError("the page's script would end its own tag")
    return text


def _source_hash(text: str) -> str:
    """A hash source of CSP level 2: base64 of SHA-256 over the script's text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _count_checks() -> int:
    return len(re.findall(r'^check\("', script(), re.MULTILINE))


def _without(bundle: bytes | None, *, certified: bool) -> str:
    if not certified:
        return "Not checked: this run has no certificate yet. Below, the page checks any other bundle that you give it."
    give = "Give it to the page below, or to domicile-audit."
    if bundle is None:
        return f"Not checked: no bundle is inside this page. {give}"
    return f"Not checked: the bundle ({len(bundle) / 1024**2:,.0f} MiB) is too large to be inside this page. {give}"

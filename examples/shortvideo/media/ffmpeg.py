"""Runs the ffmpeg of the imageio-ffmpeg wheel: one program for making, checking and changing clips."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import imageio_ffmpeg  # type: ignore[import-untyped]

RUN_SECONDS_MAX: Final = 120
PLAIN: Final = ("-hide_banner", "-nostdin", "-loglevel", "error", "-y")


class FfmpegFailed(Exception):
    """ffmpeg refused; the message is its last line."""


def run(arguments: Sequence[str | Path], *, given: bytes | None = None, seconds_max: float = RUN_SECONDS_MAX) -> str:
    """Run ffmpeg, with `given` at its standard input; return what it printed there. Raise FfmpegFailed."""
    # Nicely: who watches goes before who uploads.
    command = ["nice", program(), *(PLAIN if given is None else PLAIN[2:]), *map(str, arguments)]
    try:
        done = subprocess.run(
            command,
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            check=False,
            timeout=seconds_max,
        )
    except subprocess.TimeoutExpired:
        raise FfmpegFailed(f"not done after {seconds_max:.0f} s") from None
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode:
        raise FfmpegFailed(said.splitlines()[-1] if said else f"it ended with {done.returncode}")
    return said


@cache
def program() -> str:
    """Return the path of the wheel's program."""
    return str(imageio_ffmpeg.get_ffmpeg_exe())

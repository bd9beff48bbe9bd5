"""Files that are handed to a program of its own, and what it prints, read in bounded steps."""

from __future__ import annotations

import os
import selectors
import subprocess
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, BinaryIO

from domicile.stores.postgres.programs import PLAIN_ENVIRONMENT
from domicile.sweep.containers.opening import Opening
from domicile.sweep.containers.streams import OUT_BYTES, Damaged


class Failed(Damaged):
    """The program didn't end well; `code` is what it returned."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


@contextmanager
def described(opening: Opening, file: BinaryIO) -> Iterator[int]:
    """Give a file as a descriptor, copied if it has none."""
    with tempfile.TemporaryFile() as copy:
        try:
            descriptor = file.fileno()
            file.flush()
        except OSError:
            if file.seek(0, os.SEEK_END) > opening.limits.spool_bytes_max:
                raise Damaged("is larger than what is copied to look into it") from None
            file.seek(0)
            _copy(file, copy)
            descriptor = copy.fileno()
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor


def _copy(file: BinaryIO, copy: IO[bytes]) -> None:
    while block := file.read(OUT_BYTES):
        try:
            copy.write(block)
            copy.flush()
        except OSError as fault:
            raise Damaged(f"can't be copied to look into it ({type(fault).__name__}); make room") from None


def printed(
    command: Sequence[str], archive: int, silence_seconds_max: int, *, name: str
) -> Generator[bytes, None, None]:
    """Run a program on a file; raise Failed or Damaged when it falls silent or doesn't end well.

    Its words are thrown away.
    """
    with subprocess.Popen(
        command, stdin=archive, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=PLAIN_ENVIRONMENT, cwd="/",
    ) as process, selectors.DefaultSelector() as selector:  # fmt: skip
        try:
            output = process.stdout
            if output is None:
                raise RuntimeError("a pipe was asked for")
            selector.register(output, selectors.EVENT_READ)
            while selector.select(silence_seconds_max):
                block = os.read(output.fileno(), OUT_BYTES)
                if not block:
                    break
                yield block
            else:
                raise Damaged(f"{name} fell silent")
            if code := process.wait(silence_seconds_max):
                raise Failed(f"damaged, or of a kind that {name} here doesn't read", code)
        finally:
            process.kill()

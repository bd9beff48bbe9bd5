"""A bundle's log as a ledger to read: for those who hold the evidence, and run no programme.

The checker is asked first, and what it refuses is not read. Then files are unpacked into a folder of their own, and the
ledger checks every hash and signature again.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from domicile.errors import BadFile, EvidenceFault
from domicile.evidence.keys import parse_vkey
from domicile.evidence.ledger import Ledger
from domicile.exports.audited import Audit, ask
from domicile.host import read_file

BUNDLE_BYTES_MAX: Final = 640 * 1024 * 1024
"""What the checker reads of one (docs/formats.md, check 1)."""
OF_THE_LOG: Final = ("log/", "detached/")
LOG_KEY: Final = "keys/log.vkey"


@contextmanager
def opened_bundle(path: Path, *, trust: Path | None) -> Iterator[tuple[Ledger, Audit]]:
    """Give the log of a bundle and what the checker says of it, by the policy `trust` or by the bundle's own keys.

    Raises BadFile where it can't be read, EvidenceFault where the checker refuses it.
    """
    try:
        data = read_file(path, BUNDLE_BYTES_MAX + 1)
    except OSError as fault:
        raise BadFile(
            f"{path} can't be read ({fault.strerror}); give a bundle, as `domicile apply` writes it"
        ) from None
    audit = ask(data, trust=trust)
    if not audit.accepted:
        raise EvidenceFault(f"{path}: domicile-audit {audit.says}; an export of it would say nothing")
    with tempfile.TemporaryDirectory(prefix="domicile-export-") as folder, zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():  # no name in a bundle that was accepted leads out of the folder (check 1)
            if name.startswith(OF_THE_LOG):
                place = Path(folder, name)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(archive.read(name))
        key = parse_vkey(archive.read(LOG_KEY).decode().removesuffix("\n"))
        yield Ledger.open(Path(folder), key), audit

"""Commands for an auditor who looks into the stores: the audit key, and the evidence as it is now."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from domicile.cli.common import DEFAULT_FILE, FileOption, JsonOption, opened
from domicile.cli.show import Screen, plain
from domicile.errors import BadFile, HostFault, Refused
from domicile.evidence.bundle import make_bundle, write_bundle
from domicile.host import sync_folder
from domicile.model import Manifest
from domicile.plan.resolve import resolve
from domicile.run.disclosing import WARNING, audit_key, object_lines

ToOption = Annotated[Path, typer.Option(help="The file to write.")]


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command(name="audit-key")(write_audit_key)
    app.command(name="audit-bundle")(write_audit_bundle)


def write_audit_key(to: ToOption, file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """Write what an auditor needs to make digests of rows again (0600): for `domicile-audit spot-check`.

    It holds the key of the digests and how slices were read, no row and no key of an object. It is for the auditor, not
    for the public: with it, guesses of rows and of objects' keys can be tested against the evidence.

    Example: domicile audit-key --to audit.key
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        manifest = run.journal.get("manifest", Manifest) if run.ledger.size else None
        if manifest is None:
            raise Refused("nothing is frozen yet, so there are no digests to open; `domicile apply` makes them")
        listed = dict(sorted(run.objects.listed().items()))
        head = audit_key(
            run.ledger.plan().plan, run.key, resolve(run.config, run.source.catalogue()), manifest,
            {name: count for name, (count, _) in listed.items()},
        )  # fmt: skip
        _write_secret(to, chain([head], *(object_lines(some) for _, some in listed.values())))
    screen.say(f"{plain(str(to))}: {WARNING}")
    screen.value({"file": str(to), "warning": WARNING})


def write_audit_bundle(to: ToOption, file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """Write the evidence as it is now, for a spot check before approving; without a certificate it is not finished.

    Example: domicile audit-bundle --to so-far.zip
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        if not run.ledger.size:
            raise Refused("nothing was done yet, so the log is empty; `domicile plan`, then `domicile apply`")
        size = run.ledger.size
        write_bundle(to, make_bundle(run.ledger, plan_file=run.load_plan()[1], signer=run.signer))
    screen.say(f"{plain(str(to))}: {size} statements")
    screen.value({"file": str(to), "statements": size})


def _write_secret(path: Path, parts: Iterable[bytes]) -> None:
    """Write a new file that only its owner reads; BadFile where there is one."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.writelines(parts)
            out.flush()
            os.fsync(out.fileno())
        sync_folder(path.resolve().parent)
    except FileExistsError:
        raise BadFile(f"{path}: exists already; choose another name, or remove it") from None
    except OSError as fault:
        raise HostFault(f"{path} can't be written ({fault.strerror}); check space and rights") from None

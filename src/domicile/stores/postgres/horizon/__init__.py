"""The horizon of one PostgreSQL server: where erased bytes still lie, what empties each place, and who may do it.

`inventory` lists the copies, `treat` empties what this server's own means can empty, `rights` says what the role
lacks. The sweep (`domicile.sweep`) looks afterwards; no verdict is made here. Grounds and limits: docs/horizon.md.
"""

from __future__ import annotations

from domicile.stores.postgres.copies import Copy, CopyKind, Outcome, Right, Treatment
from domicile.stores.postgres.horizon.holders import Holder, holders
from domicile.stores.postgres.horizon.inventory import inventory
from domicile.stores.postgres.horizon.rights import rights
from domicile.stores.postgres.horizon.standby import AtPrimary, treat_standby
from domicile.stores.postgres.horizon.treatment import Patience, treat
from domicile.stores.postgres.horizon.wal import restore_settings

__all__ = [
    "AtPrimary",
    "Copy",
    "CopyKind",
    "Holder",
    "Outcome",
    "Patience",
    "Right",
    "Treatment",
    "holders",
    "inventory",
    "restore_settings",
    "rights",
    "treat",
    "treat_standby",
]

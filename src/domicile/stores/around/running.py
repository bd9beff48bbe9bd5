"""As whose user of the operating system another's program is run: only root may choose."""

from __future__ import annotations

import os
import pwd

from domicile.errors import HostFault


def os_user(name: str | None, *, store: str, program: str) -> pwd.struct_passwd | None:
    """The user that the program is run as; None: ourselves. HostFault when that can't be."""
    if name is None:
        return None
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise HostFault(f"store {store}: this machine has no OS user {name}; check `user`") from None
    if found.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise HostFault(f"store {store}: only root can run {program} as {name}; run as that user")
    return found

"""The error tree: every fault a user can meet, one sentence and one exit code each.

```
DomicileError 1
├── Refused 1            a rule of the file or a promise forbids the step
│   ├── Unclassed 10     something in a store has no class (P4)
│   ├── WorldChanged 11  the stores or the file are not what the plan was made from (P4)
│   ├── Undecided 12     rows need a rule that the file does not give
│   ├── NoClearance 13   an erase without equality, approvals or a proven restore (P2)
│   ├── Waiting 14       a person has to decide before the run can go on
│   └── NoQuorum 15      too few witnesses cosigned the log, so its head is not published (P7)
├── Different 1
│   └── NotEqual 20      source and home differ (P1)
├── BadFile 30           domicile.yaml, a plan, a key or a bundle can't be read as what it should be
├── StoreFault 40        a store refused or broke off
│   ├── Unreachable 41   no connection
│   │   └── InTheWay 41  another session's locks; nothing was changed, and it may be tried again
│   ├── NotPermitted 42  the role may not do what the step needs
│   ├── Fenced 43        the row belongs to a subject who is being moved
│   ├── Collateral 44    a statement touched rows outside the closure; it was rolled back
│   ├── FeedBroken 45    changes may be missing from a changefeed, or more of them wait than may
│   └── Locked 46        a stored version may not be removed yet; `until` says when, if a date was given
├── EvidenceFault 50     the log, a statement or a signature does not hold
└── HostFault 60         this machine lacks a program, space or a right
```

Exit code 2 is the command line's own (usage). Bugs of ours are `RuntimeError`, never one of these.
"""

from __future__ import annotations

from datetime import datetime


class DomicileError(Exception):
    """An operating fault: says what failed, on what, and what to do next; never holds personal data (P8)."""

    exit_code = 1


class Refused(DomicileError):
    """A rule or a promise forbids the step."""


class Unclassed(Refused):
    """Something in a store has no class or disposition, so the plan refuses (P4)."""

    exit_code = 10


class WorldChanged(Refused):
    """The stores or the file are no longer what the plan was made from (P4)."""

    exit_code = 11


class Undecided(Refused):
    """Rows need a rule that the file does not give."""

    exit_code = 12


class NoClearance(Refused):
    """An erase was asked for without equality, approvals or a proven restore (P2)."""

    exit_code = 13


class Waiting(Refused):
    """A person has to decide before the run can go on."""

    exit_code = 14


class NoQuorum(Refused):
    """Too few witnesses cosigned the log's head, so it is not published, and nothing irreversible is done (P7)."""

    exit_code = 15


class Different(DomicileError):
    """Two things that must be equal are not."""


class NotEqual(Different):
    """Source and home differ (P1)."""

    exit_code = 20


class BadFile(DomicileError):
    """A file is not what it should be; the message names line, key and remedy."""

    exit_code = 30


class StoreFault(DomicileError):
    """A store refused a step or broke off."""

    exit_code = 40


class Unreachable(StoreFault):
    """A store can't be connected to."""

    exit_code = 41


class InTheWay(Unreachable):
    """Another session's locks were in the way: a deadlock, or a wait that was too long. Nothing was changed."""


class NotPermitted(StoreFault):
    """The role may not do what the step needs."""

    exit_code = 42


class Fenced(StoreFault):
    """A write was refused because its subject is being moved."""

    exit_code = 43


class Collateral(StoreFault):
    """A statement touched rows outside the closure; it was rolled back."""

    exit_code = 44


class FeedBroken(StoreFault):
    """Changes may be missing from a changefeed, or more of them wait than the source should keep."""

    exit_code = 45


class Locked(StoreFault):
    """A stored version may not be removed before `until`; where that is None, before a legal hold is lifted."""

    exit_code = 46

    def __init__(self, message: str, *, until: datetime | None) -> None:
        super().__init__(message)
        self.until = until


class EvidenceFault(DomicileError):
    """The log, a statement or a signature does not hold."""

    exit_code = 50


class HostFault(DomicileError):
    """This machine lacks a program, space or a right."""

    exit_code = 60

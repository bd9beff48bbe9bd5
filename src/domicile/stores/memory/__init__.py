"""The reference store: a source and homes in memory. Small enough to be read as the definition of the protocol."""

from domicile.stores.memory.database import MemoryDatabase
from domicile.stores.memory.faults import CrashHere, Faults
from domicile.stores.memory.home import MemoryHome
from domicile.stores.memory.source import MemorySource

__all__ = ["CrashHere", "Faults", "MemoryDatabase", "MemoryHome", "MemorySource"]

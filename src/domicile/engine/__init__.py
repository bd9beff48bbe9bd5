"""Executors: where the work of a stage runs. So far threads of this process, each with its own session."""

from __future__ import annotations

from domicile.engine.ahead import Ahead
from domicile.engine.nice import Nice
from domicile.engine.threads import Halt, Halted, both

__all__ = ["Ahead", "Halt", "Halted", "Nice", "both"]

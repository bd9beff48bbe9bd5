"""The programmes of tests/main, for looks into real stores."""

from tests.main.conftest import kept, programme, waiting

__all__ = ["kept", "programme", "waiting"]

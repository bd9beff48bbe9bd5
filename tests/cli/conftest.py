"""The programmes of tests/main, for the command line's own tests."""

from tests.main.conftest import kept, programme, waiting

__all__ = ["kept", "programme", "waiting"]

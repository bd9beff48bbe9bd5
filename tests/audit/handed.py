"""What an auditor of a moved world holds, handed over by the commands that a person types, and their question."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

import pytest

from domicile.cli import program
from domicile_audit.__main__ import main
from tests.attack.programme import Programme

SEED: Final = "drand quicknet 14213370"
FORBIDDING: Final = (
    "import sys\n"
    "def hook(event, args):\n"
    "    if event == 'import' and args[0].split('.')[0] in FORBIDDEN: sys.exit(f'forbidden: {args[0]}')\n"
    "sys.addaudithook(hook)\n"
    "from domicile_audit.__main__ import main\n"
    "sys.exit(main(sys.argv[1:]))\n"
)
"""The checker as a program that ends where one of the packages FORBIDDEN, set before it, is imported."""
Capsys = pytest.CaptureFixture[str]


@dataclass(slots=True, kw_only=True)
class Handed:
    """A moved world, and what its auditor holds: bundle, audit key and trust policy; what they last heard is `said`."""

    DRAWN: ClassVar[str]
    programme: Programme
    said: str = field(default="")

    @property
    def bundle(self) -> Path:
        return self.programme.folder / "so-far.zip"

    @property
    def key(self) -> Path:
        return self.programme.folder / "audit.key"

    def hand_over(self) -> None:
        """Bundle, key and policy, by the commands that a person types."""
        self.command("audit-bundle", "--to", str(self.bundle))
        self.command("audit-key", "--to", str(self.key))
        (self.programme.folder / "trust.txt").write_text(self.command("log", "policy"))

    def command(self, *words: str) -> str:
        """Run a command here; what it says."""
        heard = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(heard):
            for name, value in self.programme.environment.items():
                patch.setenv(name, value)
            patch.chdir(self.programme.folder)
            program(words[0])(list(words), standalone_mode=False)
        return heard.getvalue()

    def ask(self, capsys: Capsys, *more: str, key: Path | None) -> int:
        """Run the spot check with what was handed over; `more` says where it may look. What it says is kept."""
        words = ["spot-check", str(self.bundle), "--trust", str(self.programme.folder / "trust.txt")]
        words += ["--key", str(key or self.key), "--seed", SEED, *more]
        try:
            code = main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        heard = capsys.readouterr()
        self.said = heard.out + heard.err
        assert "Traceback" not in self.said
        return code

    def drawn(self) -> dict[str, tuple[str, str]]:
        """What was drawn, as the answer in JSON says that it was seen at home and at the source."""
        return {one["id"]: (one["home"], one["source"]) for one in json.loads(self.said)[self.DRAWN]}

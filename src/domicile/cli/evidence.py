"""Commands of the evidence: log, report."""

from __future__ import annotations

import typer

from domicile.cli import public_log
from domicile.cli.common import DEFAULT_FILE, FileOption, JsonOption, opened
from domicile.cli.reporting import write_report
from domicile.cli.show import Screen, plain
from domicile.errors import Refused
from domicile.evidence.bundle import lasting_approvers, lines_before, trust_policy
from domicile.run import Run

log = typer.Typer(help="The public log of the run.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    public_log.register(log)
    app.add_typer(log, name="log")
    app.command()(report)


@log.command(name="list")
def list_log(file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """List the statements in their order.

    Example: domicile log list
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        found = [(one.index, one.predicate.KIND, one.sha256) for one in run.ledger.statements()]
    if not found:
        screen.say("the log is empty; `domicile apply` begins it")
    else:
        screen.table("statements", ("", "kind", "sha256"), ((str(i), kind, sha) for i, kind, sha in found), right=(0,))
    screen.value([{"index": i, "kind": kind, "sha256": sha} for i, kind, sha in found])


@log.command(name="policy")
def policy(file: FileOption = DEFAULT_FILE) -> None:
    """Print the trust policy an auditor needs: hand it over on another way than the bundle.

    Example: domicile log policy > trust.txt; domicile-audit bundle.zip --trust trust.txt
    """
    with opened(file, Screen(as_json=True)) as run:
        rule = lasting_approvers(run.ledger) if run.ledger.size else run.approvers()
        before = lines_before(run.ledger) if run.ledger.size else ()
        witnesses = run.record.witnesses
        asked = witnesses.policy if witnesses else None
        typer.echo(trust_policy(run.signer.verifier, rule, asked, before=before), nl=False)


def report(file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """Write the report page of the run as it is now: one HTML file, nothing to install.

    Example: domicile report
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        _refuse_empty(run)
        path = write_report(run)
    screen.say(f"report: {plain(str(path))}")
    screen.value({"report": str(path)})


def _refuse_empty(run: Run) -> None:
    if not run.ledger.size:
        raise Refused("nothing was done yet, so the log is empty; `domicile plan`, then `domicile apply`")

"""What creators are paid, and to which account: as private as it gets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response
from pydantic import BaseModel, StringConstraints

from shortvideo.service.web import HerePlaces, Me, Refused, answer, done

router = APIRouter(prefix="/payouts")
IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account, without what nobody needs to see again."""

    holder_name: str
    iban_last4: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout:
    """One month's payout; `amount` is text, so that no digit is lost."""

    id: int
    month: date | None
    amount: str
    currency: str
    state: str
    paid_at: datetime | None


class NewAccount(BaseModel):
    """An account to pay to."""

    holder_name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]
    iban: Annotated[str, StringConstraints(max_length=60)]
    tax_id: Annotated[str, StringConstraints(strip_whitespace=True, max_length=60)] = ""


@router.get("")
def payouts(request: Request, places: HerePlaces, me: Me) -> Response:
    """Show the account and what was paid."""
    with places.home.session() as home:
        account = home.one(
            Account,
            "SELECT holder_name, right(iban, 4) AS iban_last4 FROM billing.payout_accounts WHERE user_id = %s",
            [me.id],
        )
        paid = home.all(
            Payout,
            "SELECT id, lower(period) AS month, amount::text AS amount, currency::text AS currency, "
            "state::text AS state, CASE WHEN isfinite(paid_at) THEN paid_at END AS paid_at "
            "FROM billing.payouts WHERE user_id = %s ORDER BY lower(period) DESC, id DESC",
            [me.id],
        )
    return answer(request, "payouts.html", {"account": account, "payouts": paid})


@router.post("/account")
def set_account(request: Request, places: HerePlaces, me: Me, new: Annotated[NewAccount, Form()]) -> Response:
    """Set the account to pay to."""
    iban = re.sub(r"\s", "", new.iban).upper()
    if not IBAN.fullmatch(iban):
        raise Refused(400, "This is no account number (IBAN).")
    places.home.run(
        "INSERT INTO billing.payout_accounts (user_id, holder_name, iban, tax_id) "
        "VALUES (%(me)s, %(name)s, %(iban)s, nullif(%(tax)s, '')) ON CONFLICT (user_id) DO UPDATE "
        "SET holder_name = excluded.holder_name, iban = excluded.iban, tax_id = excluded.tax_id",
        {"me": me.id, "name": new.holder_name, "iban": iban, "tax": new.tax_id},
    )
    account = Account(holder_name=new.holder_name, iban_last4=iban[-4:])
    return done(request, {"account": account}, to="/payouts", status=201)

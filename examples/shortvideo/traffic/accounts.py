"""What people do with their accounts: sign up, log in again, change country and settings, ask for payouts, leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shortvideo.oracle.ledger import Entry, Kind
from shortvideo.traffic.acts import Act, doubtful, entry, post
from shortvideo.traffic.people import Crowd, Person
from shortvideo.traffic.wire import Answer

COUNTRIES: Final = ("SG", "US", "JP", "CA", "FR", "AU", "IN", "NZ", "BR", "EG")
LANGUAGES: Final = ("en", "fr")
RANKINGS: Final = ("ranked", "latest")
THERE_MIN: Final = 20  # nobody leaves when so few are there


def arrival(person: Person) -> Entry:
    """Make the line with which the oracle later looks with the person's eyes."""
    return entry(
        person,
        Kind.PERSON,
        username=person.username,
        country=person.country,
        cookie=person.cookie,
        email=person.email,
        password=person.password,
    )


def sign_up(_: Person, crowd: Crowd) -> Act:
    """Somebody new comes."""
    word = crowd.nonce()
    country = COUNTRIES[crowd.written % len(COUNTRIES)]
    new = Person(
        id=0, username=f"guest_{word}", country=country, cookie="", email=f"{word}@guest.example", password=f"pw-{word}"
    )

    def settle(answer: Answer) -> Sequence[Entry]:
        new.id = int(answer.json()["id"])
        new.cookie = answer.cookies["sv"]
        new.location = new.first_location = str(answer.json()["location"])
        crowd.welcome(new)
        return [arrival(new), entry(new, Kind.BASELINE)]

    request = post(
        new,
        "/signup",
        email=new.email,
        phone=f"+155501{crowd.written % 10**8:08}",
        password=new.password,
        username=new.username,
        display_name=f"Guest {word}",
        country=country,
        birth_date="1990-04-01",
    )
    return Act(name="sign up", person=new, request=request, settle=settle)


def log_in(person: Person, _: Crowd) -> Act | None:
    """Log in again: another session, perhaps at another location."""
    if not person.password:
        return None

    def settle(answer: Answer) -> Sequence[Entry]:
        person.cookie = answer.cookies["sv"]
        return [arrival(person)]

    request = post(person, "/login", email=person.email, password=person.password)
    return Act(name="log in", person=person, request=request, settle=settle)


def change_settings(person: Person, crowd: Crowd) -> Act:
    """Change how the service looks, and how one is shown."""
    return _settings(
        person,
        "settings",
        display_name=f"{person.username} {crowd.nonce()}",
        bio=crowd.nonce(),
        language=crowd.chance.choice(LANGUAGES),
        ranking=crowd.chance.choice(RANKINGS),
    )


def change_country(person: Person, crowd: Crowd) -> Act:
    """Move to another country."""
    return _settings(person, "change country", country=crowd.chance.choice(COUNTRIES))


def _settings(person: Person, name: str, **fields: str) -> Act:
    def settle(_: Answer) -> Sequence[Entry]:
        person.country = fields.get("country", person.country)
        return [entry(person, Kind.SETTINGS, **fields)]

    return Act(
        name=name,
        person=person,
        request=post(person, "/settings", **fields),
        settle=settle,
        doubt=doubtful(person, Kind.SETTINGS, **fields),
        refusals=frozenset({409}) if "country" in fields else frozenset(),  # it has another home
    )


def payout_account(person: Person, crowd: Crowd) -> Act:
    """Say where money shall go."""
    iban = f"ZZ68{crowd.chance.randrange(10**18):018}"
    holder = f"Holder {crowd.nonce()}"
    what = {"holder_name": holder, "iban_last4": iban[-4:]}
    return Act(
        name="payout account",
        person=person,
        request=post(person, "/payouts/account", holder_name=holder, iban=iban, tax_id=f"TX{iban[-8:]}"),
        settle=lambda _: [entry(person, Kind.PAYOUT_ACCOUNT, **what)],
        doubt=doubtful(person, Kind.PAYOUT_ACCOUNT, **what),
    )


def leave(person: Person, crowd: Crowd) -> Act | None:
    """Delete one's account. Only who signed up here knows the password."""
    if not person.password or sum(not other.gone for other in crowd.people) < THERE_MIN:
        return None

    def settle(_: Answer) -> Sequence[Entry]:
        person.gone = True
        return [entry(person, Kind.ACCOUNT_DELETED)]

    return Act(
        name="leave",
        person=person,
        request=post(person, "/account/delete", password=person.password),
        settle=settle,
        doubt=doubtful(person, Kind.ACCOUNT_DELETED),
    )

"""What names, types and values tell of a field, one by one, each with a twin that tells nothing."""

from __future__ import annotations

import pytest

from domicile.catalogue import Column
from domicile.catalogue.samples import FieldSample
from domicile.map.countries import country_code, is_country_code
from domicile.map.kinds import kind_of
from domicile.map.vocabulary import ENTRIES, Weight
from domicile.map.words import words


def column(name: str, base: str = "text", category: str = "S") -> Column:
    return Column(name=name, position=1, type=base, base=base, category=category, not_null=False, binary=True)


def sample(*values: str) -> FieldSample:
    return FieldSample(rows=len(values), nulls=0, values=values)


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("billingAddress2", ("billing", "address", "2")),
        ("BILLING_ADDRESS_2", ("billing", "address", "2")),
        ("e-mail", ("e", "mail")),
        ("userID", ("user", "id")),
        ("HTTPServer", ("http", "server")),
        ("companies", ("company",)),
        ("addresses", ("address",)),
        ("status", ("status",)),
        ("Größe", ("große",)),
    ],
)
def test_words_of_a_name(spelling: str, expected: tuple[str, ...]) -> None:
    assert expected == words(spelling)


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("email", "user.contact.email"), ("eMail", "user.contact.email"),
        ("contact_email_address", "user.contact.email"),
        ("ip_address", "user.device.ip_address"), ("homePhone", "user.contact.phone_number"),
        ("fax", "user.contact.fax_number"), ("first_name", "user.name.first"), ("surname", "user.name.last"),
        ("ship_name", "user.name"), ("date_of_birth", "user.demographic.date_of_birth"),
        ("zip", "user.contact.address.postal_code"),
        ("address2", "user.contact.address.street"), ("password_hash", "user.authorization.password"),
        ("iban", "user.financial.bank_account"), ("card_last4", "user.financial.credit_card"),
        ("passport_no", "user.government_id.passport_number"), ("device_id", "user.device.device_id"),
        ("user_agent", "user.device"), ("biography", "user.content.private"),
    ],
)  # fmt: skip
def test_a_telling_name_has_a_category(name: str, category: str) -> None:
    assert category == kind_of(column(name), None).category


@pytest.mark.parametrize(
    "name",
    [
        "email_verified",
        "phone_type",
        "title",
        "amount",
        "rating",
        "is_email",
        "email_count",
        "film_id",
        "ipsum",
        "mailbox_size",
    ],
)
def test_a_name_about_a_field_is_not_the_field(name: str) -> None:
    assert Weight.PLAIN is kind_of(column(name), None).weight


def test_a_date_about_an_email_is_none() -> None:
    assert kind_of(column("email_sent", "timestamp with time zone", "D"), None).category is None
    assert "user.demographic.date_of_birth" == kind_of(column("birth", "date", "D"), None).category


@pytest.mark.parametrize(
    ("values", "category"),
    [
        (("a@example.com", "b@example.org", "c@example.net"), "user.contact.email"),
        (("192.0.2.1", "198.51.100.7", "2001:db8::1"), "user.device.ip_address"),
        (("DE89 3704 0044 0532 0130 00", "GB82 WEST 1234 5698 7654 32") * 2, "user.financial.bank_account"),
        (("4111111111111111", "5555555555554444", "4012888888881881"), "user.financial.credit_card"),
        (("+1 (555) 010-0001", "+44 20 7946 0958", "555-0100-22"), "user.contact.phone_number"),
        (("one", "two", "three"), None),
        (("1.2.3", "10.0", "1.4.2"), None),
        (("2020-01-02", "2020-01-03", "2020-02-04"), None),
        (("DE89370400440532013001", "DE89370400440532013002", "DE89370400440532013003"), None),
        (("4111111111111112", "5555555555554445", "4012888888881882"), None),
    ],
)  # fmt: skip
def test_values_tell_what_the_name_does_not(values: tuple[str, ...], category: str | None) -> None:
    assert category == kind_of(column("c7"), sample(*values)).category


def test_an_email_inside_free_text_makes_it_doubtful() -> None:
    assert Weight.STRONG is kind_of(column("c7"), sample("call me", "write to a@example.com", "x")).weight
    assert Weight.PLAIN is kind_of(column("c7"), sample("call me", "write to me", "x")).weight


def test_json_is_judged_by_its_keys() -> None:
    told = kind_of(column("c7", "jsonb", "U"), sample('{"contactEmail": "x"}', '{"b": 1}'))
    assert (Weight.STRONG, "its keys look like e-mail") == (told.weight, told.why)
    assert Weight.OPAQUE is kind_of(column("c7", "jsonb", "U"), sample('{"colour": 1}')).weight
    assert Weight.STRONG is kind_of(column("c7", "json", "U"), sample('{"phone": "x", "cut": "sho')).weight


def test_types_tell_too() -> None:
    assert "user.device.ip_address" == kind_of(column("c7", "inet", "I"), None).category
    assert "user.device.device_id" == kind_of(column("c7", "macaddr", "U"), None).category
    assert Weight.OPAQUE is kind_of(column("c7", "bytea", "U"), None).weight
    assert Weight.PLAIN is kind_of(column("c7", "uuid", "U"), None).weight


def test_p8_values_have_no_repr() -> None:
    assert "someone" not in repr(sample("someone@example.com"))


def test_the_vocabulary_uses_keys_of_fideslang() -> None:
    # the top levels of fideslang 3; the full list is checked where it can be installed
    assert {"user.account", "user.authorization", "user.behavior", "user.contact", "user.content", "user.demographic",
            "user.device", "user.financial", "user.government_id", "user.health_and_medical", "user.job_title",
            "user.location", "user.name"} == {
        ".".join(entry.category.split(".")[:2]) for entry in ENTRIES if entry.category
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("Canada", "CA"), ("CANADA", "CA"), ("CAN", "CA"), ("ca", "CA"), ("UK", "GB"), ("U.S.A.", "US"), ("USA", "US"),
        ("Côte d’Ivoire", "CI"), ("Virgin Islands, U.S.", "VI"), ("St. Lucia", "LC"), ("Trinidad & Tobago", "TT"),
        ("Atlantis", None), ("", None), ("Canada Dry", None),
    ],
)  # fmt: skip
def test_country_names_and_codes(value: str, code: str | None) -> None:
    assert code == country_code(value)


def test_only_codes_as_iso_writes_them_are_codes() -> None:
    assert is_country_code("CA")
    assert not any(map(is_country_code, ("ca", "CAN", "XX", "Canada", "UK")))

"""What a field holds, told from its name, its type and sampled values. Hints for a person, never a verdict.

A *kind* says how much a field tells of a person: `person` (names), `strong` (finds or describes one by itself), `place`
(an address), `weak` (only beside others), `free` (anything may stand in it), `opaque` (can't be read). Categories are
keys of the fideslang taxonomy, version 3.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from domicile.catalogue import Column
from domicile.map.words import spelt
from domicile.samples import FieldSample


class Weight(StrEnum):
    """How much a kind says of a person."""

    STRONG = "strong"
    PERSON = "person"
    PLACE = "place"
    WEAK = "weak"
    ORGANISATION = "organisation"
    FREE = "free"
    OPAQUE = "opaque"
    TECHNICAL = "technical"
    PLAIN = "plain"


class Confidence(StrEnum):
    """How sure a proposal is."""

    SURE = "sure"
    LIKELY = "likely"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a field holds: a word for people, its fideslang category, its weight, and how sure that is."""

    name: str
    category: str | None
    weight: Weight
    confidence: Confidence = Confidence.LIKELY
    why: str = ""


PLAIN = Kind(name="plain", category=None, weight=Weight.PLAIN)


def kind_of(column: Column, sample: FieldSample | None) -> Kind:
    """Tell a field's kind: a telling name speaks first, then values, then other names, then the type."""
    seen = _by_values(column, sample)
    named = _by_name(column)
    if named is not None and named.weight is Weight.STRONG:
        return named
    if seen is not None and seen.confidence is not Confidence.UNSURE:
        return seen
    if named is not None and named.weight not in (Weight.FREE, Weight.TECHNICAL):
        return named
    return seen or named or _by_type(column) or PLAIN


# ------------------------------------------------------------------------------------------------ by name

TEXT = "text"
ANY = "any"
TIME = "time"

# (whole words of the name, types it may have, kind, category, weight); the first that fits wins.
_NAMES: tuple[tuple[str, str, str, str | None, Weight], ...] = (
    (r"_(last_update|updated?_at|updated?_on|modified_at|modified_on|modified_date|last_modified|created?_at|"
     r"created?_on|created|updated|deleted_at|inserted_at|row_version|version|xmin|etag|sort_order|position)_",
     ANY, "housekeeping", None, Weight.TECHNICAL),
    (r"_(password|passwd|pwd|passphrase|pass_hash|pass_word|salt|pin_code|encrypted_password)_|_password_",
     ANY, "password", "user.authorization.password", Weight.STRONG),
    (r"_(token|secret|api_key|otp|totp|recovery_code|auth_key|private_key|session_key|access_key)_",
     TEXT, "credential", "user.authorization.credentials", Weight.STRONG),
    (r"_(e_mail|email|mail_address|mail)_", TEXT, "e-mail", "user.contact.email", Weight.STRONG),
    (r"_(ip|ip_addr|ip_address|ipv4|ipv6|remote_addr|client_ip|inet)_",
     TEXT, "IP address", "user.device.ip_address", Weight.STRONG),
    (r"_(mac_addr|mac_address|device_id|device_identifier|device_token|device_serial|push_token|idfa|gaid|idfv|imei|"
     r"imsi|advertising_id|ad_id|android_id|fingerprint|serial_number|device_uuid|device_fingerprint)_",
     ANY, "device", "user.device.device_id", Weight.STRONG),
    (r"_(cookie|cookie_id|session_cookie)_", TEXT, "cookie", "user.device.cookie_id", Weight.STRONG),
    (r"_(user_agent|useragent|browser|device_model|device_name|os_version)_",
     TEXT, "device", "user.device", Weight.STRONG),
    (r"_fax(_|\d)", TEXT, "fax number", "user.contact.fax_number", Weight.STRONG),
    (r"_(phone|telephone|mobile|msisdn|cellphone|cell|tel|phone_number|whatsapp)_(?!type|model|brand)",
     TEXT, "phone number", "user.contact.phone_number", Weight.STRONG),
    (r"_(birth|birthday|birthdate|dob|born|date_of_birth|birth_year|born_on)_",
     ANY, "birth date", "user.demographic.date_of_birth", Weight.STRONG),
    (r"_(age|age_group|age_range)_$", ANY, "age", "user.demographic.age_range", Weight.WEAK),
    (r"_(gender|sex|pronoun|title_of_courtesy|salutation)_", ANY, "gender", "user.demographic.gender", Weight.STRONG),
    (r"_(marital|marital_status|spouse)_", ANY, "marital status", "user.demographic.marital_status", Weight.STRONG),
    (r"_(religion|religious|faith)_", ANY, "belief", "user.demographic.religious_belief", Weight.STRONG),
    (r"_(ethnicity|race|ethnic)_", ANY, "ethnicity", "user.demographic.race_ethnicity", Weight.STRONG),
    (r"_(sexual_orientation|orientation)_", TEXT, "orientation", "user.demographic.sexual_orientation", Weight.STRONG),
    (r"_(diagnosis|allergy|disease|medication|blood_type|disability|symptom|prescription|medical)_",
     ANY, "health", "user.health_and_medical", Weight.STRONG),
    (r"_(iban|bank_account|account_number|account_no|routing_number|sort_code|bic|swift|payout_account)_",
     TEXT, "bank account", "user.financial.bank_account", Weight.STRONG),
    (r"_(card_number|credit_card|pan|cvv|cvc|card_no|card_last_?4|last_?4|card_holder|cardholder)_",
     ANY, "payment card", "user.financial.credit_card", Weight.STRONG),
    (r"_(salary|wage|income|pay_grade)_", ANY, "income", "user.financial", Weight.STRONG),
    (r"_(passport|passport_no|passport_number)_", TEXT, "passport", "user.government_id.passport_number", Weight.STRONG),
    (r"_(ssn|sin|nin|nino|national_id|tax_id|tax_number|tin|personnummer|social_security|cpf|dni|id_number|"
     r"identity_number|government_id|national_insurance)_",
     ANY, "national number", "user.government_id.national_identification_number", Weight.STRONG),
    (r"_(driver_licen[cs]e|driving_licen[cs]e|licen[cs]e_number|licen[cs]e_plate|plate_number)_",
     TEXT, "licence", "user.government_id.drivers_license_number", Weight.STRONG),
    (r"_(latitude|longitude|lat|lng|lon|geo|geom|gps|coordinate|geolocation|geo_point)_",
     ANY, "precise location", "user.location.precise", Weight.STRONG),
    (r"_(first_name|given_name|forename|fname|firstname|middle_name|middle_initial|christian_name)_",
     TEXT, "first name", "user.name.first", Weight.PERSON),
    (r"_(last_name|surname|family_name|lname|lastname|maiden_name)_", TEXT, "last name", "user.name.last", Weight.PERSON),
    (r"_(company|company_name|organisation|organization|organisation_name|organization_name|employer|business_name|"
     r"firm)_", TEXT, "organisation", "user.contact.organization", Weight.ORGANISATION),
    (r"_(full_name|fullname|real_name|legal_name|contact_name|person_name|customer_name|client_name|member_name|"
     r"patient_name|holder_name|billing_name|ship_name|shipping_name|recipient_name|guest_name|display_name|"
     r"employee_name|author_name|contact_person|maiden)_", TEXT, "name of a person", "user.name", Weight.PERSON),
    (r"_(user_name|username|login|login_name|nick|nickname|screen_name|handle|alias|user_login)_",
     TEXT, "username", "user.account.username", Weight.PERSON),
    (r"_(job_title|contact_title|occupation|profession|job|position_title)_",
     TEXT, "job title", "user.job_title", Weight.WEAK),
    (r"_(postal_code|postcode|post_code|zip|zip_code|zipcode|plz|postal)_",
     ANY, "postal code", "user.contact.address.postal_code", Weight.PLACE),
    (r"_(address|address_\d|addr|address_line|street|street_name|house_number|house_no|apartment|street_address|"
     r"address_line_\d|line_1|line_2)_(?!type|id_)", TEXT, "address", "user.contact.address.street", Weight.PLACE),
    (r"_(city|town|municipality|village)_", TEXT, "city", "user.contact.address.city", Weight.WEAK),
    (r"_(state|province|region|county|district|prefecture|canton)_",
     TEXT, "state", "user.contact.address.state", Weight.WEAK),
    (r"_(country|country_code|nationality|residence|residency|country_name|market)_",
     TEXT, "country", "user.contact.address.country", Weight.WEAK),
    (r"_(photo|avatar|selfie|picture|portrait|photo_path|photo_url|avatar_url|avatar_key|profile_image|headshot)_",
     ANY, "picture", "user.content.self_image", Weight.WEAK),
    (r"_(search_term|search_query|query_text|search)_", TEXT, "search", "user.behavior.search_history", Weight.WEAK),
    (r"_(language|locale|timezone|time_zone|tz)_$", TEXT, "language", "user.demographic.language", Weight.WEAK),
    (r"_(note|comment|message|body|bio|biography|remark|about|about_me|answer|transcript|feedback|complaint|reply|"
     r"instruction|memo)_(text_|body_|html_)?$", TEXT, "free text", "user.content.private", Weight.FREE),
    (r"_(payload|metadata|meta|data|extra|attribute|property|setting|preference|raw|context|detail|blob|dump|"
     r"request|response|event_data|old_value|new_value|old_row|new_row|before|after|diff|change)_$",
     TEXT, "free form", None, Weight.FREE),
)  # fmt: skip
_RULES = tuple((re.compile(pattern), types, Kind(name=kind, category=category, weight=weight,
                confidence=Confidence.LIKELY)) for pattern, types, kind, category, weight in _NAMES)  # fmt: skip
_FLAGS = re.compile(r"_(verified|confirmed|count|enabled|is|has|opt|optin|consent|sent|status|type|flag)_|_id_$")


def _by_name(column: Column) -> Kind | None:
    name = spelt(column.name)
    textual = is_textual(column)
    for pattern, types, kind in _RULES:
        if types == TEXT and not textual:
            continue
        if pattern.search(name) and (kind.weight is Weight.TECHNICAL or not _is_flag(name, column, kind)):
            return kind
    return None


def _is_flag(name: str, column: Column, kind: Kind) -> bool:
    """A switch or a date *about* a field (email_verified, phone_confirmed_at) is not the field."""
    if column.category == "B":
        return True
    about = column.category == "D" and kind.name != "birth date"
    return about or (
        bool(_FLAGS.search(name)) and kind.name not in ("device", "cookie", "national number", "IP address")
    )


def is_textual(column: Column) -> bool:
    """Whether a field can hold words: strings, json, network addresses, geometry, arrays and types of the user."""
    return column.category in "SUAIGC" or column.base in ("bytea", "json", "jsonb", "xml", "uuid")


# ------------------------------------------------------------------------------------------------ by values

SHARE_TELLING = 0.6
VALUES_TELLING_MIN = 3
_EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_EMAIL_ONLY = re.compile(rf"\s*{_EMAIL.pattern}\s*")
_PHONE_ONLY = re.compile(r"\s*(\+|00|\()?[0-9][0-9 ().\-/]{6,22}(x[0-9]{1,6})?\s*")
_PHONE_MARK = re.compile(r"^\s*(\+|00|\()|[0-9][ ().\-/]+[0-9]")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_CARD = re.compile(r"[0-9]{13,19}")


def _by_values(column: Column, sample: FieldSample | None) -> Kind | None:
    """Look at sampled values; None when they tell nothing."""
    if sample is None or not sample.values or not is_textual(column):
        return None
    if column.base in ("json", "jsonb"):
        return _by_keys(sample.values)
    for holds, name, category in _TESTS:
        share = sum(bool(holds(value)) for value in sample.values) / len(sample.values)
        if share >= SHARE_TELLING and len(sample.values) >= VALUES_TELLING_MIN:
            return Kind(name=name, category=category, weight=Weight.STRONG, why=f"sampled values are {name} values")
    if any(_EMAIL.search(value) for value in sample.values):
        return Kind(
            name="free text", category="user.content.private", weight=Weight.STRONG, why="sampled values hold e-mails",
            confidence=Confidence.UNSURE,
        )  # fmt: skip
    return None


def _by_keys(values: Iterable[str]) -> Kind | None:
    """Judge json by the names of its keys; what is cut short or no object tells nothing."""
    names = {name for value in values for name in _keys(value)}
    hits = sorted({kind.name for name in names for kind in [_of_key(name)] if kind})
    if not hits:
        return None
    return Kind(
        name="free form", category="user.content.private", weight=Weight.STRONG, confidence=Confidence.UNSURE,
        why=f"its keys look like {', '.join(hits[:4])}",
    )  # fmt: skip


def _of_key(name: str) -> Kind | None:
    text = spelt(name)
    for pattern, _, kind in _RULES:
        if kind.weight in (Weight.STRONG, Weight.PERSON, Weight.PLACE) and pattern.search(text):
            return None if _FLAGS.search(text) else kind
    return None


def _keys(value: str) -> list[str]:
    try:
        node = json.loads(value)
    except (ValueError, RecursionError):
        return re.findall(r'"([^"\\]{1,40})"\s*:', value)
    return [str(key) for key in node] if isinstance(node, dict) else []


def _is_ip(value: str) -> bool:
    if value.count(".") < 3 and value.count(":") < 2:
        return False
    try:
        ipaddress.ip_interface(value.strip())
    except ValueError:
        return False
    return True


def _is_phone(value: str) -> bool:
    """A number written as people write phone numbers: bare digits could be any key."""
    return bool(_PHONE_ONLY.fullmatch(value) and _PHONE_MARK.search(value)) and not _is_dated(value)


def _is_dated(value: str) -> bool:
    return bool(re.match(r"\s*\d{4}[-/.]\d{1,2}[-/.]\d{1,2}", value))


def _is_iban(value: str) -> bool:
    """ISO 13616: move the first four signs to the end, letters to numbers, the rest by 97 is 1."""
    text = value.replace(" ", "").upper()
    if not _IBAN.fullmatch(text):
        return False
    return int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 == 1


def _is_card(value: str) -> bool:
    """ISO/IEC 7812: 13 to 19 digits with a Luhn check digit."""
    text = re.sub(r"[ -]", "", value)
    if not _CARD.fullmatch(text):
        return False
    digits = [int(sign) for sign in reversed(text)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


_TESTS: tuple[tuple[Callable[[str], object], str, str], ...] = (
    (_EMAIL_ONLY.fullmatch, "e-mail", "user.contact.email"),
    (_is_ip, "IP address", "user.device.ip_address"),
    (_is_iban, "bank account", "user.financial.bank_account"),
    (_is_card, "payment card", "user.financial.credit_card"),
    (_is_phone, "phone number", "user.contact.phone_number"),
)


# ------------------------------------------------------------------------------------------------ by type


def _by_type(column: Column) -> Kind | None:
    if column.base in ("inet", "cidr"):
        return Kind(name="IP address", category="user.device.ip_address", weight=Weight.STRONG)
    if column.base in ("macaddr", "macaddr8"):
        return Kind(name="device", category="user.device.device_id", weight=Weight.STRONG)
    if column.base in ("json", "jsonb", "xml", "bytea") or column.category in "CU" and column.base not in _KNOWN:
        return Kind(name="opaque", category=None, weight=Weight.OPAQUE, why=f"{column.base} can hold anything")
    return None


_KNOWN = ("uuid", "tsvector", "bit", "bit varying", "macaddr", "macaddr8")

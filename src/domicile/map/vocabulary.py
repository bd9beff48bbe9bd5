"""What fields are called: names → kind of content. Data, in the order in which it is asked.

One line each: kind | fideslang category | weight | types (text, any) | names, singular, words joined by `_`. A name
fits when it stands in the field's name as whole words (`home_phone` holds `phone`), or at its end where `$` leads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the vocabulary."""

    kind: str
    category: str | None
    weight: Weight
    text_only: bool
    pattern: re.Pattern[str]


_LINES = r"""
housekeeping | - | technical | any | last_update update_at updated_at updated_on modified_at modified_on modified_date last_modified create_at created_at created_on created updated deleted_at inserted_at row_version version etag sort_order position
password | user.authorization.password | strong | any | password passwd pwd passphrase pass_hash pass_word salt pin_code
credential | user.authorization.credentials | strong | text | secret api_key otp totp recovery_code auth_key private_key session_key access_key access_token refresh_token session_token reset_token auth_token token
device | user.device.device_id | strong | any | mac_addr mac_address device_id device_identifier device_token device_serial push_token idfa gaid idfv imei imsi advertising_id ad_id android_id fingerprint serial_number device_uuid device_fingerprint
IP address | user.device.ip_address | strong | text | ip ip_addr ip_address ipv4 ipv6 remote_addr inet
e-mail | user.contact.email | strong | text | e_mail email mail_address mail
cookie | user.device.cookie_id | strong | text | cookie cookie_id
device | user.device | strong | text | user_agent useragent browser device_model device_name os_version
fax number | user.contact.fax_number | strong | text | fax fax_number
phone number | user.contact.phone_number | strong | text | phone telephone mobile msisdn cellphone cell tel whatsapp
birth date | user.demographic.date_of_birth | strong | any | birth birthday birthdate dob born
age | user.demographic.age_range | weak | any | $ age age_group age_range
gender | user.demographic.gender | strong | any | gender sex pronoun title_of_courtesy salutation
marital status | user.demographic.marital_status | strong | any | marital marital_status spouse
belief | user.demographic.religious_belief | strong | any | religion religious faith
ethnicity | user.demographic.race_ethnicity | strong | any | ethnicity race ethnic
orientation | user.demographic.sexual_orientation | strong | text | sexual_orientation
health | user.health_and_medical | strong | any | diagnosis allergy disease medication blood_type disability symptom prescription medical
bank account | user.financial.bank_account | strong | text | iban bank_account account_number account_no routing_number sort_code bic swift payout_account
payment card | user.financial.credit_card | strong | any | card_number credit_card pan cvv cvc card_no card_last_?4 last_?4 card_holder cardholder
income | user.financial | strong | any | salary wage income pay_grade
passport | user.government_id.passport_number | strong | text | passport passport_no passport_number
national number | user.government_id.national_identification_number | strong | any | ssn sin nin nino national_id tax_id tax_number tin personnummer social_security cpf dni id_number identity_number government_id national_insurance
licence | user.government_id.drivers_license_number | strong | text | driver_licen[cs]e driving_licen[cs]e licen[cs]e_number licen[cs]e_plate plate_number
precise location | user.location.precise | strong | any | latitude longitude lat lng lon geo geom gps coordinate geolocation geo_point
first name | user.name.first | person | text | first_name given_name forename fname firstname middle_name middle_initial christian_name
last name | user.name.last | person | text | last_name surname family_name lname lastname maiden_name
organisation | user.contact.organization | organisation | text | company company_name organisation organization organisation_name organization_name employer business_name firm
name of a person | user.name | person | text | full_name fullname real_name legal_name contact_name person_name customer_name client_name member_name patient_name holder_name billing_name ship_name shipping_name recipient_name guest_name display_name employee_name author_name contact_person
username | user.account.username | person | text | user_name username login login_name nick nickname screen_name handle alias
job title | user.job_title | weak | text | job_title contact_title occupation profession job position_title
postal code | user.contact.address.postal_code | place | any | postal_code postcode post_code zip zip_code zipcode plz postal
address | user.contact.address.street | place | text | address address_\d addr address_line street street_name house_number house_no apartment line_1 line_2
city | user.contact.address.city | weak | text | city town municipality village
state | user.contact.address.state | weak | text | state province region county district prefecture canton
country | user.contact.address.country | weak | text | country nationality residence residency market
picture | user.content.self_image | weak | any | photo avatar selfie picture portrait profile_image headshot
search | user.behavior.search_history | weak | text | search_term search_query query_text search
language | user.demographic.language | weak | text | $ language locale timezone time_zone tz
free text | user.content.private | free | text | $ note comment message body bio biography remark about about_me answer transcript feedback complaint reply instruction memo note_text comment_text message_text message_body
free form | - | free | text | $ payload metadata meta data extra attribute property setting preference raw context detail blob dump request response event_data old_value new_value old_row new_row before after diff change
"""  # noqa: E501 - a table: one line is one entry


def _entry(line: str) -> Entry:
    kind, category, weight, types, names = (part.strip() for part in line.split(" | "))
    end = "$" if names.startswith("$ ") else ""
    alternatives = "|".join(names.removeprefix("$ ").split())
    return Entry(
        kind=kind,
        category=None if category == "-" else category,
        weight=Weight(weight),
        text_only=types == "text",
        pattern=re.compile(f"_(?:{alternatives})_{end}"),
    )


ENTRIES = tuple(_entry(line) for line in _LINES.strip().splitlines())

"""A clinic: who lives where is told below the subject, keys are uuids, partitions are by inheritance and a trigger.

What real applications have and the sample databases have not, from the draft to the certificate, without one edit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.main.programme import Programme, ask, run, value
from tests.servers import HASTY, Servers, create_database, own_server

SCHEMA = """
CREATE TYPE sex AS ENUM ('f', 'm', 'x');
CREATE SCHEMA clinical; CREATE SCHEMA ref;
CREATE TABLE ref.nation (nation_id serial PRIMARY KEY, nation_name text NOT NULL UNIQUE);
CREATE TABLE ref.province (province_id serial PRIMARY KEY, nation_id int NOT NULL REFERENCES ref.nation, name text);
CREATE TABLE clinical.practitioner (id serial PRIMARY KEY, family_name text NOT NULL, licence_number text UNIQUE);
CREATE TABLE clinical.patient (patient_id uuid PRIMARY KEY, mrn text NOT NULL UNIQUE, gender sex NOT NULL,
    birthdate date, mother_patient_id uuid REFERENCES clinical.patient, "practitionerId" int
    REFERENCES clinical.practitioner);
CREATE TABLE clinical.patient_demographics (patient_id uuid PRIMARY KEY REFERENCES clinical.patient,
    province_id int REFERENCES ref.province, email text);
CREATE TABLE clinical.encounter (encounter_id bigserial PRIMARY KEY,
    patient_id uuid NOT NULL REFERENCES clinical.patient, started timestamptz NOT NULL);
CREATE TABLE clinical.observation (observation_id bigserial, encounter_id bigint NOT NULL, value numeric, taken date);
CREATE TABLE clinical.observation_2024 (PRIMARY KEY (observation_id),
    FOREIGN KEY (encounter_id) REFERENCES clinical.encounter) INHERITS (clinical.observation);
CREATE FUNCTION clinical.route() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO clinical.observation_2024 VALUES (new.*); RETURN NULL; END';
CREATE TRIGGER route BEFORE INSERT ON clinical.observation FOR EACH ROW EXECUTE FUNCTION clinical.route();
CREATE TABLE clinical.allergy (patient_id uuid NOT NULL, substance text NOT NULL);
CREATE TABLE clinical.lab_order (id bigserial PRIMARY KEY, patient_mrn text NOT NULL
    REFERENCES clinical.patient (mrn), tags text[]);
INSERT INTO ref.nation (nation_name) VALUES ('Canada'), ('Germany'), ('France'), ('Japan');
INSERT INTO ref.province (nation_id, name) SELECT 1 + n % 4, 'Province ' || n FROM generate_series(1, 20) n;
INSERT INTO clinical.practitioner (family_name, licence_number)
    SELECT 'Doc' || n, 'L' || n FROM generate_series(1, 9) n;
INSERT INTO clinical.patient SELECT md5('p' || n)::uuid, 'MRN' || lpad(n::text, 6, '0'), 'x',
    date '1950-01-01' + n * 30, CASE WHEN n % 5 = 0 THEN md5('p' || (n - 1))::uuid END, 1 + n % 9
    FROM generate_series(1, 120) n;
INSERT INTO clinical.patient_demographics SELECT md5('p' || n)::uuid, 1 + n % 20, 'patient' || n || '@example.test'
    FROM generate_series(1, 120) n;
INSERT INTO clinical.encounter (patient_id, started) SELECT md5('p' || (1 + n % 120))::uuid, '2024-01-01'
    FROM generate_series(1, 300) n;
INSERT INTO clinical.observation (encounter_id, value, taken) SELECT 1 + n % 300, n, '2024-02-01'
    FROM generate_series(1, 500) n;
INSERT INTO clinical.allergy SELECT md5('p' || (1 + n % 120))::uuid, 'nuts' FROM generate_series(1, 90) n;
INSERT INTO clinical.lab_order (patient_mrn, tags) SELECT 'MRN' || lpad((1 + n % 120)::text, 6, '0'), '{a}'
    FROM generate_series(1, 200) n;
"""
CANADIANS = """(SELECT patient_id FROM clinical.patient_demographics JOIN ref.province USING (province_id)
    JOIN ref.nation USING (nation_id) WHERE nation_name = 'Canada')"""
ENCOUNTERS = f"(SELECT encounter_id FROM clinical.encounter WHERE patient_id IN {CANADIANS})"
# Table → which rows are a Canadian's, by hand.
THEIRS = {
    "clinical.patient_demographics": f"patient_id IN {CANADIANS}",
    "clinical.encounter": f"patient_id IN {CANADIANS}",
    "clinical.observation": f"encounter_id IN {ENCOUNTERS}",
    "clinical.allergy": f"patient_id IN {CANADIANS}",
    "clinical.lab_order": f"patient_mrn IN (SELECT mrn FROM clinical.patient WHERE patient_id IN {CANADIANS})",
}


class Clinic:
    """Before and after."""

    def __init__(self, programme: Programme, original: str) -> None:
        self.programme, self.original = programme, original
        (self.home,) = programme.homes.values()


@pytest.fixture(scope="module")
def clinic(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    with own_server("clinic", parameters=HASTY) as server:
        original, home = (create_database(servers.of(18), f"clinic_{name}") for name in ("original", "home"))
        source = create_database(server, "clinic")
        for dsn in (source, original):
            run(dsn, SCHEMA)
        folder: Path = tmp_path_factory.mktemp("clinic")
        programme = Programme(folder=folder, source=source, homes={"ca": home})
        programme.draft({"CA": "ca"})
        programme.move()
        programme.finish()
        yield Clinic(programme, original)


@pytest.mark.parametrize("table", THEIRS)
def test_an_unedited_draft_moves_the_rows_counted_by_hand(clinic: Clinic, table: str) -> None:
    theirs = THEIRS[table]
    rows = f"SELECT t::text FROM {table} t WHERE "
    assert sorted(ask(clinic.original, f"{rows} {theirs}")) == sorted(ask(clinic.home, f"{rows} true"))
    assert sorted(ask(clinic.original, f"{rows} NOT ({theirs})")) == sorted(
        ask(clinic.programme.source, f"{rows} true")
    )


def test_a_mother_who_lives_elsewhere_is_a_skeleton_on_the_other_side(clinic: Clinic) -> None:
    whole = "SELECT count(*) FROM clinical.patient WHERE birthdate IS NOT NULL"
    canadians = value(clinic.original, f"SELECT count(*) FROM clinical.patient WHERE patient_id IN {CANADIANS}")
    assert canadians == value(clinic.home, whole)
    assert 120 - canadians == value(clinic.programme.source, whole)
    mothers = (
        "SELECT count(DISTINCT mother_patient_id) FROM clinical.patient WHERE (patient_id {}IN {c})"
        " AND (mother_patient_id {}IN {c})"
    )
    blanked = "SELECT count(*) FROM clinical.patient WHERE birthdate IS NULL"
    assert value(clinic.original, mothers.format("", "NOT ", c=CANADIANS)) == value(clinic.home, blanked)
    assert value(clinic.original, mothers.format("NOT ", "", c=CANADIANS)) == value(clinic.programme.source, blanked)


def test_p3_the_name_of_a_row_that_stays_is_no_residue(clinic: Clinic) -> None:
    """The mother's uuid stands in the mover's row and, rightly, everywhere at the source."""
    assert "present" not in clinic.programme.verdicts().values()


def test_p3_the_key_of_a_patient_who_left_is_nowhere_but_in_skeletons(clinic: Clinic) -> None:
    left = ask(
        clinic.programme.source,
        "SELECT patient_id FROM clinical.allergy UNION SELECT patient_id FROM clinical.encounter"
        " UNION SELECT patient_id FROM clinical.patient_demographics",
    )
    gone = ask(clinic.original, f"SELECT patient_id FROM clinical.patient WHERE patient_id IN {CANADIANS}")
    assert set() == set(left) & set(gone)
    assert gone

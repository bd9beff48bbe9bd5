"""What is computed from people's rows: emptied or refreshed outside, made anew at home (P3, P4)."""

from __future__ import annotations

import json
from typing import Final

import pytest

from domicile.errors import BadFile, DomicileError, Refused, Unclassed, Undecided, Waiting
from domicile.evidence.predicates import CertificatePredicate, ErasurePredicate, FindingPredicate, Phase
from domicile.run import Stage, again, stating
from tests.attack.conftest import World, Worlds
from tests.attack.programme import PERSON

PEOPLE: Final = """
CREATE TABLE person (id int PRIMARY KEY, market text, email text);
INSERT INTO person
    SELECT i, CASE WHEN i % 2 = 0 THEN 'CA' ELSE 'SG' END, 'person' || i || '@example.test'
    FROM generate_series(1, 20) AS i;
CREATE TABLE visit (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person, page text);
INSERT INTO visit SELECT i, 1 + i % 20, 'page ' || i % 7 FROM generate_series(1, 200) AS i;
"""
TOTALS: Final = """
CREATE TABLE totals (person_id int PRIMARY KEY REFERENCES person ON DELETE CASCADE, email text, visits bigint);
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
    INSERT INTO totals SELECT p.id, p.email, count(*) FROM person p JOIN visit v ON v.person_id = p.id GROUP BY p.id
    ON CONFLICT DO NOTHING $$;
SELECT fill();
"""
RULES: Final = (
    PERSON + "datasets:\n  app.public.person: {rows: move}\n  app.public.visit: {rows: move, path: person_id}\n"
)
DERIVED: Final = "  app.public.totals: {rows: derived, of: [app.public.visit, app.public.person]}\n"
VIEW: Final = "CREATE MATERIALIZED VIEW contacts AS SELECT id, email FROM person;"


def verdict_of(world: World, copy: str) -> str:
    with world.programme.opened() as run:
        certificate = run.last(CertificatePredicate)
    assert certificate is not None
    assert isinstance(certificate.predicate, CertificatePredicate)
    return {item.id: item.verdict.value for item in certificate.predicate.copies}[f"app/{copy}"]


def test_p3_a_summary_table_is_emptied_outside_and_filled_by_the_job_on_both_sides(world: Worlds) -> None:
    made = world(PEOPLE + TOTALS, RULES + DERIVED)
    made.programme.finish()
    assert [(0,)] == made.at_source("SELECT count(*) FROM totals")
    assert [(0,)] == made.at_home("SELECT count(*) FROM totals")
    assert "erased-verified" == verdict_of(made, "derived-table:public.totals")
    for query in (made.at_source, made.at_home):
        query("SELECT fill()")
        assert [(10,)] == query("SELECT count(*) FROM totals")
        assert [(10,)] == query("SELECT count(*) FROM totals JOIN person ON id = person_id")
    assert 0 == made.programme.audit().returncode


def test_p5_a_job_that_fills_it_in_between_leaves_nothing(world: Worlds) -> None:
    made = world(PEOPLE + TOTALS, RULES + DERIVED)
    made.programme.clear()
    made.programme.apply(yes=True, until=Stage.ERASE)
    assert [(0,)] == made.at_source("SELECT count(*) FROM totals")
    made.at_source(  # a backfill from somewhere else: of a mover who is gone, past the foreign key
        "SET session_replication_role = replica; INSERT INTO totals VALUES (2, 'person2@example.test', 9)"
    )
    made.programme.apply(yes=True)
    assert [(0,)] == made.at_source("SELECT count(*) FROM totals")
    assert "erased-verified" == verdict_of(made, "derived-table:public.totals")


def test_p2_nothing_is_emptied_before_the_clearance(world: Worlds) -> None:
    made = world(PEOPLE + TOTALS, RULES + DERIVED)
    made.programme.clear()
    with pytest.raises(DomicileError, match=r"all rows of app\.public\.totals"):
        made.programme.apply()
    assert [(20,)] == made.at_source("SELECT count(*) FROM totals")


def test_p1_the_same_table_whose_rows_stay_needs_a_rule_for_its_links(world: Worlds) -> None:
    made = world(PEOPLE + TOTALS, RULES + "  app.public.totals: {rows: none, reason: counts}\n")
    with pytest.raises(Undecided, match="totals"):
        made.programme.plan()
    assert [(20,)] == made.at_source("SELECT count(*) FROM totals")


def test_its_own_triggers_stay_silent(world: Worlds) -> None:
    archive = """
    CREATE TABLE archive (visits bigint);
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.archive SELECT visits FROM public.totals; RETURN NULL; END $$;
    CREATE TRIGGER keep BEFORE TRUNCATE ON totals EXECUTE FUNCTION keep();
    """
    rules = RULES + DERIVED + "  app.public.archive: {rows: none, reason: a log}\n"
    made = world(PEOPLE + TOTALS + archive, rules)
    made.programme.finish()
    assert [(0,)] == made.at_source("SELECT count(*) FROM archive")
    loud = world(PEOPLE + TOTALS + archive + "ALTER TABLE totals ENABLE ALWAYS TRIGGER keep;", rules)
    with pytest.raises(Refused, match="keep fires"):
        loud.programme.plan()


def test_a_partitioned_one_is_emptied_whole(world: Worlds) -> None:
    made = world(
        PEOPLE
        + """
    CREATE TABLE totals (day int, visits bigint) PARTITION BY RANGE (day);
    CREATE TABLE totals_1 PARTITION OF totals FOR VALUES FROM (1) TO (10);
    CREATE TABLE totals_2 PARTITION OF totals DEFAULT;
    INSERT INTO totals SELECT d, d FROM generate_series(1, 20) AS d;
    """,
        RULES + DERIVED,
    )
    made.programme.clear()
    made.programme.apply(yes=True, until=Stage.ERASE)
    assert [(0,)] == made.at_source("SELECT count(*) FROM totals")


def test_p1_a_table_that_others_inherit_from_is_not_emptied_with_them(world: Worlds) -> None:
    heirs = (
        "CREATE TABLE daily (note text) INHERITS (totals); INSERT INTO daily VALUES (1, NULL, 3, 'kept nowhere else');"
    )
    made = world(PEOPLE + TOTALS + heirs, RULES + DERIVED + "  app.public.daily: {rows: move, path: person_id}\n")
    with pytest.raises(BadFile, match=r"public\.daily inherit from it"):
        made.programme.plan()


def test_p3_a_view_that_reads_through_a_function_is_refreshed_too(world: Worlds) -> None:
    hidden = """
    CREATE FUNCTION addresses() RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT email FROM public.person';
    CREATE MATERIALIZED VIEW letters AS SELECT a AS email FROM addresses() AS a;
    """
    made = world(PEOPLE + hidden, RULES + "  app.public.letters: {rows: derived}\n")
    made.programme.finish()
    assert [(10,)] == made.at_source("SELECT count(*) FROM letters")
    assert "erased-verified" == verdict_of(made, "materialised-view:public.letters")


def test_the_dry_run_names_what_would_be_emptied(world: Worlds) -> None:
    made = world(PEOPLE + TOTALS, RULES + DERIVED)
    made.programme.clear()
    assert ["app.public.totals"] == json.loads(made.programme.command("erase", "--json").stdout)["emptied"]
    assert "app.public.totals: emptied, of all people" in made.programme.command("erase").stdout
    assert [(20,)] == made.at_source("SELECT count(*) FROM totals")


def test_p7_the_emptying_is_announced_and_reported(world: Worlds) -> None:
    made = world(PEOPLE + TOTALS, RULES + DERIVED)
    made.programme.finish()
    with made.programme.opened() as run:
        said = [found.predicate for found in run.ledger.statements()]
    told = [(one.phase, one.emptied) for one in said if isinstance(one, ErasurePredicate) and one.emptied]
    totals = ("app/derived-table:public.totals",)
    assert [(Phase.INTENT, totals), (Phase.OUTCOME, totals)] == told
    assert 0 == made.programme.audit().returncode


def test_p4_a_materialised_view_is_classed_too(world: Worlds) -> None:
    made = world(PEOPLE + VIEW, RULES)
    with pytest.raises(Unclassed, match=r"app.public.contacts: \{rows: derived\}"):
        made.programme.plan()
    classed = world(PEOPLE + VIEW, RULES + "  app.public.contacts: {rows: derived}\n")
    classed.programme.finish()
    assert [(10,)] == classed.at_source("SELECT count(*) FROM contacts")
    assert [(10,)] == classed.at_home("SELECT count(*) FROM contacts")
    assert "erased-verified" == verdict_of(classed, "materialised-view:public.contacts")


WRONG: Final = {
    "it leads to nobody's rows": ("{rows: derived}", "name the datasets"),
    "it is computed from what is not there": ("{rows: derived, of: [app.public.nothing]}", "not in `datasets`"),
    "it is computed from itself": ("{rows: derived, of: [app.public.totals]}", "itself"),
    "it has a path": ("{rows: derived, of: [app.public.visit], path: person_id}", "takes `of` alone"),
    "it has classes": ("{rows: derived, of: [app.public.visit], fields: {email: public}}", "takes `of` alone"),
    "others have an origin": ("{rows: none, reason: counts, of: [app.public.visit]}", "`of` is for"),
}


@pytest.mark.parametrize("case", WRONG)
def test_p4_a_derived_table_is_described_in_full(world: Worlds, case: str) -> None:
    rule, words = WRONG[case]
    made = world(PEOPLE + TOTALS, RULES + f"  app.public.totals: {rule}\n")
    with pytest.raises(BadFile, match=words):
        made.programme.plan()


@pytest.mark.parametrize(
    ("more", "rule", "words"),
    [
        (VIEW, DERIVED + "  app.public.contacts: {rows: none, reason: addresses}\n", "write `rows: derived`"),
        (
            VIEW,
            DERIVED + "  app.public.contacts: {rows: derived, of: [app.public.visit]}\n",
            "doesn't read app.public.visit",
        ),
        (
            "CREATE TABLE remark (person_id int REFERENCES totals);",
            DERIVED + "  app.public.remark: {rows: none, reason: remarks}\n",
            "refers to it by remark_person_id_fkey",
        ),
        (
            "CREATE TABLE remark (person_id int);",
            DERIVED
            + "  app.public.remark: {rows: move, path: [{via: person_id, to: app.public.totals, key: person_id}]}\n",
            "nothing may lead over it",
        ),
    ],
)
def test_p4_what_is_said_of_it_must_be_so(world: Worlds, more: str, rule: str, words: str) -> None:
    made = world(PEOPLE + TOTALS + more, RULES + rule)
    with pytest.raises(DomicileError, match=words):
        made.programme.plan()


def test_the_plan_says_what_is_emptied(world: Worlds) -> None:
    made = world(PEOPLE + TOTALS + VIEW + "ANALYZE;", RULES + DERIVED + "  app.public.contacts: {rows: derived}\n")
    told = made.programme.command("plan")
    assert "public.totals: EMPTIED as the erasure begins, about 20 rows of all people" in " ".join(told.stdout.split())
    assert "public.contacts: refreshed after the erasure" in " ".join(told.stdout.split())


def test_explain_says_that_its_rows_are_computed(world: Worlds) -> None:
    made = world(PEOPLE + TOTALS + VIEW, RULES + DERIVED + "  app.public.contacts: {rows: derived}\n")
    totals, contacts = (made.programme.command("explain", name, "1") for name in ("totals", "contacts"))
    assert (1, 1) == (totals.returncode, contacts.returncode)
    assert "computed from app.public.visit, app.public.person, and are emptied" in totals.stderr
    assert "computed from app.public.person, and are refreshed" in contacts.stderr


def test_p7_what_is_emptied_again_after_a_certificate_is_announced_and_waits_for_yes(world: Worlds) -> None:
    made = world(PEOPLE + TOTALS, RULES + DERIVED)
    copy = "app/derived-table:public.totals"
    made.programme.clear()
    made.programme.apply(yes=True, until=Stage.ERASE)
    made.at_source("UPDATE person SET email = 'person2@example.test' WHERE id = 1")  # a find: the run may go on
    made.programme.apply(yes=True)
    made.at_source("UPDATE person SET email = 'person1@example.test' WHERE id = 1")
    made.at_source("SELECT fill()")
    dry = made.programme.command("apply")
    assert f"empties {copy} again, of all people" in " ".join((dry.stdout + dry.stderr).split())
    assert [(10,)] == made.at_source("SELECT count(*) FROM totals")
    made.programme.apply(yes=True)
    assert [(0,)] == made.at_source("SELECT count(*) FROM totals")
    with made.programme.opened() as run:
        found = [one.predicate for one in run.ledger.statements() if isinstance(one.predicate, FindingPredicate)]
        assert ["to be emptied", "emptied"] == [one.kind for one in found if one.where == copy]
        again.forget_found(run.journal)  # as after a restore: the certificate is no longer the last word
        for done in (False, True):
            plan, now = run.ledger.plan().plan, run.record.now()
            run.record.state(stating.return_statement(plan, "app.public.person", 1, now, done=done))
    made.at_source("SELECT fill()")
    with pytest.raises(Waiting, match="is emptied once more, of all people"):
        made.programme.apply()
    assert 0 == made.programme.command("certify").returncode
    assert [(10,)] == made.at_source("SELECT count(*) FROM totals")
    assert "present" == verdict_of(made, "derived-table:public.totals")
    assert 0 == made.programme.audit().returncode

"""Fetch the PostgreSQL majors that the tests run against."""

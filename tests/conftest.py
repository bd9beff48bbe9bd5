"""What every test may use: real servers for the session, a fresh database for the test."""

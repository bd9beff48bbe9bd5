"""Witnesses: `asking` is the log's side of C2SP tlog-witness, `serving` and `store` are a witness of our own."""

"""The spot check: rows and objects that a public seed draws, read in the stores and held against the log's digests."""

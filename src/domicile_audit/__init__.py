"""The auditor's checker: believes nothing of the engine and imports nothing of it."""

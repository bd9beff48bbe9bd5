"""What a run states, signed, in a public log: formats, keys, log, witnesses, receipts, the auditor's zip."""

"""Single papers instead of a bundle: a person's receipt, the proof of an entry, the proof that a log only grew."""

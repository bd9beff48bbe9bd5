"""The faces made of pictures and pages. No rules in them: they show values that others made."""

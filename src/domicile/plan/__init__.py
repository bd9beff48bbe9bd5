"""Stage *plan*: file and catalogue bound into a scope, and everything counted into one file that people sign."""

"""The move while people write: what changed is settled, brought home, and until the clearance brought back.

delta      the closure of some keys, by the same builders as the closure of all
carrying   rows of some keys from one database into another, in one transaction
forth      the source's changes come home
back       what changes at home of people who live there flows back (the way back)
cohorts    people's states: chosen, fenced, flipped, returned
"""

"""The move while people write: what changed is settled, brought home, and until the clearance brought back.

standing   what stands in the stores meanwhile: guards, feeds, lists of people
delta      the closure of some keys, by the same builders as the closure of all
outgoing   what goes to which home, read at the source
carrying   rows of some keys from one database into another, in one transaction
forth      the source's changes come home
comparing  what was brought is read back
back       what changes at home of people who live there flows back (the way back)
follower   one step of it, forth or back, with its sessions
people     people's states: chosen, fenced, flipped, returned
closing    the end while homes live: one moment of each, and what may be compared of it
"""

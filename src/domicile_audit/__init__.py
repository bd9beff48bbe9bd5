"""The auditor's checker of a bundle of evidence: believes nothing, asks nobody, shares no code with the engine.

Read `checklist.py` first: it is the list, and names the file of each check. Standard library and `cryptography`.
"""

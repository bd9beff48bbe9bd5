"""The directory: whose home is where, asked by the platform for every request.

`states` are its values, `server` answers over HTTP from the source's tables, `client` is what a platform takes along.
"""

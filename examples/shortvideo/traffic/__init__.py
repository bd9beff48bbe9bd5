"""Simulated people at a set rate: they read, watch, like, write, upload, sign up, change country and leave."""

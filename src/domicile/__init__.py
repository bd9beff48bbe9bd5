"""Brings a market's private data home, keeps it there, erases it elsewhere, and lets anyone check."""

__version__ = "0.1.0"

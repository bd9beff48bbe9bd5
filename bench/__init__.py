"""Measures the engine against what a platform engineer would use without it; figures are ratios of paired runs."""

"""Compiled models as data: what a compiler hands out, and engines run."""

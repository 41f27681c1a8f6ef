"""Compiler: front ends, passes, mapping, checks."""

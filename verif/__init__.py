"""Verification: golden model, engines, testbenches, tests and the command line."""

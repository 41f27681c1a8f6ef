"""Tests of everything; `make test` runs all but those marked ``regress``."""

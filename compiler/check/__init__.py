"""Checks of programs before they are handed out: executed on tokens, beside what was asked for."""

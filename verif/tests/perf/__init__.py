"""Tests of ``perf``."""

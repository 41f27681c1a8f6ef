"""The commands of ``perf``."""

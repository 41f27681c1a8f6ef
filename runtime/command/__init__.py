"""The commands of ``runtime``."""

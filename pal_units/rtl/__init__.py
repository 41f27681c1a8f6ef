"""Amaranth units of PAL arithmetic; each is checked against ``pal_units.model``."""

"""The units of ``pal_units.rtl``: which there are, in which formats, and each of them as files."""

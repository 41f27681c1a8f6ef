"""The array in Amaranth."""

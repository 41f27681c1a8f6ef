"""Performance and energy: of a tile, a chip, other machines, many nodes."""

"""Models that people have, with real weights."""

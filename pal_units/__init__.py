"""PAL (parallel adaptive logarithm) numbers: formats, numpy model and RTL units."""

"""Everything about the architecture that RTL, golden model and compiler must agree on."""

"""Dot-product units of other number formats, as good as we can make them."""

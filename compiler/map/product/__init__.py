"""Matrix products, and the blocks that they are made of."""

"""What the commands of ``spu`` share, and how they come together."""

"""The memory engine: AXI4 managers, address patterns, channels, the ring of descriptors."""

"""Programs as text: assembly and disassembly."""

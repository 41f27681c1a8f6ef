"""From Amaranth to Verilog, simulators and synthesis."""

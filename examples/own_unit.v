// unit: plain INT8, 4 lanes
// top: plain_dot
// macs: 4
// bits: 8
// ports: a 32, b 32, first 1, result 26

module plain_dot (
  input clk, first,
  input [31:0] a, b,
  output reg signed [25:0] result
);
  integer i;
  reg signed [25:0] total;
  always @* begin
    total = first ? 0 : result;
    for (i = 0; i < 4; i = i + 1)
      total = total + $signed(a[8*i +: 8]) * $signed(b[8*i +: 8]);
  end
  always @(posedge clk) result <= total;
endmodule

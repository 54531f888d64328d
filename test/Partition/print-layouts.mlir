// RUN: galvatron-opt %s --dist-print-layouts -verify-diagnostics

// What is whole is not worth a remark.
dist.mesh @mesh() micro_batches(2)
// expected-remark@+1 {{argument #0 is #dist.layout<@mesh, [["time"], []]>}}
func.func private @block(%x: tensor<4x2xf32> {dist.layout = #dist.layout<@mesh, [["time"], []]>},
                         %w: tensor<2xf32> {dist.layout = #dist.layout<@mesh, [[]]>}) -> tensor<2xf32> {
  // expected-remark@+1 {{result #0 is #dist.layout<@mesh, [[]], partial <sum over "time">>}}
  %0 = nn.reduce sum %x [0] {dist.layouts = [#dist.layout<@mesh, [[]], partial <sum over "time">>]} : tensor<4x2xf32> -> tensor<2xf32>
  return %0 : tensor<2xf32>
}
func.func @step(%x: tensor<4x2xf32>) {
  // expected-remark@+1 {{result #0 is #dist.layout<@mesh, [["time"], []]>}}
  %0 = dist.reshard %x to <@mesh, [["time"], []]> : tensor<4x2xf32>
  return
}

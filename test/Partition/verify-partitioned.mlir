// RUN: galvatron-opt %s --verify-partitioned -split-input-file -verify-diagnostics

func.func @step(%x: tensor<4xf32>) {
  // expected-error@+1 {{is left after partition}}
  %0 = dist.reshard %x to <@mesh, [["time"]]> : tensor<4xf32>
  // expected-error@+1 {{has layouts of its own after partition}}
  %1 = nn.exp %0 {dist.layouts = []} : tensor<4xf32>
  return
}

// -----

// expected-error@+1 {{is stored in pieces of an unknown shape}}
nn.parameter @w trainable : tensor<3x4xf32>, view strided<[4, 1]> of "w" [5, 4] init zero {dist.layout = #dist.layout<@mesh, [["a"], []]>}

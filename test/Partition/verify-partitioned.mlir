// RUN: galvatron-opt %s --verify-partitioned -split-input-file -verify-diagnostics

func.func @step(%x: tensor<4xf32>) {
  // expected-error@+1 {{is left after partition}}
  %0 = dist.reshard %x to <@mesh, [["time"]]> : tensor<4xf32>
  // expected-error@+1 {{has layouts of its own after partition}}
  %1 = nn.exp %0 {dist.layouts = []} : tensor<4xf32>
  return
}

// RUN: galvatron-opt %s --verify-partitioned -split-input-file -verify-diagnostics

func.func @step(%x: tensor<4xf32>) {
  // expected-error@+1 {{is left after partition}}
  %0 = dist.reshard %x to <@mesh, [["time"]]> : tensor<4xf32>
  // expected-error@+1 {{has layouts of its own after partition}}
  %1 = nn.exp %0 {dist.layouts = []} : tensor<4xf32>
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
func.func private @block(%x: tensor<f32>) -> tensor<f32> {
  // expected-error@+1 {{is in a function that a step calls: functions hold no collective}}
  %0 = dist.all_reduce sum %x over @mesh ["time"] : tensor<f32>
  return %0 : tensor<f32>
}

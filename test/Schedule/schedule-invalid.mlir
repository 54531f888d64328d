// RUN: galvatron-opt %s --pipe-schedule -split-input-file -verify-diagnostics

// expected-error@+1 {{module has 0 meshes; exactly one is needed (--dist-apply-plan adds it)}}
module {
}

// -----

dist.mesh @mesh() micro_batches(1)
func.func private @f() {
  return
}
func.func @step(%x: tensor<f32>) {
  // expected-error@+1 {{has no phase or number (--pipe-split adds them)}}
  call @f() : () -> ()
  // expected-error@+1 {{cannot be a row of a table (--pipe-split moves arithmetic into functions)}}
  %0 = nn.exp %x : tensor<f32>
  // expected-error@+1 {{cannot be a row of a table (--pipe-split moves arithmetic into functions)}}
  %1 = nn.add %x, %x : tensor<f32>
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}
func.func private @f(%x: tensor<f32>) -> tensor<f32> {
  return %x : tensor<f32>
}
func.func private @g(%x: tensor<f32>) -> tensor<f32> {
  return %x : tensor<f32>
}
func.func @step(%x: tensor<f32> {nn.name = "x"}) -> (tensor<f32> {nn.name = "y"}, tensor<f32> {nn.name = "z"}, tensor<f32> {nn.name = "w"}) {
  %0 = call @f(%x) {pipe.phase = #pipe<phase forward>, pipe.call = 0 : i64, dist.strategy = @s0} : (tensor<f32>) -> tensor<f32>
  %1 = dist.all_reduce sum %0 over @mesh ["time"] : tensor<f32>
  // A call adds what it makes to one running sum.
  // expected-error@+1 {{sums a value over "time" that is part of a sum already}}
  %2 = dist.all_reduce sum %0 over @mesh ["time"] : tensor<f32>
  // expected-error@+1 {{sums a value over "time" that is no result of a call}}
  %3 = dist.all_reduce sum %x over @mesh ["time"] : tensor<f32>
  // expected-error@+1 {{runs before the first micro-batch and reads what one of them makes}}
  %4 = call @g(%0) {pipe.phase = #pipe<phase prepare>, pipe.call = 1 : i64} : (tensor<f32>) -> tensor<f32>
  return %1, %2, %3 : tensor<f32>, tensor<f32>, tensor<f32>
}

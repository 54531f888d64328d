// RUN: galvatron-opt %s --pipe-split -split-input-file -verify-diagnostics

dist.mesh @mesh() micro_batches(2)
func.func private @f(%x: tensor<f32>) -> tensor<f32> {
  return %x : tensor<f32>
}
func.func @step(%x: tensor<f32>) -> tensor<f32> {
  %0 = dist.all_reduce sum %x over @mesh ["time"] : tensor<f32>
  // expected-error@+1 {{belongs to a micro-batch and reads a value that is whole only after the last one}}
  %1 = call @f(%0) {dist.strategy = @s0} : (tensor<f32>) -> tensor<f32>
  return %1 : tensor<f32>
}

// -----

func.func private @f(%x: tensor<f32>) -> tensor<f32> {
  return %x : tensor<f32>
}
func.func @step(%x: tensor<f32>) -> tensor<f32> {
  // expected-error@+1 {{is the backward of call 2 : i64, which the step does not make before it}}
  %1 = call @f(%x) {dist.strategy = @s0, dist.backward_of = 2 : i64} : (tensor<f32>) -> tensor<f32>
  return %1 : tensor<f32>
}

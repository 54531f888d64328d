// RUN: galvatron-opt %s --dist-print-communication -verify-diagnostics

// Collectives of a function count for each call and micro-batch, those of the step for each micro-batch if they read what one makes.
// Accumulation and slices cross no link.
dist.mesh @mesh("a" = 2) micro_batches(4)
func.func private @block(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
  %0 = dist.all_reduce max %x over @mesh ["a"] : tensor<2x2xf32>
  return %0 : tensor<2x2xf32>
}
// expected-remark@+4 {{all_reduce max over ["a"] in @block: 16 bytes, 8 times a step}}
// expected-remark@+3 {{all_gather over ["a"] in @step: 16 bytes, 4 times a step}}
// expected-remark@+2 {{all_reduce sum over ["a"] in @step: 16 bytes, 1 times a step}}
// expected-remark@+1 {{a step has 13 collectives, to which each rank brings 208 bytes}}
func.func @step(%x: tensor<16x2xf32>) -> (tensor<4x2xf32>, tensor<2x2xf32>) {
  %0 = dist.slice %x dim 0 over @mesh ["time", "a"] : tensor<16x2xf32> -> tensor<2x2xf32>
  %1 = call @block(%0) {dist.strategy = @s0} : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %2 = call @block(%1) {dist.strategy = @s0} : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %3 = dist.all_gather %2 dim 0 over @mesh ["a"] : tensor<2x2xf32> -> tensor<4x2xf32>
  %4 = dist.all_reduce sum %2 over @mesh ["time"] : tensor<2x2xf32>
  %5 = dist.all_reduce sum %4 over @mesh ["a"] : tensor<2x2xf32>
  return %3, %5 : tensor<4x2xf32>, tensor<2x2xf32>
}

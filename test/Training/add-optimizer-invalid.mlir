// RUN: galvatron-opt %s -split-input-file -verify-diagnostics --nn-add-optimizer
// RUN: not galvatron-opt %s --nn-add-optimizer=optimizer=lion 2>&1 | FileCheck %s

// CHECK: error: optimizer "lion" is neither adamw nor sgd

// expected-error @+1 {{module has no function @step with gradients; --nn-differentiate makes it}}
module {}

// -----

nn.parameter @w trainable : tensor<f32>, view strided<[]> of "w" [] init one
// expected-error @+1 {{model has an input "hyper", the name of the optimizer's scalars}}
func.func @step(%x: tensor<f32> {nn.name = "hyper"}) -> tensor<f32> {
  nn.gradient @w, %x : tensor<f32>
  return %x : tensor<f32>
}

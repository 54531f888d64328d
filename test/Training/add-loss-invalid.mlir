// RUN: galvatron-opt %s -split-input-file -verify-diagnostics --nn-add-loss=loss=cross-entropy:logits

// expected-error @+1 {{module has no function @forward to add a loss to}}
module {}

// -----

// expected-error @+1 {{model has no output "logits"; it has "hidden" (tensor<2x4xf32>), "pooled" (tensor<2xf32>)}}
func.func @forward(%x: tensor<2x4xf32>, %y: tensor<2xf32>) -> (tensor<2x4xf32> {nn.name = "hidden"}, tensor<2xf32> {nn.name = "pooled"}) {
  return %x, %y : tensor<2x4xf32>, tensor<2xf32>
}

// -----

// expected-error @+1 {{output "logits" of type 'tensor<2x4xi64>' cannot be logits: they are floats with a last dimension of classes}}
func.func @forward(%x: tensor<2x4xi64>) -> (tensor<2x4xi64> {nn.name = "logits"}) {
  return %x : tensor<2x4xi64>
}

// -----

// expected-error @+1 {{model has an input "labels" already, so it cannot get another for its cross entropy}}
func.func @forward(%x: tensor<2x4xf32> {nn.name = "labels"}) -> (tensor<2x4xf32> {nn.name = "logits"}) {
  return %x : tensor<2x4xf32>
}

// -----

// expected-error @+1 {{model has an output "loss" already, so it cannot get another; use output:loss to train on it}}
func.func @forward(%x: tensor<2x4xf32>, %y: tensor<f32>) -> (tensor<2x4xf32> {nn.name = "logits"}, tensor<f32> {nn.name = "loss"}) {
  return %x, %y : tensor<2x4xf32>, tensor<f32>
}

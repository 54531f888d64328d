// RUN: galvatron-opt %s -split-input-file -verify-diagnostics --nn-differentiate

// expected-error @+1 {{module has no function @forward to differentiate}}
module {}

// -----

// expected-error @+1 {{first result of @forward is not the loss, an f32 scalar; --nn-add-loss makes it one}}
func.func @forward(%x: tensor<4xf32>) -> tensor<4xf32> { return %x : tensor<4xf32> }

// -----

// expected-error @+1 {{loss depends on no trainable parameter}}
func.func @forward(%x: tensor<f32>) -> tensor<f32> { return %x : tensor<f32> }

// -----

// expected-error @+1 {{symbol @step is taken, which the training step needs}}
func.func private @step(%x: tensor<f32>) -> tensor<f32>
func.func @forward(%x: tensor<f32>) -> tensor<f32> { return %x : tensor<f32> }

// -----

func.func @forward(%x: tensor<f32>) -> tensor<f32> {
  // expected-error @+1 {{'nn.neg' op is not a call of a function with a body; --nn-outline-blocks leaves nothing else in @forward}}
  %y = nn.neg %x : tensor<f32>
  return %y : tensor<f32>
}

// -----

// Every op without a gradient on the way is reported.
nn.parameter @w trainable : tensor<4xf32>, view strided<[1]> of "w" [4] init normal
// expected-warning @+1 {{parameter "unused" gets no gradient: the loss does not depend on it, so it stays as it is}}
nn.parameter @u trainable : tensor<4xf32>, view strided<[1]> of "unused" [4] init normal
func.func private @model(%w: tensor<4xf32>) -> tensor<f32> {
  %l = nn.reduce sum %w [0] : tensor<4xf32> -> tensor<f32>
  return %l : tensor<f32>
}
func.func @forward() -> tensor<f32> {
  %w = nn.get_parameter @w : tensor<4xf32>
  %l = call @model(%w) : (tensor<4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}

// -----

nn.parameter @w trainable : tensor<4xf32>, view strided<[1]> of "w" [4] init normal
func.func private @model(%w: tensor<4xf32>) -> tensor<f32> {
  // expected-error @+1 {{'nn.gelu_grad' op has no gradient, and a trainable parameter leads to it}}
  %0 = nn.gelu_grad %w, %w erf : tensor<4xf32>
  // expected-error @+1 {{'nn.gelu_grad' op has no gradient, and a trainable parameter leads to it}}
  %1 = nn.gelu_grad %w, %w tanh : tensor<4xf32>
  %2 = nn.add %0, %1 : tensor<4xf32>
  %l = nn.reduce sum %2 [0] : tensor<4xf32> -> tensor<f32>
  return %l : tensor<f32>
}
func.func @forward() -> tensor<f32> {
  %w = nn.get_parameter @w : tensor<4xf32>
  %l = call @model(%w) : (tensor<4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}

// RUN: galvatron-opt %s -split-input-file -verify-diagnostics --nn-outline-blocks

// expected-error @+1 {{module has no function @forward to outline}}
module {}

// -----

nn.parameter @w trainable : tensor<f32>, view strided<[]> of "w" [] init one
func.func @forward(%x: tensor<f32>) -> tensor<f32> {
  // expected-error @+1 {{'nn.set_parameter' op has effects, which a model's @forward has not}}
  nn.set_parameter @w, %x : tensor<f32>
  return %x : tensor<f32>
}

// RUN: galvatron-opt %s -split-input-file -verify-diagnostics --verify-training

// expected-error @+2 {{module has no function @step after training passes}}
// expected-error @+1 {{module has no function @infer after training passes}}
module {}

// -----

nn.parameter @w trainable : tensor<f32>, view strided<[]> of "w" [] init one
func.func private @block0(%w: tensor<f32>) -> (tensor<f32>, tensor<f32>)
    attributes {nn.joint = #nn.joint<inputs = 1, results = 1, cotangents = [], differentiated = [0]>} {
  nn.backward_begin
  return %w, %w : tensor<f32>, tensor<f32>
}
func.func @step() -> tensor<f32> {
  %w = nn.get_parameter @w : tensor<f32>
  %l, %r = nn.forward @block0(%w) : (tensor<f32>) -> (tensor<f32>, !nn.residuals)
  %g = nn.backward @block0 %r() : () -> tensor<f32>
  // expected-error @+1 {{'nn.backward' op is the second backward of one nn.forward}}
  %h = nn.backward @block0 %r() : () -> tensor<f32>
  // expected-error @+1 {{'nn.mul' op is in @step, which computes nothing itself}}
  %p = nn.mul %g, %h : tensor<f32>
  // expected-error @+1 {{'nn.gradient' op gives @w a gradient, but nothing sets it}}
  nn.gradient @w, %p : tensor<f32>
  return %l : tensor<f32>
}
func.func @infer() -> tensor<f32> {
  %w = nn.get_parameter @w : tensor<f32>
  nn.set_parameter @w, %w : tensor<f32>
  // expected-error @+1 {{'nn.set_parameter' op sets @w a second time}}
  nn.set_parameter @w, %w : tensor<f32>
  return %w : tensor<f32>
}

// -----

nn.parameter @w trainable : tensor<f32>, view strided<[]> of "w" [] init one
// expected-error @+1 {{'func.func' op has no body of one block}}
func.func private @outside(%x: tensor<f32>) -> tensor<f32>
func.func private @reads() -> tensor<f32> {
  // expected-error @+1 {{'nn.get_parameter' op is in @reads, which computes with nn ops on its arguments alone}}
  %w = nn.get_parameter @w : tensor<f32>
  return %w : tensor<f32>
}
// expected-error @+1 {{'func.func' op is a joint function with 0 nn.backward_begin ops instead of one}}
func.func private @unmarked(%x: tensor<f32>) -> tensor<f32>
    attributes {nn.joint = #nn.joint<inputs = 1, results = 1, cotangents = [], differentiated = []>} {
  return %x : tensor<f32>
}
// expected-error @+1 {{'func.func' op has a forward that returns a value of its backward}}
func.func private @late(%x: tensor<f32>, %dy: tensor<f32>) -> tensor<f32>
    attributes {nn.joint = #nn.joint<inputs = 1, results = 1, cotangents = [0], differentiated = []>} {
  // expected-error @+1 {{'nn.neg' op is in the forward of @late and reads a cotangent}}
  %n = nn.neg %dy : tensor<f32>
  nn.backward_begin
  %y = nn.neg %x : tensor<f32>
  return %y : tensor<f32>
}
func.func @step() { return }
func.func @infer() { return }

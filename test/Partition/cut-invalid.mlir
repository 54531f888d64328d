// RUN: galvatron-opt %s --dist-cut -split-input-file -verify-diagnostics

// expected-error@+1 {{is a joint function with 0 nn.backward_begin markers; exactly one is needed}}
func.func private @block(%x: tensor<8xf32>) -> tensor<8xf32>
    attributes {nn.joint = #nn.joint<inputs = 1, results = 1, cotangents = [], differentiated = []>} {
  return %x : tensor<8xf32>
}

// -----

// expected-error@+1 {{is a joint function whose forward returns a value of its backward}}
func.func private @block(%x: tensor<8xf32>) -> tensor<8xf32>
    attributes {nn.joint = #nn.joint<inputs = 1, results = 1, cotangents = [], differentiated = []>} {
  nn.backward_begin
  %y = nn.exp %x : tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

func.func private @block(%x: tensor<8xf32>, %dy: tensor<8xf32>) -> tensor<8xf32>
    attributes {nn.joint = #nn.joint<inputs = 1, results = 1, cotangents = [0], differentiated = []>} {
  // expected-error@+1 {{is in the forward of a joint function and reads a cotangent}}
  %y = nn.exp %dy : tensor<8xf32>
  nn.backward_begin
  return %y : tensor<8xf32>
}

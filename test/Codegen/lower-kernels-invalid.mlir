// RUN: galvatron-opt %s --rt-lower-kernels -split-input-file -verify-diagnostics

func.func private @contract(%x: tensor<4x4xf32>) -> tensor<4x4xf32> attributes {rt.kernel} {
  // expected-error @below {{'nn.contract' op cannot be part of a kernel}}
  %y = nn.contract %x, %x "ab,bc->ac" : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}

// -----

// expected-error @below {{kernel has reductions over different loops}}
func.func private @loops(%x: tensor<4x5xf32>) -> (tensor<4xf32>, tensor<5xf32>) attributes {rt.kernel} {
  %a = nn.reduce sum %x [1] : tensor<4x5xf32> -> tensor<4xf32>
  %b = nn.reduce sum %x [0] : tensor<4x5xf32> -> tensor<5xf32>
  return %a, %b : tensor<4xf32>, tensor<5xf32>
}

// -----

// expected-error @below {{kernel has a result of 3 elements for 4 rows}}
func.func private @rows(%x: tensor<4x5xf32>, %z: tensor<3xf32>) -> (tensor<4xf32>, tensor<3xf32>) attributes {rt.kernel} {
  %a = nn.reduce sum %x [1] : tensor<4x5xf32> -> tensor<4xf32>
  %b = nn.neg %z : tensor<3xf32>
  return %a, %b : tensor<4xf32>, tensor<3xf32>
}

// -----

// expected-error @below {{kernel cannot be lowered: a reduced value is read in another row}}
func.func private @other_row(%x: tensor<4x4xf32>) -> tensor<4x4xf32> attributes {rt.kernel} {
  %a = nn.reduce sum %x [1] : tensor<4x4xf32> -> tensor<4xf32>
  %b = nn.broadcast %a [1] : tensor<4xf32> -> tensor<4x4xf32>
  return %b : tensor<4x4xf32>
}

// -----

// expected-error @below {{kernel of column reductions has a result of another size}}
func.func private @size(%x: tensor<4x5xf32>) -> (tensor<5xf32>, tensor<4x5xf32>) attributes {rt.kernel} {
  %a = nn.reduce sum %x [0] : tensor<4x5xf32> -> tensor<5xf32>
  %b = nn.neg %x : tensor<4x5xf32>
  return %a, %b : tensor<5xf32>, tensor<4x5xf32>
}

// -----

// expected-error @below {{kernel has a column reduction of a column reduction}}
func.func private @twice(%x: tensor<4x4x4xf32>) -> tensor<4x4xf32> attributes {rt.kernel} {
  %a = nn.reduce sum %x [0] : tensor<4x4x4xf32> -> tensor<4x4xf32>
  %b = nn.broadcast %a [1, 2] : tensor<4x4xf32> -> tensor<4x4x4xf32>
  %c = nn.reduce sum %b [0] : tensor<4x4x4xf32> -> tensor<4x4xf32>
  return %c : tensor<4x4xf32>
}

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

// A sum whose loops are not the last ones is added up where the operand is read, and so is what is computed beside it.
// expected-error @below {{kernel has a result whose loops are not those of its reductions}}
func.func private @beside(%x: tensor<3x4x5xf32>, %z: tensor<4x15xf32>) -> (tensor<4xf32>, tensor<4x15xf32>) attributes {rt.kernel} {
  %a = nn.reduce sum %x [0, 2] : tensor<3x4x5xf32> -> tensor<4xf32>
  %b = nn.neg %z : tensor<4x15xf32>
  return %a, %b : tensor<4xf32>, tensor<4x15xf32>
}

// -----

// expected-error @below {{kernel cannot be lowered: a reduced value is needed before it is computed}}
func.func private @sum_of_sums(%x: tensor<4x5xf32>) -> tensor<4x5xf32> attributes {rt.kernel} {
  %a = nn.cumsum %x 1 : tensor<4x5xf32>
  %b = nn.cumsum %a 1 : tensor<4x5xf32>
  return %b : tensor<4x5xf32>
}

// -----

// expected-error @below {{kernel with a cumulative sum has another result}}
func.func private @of_a_sum(%x: tensor<4x5xf32>) -> tensor<4x5xf32> attributes {rt.kernel} {
  %a = nn.cumsum %x 1 : tensor<4x5xf32>
  %b = nn.neg %a : tensor<4x5xf32>
  return %b : tensor<4x5xf32>
}

// -----

// expected-error @below {{kernel with a cumulative sum has another result}}
func.func private @beside_a_sum(%x: tensor<4x5xf32>) -> (tensor<4x5xf32>, tensor<4x5xf32>) attributes {rt.kernel} {
  %a = nn.cumsum %x 1 : tensor<4x5xf32>
  %b = nn.neg %x : tensor<4x5xf32>
  return %a, %b : tensor<4x5xf32>, tensor<4x5xf32>
}

// -----

// expected-error @below {{kernel has 0 blocks, expected one}}
func.func private @outside(tensor<4xf32>) -> tensor<4xf32> attributes {rt.kernel}

// -----

// expected-error @below {{kernel has 2 blocks, expected one}}
func.func private @blocks(%x: tensor<4xf32>) -> tensor<4xf32> attributes {rt.kernel} {
  cf.br ^end(%x : tensor<4xf32>)
^end(%y: tensor<4xf32>):
  return %y : tensor<4xf32>
}

// -----

// expected-error @below {{kernel takes or returns 'tensor<?xf32>', expected a static tensor of f32, i64 or i1}}
func.func private @dynamic(%x: tensor<4xf32>, %y: tensor<?xf32>) -> tensor<4xf32> attributes {rt.kernel} {
  return %x : tensor<4xf32>
}

// -----

// expected-error @below {{kernel takes or returns 'f32', expected a static tensor of f32, i64 or i1}}
func.func private @number(%x: f32) -> f32 attributes {rt.kernel} {
  return %x : f32
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

// -----

// expected-error @below {{kernel has a tensor without elements}}
func.func private @empty(%x: tensor<4x0xf32>) -> tensor<4x0xf32> attributes {rt.kernel} {
  %0 = nn.neg %x : tensor<4x0xf32>
  return %0 : tensor<4x0xf32>
}

// -----

func.func private @empty_inside(%x: tensor<4x2xf32>) -> tensor<4xf32> attributes {rt.kernel} {
  // expected-error @below {{kernel has a tensor without elements}}
  %0 = nn.slice %x [0, 0] steps [1, 1] : tensor<4x2xf32> -> tensor<4x0xf32>
  %1 = nn.reduce sum %0 [1] : tensor<4x0xf32> -> tensor<4xf32>
  return %1 : tensor<4xf32>
}

// -----

// expected-error @below {{kernel takes or returns 'tensor<4xui64>', expected a static tensor of f32, i64 or i1}}
func.func private @unsigned(%x: tensor<4xui64>, %y: tensor<4xf32>) -> tensor<4xf32> attributes {rt.kernel} {
  return %y : tensor<4xf32>
}

// -----

// expected-error @below {{kernel returns nothing}}
func.func private @endless(%x: tensor<4xf32>) -> tensor<4xf32> attributes {rt.kernel} {
  llvm.unreachable
}

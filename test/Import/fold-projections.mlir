// RUN: galvatron-opt %s --nn-fold-projections --canonicalize -split-input-file | FileCheck %s

// CHECK-LABEL: func @nothing
// CHECK-NEXT: nn.contract %arg0, %arg1 "ab,bc->ac"
func.func @nothing(%x: tensor<4x8xf32>, %w: tensor<8x3xf32>) -> tensor<4x3xf32> {
  %y = nn.contract %x, %w "ab,bc->ac" : (tensor<4x8xf32>, tensor<8x3xf32>) -> tensor<4x3xf32>
  return %y : tensor<4x3xf32>
}

// -----

// A transposed weight, and keys repeated for a group of queries.
// CHECK-LABEL: func @absorb
// CHECK-NEXT: nn.contract %arg0, %arg1 "abc,dc->abd"
// CHECK-NEXT: nn.contract %arg2, %arg3 "abcde,abfe->abcdf"
func.func @absorb(%x: tensor<2x6x64xf32>, %w: tensor<211x64xf32>, %q: tensor<2x3x2x6x8xf32>, %k: tensor<2x3x6x8xf32>) -> (tensor<2x6x211xf32>, tensor<2x3x2x6x6xf32>) {
  %t = nn.transpose %w [1, 0] : tensor<211x64xf32> -> tensor<64x211xf32>
  %y = nn.contract %x, %t "abc,cd->abd" : (tensor<2x6x64xf32>, tensor<64x211xf32>) -> tensor<2x6x211xf32>
  %b = nn.broadcast %k [0, 1, 3, 4] : tensor<2x3x6x8xf32> -> tensor<2x3x2x6x8xf32>
  %s = nn.contract %q, %b "abcde,abcfe->abcdf" : (tensor<2x3x2x6x8xf32>, tensor<2x3x2x6x8xf32>) -> tensor<2x3x2x6x6xf32>
  return %y, %s : tensor<2x6x211xf32>, tensor<2x3x2x6x6xf32>
}

// -----

// The repeated loop is summed: dropping it would lose a factor.
// CHECK-LABEL: func @summed
// CHECK: nn.broadcast
// CHECK: nn.contract {{.*}} "ab,bc->ac"
func.func @summed(%x: tensor<4x8xf32>, %w: tensor<3xf32>) -> tensor<4x3xf32> {
  %b = nn.broadcast %w [1] : tensor<3xf32> -> tensor<8x3xf32>
  %y = nn.contract %x, %b "ab,bc->ac" : (tensor<4x8xf32>, tensor<8x3xf32>) -> tensor<4x3xf32>
  return %y : tensor<4x3xf32>
}

// -----

// Frequencies times positions by a matrix product of one column.
// CHECK-LABEL: func @outer
// CHECK: nn.mul
// CHECK-NOT: nn.contract
func.func @outer(%x: tensor<4xf32>, %w: tensor<3xf32>) -> tensor<4x3xf32> {
  %y = nn.contract %x, %w "a,b->ab" : (tensor<4xf32>, tensor<3xf32>) -> tensor<4x3xf32>
  return %y : tensor<4x3xf32>
}

// -----

// Two query groups, one key and one value head: three parameters, each a part of the saved tensor.
// CHECK-DAG: nn.parameter @w_0 {{ *}}trainable : tensor<64x2x16xf32>, view strided<[64, 16, 1]> of "w" [64, 64]
// CHECK-DAG: nn.parameter @w_2 {{ *}}trainable : tensor<64x16xf32>, view strided<[64, 1], offset: 32> of "w" [64, 64]
// CHECK-DAG: nn.parameter @w_3 {{ *}}trainable : tensor<64x16xf32>, view strided<[64, 1], offset: 48> of "w" [64, 64]
// CHECK-DAG: nn.parameter @b_0 {{ *}}trainable : tensor<2x16xf32>
// CHECK-LABEL: func @uneven
// CHECK: nn.contract %arg0, %{{.*}} "abc,cde->abde" : (tensor<2x6x64xf32>, tensor<64x2x16xf32>)
// CHECK: nn.contract %arg0, %{{.*}} "abc,ce->abe" : (tensor<2x6x64xf32>, tensor<64x16xf32>)
// CHECK-NOT: nn.slice
nn.parameter @w trainable : tensor<64x4x16xf32>, view strided<[64, 16, 1]> of "w" [64, 64] init normal
nn.parameter @b trainable : tensor<4x16xf32>, view strided<[16, 1]> of "b" [64] init zero
func.func @uneven(%x: tensor<2x6x64xf32>) -> (tensor<2x6x2x16xf32>, tensor<2x6x1x16xf32>, tensor<2x6x1x16xf32>) {
  %w = nn.get_parameter @w : tensor<64x4x16xf32>
  %b = nn.get_parameter @b : tensor<4x16xf32>
  %p = nn.contract %x, %w "abc,cde->abde" : (tensor<2x6x64xf32>, tensor<64x4x16xf32>) -> tensor<2x6x4x16xf32>
  %bb = nn.broadcast %b [2, 3] : tensor<4x16xf32> -> tensor<2x6x4x16xf32>
  %y = nn.add %p, %bb : tensor<2x6x4x16xf32>
  %q = nn.slice %y [0, 0, 0, 0] steps [1, 1, 1, 1] : tensor<2x6x4x16xf32> -> tensor<2x6x2x16xf32>
  %k = nn.slice %y [0, 0, 2, 0] steps [1, 1, 1, 1] : tensor<2x6x4x16xf32> -> tensor<2x6x1x16xf32>
  %v = nn.slice %y [0, 0, 3, 0] steps [1, 1, 1, 1] : tensor<2x6x4x16xf32> -> tensor<2x6x1x16xf32>
  return %q, %k, %v : tensor<2x6x2x16xf32>, tensor<2x6x1x16xf32>, tensor<2x6x1x16xf32>
}

// -----

// The last head is used by nobody: the parameter must stay whole, so that it is saved whole.
// CHECK: nn.parameter @w {{ *}}trainable : tensor<64x4x16xf32>
// CHECK-LABEL: func @incomplete
// CHECK: nn.slice
nn.parameter @w trainable : tensor<64x4x16xf32>, view strided<[64, 16, 1]> of "w" [64, 64] init normal
func.func @incomplete(%x: tensor<2x6x64xf32>) -> (tensor<2x6x2x16xf32>, tensor<2x6x1x16xf32>) {
  %w = nn.get_parameter @w : tensor<64x4x16xf32>
  %y = nn.contract %x, %w "abc,cde->abde" : (tensor<2x6x64xf32>, tensor<64x4x16xf32>) -> tensor<2x6x4x16xf32>
  %q = nn.slice %y [0, 0, 0, 0] steps [1, 1, 1, 1] : tensor<2x6x4x16xf32> -> tensor<2x6x2x16xf32>
  %k = nn.slice %y [0, 0, 2, 0] steps [1, 1, 1, 1] : tensor<2x6x4x16xf32> -> tensor<2x6x1x16xf32>
  return %q, %k : tensor<2x6x2x16xf32>, tensor<2x6x1x16xf32>
}

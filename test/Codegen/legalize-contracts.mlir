// RUN: galvatron-opt %s -rt-legalize-contracts | FileCheck %s

// A matrix product, transposed or not, is walked with strides.
// CHECK-LABEL: @strided
// CHECK-NOT: nn.transpose
func.func @strided(%x: tensor<8x32x64xf32>, %w: tensor<64x3x4x16xf32>) -> tensor<3x4x16x8x32xf32> {
  %y = nn.contract %x, %w "abc,cdef->defab" : (tensor<8x32x64xf32>, tensor<64x3x4x16xf32>) -> tensor<3x4x16x8x32xf32>
  return %y : tensor<3x4x16x8x32xf32>
}

// The summed loops g and q have no common stride in %d: a few calls add up.
// CHECK-LABEL: @few_calls
// CHECK-NOT: nn.transpose
func.func @few_calls(%p: tensor<2x2x2x8x8xf32>, %d: tensor<2x8x2x2x4xf32>) -> tensor<2x8x2x4xf32> {
  %y = nn.contract %p, %d "bhgqk,bqhgd->bkhd" : (tensor<2x2x2x8x8xf32>, tensor<2x8x2x2x4xf32>) -> tensor<2x8x2x4xf32>
  return %y : tensor<2x8x2x4xf32>
}

// Here there would be sixty-four.
// CHECK-LABEL: @many_calls
// CHECK: %[[L:.*]] = nn.transpose %{{.*}} [4, 0, 1, 2, 3]
// CHECK: %[[P:.*]] = nn.contract %[[L]], %{{.*}} "mabcd,abcdn->mn"
// CHECK: return %[[P]]
func.func @many_calls(%x: tensor<4x8x8x9x5xf32>, %w: tensor<4x8x8x9x6xf32>) -> tensor<5x6xf32> {
  %t = nn.transpose %w [3, 2, 1, 0, 4] : tensor<4x8x8x9x6xf32> -> tensor<9x8x8x4x6xf32>
  %y = nn.contract %x, %t "abcdm,dcban->mn" : (tensor<4x8x8x9x5xf32>, tensor<9x8x8x4x6xf32>) -> tensor<5x6xf32>
  return %y : tensor<5x6xf32>
}

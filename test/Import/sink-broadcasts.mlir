// RUN: galvatron-opt %s --nn-sink-broadcasts | FileCheck %s

// The operands together have all dimensions: there is nothing to repeat later.
// CHECK-LABEL: func @nothing
// CHECK-NEXT: nn.broadcast
// CHECK-NEXT: nn.add %arg0
func.func @nothing(%x: tensor<4x8xf32>, %b: tensor<8xf32>) -> tensor<4x8xf32> {
  %r = nn.broadcast %b [1] : tensor<8xf32> -> tensor<4x8xf32>
  %s = nn.add %x, %r : tensor<4x8xf32>
  return %s : tensor<4x8xf32>
}

// A causal mask for every row and head is compared once.
// CHECK-LABEL: func @mask
// CHECK: %[[M:.*]] = nn.compare {{ *}}le {{.*}} : tensor<6x6xi64>
// CHECK: %[[S:.*]] = nn.select %[[M]], {{.*}} : tensor<6x6xf32>
// CHECK: %[[B:.*]] = nn.broadcast %[[S]] [2, 3] : tensor<6x6xf32> -> tensor<2x4x6x6xf32>
// CHECK: return %[[B]]
func.func @mask(%i: tensor<6xi64>) -> tensor<2x4x6x6xf32> {
  %key = nn.broadcast %i [3] : tensor<6xi64> -> tensor<2x4x6x6xi64>
  %query = nn.broadcast %i [2] : tensor<6xi64> -> tensor<2x4x6x6xi64>
  %le = nn.compare le %key, %query : tensor<2x4x6x6xi64>
  %zero = nn.constant dense<0.0> : tensor<2x4x6x6xf32>
  %low = nn.constant dense<-1.0e9> : tensor<2x4x6x6xf32>
  %m = nn.select %le, %zero, %low : tensor<2x4x6x6xf32>
  return %m : tensor<2x4x6x6xf32>
}

// CHECK-LABEL: func @slice
// CHECK: %[[S:.*]] = nn.slice %arg0 [2] steps [1] : tensor<8xf32> -> tensor<3xf32>
// CHECK: nn.broadcast %[[S]] [1] : tensor<3xf32> -> tensor<2x3xf32>
func.func @slice(%b: tensor<8xf32>) -> tensor<2x3xf32> {
  %r = nn.broadcast %b [1] : tensor<8xf32> -> tensor<4x8xf32>
  %s = nn.slice %r [1, 2] steps [1, 1] : tensor<4x8xf32> -> tensor<2x3xf32>
  return %s : tensor<2x3xf32>
}

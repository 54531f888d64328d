// RUN: galvatron-opt %s --nn-drop-unit-dims --canonicalize | FileCheck %s

// CHECK-LABEL: func @nothing
// CHECK-NEXT: %[[S:.*]] = nn.add %arg0, %arg0 : tensor<4x8xf32>
// CHECK-NEXT: return %[[S]]
func.func @nothing(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %s = nn.add %x, %x : tensor<4x8xf32>
  return %s : tensor<4x8xf32>
}

// A dimension that a reduction kept, and a parameter with one: both go, the split of 8 stays.
// CHECK: nn.parameter @position {{ *}}trainable : tensor<4x8xf32>, view strided<[8, 1]> of "position" [1, 4, 8]
nn.parameter @position trainable : tensor<1x4x8xf32>, view strided<[32, 8, 1]> of "position" [1, 4, 8] init normal

// CHECK-LABEL: func @kept
// CHECK: %[[P:.*]] = nn.get_parameter @position : tensor<4x8xf32>
// CHECK: %[[R:.*]] = nn.reduce {{ *}}sum %{{.*}} [2] : tensor<2x4x8xf32> -> tensor<2x4xf32>
// CHECK: %[[E:.*]] = nn.exp %[[R]] : tensor<2x4xf32>
// CHECK: nn.broadcast %[[E]] [0, 1] : tensor<2x4xf32> -> tensor<2x4x8xf32>
// CHECK: nn.reshape %{{.*}} : tensor<2x4x8xf32> -> tensor<2x4x2x4xf32>
func.func @kept(%x: tensor<2x4x8xf32>) -> tensor<2x4x2x4xf32> {
  %p = nn.get_parameter @position : tensor<1x4x8xf32>
  %p1 = nn.reshape %p : tensor<1x4x8xf32> -> tensor<4x8xf32>
  %pb = nn.broadcast %p1 [1, 2] : tensor<4x8xf32> -> tensor<2x4x8xf32>
  %s = nn.add %x, %pb : tensor<2x4x8xf32>
  %r = nn.reduce sum %s [2] : tensor<2x4x8xf32> -> tensor<2x4xf32>
  %k = nn.reshape %r : tensor<2x4xf32> -> tensor<2x4x1xf32>
  %e = nn.exp %k : tensor<2x4x1xf32>
  %d = nn.reshape %e : tensor<2x4x1xf32> -> tensor<2x4xf32>
  %b = nn.broadcast %d [0, 1] : tensor<2x4xf32> -> tensor<2x4x8xf32>
  %y = nn.mul %s, %b : tensor<2x4x8xf32>
  %h = nn.reshape %y : tensor<2x4x8xf32> -> tensor<2x4x2x4xf32>
  return %h : tensor<2x4x2x4xf32>
}

// A softmax over one element needs its dimension, and results keep theirs.
// CHECK-LABEL: func @needed
// CHECK: %[[E:.*]] = nn.exp {{.*}} : tensor<4xf32>
// CHECK: %[[R:.*]] = nn.reshape %[[E]] : tensor<4xf32> -> tensor<4x1xf32>
// CHECK: nn.softmax %[[R]] 1 : tensor<4x1xf32>
// CHECK: return {{.*}} : tensor<4x1xf32>
func.func @needed(%x: tensor<4x1xf32>) -> tensor<4x1xf32> {
  %e = nn.exp %x : tensor<4x1xf32>
  %p = nn.softmax %e 1 : tensor<4x1xf32>
  %n = nn.neg %p : tensor<4x1xf32>
  return %n : tensor<4x1xf32>
}

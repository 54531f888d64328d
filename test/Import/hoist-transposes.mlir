// RUN: galvatron-opt %s --nn-hoist-transposes | FileCheck %s

// Two transposes for one would be worse; and an input is where it is.
// CHECK-LABEL: func @nothing
// CHECK: %[[S:.*]] = nn.add %arg0, %arg1
// CHECK: nn.transpose %[[S]] [1, 0]
func.func @nothing(%x: tensor<4x8xf32>, %z: tensor<4x8xf32>) -> tensor<8x4xf32> {
  %s = nn.add %x, %z : tensor<4x8xf32>
  %t = nn.transpose %s [1, 0] : tensor<4x8xf32> -> tensor<8x4xf32>
  return %t : tensor<8x4xf32>
}

// Heads before positions and back: the projection writes in the order that is wanted.
// CHECK-LABEL: func @heads
// CHECK-NOT: nn.transpose
// CHECK: %[[P:.*]] = nn.contract %arg0, %arg1 "abc,cde->abde"
// CHECK: %[[B:.*]] = nn.broadcast %arg2 [2, 3] : tensor<4x16xf32> -> tensor<2x6x4x16xf32>
// CHECK: %[[S:.*]] = nn.add %[[P]], %[[B]]
// CHECK: %[[N:.*]] = nn.rms_norm %[[S]]
// CHECK: nn.rotary %[[N]], %arg4, %arg5 sequence 1
// CHECK-NOT: nn.transpose
func.func @heads(%x: tensor<2x6x64xf32>, %w: tensor<64x4x16xf32>, %b: tensor<4x16xf32>, %g: tensor<16xf32>, %c: tensor<6x8xf32>, %s: tensor<6x8xf32>) -> tensor<2x6x4x16xf32> {
  %p = nn.contract %x, %w "abc,cde->abde" : (tensor<2x6x64xf32>, tensor<64x4x16xf32>) -> tensor<2x6x4x16xf32>
  %t = nn.transpose %p [0, 2, 1, 3] : tensor<2x6x4x16xf32> -> tensor<2x4x6x16xf32>
  %bb = nn.broadcast %b [1, 3] : tensor<4x16xf32> -> tensor<2x4x6x16xf32>
  %a = nn.add %t, %bb : tensor<2x4x6x16xf32>
  %n = nn.rms_norm %a, %g epsilon 1.0e-6 : tensor<2x4x6x16xf32>, tensor<16xf32>
  %r = nn.rotary %n, %c, %s sequence 2 : tensor<2x4x6x16xf32>, tensor<6x8xf32>, tensor<6x8xf32>
  %y = nn.transpose %r [0, 2, 1, 3] : tensor<2x4x6x16xf32> -> tensor<2x6x4x16xf32>
  return %y : tensor<2x6x4x16xf32>
}

// Somebody else reads the sum in its own order.
// CHECK-LABEL: func @two_users
// CHECK: %[[S:.*]] = nn.exp %arg0
// CHECK: nn.transpose %[[S]]
func.func @two_users(%x: tensor<4x8xf32>) -> (tensor<8x4xf32>, tensor<4x8xf32>) {
  %s = nn.exp %x : tensor<4x8xf32>
  %t = nn.transpose %s [1, 0] : tensor<4x8xf32> -> tensor<8x4xf32>
  return %t, %s : tensor<8x4xf32>, tensor<4x8xf32>
}

// The normalised dimension would no longer be the last one.
// CHECK-LABEL: func @norm_moves
// CHECK: %[[N:.*]] = nn.rms_norm %arg0
// CHECK: nn.transpose %[[N]]
func.func @norm_moves(%x: tensor<4x8xf32>, %g: tensor<8xf32>) -> tensor<8x4xf32> {
  %n = nn.rms_norm %x, %g epsilon 1.0e-6 : tensor<4x8xf32>, tensor<8xf32>
  %t = nn.transpose %n [1, 0] : tensor<4x8xf32> -> tensor<8x4xf32>
  return %t : tensor<8x4xf32>
}

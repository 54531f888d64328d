// RUN: galvatron-opt %s --nn-split-dims --canonicalize -split-input-file | FileCheck %s

// CHECK-LABEL: func @nothing
// CHECK-NEXT: %[[S:.*]] = nn.add %arg0, %arg0 : tensor<4x8xf32>
// CHECK-NEXT: return %[[S]]
func.func @nothing(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %s = nn.add %x, %x : tensor<4x8xf32>
  return %s : tensor<4x8xf32>
}

// -----

// GPT-2: a Gemm on merged rows, three slices, heads. The bias too is 3 x 4 x 16, and batch and sequence stay apart.
// CHECK: nn.parameter @w {{ *}}trainable : tensor<64x3x4x16xf32>, view strided<[192, 64, 16, 1]> of "w" [64, 192]
// CHECK: nn.parameter @b {{ *}}trainable : tensor<3x4x16xf32>, view strided<[64, 16, 1]> of "b" [192]
// CHECK-LABEL: func @fused
// CHECK: %[[P:.*]] = nn.contract %arg0, %{{.*}} "abc,cdef->abdef" : (tensor<8x32x64xf32>, tensor<64x3x4x16xf32>) -> tensor<8x32x3x4x16xf32>
// CHECK: %[[B:.*]] = nn.broadcast %{{.*}} [2, 3, 4]
// CHECK: %[[Y:.*]] = nn.add %[[P]], %[[B]] : tensor<8x32x3x4x16xf32>
// CHECK: nn.slice %[[Y]] [0, 0, 0, 0, 0] {{.*}} -> tensor<8x32x1x4x16xf32>
// CHECK: nn.slice %[[Y]] [0, 0, 1, 0, 0]
// CHECK: nn.slice %[[Y]] [0, 0, 2, 0, 0]
nn.parameter @w trainable : tensor<64x192xf32>, view strided<[192, 1]> of "w" [64, 192] init normal
nn.parameter @b trainable : tensor<192xf32>, view strided<[1]> of "b" [192] init zero
func.func @fused(%x: tensor<8x32x64xf32>) -> (tensor<8x32x4x16xf32>, tensor<8x32x4x16xf32>, tensor<8x32x4x16xf32>) {
  %w = nn.get_parameter @w : tensor<64x192xf32>
  %b = nn.get_parameter @b : tensor<192xf32>
  %r = nn.reshape %x : tensor<8x32x64xf32> -> tensor<256x64xf32>
  %p = nn.contract %r, %w "ab,bc->ac" : (tensor<256x64xf32>, tensor<64x192xf32>) -> tensor<256x192xf32>
  %bb = nn.broadcast %b [1] : tensor<192xf32> -> tensor<256x192xf32>
  %s = nn.add %p, %bb : tensor<256x192xf32>
  %y = nn.reshape %s : tensor<256x192xf32> -> tensor<8x32x192xf32>
  %q = nn.slice %y [0, 0, 0] steps [1, 1, 1] : tensor<8x32x192xf32> -> tensor<8x32x64xf32>
  %k = nn.slice %y [0, 0, 64] steps [1, 1, 1] : tensor<8x32x192xf32> -> tensor<8x32x64xf32>
  %v = nn.slice %y [0, 0, 128] steps [1, 1, 1] : tensor<8x32x192xf32> -> tensor<8x32x64xf32>
  %qh = nn.reshape %q : tensor<8x32x64xf32> -> tensor<8x32x4x16xf32>
  %kh = nn.reshape %k : tensor<8x32x64xf32> -> tensor<8x32x4x16xf32>
  %vh = nn.reshape %v : tensor<8x32x64xf32> -> tensor<8x32x4x16xf32>
  return %qh, %kh, %vh : tensor<8x32x4x16xf32>, tensor<8x32x4x16xf32>, tensor<8x32x4x16xf32>
}

// -----

// Repeated key heads split the query's heads, its projection and the rows of the output projection into 2 x 2.
// CHECK: nn.parameter @q {{ *}}trainable : tensor<64x2x2x16xf32>, view strided<[64, 32, 16, 1]>
// CHECK: nn.parameter @o {{ *}}trainable : tensor<2x2x16x64xf32>, view strided<[2048, 1024, 64, 1]>
// CHECK-LABEL: func @grouped
// CHECK-NOT: nn.reshape
// CHECK: return
nn.parameter @q trainable : tensor<64x64xf32>, view strided<[64, 1]> of "q" [64, 64] init normal
nn.parameter @o trainable : tensor<64x64xf32>, view strided<[64, 1]> of "o" [64, 64] init normal
func.func @grouped(%x: tensor<8x32x64xf32>, %k: tensor<8x32x2x16xf32>) -> tensor<8x32x64xf32> {
  %wq = nn.get_parameter @q : tensor<64x64xf32>
  %wo = nn.get_parameter @o : tensor<64x64xf32>
  %p = nn.contract %x, %wq "abc,cd->abd" : (tensor<8x32x64xf32>, tensor<64x64xf32>) -> tensor<8x32x64xf32>
  %ph = nn.reshape %p : tensor<8x32x64xf32> -> tensor<8x32x4x16xf32>
  %kg = nn.broadcast %k [0, 1, 2, 4] : tensor<8x32x2x16xf32> -> tensor<8x32x2x2x16xf32>
  %kh = nn.reshape %kg : tensor<8x32x2x2x16xf32> -> tensor<8x32x4x16xf32>
  %m = nn.mul %ph, %kh : tensor<8x32x4x16xf32>
  %f = nn.reshape %m : tensor<8x32x4x16xf32> -> tensor<8x32x64xf32>
  %y = nn.contract %f, %wo "abc,cd->abd" : (tensor<8x32x64xf32>, tensor<64x64xf32>) -> tensor<8x32x64xf32>
  return %y : tensor<8x32x64xf32>
}

// -----

// 12 cannot be 3 x 4 and 2 x 6 at once: one of the reshapes stays, and results keep their shapes.
// CHECK-LABEL: func @conflict
// CHECK: nn.reshape
// CHECK: return {{.*}} : tensor<3x4xf32>, tensor<5x6xf32>
func.func @conflict(%x: tensor<12xf32>, %z: tensor<30xf32>) -> (tensor<3x4xf32>, tensor<5x6xf32>) {
  %e = nn.exp %x : tensor<12xf32>
  %a = nn.reshape %e : tensor<12xf32> -> tensor<3x4xf32>
  %s = nn.sin %a : tensor<3x4xf32>
  %n = nn.neg %z : tensor<30xf32>
  %b = nn.reshape %n : tensor<30xf32> -> tensor<2x15xf32>
  %c = nn.cos %b : tensor<2x15xf32>
  %d = nn.reshape %c : tensor<2x15xf32> -> tensor<5x6xf32>
  %t = nn.tanh %d : tensor<5x6xf32>
  return %s, %t : tensor<3x4xf32>, tensor<5x6xf32>
}

// -----

// A rotation by halves cuts and joins again: the dimension is no pair of halves.
// CHECK-LABEL: func @halves
// CHECK: nn.concat 1 {{.*}} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x16xf32>
func.func @halves(%x: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %a = nn.slice %x [0, 0] steps [1, 1] : tensor<4x16xf32> -> tensor<4x8xf32>
  %b = nn.slice %x [0, 8] steps [1, 1] : tensor<4x16xf32> -> tensor<4x8xf32>
  %n = nn.neg %b : tensor<4x8xf32>
  %y = nn.concat 1 %n, %a : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x16xf32>
  return %y : tensor<4x16xf32>
}

// -----

// Uneven slices (two query groups, one key, one value of 16) take ranges of the head dimension that a reshape gave.
// CHECK-LABEL: func @uneven
// CHECK: %[[H:.*]] = nn.reshape %arg0 : tensor<8x64xf32> -> tensor<8x4x16xf32>
// CHECK: nn.slice %[[H]] [0, 0, 0] {{.*}} -> tensor<8x2x16xf32>
// CHECK: nn.slice %[[H]] [0, 2, 0] {{.*}} -> tensor<8x1x16xf32>
// CHECK: nn.slice %[[H]] [0, 3, 0] {{.*}} -> tensor<8x1x16xf32>
func.func @uneven(%x: tensor<8x64xf32>) -> (tensor<8x2x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>) {
  %q = nn.slice %x [0, 0] steps [1, 1] : tensor<8x64xf32> -> tensor<8x32xf32>
  %k = nn.slice %x [0, 32] steps [1, 1] : tensor<8x64xf32> -> tensor<8x16xf32>
  %v = nn.slice %x [0, 48] steps [1, 1] : tensor<8x64xf32> -> tensor<8x16xf32>
  %h = nn.reshape %q : tensor<8x32xf32> -> tensor<8x2x16xf32>
  return %h, %k, %v : tensor<8x2x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>
}

// RUN: galvatron-opt %s --nn-raise-rotary --canonicalize | FileCheck %s

// CHECK-LABEL: func @nothing
// CHECK-NEXT: nn.mul
// CHECK-NEXT: nn.mul
// CHECK-NEXT: nn.add
func.func @nothing(%x: tensor<2x4x8xf32>, %c: tensor<2x4x8xf32>) -> tensor<2x4x8xf32> {
  %a = nn.mul %x, %c : tensor<2x4x8xf32>
  %b = nn.mul %x, %a : tensor<2x4x8xf32>
  %y = nn.add %a, %b : tensor<2x4x8xf32>
  return %y : tensor<2x4x8xf32>
}

// Angles are computed twice over, then cos and sin: the tables of half the size are of the angles themselves.
// CHECK-LABEL: func @halves
// CHECK-SAME: (%[[X:.*]]: tensor<2x4x6x8xf32>, %[[F:.*]]: tensor<6x4xf32>)
// CHECK-DAG: %[[C:.*]] = nn.cos %[[F]] : tensor<6x4xf32>
// CHECK-DAG: %[[S:.*]] = nn.sin %[[F]] : tensor<6x4xf32>
// CHECK: %[[Y:.*]] = nn.rotary %[[X]], %[[C]], %[[S]] sequence 2 : tensor<2x4x6x8xf32>
// CHECK-NEXT: return %[[Y]]
func.func @halves(%x: tensor<2x4x6x8xf32>, %f: tensor<6x4xf32>) -> tensor<2x4x6x8xf32> {
  %a = nn.concat 1 %f, %f : tensor<6x4xf32>, tensor<6x4xf32> -> tensor<6x8xf32>
  %c = nn.cos %a : tensor<6x8xf32>
  %s = nn.sin %a : tensor<6x8xf32>
  %cb = nn.broadcast %c [2, 3] : tensor<6x8xf32> -> tensor<2x4x6x8xf32>
  %sb = nn.broadcast %s [2, 3] : tensor<6x8xf32> -> tensor<2x4x6x8xf32>
  %xc = nn.mul %x, %cb : tensor<2x4x6x8xf32>
  %x1 = nn.slice %x [0, 0, 0, 0] steps [1, 1, 1, 1] : tensor<2x4x6x8xf32> -> tensor<2x4x6x4xf32>
  %x2 = nn.slice %x [0, 0, 0, 4] steps [1, 1, 1, 1] : tensor<2x4x6x8xf32> -> tensor<2x4x6x4xf32>
  %n = nn.neg %x2 : tensor<2x4x6x4xf32>
  %r = nn.concat 3 %n, %x1 : tensor<2x4x6x4xf32>, tensor<2x4x6x4xf32> -> tensor<2x4x6x8xf32>
  %rs = nn.mul %r, %sb : tensor<2x4x6x8xf32>
  %y = nn.add %xc, %rs : tensor<2x4x6x8xf32>
  return %y : tensor<2x4x6x8xf32>
}

// A table per row of the batch, and cosines that are scaled.
// CHECK-LABEL: func @batch_table
// CHECK: %[[C:.*]] = nn.mul {{.*}} : tensor<2x6x4xf32>
// CHECK: nn.rotary %arg0, %[[C]], {{.*}} sequence 1
func.func @batch_table(%x: tensor<2x6x4x8xf32>, %f: tensor<2x6x4xf32>) -> tensor<2x6x4x8xf32> {
  %k = nn.constant dense<1.5> : tensor<2x6x8xf32>
  %a = nn.concat 2 %f, %f : tensor<2x6x4xf32>, tensor<2x6x4xf32> -> tensor<2x6x8xf32>
  %c0 = nn.cos %a : tensor<2x6x8xf32>
  %c = nn.mul %c0, %k : tensor<2x6x8xf32>
  %s = nn.sin %a : tensor<2x6x8xf32>
  %cb = nn.broadcast %c [0, 1, 3] : tensor<2x6x8xf32> -> tensor<2x6x4x8xf32>
  %sb = nn.broadcast %s [0, 1, 3] : tensor<2x6x8xf32> -> tensor<2x6x4x8xf32>
  %xc = nn.mul %x, %cb : tensor<2x6x4x8xf32>
  %x1 = nn.slice %x [0, 0, 0, 0] steps [1, 1, 1, 1] : tensor<2x6x4x8xf32> -> tensor<2x6x4x4xf32>
  %x2 = nn.slice %x [0, 0, 0, 4] steps [1, 1, 1, 1] : tensor<2x6x4x8xf32> -> tensor<2x6x4x4xf32>
  %n = nn.neg %x2 : tensor<2x6x4x4xf32>
  %r = nn.concat 3 %n, %x1 : tensor<2x6x4x4xf32>, tensor<2x6x4x4xf32> -> tensor<2x6x4x8xf32>
  %rs = nn.mul %sb, %r : tensor<2x6x4x8xf32>
  %y = nn.add %rs, %xc : tensor<2x6x4x8xf32>
  return %y : tensor<2x6x4x8xf32>
}

// A table that the exporter computed: its halves are equal.
// CHECK-LABEL: func @constant_table
// CHECK: nn.constant dense<{{\[}}[1.000000e+00, 2.000000e+00], [3.000000e+00, 4.000000e+00]]> : tensor<2x2xf32>
// CHECK: nn.rotary
func.func @constant_table(%x: tensor<3x2x4xf32>) -> tensor<3x2x4xf32> {
  %c = nn.constant dense<[[1.0, 2.0, 1.0, 2.0], [3.0, 4.0, 3.0, 4.0]]> : tensor<2x4xf32>
  %s = nn.constant dense<[[5.0, 6.0, 5.0, 6.0], [7.0, 8.0, 7.0, 8.0]]> : tensor<2x4xf32>
  %cb = nn.broadcast %c [1, 2] : tensor<2x4xf32> -> tensor<3x2x4xf32>
  %sb = nn.broadcast %s [1, 2] : tensor<2x4xf32> -> tensor<3x2x4xf32>
  %xc = nn.mul %x, %cb : tensor<3x2x4xf32>
  %x1 = nn.slice %x [0, 0, 0] steps [1, 1, 1] : tensor<3x2x4xf32> -> tensor<3x2x2xf32>
  %x2 = nn.slice %x [0, 0, 2] steps [1, 1, 1] : tensor<3x2x4xf32> -> tensor<3x2x2xf32>
  %n = nn.neg %x2 : tensor<3x2x2xf32>
  %r = nn.concat 2 %n, %x1 : tensor<3x2x2xf32>, tensor<3x2x2xf32> -> tensor<3x2x4xf32>
  %rs = nn.mul %r, %sb : tensor<3x2x4xf32>
  %y = nn.add %xc, %rs : tensor<3x2x4xf32>
  return %y : tensor<3x2x4xf32>
}

// The halves of the cosines differ: this is no rotation of pairs.
// CHECK-LABEL: func @unequal_halves
// CHECK-NOT: nn.rotary
// CHECK: return
func.func @unequal_halves(%x: tensor<3x2x4xf32>) -> tensor<3x2x4xf32> {
  %c = nn.constant dense<[[1.0, 2.0, 1.0, 9.0], [3.0, 4.0, 3.0, 4.0]]> : tensor<2x4xf32>
  %s = nn.constant dense<[[5.0, 6.0, 5.0, 6.0], [7.0, 8.0, 7.0, 8.0]]> : tensor<2x4xf32>
  %cb = nn.broadcast %c [1, 2] : tensor<2x4xf32> -> tensor<3x2x4xf32>
  %sb = nn.broadcast %s [1, 2] : tensor<2x4xf32> -> tensor<3x2x4xf32>
  %xc = nn.mul %x, %cb : tensor<3x2x4xf32>
  %x1 = nn.slice %x [0, 0, 0] steps [1, 1, 1] : tensor<3x2x4xf32> -> tensor<3x2x2xf32>
  %x2 = nn.slice %x [0, 0, 2] steps [1, 1, 1] : tensor<3x2x4xf32> -> tensor<3x2x2xf32>
  %n = nn.neg %x2 : tensor<3x2x2xf32>
  %r = nn.concat 2 %n, %x1 : tensor<3x2x2xf32>, tensor<3x2x2xf32> -> tensor<3x2x4xf32>
  %rs = nn.mul %r, %sb : tensor<3x2x4xf32>
  %y = nn.add %xc, %rs : tensor<3x2x4xf32>
  return %y : tensor<3x2x4xf32>
}

// The first half is the negated one: a rotation the other way round, with other sines.
// CHECK-LABEL: func @wrong_half
// CHECK-NOT: nn.rotary
// CHECK: return
func.func @wrong_half(%x: tensor<3x2x4xf32>, %f: tensor<2x2xf32>) -> tensor<3x2x4xf32> {
  %a = nn.concat 1 %f, %f : tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x4xf32>
  %cb = nn.broadcast %a [1, 2] : tensor<2x4xf32> -> tensor<3x2x4xf32>
  %xc = nn.mul %x, %cb : tensor<3x2x4xf32>
  %x1 = nn.slice %x [0, 0, 0] steps [1, 1, 1] : tensor<3x2x4xf32> -> tensor<3x2x2xf32>
  %x2 = nn.slice %x [0, 0, 2] steps [1, 1, 1] : tensor<3x2x4xf32> -> tensor<3x2x2xf32>
  %n = nn.neg %x1 : tensor<3x2x2xf32>
  %r = nn.concat 2 %x2, %n : tensor<3x2x2xf32>, tensor<3x2x2xf32> -> tensor<3x2x4xf32>
  %rs = nn.mul %r, %cb : tensor<3x2x4xf32>
  %y = nn.add %xc, %rs : tensor<3x2x4xf32>
  return %y : tensor<3x2x4xf32>
}

// Neighbours, as GPT-J: every second element, stacked, and tables that repeat each column twice. Only two of eight
// columns turn here; the slice and the concatenation around it stay.
// CHECK-LABEL: func @neighbours
// CHECK: %[[X:.*]] = nn.slice %arg0 [0, 0, 0, 0]
// CHECK: %[[Y:.*]] = nn.rotary %[[X]], %arg1, %arg2 sequence 1 interleaved : tensor<2x6x3x4xf32>
// CHECK: nn.concat 3 %[[Y]]
func.func @neighbours(%q: tensor<2x6x3x8xf32>, %c: tensor<6x2xf32>, %s: tensor<6x2xf32>) -> tensor<2x6x3x8xf32> {
  %x = nn.slice %q [0, 0, 0, 0] steps [1, 1, 1, 1] : tensor<2x6x3x8xf32> -> tensor<2x6x3x4xf32>
  %rest = nn.slice %q [0, 0, 0, 4] steps [1, 1, 1, 1] : tensor<2x6x3x8xf32> -> tensor<2x6x3x4xf32>
  %c2 = nn.broadcast %c [0, 1] : tensor<6x2xf32> -> tensor<6x2x2xf32>
  %c4 = nn.reshape %c2 : tensor<6x2x2xf32> -> tensor<6x4xf32>
  %s2 = nn.broadcast %s [0, 1] : tensor<6x2xf32> -> tensor<6x2x2xf32>
  %s4 = nn.reshape %s2 : tensor<6x2x2xf32> -> tensor<6x4xf32>
  %cb = nn.broadcast %c4 [1, 3] : tensor<6x4xf32> -> tensor<2x6x3x4xf32>
  %sb = nn.broadcast %s4 [1, 3] : tensor<6x4xf32> -> tensor<2x6x3x4xf32>
  %xc = nn.mul %x, %cb : tensor<2x6x3x4xf32>
  %x1 = nn.slice %x [0, 0, 0, 0] steps [1, 1, 1, 2] : tensor<2x6x3x4xf32> -> tensor<2x6x3x2xf32>
  %x2 = nn.slice %x [0, 0, 0, 1] steps [1, 1, 1, 2] : tensor<2x6x3x4xf32> -> tensor<2x6x3x2xf32>
  %n = nn.neg %x2 : tensor<2x6x3x2xf32>
  %n1 = nn.reshape %n : tensor<2x6x3x2xf32> -> tensor<2x6x3x2x1xf32>
  %x11 = nn.reshape %x1 : tensor<2x6x3x2xf32> -> tensor<2x6x3x2x1xf32>
  %st = nn.concat 4 %n1, %x11 : tensor<2x6x3x2x1xf32>, tensor<2x6x3x2x1xf32> -> tensor<2x6x3x2x2xf32>
  %r = nn.reshape %st : tensor<2x6x3x2x2xf32> -> tensor<2x6x3x4xf32>
  %rs = nn.mul %r, %sb : tensor<2x6x3x4xf32>
  %t = nn.add %xc, %rs : tensor<2x6x3x4xf32>
  %y = nn.concat 3 %t, %rest : tensor<2x6x3x4xf32>, tensor<2x6x3x4xf32> -> tensor<2x6x3x8xf32>
  return %y : tensor<2x6x3x8xf32>
}

// RUN: galvatron-opt %s --rt-lower-kernels -split-input-file | FileCheck %s

// What is no kernel stays.
// CHECK-LABEL: func.func @other
// CHECK: nn.exp
func.func @other(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = nn.exp %x : tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

// Five dimensions that always move together are one loop, which is what the threads split.
// CHECK-LABEL: func.func private @elementwise
// CHECK-SAME: %[[X:.*]]: memref<49152xf32> {llvm.noalias}, %[[Y:.*]]: memref<49152xf32> {llvm.noalias}, %[[B:.*]]: index, %[[E:.*]]: index)
// CHECK-SAME: rt.rows = 49152
// CHECK: scf.for %[[I:.*]] = %[[B]] to %[[E]]
// CHECK-NEXT: memref.load %[[X]][%[[I]]]
// CHECK-NEXT: math.exp
// CHECK-NEXT: memref.store %{{.*}}, %[[Y]][%[[I]]]
func.func private @elementwise(%x: tensor<8x32x3x4x16xf32>) -> tensor<8x32x3x4x16xf32> attributes {rt.kernel} {
  %y = nn.exp %x : tensor<8x32x3x4x16xf32>
  return %y : tensor<8x32x3x4x16xf32>
}

// -----

// Two phases. The exponentials are computed once and kept in a row buffer; the sum is divided by outside the loop.
// CHECK-LABEL: func.func private @row
// CHECK-SAME: rt.rows = 256
// CHECK: %[[KEPT:.*]] = memref.alloca() {{.*}} : memref<64xf32>
// CHECK: scf.for
// CHECK: %[[SUM:.*]] = scf.for {{.*}} iter_args
// CHECK: %[[E:.*]] = math.exp
// CHECK: memref.store %[[E]], %[[KEPT]]
// CHECK: arith.addf
// CHECK: arith.divf %{{.*}}, %[[SUM]]
// CHECK: scf.for
// CHECK-NOT: math.exp
// CHECK: memref.load %[[KEPT]]
// CHECK: arith.mulf
func.func private @row(%x: tensor<8x32x64xf32>) -> tensor<8x32x64xf32> attributes {rt.kernel} {
  %e = nn.exp %x : tensor<8x32x64xf32>
  %s = nn.reduce sum %e [2] : tensor<8x32x64xf32> -> tensor<8x32xf32>
  %i = nn.reciprocal %s : tensor<8x32xf32>
  %b = nn.broadcast %i [0, 1] : tensor<8x32xf32> -> tensor<8x32x64xf32>
  %r = nn.mul %e, %b : tensor<8x32x64xf32>
  return %r : tensor<8x32x64xf32>
}

// -----

// Sums down the columns: the threads split the columns, and the inner loop runs over them.
// CHECK-LABEL: func.func private @columns
// CHECK-SAME: rt.rows = 192
// CHECK: %[[SUMS:.*]] = memref.alloca()
// CHECK: scf.for {{.*}} to %c256
// CHECK-NOT: arith.divui
func.func private @columns(%x: tensor<8x32x3x4x16xf32>) -> tensor<3x4x16xf32> attributes {rt.kernel} {
  %s = nn.reduce sum %x [0, 1] : tensor<8x32x3x4x16xf32> -> tensor<3x4x16xf32>
  return %s : tensor<3x4x16xf32>
}

// -----

// A concat is a loop for each piece, without a choice inside.
// CHECK-LABEL: func.func private @concat
// CHECK-SAME: rt.rows = 256
// CHECK-COUNT-4: scf.for
// CHECK-NOT: scf.for
// CHECK-NOT: arith.select
func.func private @concat(%q: tensor<8x32x1x4x16xf32>, %k: tensor<8x32x1x4x16xf32>, %v: tensor<8x32x1x4x16xf32>) -> tensor<8x32x3x4x16xf32> attributes {rt.kernel} {
  %s = nn.concat 2 %q, %k, %v : tensor<8x32x1x4x16xf32>, tensor<8x32x1x4x16xf32>, tensor<8x32x1x4x16xf32> -> tensor<8x32x3x4x16xf32>
  return %s : tensor<8x32x3x4x16xf32>
}

// -----

// The id is read once a row.
// CHECK-LABEL: func.func private @embedding
// CHECK: scf.for
// CHECK: memref.load {{.*}} : memref<6xi64>
// CHECK: scf.for
// CHECK-NOT: xi64>
func.func private @embedding(%w: tensor<10x64xf32>, %i: tensor<2x3xi64>) -> tensor<2x3x64xf32> attributes {rt.kernel} {
  %x = nn.embedding %w, %i : (tensor<10x64xf32>, tensor<2x3xi64>) -> tensor<2x3x64xf32>
  return %x : tensor<2x3x64xf32>
}

// -----

// Booleans are bytes; a table is a global.
// CHECK: memref.global "private" constant @table_table0 : memref<4xf32> = dense<[1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00]>
// CHECK-LABEL: func.func private @table
// CHECK-SAME: memref<4xi8>
// CHECK: arith.trunci
func.func private @table(%m: tensor<4xi1>, %x: tensor<4xf32>) -> tensor<4xf32> attributes {rt.kernel} {
  %t = nn.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %y = nn.select %m, %x, %t : tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

// In place: one name for the memory, so that `noalias` is true.
// CHECK-LABEL: func.func private @in_place
// CHECK-SAME: %[[X:.*]]: memref<4xf32> {llvm.noalias}, %[[Y:.*]]: memref<4xf32>
// CHECK: memref.load %[[Y]]
// CHECK: memref.store %{{.*}}, %[[Y]]
func.func private @in_place(%x: tensor<4xf32>) -> tensor<4xf32> attributes {rt.kernel, rt.inplace = [[0, 0]]} {
  %y = nn.neg %x : tensor<4xf32>
  return %y : tensor<4xf32>
}

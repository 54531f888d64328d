// RUN: galvatron-opt %s --nn-decompose -split-input-file | FileCheck %s

// Small ops stay as they are.
// CHECK-LABEL: @nothing
// CHECK-NEXT: nn.add
// CHECK-NEXT: return
func.func @nothing(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = nn.add %x, %x : tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

// The division by the sum is done once a row.
// CHECK-LABEL: @softmax
// CHECK-SAME: %[[X:.*]]: tensor<8x16xf32>
// CHECK: %[[M:.*]] = nn.reduce max %[[X]] [1]
// CHECK: %[[B:.*]] = nn.broadcast %[[M]] [0]
// CHECK: %[[D:.*]] = nn.sub %[[X]], %[[B]]
// CHECK: %[[E:.*]] = nn.exp %[[D]]
// CHECK: %[[Z:.*]] = nn.reduce sum %[[E]] [1]
// CHECK: %[[R:.*]] = nn.reciprocal %[[Z]] : tensor<8xf32>
// CHECK-NOT: nn.div
func.func @softmax(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %y = nn.softmax %x 1 : tensor<8x16xf32>
  return %y : tensor<8x16xf32>
}

// -----

// CHECK-LABEL: @attention
// CHECK: nn.contract {{.*}} "bqhgd,bkhd->bhgqk"
// CHECK: nn.compare le
// CHECK: nn.reduce max
// CHECK: nn.reduce sum
// CHECK: nn.contract {{.*}} "bhgqk,bkhe->bqhge"
// CHECK-NOT: nn.attention
func.func @attention(%q: tensor<2x32x4x1x16xf32>, %k: tensor<2x32x4x16xf32>, %v: tensor<2x32x4x16xf32>) -> tensor<2x32x4x1x16xf32> {
  %o, %p = nn.attention %q, %k, %v scale 0.25 upper 0 : tensor<2x32x4x1x16xf32>, tensor<2x32x4x16xf32>, tensor<2x32x4x16xf32> -> tensor<2x32x4x1x16xf32>, tensor<2x4x1x32x32xf32>
  return %o : tensor<2x32x4x1x16xf32>
}

// -----

// A mask of the lowest float: a row without pairs is uniform, and needs no guard.
// CHECK-LABEL: @finite_mask
// CHECK: nn.constant dense<-3.40282347E+38>
// CHECK-NOT: nn.compare eq
func.func @finite_mask(%q: tensor<2x32x4x1x16xf32>, %k: tensor<2x32x4x16xf32>, %v: tensor<2x32x4x16xf32>, %m: tensor<2x32xi1>) -> tensor<2x32x4x1x16xf32> {
  %o, %p = nn.attention %q, %k, %v key_mask %m : tensor<2x32xi1> scale 0.25 finite_mask : tensor<2x32x4x1x16xf32>, tensor<2x32x4x16xf32>, tensor<2x32x4x16xf32> -> tensor<2x32x4x1x16xf32>, tensor<2x4x1x32x32xf32>
  return %o : tensor<2x32x4x1x16xf32>
}

// -----

// The pairs of a rotation are a dimension of their own, read backwards for the partner.
// CHECK-LABEL: @rotary
// CHECK: nn.reshape {{.*}} -> tensor<2x32x4x2x8xf32>
// CHECK: nn.slice {{.*}} [0, 0, 0, 1, 0] steps [1, 1, 1, -1, 1]
func.func @rotary(%x: tensor<2x32x4x16xf32>, %c: tensor<32x8xf32>, %s: tensor<32x8xf32>) -> tensor<2x32x4x16xf32> {
  %0 = nn.rotary %x, %c, %s sequence 1 : tensor<2x32x4x16xf32>, tensor<32x8xf32>, tensor<32x8xf32>
  return %0 : tensor<2x32x4x16xf32>
}

// -----

// A label that is not counted is never read.
// CHECK-LABEL: @cross_entropy
// CHECK-DAG: %[[IGNORE:.*]] = nn.constant dense<-100>
// CHECK: %[[IGNORED:.*]] = nn.compare eq {{.*}}, %[[IGNORE]]
// CHECK: %[[SAFE:.*]] = nn.select %[[IGNORED]]
// CHECK: nn.reshape %[[SAFE]]
// CHECK: nn.take_along
func.func @cross_entropy(%l: tensor<8x11xf32>, %t: tensor<8xi64>) -> tensor<8xf32> {
  %0, %s = nn.cross_entropy %l, %t ignore -100 : tensor<8x11xf32>, tensor<8xi64>
  return %0 : tensor<8xf32>
}

// -----

// What an update writes is marked, so that its kernel works in place.
// CHECK-LABEL: @sgd
// CHECK-COUNT-2: {rt.in_place}
// CHECK-NOT: nn.sgd
func.func @sgd(%p: tensor<8xf32>, %g: tensor<8xf32>, %m: tensor<8xf32>, %h: tensor<16xf32>, %c: tensor<f32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %0, %1 = nn.sgd %p, %g, %m, %h, %c decay : tensor<8xf32>, tensor<16xf32>
  return %0, %1 : tensor<8xf32>, tensor<8xf32>
}

// -----

// A piece of a table: ids become places in it, and those that are elsewhere give zeros.
// CHECK-LABEL: @embedding_rows
// CHECK-DAG: %[[FIRST:.*]] = nn.slice %{{.*}} [0] steps [1] : tensor<6xi64> -> tensor<1xi64>
// CHECK: %[[PLACES:.*]] = nn.sub
// CHECK: %[[HERE:.*]] = nn.and
// CHECK: %[[FOUND:.*]] = nn.embedding %{{.*}}, %[[PLACES]] :
// CHECK: nn.select %{{.*}}, %[[FOUND]]
func.func @embedding_rows(%t: tensor<6x4xf32>, %i: tensor<3xi64>, %r: tensor<6xi64>) -> tensor<3x4xf32> {
  %0 = nn.embedding %t, %i rows %r : tensor<6xi64> : (tensor<6x4xf32>, tensor<3xi64>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// -----

// CHECK-LABEL: @embedding_grad_rows
// CHECK: %[[PLACES:.*]] = nn.select
// CHECK: nn.embedding_grad %[[PLACES]], %{{.*}} :
func.func @embedding_grad_rows(%i: tensor<3xi64>, %d: tensor<3x4xf32>, %r: tensor<6xi64>) -> tensor<6x4xf32> {
  %0 = nn.embedding_grad %i, %d rows %r : tensor<6xi64> : (tensor<3xi64>, tensor<3x4xf32>) -> tensor<6x4xf32>
  return %0 : tensor<6x4xf32>
}

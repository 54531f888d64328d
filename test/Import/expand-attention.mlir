// RUN: galvatron-opt %s --nn-expand-attention | FileCheck %s
// RUN: galvatron-opt %s --nn-expand-attention --canonicalize --cse --nn-sink-broadcasts --nn-raise-attention --canonicalize | FileCheck %s --check-prefix=AGAIN

// Somebody needs the probabilities themselves: it stays.
// CHECK-LABEL: func @nothing
// CHECK-NEXT: nn.attention
func.func @nothing(%q: tensor<2x6x4x1x8xf32>, %k: tensor<2x6x4x8xf32>, %v: tensor<2x6x4x8xf32>) -> tensor<2x4x1x6x6xf32> {
  %y, %p = nn.attention %q, %k, %v scale 0.25 : tensor<2x6x4x1x8xf32>, tensor<2x6x4x8xf32>, tensor<2x6x4x8xf32> -> tensor<2x6x4x1x8xf32>, tensor<2x4x1x6x6xf32>
  return %p : tensor<2x4x1x6x6xf32>
}

// Everything that the op can say; raising it again gives the same op.
// CHECK-LABEL: func @all
// CHECK: %[[S:.*]] = nn.contract %arg0, %arg1 "bqhgd,bkhd->bhgqk"
// CHECK: nn.tanh
// CHECK: nn.add
// CHECK: nn.compare {{ *}}ge
// CHECK: nn.compare {{ *}}le
// CHECK: nn.softmax {{.*}} 4
// CHECK: nn.is_nan
// CHECK: nn.contract {{.*}} "bhgqk,bkhd->bqhgd"
// CHECK-NOT: nn.attention
// AGAIN-LABEL: func @all
// AGAIN: nn.attention %arg0, %arg1, %arg2 key_mask %arg3 : tensor<2x6xi1> bias %arg4 : tensor<1x4x2x6x6xf32> scale 0.2{{[0-9]*}} lower -2 upper 0 {softcap = 5.000000e+01 : f64}
func.func @all(%q: tensor<2x6x4x2x8xf32>, %k: tensor<2x6x4x8xf32>, %v: tensor<2x6x4x8xf32>, %m: tensor<2x6xi1>, %b: tensor<1x4x2x6x6xf32>) -> tensor<2x6x4x2x8xf32> {
  %y, %p = nn.attention %q, %k, %v key_mask %m : tensor<2x6xi1> bias %b : tensor<1x4x2x6x6xf32> scale 0.25 lower -2 upper 0 {softcap = 50.0 : f64} : tensor<2x6x4x2x8xf32>, tensor<2x6x4x8xf32>, tensor<2x6x4x8xf32> -> tensor<2x6x4x2x8xf32>, tensor<2x4x2x6x6xf32>
  return %y : tensor<2x6x4x2x8xf32>
}

// Constants that repeat one value, identities, and moves of moves.
// RUN: galvatron-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: func.func @splats
func.func @splats() -> (tensor<4xf32>, tensor<4xi1>, tensor<4xi64>) {
  %two = nn.constant dense<2.0> : tensor<f32>
  %b = nn.broadcast %two [] : tensor<f32> -> tensor<4xf32>
  %e = nn.mul %b, %b : tensor<4xf32>
  %s = nn.sqrt %e : tensor<4xf32>
  %n = nn.constant dense<7> : tensor<4xi64>
  %m = nn.constant dense<-3> : tensor<4xi64>
  // -3 mod 7 is 4: the sign of the divisor.
  %r = nn.mod %m, %n : tensor<4xi64>
  %c = nn.compare gt %r, %m : tensor<4xi64>
  // CHECK-DAG: %[[FOUR:.*]] = nn.constant dense<4> : tensor<4xi64>
  // CHECK-DAG: %[[TRUE:.*]] = nn.constant dense<true> : tensor<4xi1>
  // CHECK-DAG: %[[TWO:.*]] = nn.constant dense<2.000000e+00> : tensor<4xf32>
  // CHECK: return %[[TWO]], %[[TRUE]], %[[FOUR]]
  return %s, %c, %r : tensor<4xf32>, tensor<4xi1>, tensor<4xi64>
}

// CHECK-LABEL: func.func @identities
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<2x3xf32>
func.func @identities(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %zero = nn.constant dense<0.0> : tensor<2x3xf32>
  %one = nn.constant dense<1.0> : tensor<2x3xf32>
  %true = nn.constant dense<true> : tensor<2x3xi1>
  %a = nn.add %x, %zero : tensor<2x3xf32>
  %b = nn.mul %one, %a : tensor<2x3xf32>
  %c = nn.pow %b, %one : tensor<2x3xf32>
  %d = nn.select %true, %c, %zero : tensor<2x3xf32>
  %e = nn.reshape %d : tensor<2x3xf32> -> tensor<6xf32>
  %f = nn.reshape %e : tensor<6xf32> -> tensor<2x3xf32>
  %g = nn.transpose %f [1, 0] : tensor<2x3xf32> -> tensor<3x2xf32>
  %h = nn.transpose %g [1, 0] : tensor<3x2xf32> -> tensor<2x3xf32>
  // CHECK: return %[[X]]
  return %h : tensor<2x3xf32>
}

// A zero that is an infinity's partner stays: x * 0 is not folded to 0.
// CHECK-LABEL: func.func @kept
func.func @kept(%x: tensor<4xf32>) -> tensor<4xf32> {
  %zero = nn.constant dense<0.0> : tensor<4xf32>
  // CHECK: nn.mul
  %0 = nn.mul %x, %zero : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// Looking up 0, 1, 2, ... is a slice, and the table keeps its gradient.
// CHECK-LABEL: func.func @positions
func.func @positions(%table: tensor<32x8xf32>) -> tensor<2x5x8xf32> {
  %i = nn.iota 0 : tensor<5xi64>
  %b = nn.broadcast %i [1] : tensor<5xi64> -> tensor<2x5xi64>
  // CHECK: %[[S:.*]] = nn.slice %{{.*}} [0, 0] steps [1, 1] : tensor<32x8xf32> -> tensor<5x8xf32>
  // CHECK: nn.broadcast %[[S]] [1, 2] : tensor<5x8xf32> -> tensor<2x5x8xf32>
  %0 = nn.embedding %table, %b : (tensor<32x8xf32>, tensor<2x5xi64>) -> tensor<2x5x8xf32>
  return %0 : tensor<2x5x8xf32>
}

// CHECK-LABEL: func.func @one_row
func.func @one_row(%table: tensor<2x8xf32>) -> tensor<3x8xf32> {
  %ids = nn.constant dense<1> : tensor<3xi64>
  // CHECK: %[[S:.*]] = nn.slice %{{.*}} [1, 0] steps [1, 1] : tensor<2x8xf32> -> tensor<1x8xf32>
  // CHECK: nn.reshape %[[S]] : tensor<1x8xf32> -> tensor<8xf32>
  // CHECK: nn.broadcast
  %0 = nn.embedding %table, %ids : (tensor<2x8xf32>, tensor<3xi64>) -> tensor<3x8xf32>
  return %0 : tensor<3x8xf32>
}

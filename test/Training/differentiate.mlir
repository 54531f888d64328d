// RUN: galvatron-opt %s -split-input-file --nn-differentiate | FileCheck %s

// A weight that both ends of the model use gets the sum of two gradients. Nothing leads from a trainable
// parameter to the first block's hidden state, but the second call of it needs that cotangent: both get it, one ignores it.
nn.parameter @w trainable : tensor<4x4xf32>, view strided<[4, 1]> of "w" [4, 4] init normal
nn.parameter @v trainable : tensor<4x4xf32>, view strided<[4, 1]> of "v" [4, 4] init normal
nn.parameter @f frozen : tensor<4x4xf32>, view strided<[4, 1]> of "f" [4, 4] init normal

// CHECK: func.func private @block0(%[[X:.*]]: tensor<2x4xf32>, %[[W:.*]]: tensor<4x4xf32>, %[[DY:.*]]: tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>, tensor<4x4xf32>)
// CHECK-SAME: nn.joint = #nn.joint<inputs = 2, results = 1, cotangents = [0], differentiated = [0, 1]>
func.func private @block0(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>) -> tensor<2x4xf32> {
  // CHECK: %[[C:.*]] = nn.contract %[[X]], %[[W]]
  // CHECK: %[[Y:.*]] = nn.tanh %[[C]]
  // CHECK: %[[S:.*]] = nn.add %[[X]], %[[Y]]
  // CHECK: nn.backward_begin
  // CHECK: %[[DC:.*]] = nn.mul %[[DY]]
  // CHECK: %[[DX:.*]] = nn.contract %[[DC]], %[[W]] "ac,bc->ab"
  // CHECK: %[[DW:.*]] = nn.contract %[[X]], %[[DC]] "ab,ac->bc"
  // CHECK: %[[SUM:.*]] = nn.add %[[DY]], %[[DX]]
  // CHECK: return %[[S]], %[[SUM]], %[[DW]]
  %c = nn.contract %x, %w "ab,bc->ac" : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %y = nn.tanh %c : tensor<2x4xf32>
  %s = nn.add %x, %y : tensor<2x4xf32>
  return %s : tensor<2x4xf32>
}
// The loss's cotangent is one, and no argument; the frozen matrix gets none, nor does what no loss uses.
// CHECK: func.func private @epilogue(%{{.*}}: tensor<2x4xf32>, %{{.*}}: tensor<4x4xf32>, %{{.*}}: tensor<4x4xf32>) -> (tensor<2x4xf32>, tensor<f32>, tensor<2x4xf32>, tensor<4x4xf32>)
// CHECK-SAME: nn.joint = #nn.joint<inputs = 3, results = 2, cotangents = [], differentiated = [0, 1]>
func.func private @epilogue(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>, %f: tensor<4x4xf32>) -> (tensor<2x4xf32>, tensor<f32>) {
  %m = nn.mul %w, %f : tensor<4x4xf32>
  %y = nn.contract %x, %m "ab,bc->ac" : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %l = nn.reduce sum %y [0, 1] : tensor<2x4xf32> -> tensor<f32>
  return %y, %l : tensor<2x4xf32>, tensor<f32>
}
// CHECK: func.func private @extra
// CHECK-SAME: nn.joint = #nn.joint<inputs = 2, results = 1, cotangents = [], differentiated = []>
func.func private @extra(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>) -> tensor<2x4xf32> {
  %y = nn.contract %x, %w "ab,bc->ac" : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
// CHECK-NOT: @forward
// CHECK: func.func @step(%[[IN:.*]]: tensor<2x4xf32> {nn.name = "x"}) -> (tensor<f32> {nn.name = "loss"})
// CHECK: %[[H1:.*]], %[[R1:.*]] = nn.forward @block0(%[[IN]], %w)
// CHECK: %[[H2:.*]], %[[R2:.*]] = nn.forward @block0(%[[H1]], %v)
// CHECK: %[[OUT:.*]]:2, %[[R3:.*]] = nn.forward @epilogue(%[[H2]], %w, %f)
// CHECK-NOT: @extra
// CHECK: %[[G3:.*]]:2 = nn.backward @epilogue %[[R3]]()
// CHECK: %[[G2:.*]]:2 = nn.backward @block0 %[[R2]](%[[G3]]#0)
// CHECK: %[[G1:.*]]:2 = nn.backward @block0 %[[R1]](%[[G2]]#0)
// CHECK: %[[GW:.*]] = nn.add %[[G3]]#1, %[[G1]]#1
// CHECK: nn.gradient @w, %[[GW]]
// CHECK: nn.gradient @v, %[[G2]]#1
// CHECK: return %[[OUT]]#1
// CHECK: func.func @infer(%{{.*}}: tensor<2x4xf32> {nn.name = "x"}) -> (tensor<f32> {nn.name = "loss"}, tensor<2x4xf32> {nn.name = "y"}, tensor<2x4xf32> {nn.name = "z"})
// CHECK: nn.forward @extra
// CHECK-NOT: nn.backward
func.func @forward(%x: tensor<2x4xf32> {nn.name = "x"}) -> (tensor<f32> {nn.name = "loss"}, tensor<2x4xf32> {nn.name = "y"}, tensor<2x4xf32> {nn.name = "z"}) {
  %w = nn.get_parameter @w : tensor<4x4xf32>
  %v = nn.get_parameter @v : tensor<4x4xf32>
  %f = nn.get_parameter @f : tensor<4x4xf32>
  %h1 = call @block0(%x, %w) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %h2 = call @block0(%h1, %v) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %r:2 = call @epilogue(%h2, %w, %f) : (tensor<2x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> (tensor<2x4xf32>, tensor<f32>)
  %z = call @extra(%h2, %v) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  return %r#1, %r#0, %z : tensor<f32>, tensor<2x4xf32>, tensor<2x4xf32>
}

// -----

// Calls that need cotangents for different results are calls of different functions.
nn.parameter @w trainable : tensor<4xf32>, view strided<[1]> of "w" [4] init normal
// CHECK: func.func private @block0({{.*}}) -> {{.*}} attributes {nn.joint = #nn.joint<inputs = 2, results = 2, cotangents = [0, 1], differentiated = [1]>}
// CHECK: func.func private @block0_0({{.*}}) -> {{.*}} attributes {nn.joint = #nn.joint<inputs = 2, results = 2, cotangents = [0], differentiated = [0, 1]>}
func.func private @block0(%x: tensor<4xf32>, %w: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %y = nn.mul %x, %w : tensor<4xf32>
  %t = nn.tanh %y : tensor<4xf32>
  return %y, %t : tensor<4xf32>, tensor<4xf32>
}
func.func private @epilogue(%x: tensor<4xf32>, %w: tensor<4xf32>) -> tensor<f32> {
  %y = nn.mul %x, %w : tensor<4xf32>
  %l = nn.reduce sum %y [0] : tensor<4xf32> -> tensor<f32>
  return %l : tensor<f32>
}
// CHECK: nn.forward @block0(
// CHECK: nn.forward @block0_0(
// CHECK: nn.backward @block0_0
// CHECK: nn.backward @block0 %
func.func @forward(%x: tensor<4xf32> {nn.name = "x"}) -> (tensor<f32> {nn.name = "loss"}) {
  %w = nn.get_parameter @w : tensor<4xf32>
  %a:2 = call @block0(%x, %w) : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  %b:2 = call @block0(%a#0, %w) : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  %l = call @epilogue(%b#0, %a#1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}

// -----

// Gradients stop at comparisons and rounding: zero, not an error.
nn.parameter @w trainable : tensor<4xf32>, view strided<[1]> of "w" [4] init normal
func.func private @model(%x: tensor<4xf32>, %w: tensor<4xf32>) -> tensor<f32> {
  // CHECK: nn.backward_begin
  // CHECK: %[[ZERO:.*]] = nn.constant dense<0.000000e+00> : tensor<4xf32>
  // CHECK: return %{{.*}}, %[[ZERO]]
  %r = nn.round %w : tensor<4xf32>
  %y = nn.mul %x, %r : tensor<4xf32>
  %l = nn.reduce sum %y [0] : tensor<4xf32> -> tensor<f32>
  return %l : tensor<f32>
}
func.func @forward(%x: tensor<4xf32> {nn.name = "x"}) -> (tensor<f32> {nn.name = "loss"}) {
  %w = nn.get_parameter @w : tensor<4xf32>
  %l = call @model(%x, %w) : (tensor<4xf32>, tensor<4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}

// -----

// A square's slope is written without a power, and a product's gradient survives a zero among its factors.
nn.parameter @w trainable : tensor<4xf32>, view strided<[1]> of "w" [4] init normal
func.func private @model(%x: tensor<4xf32>, %w: tensor<4xf32>) -> tensor<f32> {
  // CHECK: nn.backward_begin
  // CHECK: %[[ZERO:.*]] = nn.compare eq %[[X:.*]], %{{.*}}
  // CHECK: %[[OTHERS:.*]] = nn.select %[[ZERO]], %{{.*}}, %[[X]]
  // CHECK: nn.reduce prod %[[OTHERS]] [0]
  // CHECK: nn.div %{{.*}}, %[[OTHERS]]
  // CHECK-NOT: nn.pow
  // CHECK: nn.mul %arg1,
  // CHECK: return
  %two = nn.constant dense<2.0> : tensor<4xf32>
  %s = nn.pow %w, %two : tensor<4xf32>
  %l = nn.reduce prod %s [0] : tensor<4xf32> -> tensor<f32>
  return %l : tensor<f32>
}
func.func @forward(%x: tensor<4xf32> {nn.name = "x"}) -> (tensor<f32> {nn.name = "loss"}) {
  %w = nn.get_parameter @w : tensor<4xf32>
  %l = call @model(%x, %w) : (tensor<4xf32>, tensor<4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}

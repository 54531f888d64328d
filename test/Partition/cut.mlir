// RUN: galvatron-opt %s --dist-cut -split-input-file | FileCheck %s

// Nothing to cut.
// CHECK-LABEL: func.func private @update
// CHECK-NEXT: return
func.func private @update(%x: tensor<8x4xf32>) -> tensor<8x4xf32> {
  return %x : tensor<8x4xf32>
}

// -----

// What the backward reads is kept: here the operand and the result of the exponential. The parameter, an input of the block, is
// passed to both halves. The mask in floats is cheap to make again from the mask, which is kept instead: it has fewer bytes.
// CHECK-LABEL: func.func private @block.forward
// CHECK-SAME: (%[[X:.*]]: tensor<8x4xf32>, %[[W:.*]]: tensor<4x4xf32>) -> (tensor<8x4xf32>, tensor<8x4xi1>)
// CHECK: %[[P:.*]] = nn.contract
// CHECK: %[[M:.*]] = nn.compare gt %[[P]]
// CHECK: %[[F:.*]] = nn.cast %[[M]]
// CHECK: %[[Y:.*]] = nn.mul
// CHECK: return %[[Y]], %[[M]]

// CHECK-LABEL: func.func private @block.backward
// CHECK-SAME: (%[[X:.*]]: tensor<8x4xf32>, %[[W:.*]]: tensor<4x4xf32>, %[[M:.*]]: tensor<8x4xi1>, %[[DY:.*]]: tensor<8x4xf32>)
// CHECK: %[[F:.*]] = nn.cast %[[M]]
// CHECK: nn.mul %[[DY]], %[[F]]
// CHECK: return
// CHECK-NOT: func.func private @block(
func.func private @block(%x: tensor<8x4xf32>, %w: tensor<4x4xf32>, %dy: tensor<8x4xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>, tensor<4x4xf32>)
    attributes {nn.joint = #nn.joint<inputs = 2, results = 1, cotangents = [0], differentiated = [0, 1]>} {
  %p = nn.contract %x, %w "ab,bc->ac" : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
  %zero = nn.constant dense<0.0> : tensor<8x4xf32>
  %m = nn.compare gt %p, %zero : tensor<8x4xf32>
  %f = nn.cast %m : tensor<8x4xi1> to tensor<8x4xf32>
  %y = nn.mul %p, %f : tensor<8x4xf32>
  nn.backward_begin
  %dp = nn.mul %dy, %f : tensor<8x4xf32>
  %dx = nn.contract %dp, %w "ac,bc->ab" : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
  %dw = nn.contract %x, %dp "ab,ac->bc" : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  return %y, %dx, %dw : tensor<8x4xf32>, tensor<8x4xf32>, tensor<4x4xf32>
}

// The two calls have a number, and keep what the plan said.
// CHECK-LABEL: func.func @step
// CHECK: %[[R:.*]]:2 = call @block.forward(%[[X:.*]], %[[W:.*]]) {dist.call = 0 : i64, dist.stage = 0 : i64}
// CHECK: call @block.backward(%[[X]], %[[W]], %[[R]]#1, %[[R]]#0) {dist.backward_of = 0 : i64, dist.stage = 0 : i64}
func.func @step(%x: tensor<8x4xf32>, %w: tensor<4x4xf32>) -> (tensor<8x4xf32>, tensor<4x4xf32>) {
  %y, %r = nn.forward @block(%x, %w) {dist.stage = 0 : i64} : (tensor<8x4xf32>, tensor<4x4xf32>) -> (tensor<8x4xf32>, !nn.residuals)
  %dx, %dw = nn.backward @block %r(%y) {dist.stage = 0 : i64} : (tensor<8x4xf32>) -> (tensor<8x4xf32>, tensor<4x4xf32>)
  return %dx, %dw : tensor<8x4xf32>, tensor<4x4xf32>
}

// A forward without a backward keeps nothing.
// CHECK-LABEL: func.func @infer
// CHECK: call @block.inference(%{{.*}}, %{{.*}}) {{.*}} : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
func.func @infer(%x: tensor<8x4xf32>, %w: tensor<4x4xf32>) -> tensor<8x4xf32> {
  %y, %r = nn.forward @block(%x, %w) : (tensor<8x4xf32>, tensor<4x4xf32>) -> (tensor<8x4xf32>, !nn.residuals)
  return %y : tensor<8x4xf32>
}

// -----

// A result that no call uses and the backward does not read is not computed for it; here the only one is kept as well as returned.
// CHECK-LABEL: func.func private @head.forward
// CHECK-SAME: -> tensor<8xf32>
// CHECK: %[[E:.*]] = nn.exp
// CHECK-NOT: nn.neg
// CHECK: return %[[E]]
func.func private @head(%x: tensor<8xf32>, %dy: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>, tensor<8xf32>)
    attributes {nn.joint = #nn.joint<inputs = 1, results = 2, cotangents = [0], differentiated = [0]>} {
  %y = nn.exp %x : tensor<8xf32>
  %z = nn.neg %x : tensor<8xf32>
  nn.backward_begin
  %dx = nn.mul %dy, %y : tensor<8xf32>
  return %y, %z, %dx : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
}

func.func @step(%x: tensor<8xf32>) -> tensor<8xf32> {
  %y, %z, %r = nn.forward @head(%x) : (tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>, !nn.residuals)
  %dx = nn.backward @head %r(%y) : (tensor<8xf32>) -> tensor<8xf32>
  return %dx : tensor<8xf32>
}

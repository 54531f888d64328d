// RUN: galvatron-opt %s --pipe-split -split-input-file | FileCheck %s

dist.mesh @mesh() micro_batches(2)

// Arithmetic of the step becomes functions, equal ops one; sums that an all-reduce over time completes stay: they are accumulation.
// CHECK-NOT: func.func private @step.mul_

func.func private @prepare() {
  return
}
func.func private @f(%x: tensor<1x2xf32>) -> tensor<2xf32> {
  %0 = nn.reduce sum %x [0] : tensor<1x2xf32> -> tensor<2xf32>
  return %0 : tensor<2xf32>
}
func.func private @g(%x: tensor<1x2xf32>) -> tensor<2xf32> {
  %0 = nn.reduce sum %x [0] : tensor<1x2xf32> -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// CHECK: func.func private @step.constant() -> tensor<2xf32>
// CHECK: func.func private @step.mul(%{{.*}}: tensor<2xf32>, %{{.*}}: tensor<2xf32>) -> tensor<2xf32>
// CHECK-LABEL: func.func @step(
func.func @step(%x: tensor<2x2xf32>) -> tensor<2xf32> {
  // CHECK: call @prepare() {pipe.call = 0 : i64, pipe.phase = #pipe<phase prepare>}
  call @prepare() : () -> ()
  %0 = dist.slice %x dim 0 over @mesh ["time"] : tensor<2x2xf32> -> tensor<1x2xf32>
  // CHECK: call @f({{.*}}) {dist.call = 0 : i64, dist.strategy = @s0, pipe.call = 1 : i64, pipe.phase = #pipe<phase forward>}
  %1 = call @f(%0) {dist.call = 0 : i64, dist.strategy = @s0} : (tensor<1x2xf32>) -> tensor<2xf32>
  // A backward has the number of its forward.
  // CHECK: call @g({{.*}}) {dist.backward_of = 0 : i64, dist.strategy = @s0, pipe.call = 1 : i64, pipe.phase = #pipe<phase backward>}
  %2 = call @g(%0) {dist.backward_of = 0 : i64, dist.strategy = @s0} : (tensor<1x2xf32>) -> tensor<2xf32>
  // CHECK: nn.add
  %3 = nn.add %1, %2 : tensor<2xf32>
  %4 = dist.all_reduce sum %3 over @mesh ["time"] : tensor<2xf32>
  // What reads a sum over the micro-batches runs after the last; a constant, before the first.
  // CHECK: call @step.constant() {{.*}}pipe.phase = #pipe<phase prepare>}
  %half = nn.constant dense<0.5> : tensor<2xf32>
  // CHECK: call @step.mul({{.*}}) {dist.stage = 0 : i64, pipe.call = 3 : i64, pipe.phase = #pipe<phase finish>}
  %5 = nn.mul %4, %half : tensor<2xf32>
  // CHECK: call @step.mul({{.*}}) {dist.stage = 0 : i64, pipe.call = 4 : i64, pipe.phase = #pipe<phase finish>}
  %6 = nn.mul %5, %half : tensor<2xf32>
  return %6 : tensor<2xf32>
}

// -----

dist.mesh @mesh() micro_batches(1)
func.func private @f(%x: tensor<2xf32>) -> tensor<2xf32> {
  return %x : tensor<2xf32>
}
func.func private @update(%x: tensor<2xf32>) -> tensor<2xf32> {
  return %x : tensor<2xf32>
}

// A call that the plan leaves out of the micro-batches runs once a step, also if it reads what no move makes whole.
// CHECK-LABEL: func.func @step(
func.func @step(%x: tensor<2xf32>) -> tensor<2xf32> {
  // CHECK: call @f({{.*}}pipe.phase = #pipe<phase forward>}
  %0 = call @f(%x) {dist.call = 0 : i64, dist.strategy = @s0} : (tensor<2xf32>) -> tensor<2xf32>
  // CHECK: call @update({{.*}}pipe.phase = #pipe<phase finish>}
  %1 = call @update(%0) : (tensor<2xf32>) -> tensor<2xf32>
  return %1 : tensor<2xf32>
}

// -----

// A function is cut where ranks talk. What is cheap and no smaller than what it is made of (%b) is made where it is read; what both
// sides of the cut read (%e) is a value of the step.
dist.mesh @mesh("a" = 2) micro_batches(1)

// CHECK-LABEL: func.func private @h.0(
// CHECK-SAME: %[[X:.*]]: tensor<4x2xf32>) -> (tensor<4x2xf32>, tensor<2xf32>)
// CHECK: %[[E:.*]] = nn.exp %[[X]]
// CHECK: %[[R:.*]] = nn.reduce sum %[[E]] [0]
// CHECK: return %[[E]], %[[R]]
// CHECK-LABEL: func.func private @h.1(
// CHECK-SAME: %[[SUM:.*]]: tensor<2xf32>, %[[E:.*]]: tensor<4x2xf32>) -> tensor<4x2xf32>
// CHECK: %[[B:.*]] = nn.broadcast %[[SUM]]
// CHECK: nn.mul %[[E]], %[[B]]
func.func private @h(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  %e = nn.exp %x : tensor<4x2xf32>
  %r = nn.reduce sum %e [0] : tensor<4x2xf32> -> tensor<2xf32>
  %all = dist.all_reduce sum %r over @mesh ["a"] : tensor<2xf32>
  %b = nn.broadcast %all [1] : tensor<2xf32> -> tensor<4x2xf32>
  %y = nn.mul %e, %b : tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}
// CHECK-LABEL: func.func @step(
// CHECK: %[[CALL:.*]]:2 = call @h.0(%{{.*}}) {dist.call = 0 : i64, dist.strategy = @s0, pipe.call = 0 : i64, pipe.phase = #pipe<phase forward>}
// CHECK: %[[ALL:.*]] = dist.all_reduce sum %[[CALL]]#1 over @mesh ["a"]
// CHECK: call @h.1(%[[ALL]], %[[CALL]]#0) {dist.call = 0 : i64, dist.strategy = @s0, pipe.call = 0 : i64, pipe.phase = #pipe<phase forward>}
func.func @step(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  %0 = call @h(%x) {dist.call = 0 : i64, dist.strategy = @s0} : (tensor<4x2xf32>) -> tensor<4x2xf32>
  return %0 : tensor<4x2xf32>
}

// -----

// A value that a function returns twice stays two results: each may be a sum of its own.
dist.mesh @mesh("a" = 2) micro_batches(1)

// CHECK-LABEL: func.func private @twice.0(
// CHECK: return %[[R:.*]], %[[R]] :
func.func private @twice(%x: tensor<4x2xf32>) -> (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) {
  %r = nn.reduce sum %x [0] : tensor<4x2xf32> -> tensor<2xf32>
  %all = dist.all_reduce sum %r over @mesh ["a"] : tensor<2xf32>
  return %r, %r, %all : tensor<2xf32>, tensor<2xf32>, tensor<2xf32>
}
// CHECK-LABEL: func.func @step(
// CHECK: %[[CALL:.*]]:2 = call @twice.0(
// CHECK: %[[ALL:.*]] = dist.all_reduce sum %[[CALL]]#{{[01]}} over @mesh ["a"]
// CHECK: return %[[CALL]]#0, %[[CALL]]#1, %[[ALL]]
func.func @step(%x: tensor<4x2xf32>) -> (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) {
  %0:3 = call @twice(%x) {dist.call = 0 : i64, dist.strategy = @s0} : (tensor<4x2xf32>) -> (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>)
  return %0#0, %0#1, %0#2 : tensor<2xf32>, tensor<2xf32>, tensor<2xf32>
}

// -----

// Three stages use one weight, the first two as rows (a partial gradient), the last as columns (a whole one). What a move between ranks
// makes of two stages' gradients it makes of their sums over the micro-batches: no transfer is of a micro-batch.
dist.mesh @mesh("stage" = 3, "a" = 2) stages(3) micro_batches(2)
func.func private @f(%x: tensor<4x2xf32>) -> tensor<4xf32> {
  %0 = nn.reduce sum %x [1] : tensor<4x2xf32> -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
// CHECK-LABEL: func.func @step(
// CHECK: %[[F0:.*]] = call @f({{.*}}dist.stage = 0
// CHECK: %[[F1:.*]] = call @f({{.*}}dist.stage = 1
// CHECK: %[[F2:.*]] = call @f({{.*}}dist.stage = 2
// CHECK-NOT: dist.all_reduce sum %{{.*}} over @mesh ["a"]
// CHECK: %[[T1:.*]] = dist.all_reduce sum %[[F1]] over @mesh ["time"] {dist.stage = 1
// CHECK: %[[T0:.*]] = dist.all_reduce sum %[[F0]] over @mesh ["time"] {dist.stage = 0
// CHECK: %[[SENT:.*]] = pipe.transfer %[[T0]] number({{.*}}) from(0) to(1)
// CHECK: call @step.add(%[[T1]], %[[SENT]]) {{.*}}phase finish
// CHECK: dist.all_reduce sum %{{.*}} over @mesh ["a"] {dist.stage = 1
func.func @step(%x: tensor<8x2xf32>) -> tensor<4xf32> {
  %0 = dist.slice %x dim 0 over @mesh ["time"] : tensor<8x2xf32> -> tensor<4x2xf32>
  %1 = call @f(%0) {dist.call = 0 : i64, dist.stage = 0 : i64, dist.strategy = @s0} : (tensor<4x2xf32>) -> tensor<4xf32>
  %2 = call @f(%0) {dist.call = 1 : i64, dist.stage = 1 : i64, dist.strategy = @s0} : (tensor<4x2xf32>) -> tensor<4xf32>
  %3 = call @f(%0) {dist.call = 2 : i64, dist.stage = 2 : i64, dist.strategy = @s1} : (tensor<4x2xf32>) -> tensor<4xf32>
  %4 = nn.add %2, %1 : tensor<4xf32>
  %5 = dist.all_reduce sum %4 over @mesh ["a"] : tensor<4xf32>
  %6 = nn.add %3, %5 : tensor<4xf32>
  %7 = dist.all_reduce sum %6 over @mesh ["time"] : tensor<4xf32>
  return %7 : tensor<4xf32>
}

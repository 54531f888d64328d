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

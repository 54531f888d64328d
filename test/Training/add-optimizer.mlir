// RUN: galvatron-opt %s -split-input-file --nn-add-optimizer | FileCheck %s
// RUN: galvatron-opt %s -split-input-file --nn-add-optimizer=optimizer=sgd --verify-training | FileCheck %s --check-prefix=SGD

// Both matrices have one type, but one is a view of a saved vector: it does not decay, so they share no update.
// CHECK-DAG: nn.parameter @w.exp_avg state : tensor<2x3xf32>, view strided<[3, 1]> of "" [2, 3]
// CHECK-DAG: nn.parameter @w.exp_avg_sq state
// CHECK-DAG: nn.parameter @v.exp_avg state
nn.parameter @w trainable : tensor<2x3xf32>, view strided<[1, 2]> of "w" [3, 2] init normal
nn.parameter @v trainable : tensor<2x3xf32>, view strided<[3, 1]> of "v" [6] init one
nn.parameter @u trainable : tensor<2x3xf32>, view strided<[3, 1]> of "u" [2, 3] init one
// SGD-DAG: nn.parameter @w.momentum_buffer state : tensor<2x3xf32>

func.func private @loss(%w: tensor<2x3xf32>, %v: tensor<2x3xf32>, %u: tensor<2x3xf32>) -> (tensor<f32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>)
    attributes {nn.joint = #nn.joint<inputs = 3, results = 1, cotangents = [], differentiated = [0, 1, 2]>} {
  %p = nn.mul %w, %v : tensor<2x3xf32>
  %q = nn.mul %p, %u : tensor<2x3xf32>
  %s = nn.reduce sum %q [0, 1] : tensor<2x3xf32> -> tensor<f32>
  nn.backward_begin
  return %s, %w, %v, %u : tensor<f32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>
}

// Gradients of one type share a function; the sum of what these give is arithmetic of the step.
// CHECK: func.func private @squared_norm0(%[[G:.*]]: tensor<2x3xf32>) -> tensor<f32>
// CHECK: %[[SQUARES:.*]] = nn.mul %[[G]], %[[G]]
// CHECK: nn.reduce sum %[[SQUARES]] [0, 1]
// CHECK-NOT: func.func private @squared_norm1

// min(1, max_norm / (norm + 1e-6)), and 1 when nothing limits the norm.
// CHECK: func.func private @clip(%[[SUM:.*]]: tensor<f32>, %[[HYPER:.*]]: tensor<16xf32>)
// CHECK: %[[NORM:.*]] = nn.sqrt %[[SUM]]
// CHECK: nn.slice %[[HYPER]] [8]
// CHECK: %[[RATIO:.*]] = nn.div
// CHECK: %[[CLIPPED:.*]] = nn.minimum %[[RATIO]]
// CHECK: %[[SCALE:.*]] = nn.select %{{.*}}, %[[CLIPPED]]
// CHECK: return %[[NORM]], %[[SCALE]]

// CHECK: func.func private @adamw0({{.*}}) -> {{.*}} attributes {nn.accumulates = {{\[}}[0, 0], [1, 2], [2, 3]]}
// CHECK: nn.adamw {{.*}} decay
// CHECK: func.func private @adamw1
// CHECK: nn.adamw
// CHECK-NOT: decay
// CHECK-NOT: func.func private @adamw2
// SGD: func.func private @sgd0({{.*}}) -> {{.*}} attributes {nn.accumulates = {{\[}}[0, 0], [1, 2]]}
// SGD: nn.sgd {{.*}} decay

// CHECK: func.func @step(%[[HYPER:.*]]: tensor<16xf32> {nn.name = "hyper"}) -> (tensor<f32> {nn.name = "loss"}, tensor<f32> {nn.name = "grad_norm"})
func.func @step() -> (tensor<f32> {nn.name = "loss"}) {
  %w = nn.get_parameter @w : tensor<2x3xf32>
  %v = nn.get_parameter @v : tensor<2x3xf32>
  %u = nn.get_parameter @u : tensor<2x3xf32>
  %loss, %r = nn.forward @loss(%w, %v, %u) : (tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>) -> (tensor<f32>, !nn.residuals)
  %g:3 = nn.backward @loss %r() : () -> (tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>)
  // CHECK: %[[G:.*]]:3 = nn.backward
  // CHECK: %[[ONE:.*]] = call @squared_norm0(%[[G]]#0)
  // CHECK: %[[TWO:.*]] = call @squared_norm0(%[[G]]#1)
  // CHECK: %[[BOTH:.*]] = nn.add %[[ONE]], %[[TWO]]
  // CHECK: %[[THREE:.*]] = call @squared_norm0(%[[G]]#2)
  // CHECK: %[[ALL:.*]] = nn.add %[[BOTH]], %[[THREE]]
  // CHECK: %[[CLIP:.*]]:2 = call @clip(%[[ALL]]
  // CHECK: %[[M:.*]] = nn.get_parameter @w.exp_avg :
  // CHECK: %[[V:.*]] = nn.get_parameter @w.exp_avg_sq :
  // CHECK: %[[NEW:.*]]:3 = call @adamw0(%{{.*}}, %[[G]]#0, %[[M]], %[[V]], %[[HYPER]], %[[CLIP]]#1)
  // CHECK: nn.set_parameter @w, %[[NEW]]#0
  // CHECK: nn.set_parameter @w.exp_avg, %[[NEW]]#1
  // CHECK: nn.set_parameter @w.exp_avg_sq, %[[NEW]]#2
  // CHECK: call @adamw1
  // CHECK: call @adamw0
  nn.gradient @w, %g#0 : tensor<2x3xf32>
  nn.gradient @v, %g#1 : tensor<2x3xf32>
  nn.gradient @u, %g#2 : tensor<2x3xf32>
  // CHECK: return %{{.*}}, %[[CLIP]]#0
  return %loss : tensor<f32>
}
func.func @infer() { return }

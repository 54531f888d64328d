// Each micro-batch runs its forwards and its backwards before the next begins; what sums over them, and the gradient of the tied
// weight, accumulates in place.
// RUN: galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan=micro-batches=2 --dist-cut --dist-propagate-layouts --dist-partition \
// RUN:   --pipe-split --pipe-schedule --pipe-verify-schedule --verify-scheduled | FileCheck %s

// Functions do not multiply with the depth or the micro-batches: there is one variant that accumulates.
// CHECK: func.func private @prologue.backward.accumulate({{.*}}) {{.*}} attributes {nn.accumulates = {{\[\[}}0, 2]], pipe.variant_of = "prologue.backward"}
// CHECK: nn.add %arg2, %{{.*}} : tensor<5x4xf32>
// CHECK: func.func private @block.backward(
// CHECK: func.func private @block.backward.accumulate({{.*}}) {{.*}} attributes {nn.accumulates = {{\[\[}}1, 5]], pipe.variant_of = "block.backward"}
// CHECK: func.func private @block.inference(
// CHECK-NOT: func.func @step

// CHECK-LABEL: pipe.table @train stage(0) micro_batches(2) {
// CHECK: %[[HYPER:.*]] = pipe.input "hyper" : tensor<16xf32>
// CHECK: %[[P:.*]]:2 = pipe.run @prepare({{.*}}) prepare(0)
// CHECK: %[[IDS:.*]] = pipe.input "input_ids" micro_batch(0) : tensor<2x3xi64>
// CHECK: pipe.run @prologue.forward(%[[IDS]], %wte) forward(1) micro_batch(0)
// CHECK: %[[MASK:.*]] = pipe.piece %[[P]]#1 micro_batch(0) : tensor<4x3xi1> -> tensor<2x3xi1>
// CHECK: pipe.run @block.forward({{.*}}, %[[MASK]]) forward(2) micro_batch(0)
// CHECK: pipe.run @block.forward({{.*}}, %[[MASK]]) forward(3) micro_batch(0)
// CHECK: %[[E:.*]]:3 = pipe.run @epilogue.forward({{.*}}) forward(4) micro_batch(0)
// CHECK: %[[DE:.*]]:2 = pipe.run @epilogue.backward({{.*}}) backward(4) micro_batch(0)
// CHECK: %[[DB:.*]]:2 = pipe.run @block.backward({{.*}}) backward(3) micro_batch(0)
// CHECK: pipe.run @block.backward({{.*}}) backward(2) micro_batch(0)
// The second contribution to the tied weight, still of the first micro-batch.
// CHECK: %[[WTE:.*]] = pipe.run @prologue.backward.accumulate({{.*}}, %[[DE]]#1) backward(1) micro_batch(0)
// CHECK: pipe.run @epilogue.forward.accumulate({{.*}}, %[[E]]#0) forward(4) micro_batch(1)
// CHECK: pipe.run @epilogue.backward.accumulate({{.*}}, %[[WTE]]) backward(4) micro_batch(1)
// CHECK: %[[DB1:.*]]:2 = pipe.run @block.backward.accumulate({{.*}}, %[[DB]]#1) backward(3) micro_batch(1)
// CHECK: %[[G:.*]] = pipe.run @prologue.backward.accumulate({{.*}}) backward(1) micro_batch(1)
// CHECK: pipe.gradient @wte, %[[G]]
// CHECK: pipe.gradient @w1, %[[DB1]]#1
// CHECK: %[[NORM:.*]] = pipe.run @norm(%[[G]], {{.*}}) finish(5)
// CHECK: %[[NEW:.*]] = pipe.run @update_5x4(%wte, %[[G]], %[[HYPER]]) finish(6)
// CHECK: pipe.store @wte, %[[NEW]]
// CHECK: pipe.output "loss", %{{.*}} : tensor<f32>
// CHECK: pipe.output "grad_norm", %[[NORM]]

// Without backwards nothing is kept, and outputs leave as they are made.
// CHECK-LABEL: pipe.table @forward stage(0) micro_batches(2) {
// CHECK: pipe.run @block.inference({{.*}}) forward(3) micro_batch(0)
// CHECK: pipe.output "logits" micro_batch(0), %{{.*}} : tensor<2x3x5xf32>
// CHECK: pipe.output "logits" micro_batch(1), %{{.*}} : tensor<2x3x5xf32>
// CHECK: pipe.output "loss", %{{.*}} : tensor<f32>

// What is summed over ranks once a step begins when it is there, and is waited for where it is read.
// RUN: galvatron-opt %s --pipe-schedule --pipe-overlap --pipe-verify-schedule -split-input-file | FileCheck %s

dist.mesh @mesh("a" = 2) micro_batches(2)
nn.parameter @v trainable : tensor<4xf32>, view strided<[1]> of "v" [4] init normal
nn.parameter @w trainable : tensor<4xf32>, view strided<[1]> of "w" [4] init normal

func.func private @back1(%x: tensor<2x4xf32>) -> (tensor<4xf32>, tensor<2x4xf32>) {
  %0 = nn.reduce sum %x [0] : tensor<2x4xf32> -> tensor<4xf32>
  return %0, %x : tensor<4xf32>, tensor<2x4xf32>
}
func.func private @back0(%x: tensor<2x4xf32>) -> tensor<4xf32> {
  %0 = nn.reduce sum %x [0] : tensor<2x4xf32> -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// The sum of the micro-batches, not a part of it. The last one made has nothing to hide behind, and stays as it is.
// CHECK-LABEL: pipe.table @train
// CHECK: pipe.run @back1(%{{.*}}) forward(0) micro_batch(0)
// CHECK-NEXT: pipe.run @back0
// CHECK: %[[W:.*]]:2 = pipe.run @back1.accumulate(%{{.*}}) forward(0) micro_batch(1)
// CHECK-NEXT: %[[BEGUN:.*]] = pipe.all_reduce async sum %[[W]]#0 over @mesh ["a"] : tensor<4xf32>
// CHECK-NEXT: %[[V:.*]] = pipe.run @back0.accumulate(%[[W]]#1, %{{.*}}) forward(1) micro_batch(1)
// CHECK-NEXT: %[[SUM:.*]] = pipe.all_reduce sum %[[V]] over @mesh ["a"]
// CHECK: pipe.gradient @v, %[[SUM]]
// CHECK-NEXT: %[[DONE:.*]] = pipe.complete %[[BEGUN]] : tensor<4xf32>
// CHECK-NEXT: pipe.gradient @w, %[[DONE]]
func.func @step(%x: tensor<8x4xf32> {nn.name = "x"}) {
  %0 = dist.slice %x dim 0 over @mesh ["time", "a"] : tensor<8x4xf32> -> tensor<2x4xf32>
  %1:2 = call @back1(%0) {pipe.call = 0 : i64, pipe.phase = #pipe<phase forward>} : (tensor<2x4xf32>) -> (tensor<4xf32>, tensor<2x4xf32>)
  %2 = call @back0(%1#1) {pipe.call = 1 : i64, pipe.phase = #pipe<phase forward>} : (tensor<2x4xf32>) -> tensor<4xf32>
  %3 = dist.all_reduce sum %1#0 over @mesh ["time"] : tensor<4xf32>
  %4 = dist.all_reduce sum %2 over @mesh ["time"] : tensor<4xf32>
  %5 = dist.all_reduce sum %3 over @mesh ["a"] : tensor<4xf32>
  %6 = dist.all_reduce sum %4 over @mesh ["a"] : tensor<4xf32>
  nn.gradient @v, %6 : tensor<4xf32>
  nn.gradient @w, %5 : tensor<4xf32>
  return
}

// -----

// Two that are there at once keep their order; what somebody else reads later is not reduced in place, and does not begin early.
dist.mesh @mesh("a" = 2) micro_batches(1)

func.func private @f(%x: tensor<2x4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %0 = nn.reduce sum %x [0] : tensor<2x4xf32> -> tensor<4xf32>
  return %0, %0, %0 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}
func.func private @g(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
func.func private @h(%x: tensor<4xf32>, %y: tensor<4xf32>, %z: tensor<4xf32>, %u: tensor<4xf32>) -> tensor<f32> {
  %0 = nn.reduce sum %x [0] : tensor<4xf32> -> tensor<f32>
  return %0 : tensor<f32>
}

// CHECK-LABEL: pipe.table @forward
// CHECK: %[[F:.*]]:3 = pipe.run @f
// CHECK-NEXT: %[[A:.*]] = pipe.all_reduce async sum %[[F]]#0
// CHECK-NEXT: %[[B:.*]] = pipe.all_reduce async max %[[F]]#1
// CHECK-NEXT: %[[G:.*]] = pipe.run @g(%[[F]]#2)
// CHECK-NEXT: %[[C:.*]] = pipe.all_reduce sum %[[F]]#2
// CHECK-NEXT: %[[A1:.*]] = pipe.complete %[[A]]
// CHECK-NEXT: %[[B1:.*]] = pipe.complete %[[B]]
// CHECK-NEXT: pipe.run @h(%[[A1]], %[[B1]], %[[C]], %[[G]])
pipe.table @forward stage(0) micro_batches(1) {
  %x = pipe.input "x" micro_batch(0) over @mesh ["a"] : tensor<2x4xf32>
  %f:3 = pipe.run @f(%x) forward(0) micro_batch(0) : (tensor<2x4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  %g = pipe.run @g(%f#2) forward(1) micro_batch(0) : (tensor<4xf32>) -> tensor<4xf32>
  %a = pipe.all_reduce sum %f#0 over @mesh ["a"] : tensor<4xf32>
  %b = pipe.all_reduce max %f#1 over @mesh ["a"] : tensor<4xf32>
  %c = pipe.all_reduce sum %f#2 over @mesh ["a"] : tensor<4xf32>
  %h = pipe.run @h(%a, %b, %c, %g) forward(2) micro_batch(0) : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<f32>
  pipe.output "loss", %h : tensor<f32>
}

// A value that is read once a step and of which each micro-batch makes a part is put together part by part; pieces of an output say along
// which dimension they follow each other.
// RUN: galvatron-opt %s --pipe-schedule --pipe-verify-schedule -split-input-file | FileCheck %s

dist.mesh @mesh() micro_batches(2)
nn.parameter @w trainable : tensor<4x2xf32>, view strided<[2, 1]> of "w" [4, 2] init normal

func.func private @f(%x: tensor<2x2xf32>) -> (tensor<2x2xf32>, tensor<2x2xf32>) {
  %0 = nn.neg %x : tensor<2x2xf32>
  %1 = nn.transpose %x [1, 0] : tensor<2x2xf32> -> tensor<2x2xf32>
  return %0, %1 : tensor<2x2xf32>, tensor<2x2xf32>
}

// CHECK-LABEL: pipe.table @train
// CHECK: %[[A:.*]]:2 = pipe.run @f(%{{.*}}) forward(0) micro_batch(0)
// CHECK: pipe.output "y" micro_batch(0) dim(1), %[[A]]#1
// CHECK: %[[ALL0:.*]] = pipe.place %[[A]]#0 micro_batch(0) : tensor<2x2xf32> -> tensor<4x2xf32>
// CHECK: %[[B:.*]]:2 = pipe.run @f(%{{.*}}) forward(0) micro_batch(1)
// CHECK: pipe.output "y" micro_batch(1) dim(1), %[[B]]#1
// CHECK: %[[ALL1:.*]] = pipe.place %[[B]]#0 into %[[ALL0]] micro_batch(1) : tensor<2x2xf32> -> tensor<4x2xf32>
// CHECK: pipe.gradient @w, %[[ALL1]]
func.func @step(%x: tensor<4x2xf32> {nn.name = "x"})
    -> (tensor<2x2xf32> {nn.name = "y", dist.layout = #dist.layout<@mesh, [[], ["time"]]>}) {
  %0 = dist.slice %x dim 0 over @mesh ["time"] : tensor<4x2xf32> -> tensor<2x2xf32>
  %1:2 = call @f(%0) {pipe.call = 0 : i64, pipe.phase = #pipe<phase forward>} : (tensor<2x2xf32>) -> (tensor<2x2xf32>, tensor<2x2xf32>)
  %2 = dist.all_gather %1#0 dim 0 over @mesh ["time"] : tensor<2x2xf32> -> tensor<4x2xf32>
  nn.gradient @w, %2 : tensor<4x2xf32>
  return %1#1 : tensor<2x2xf32>
}

// -----

// One micro-batch's part is the whole.
dist.mesh @mesh() micro_batches(1)
nn.parameter @w trainable : tensor<4x2xf32>, view strided<[2, 1]> of "w" [4, 2] init normal

func.func private @f(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  %0 = nn.neg %x : tensor<4x2xf32>
  return %0 : tensor<4x2xf32>
}

// CHECK-LABEL: pipe.table @train
// CHECK: %[[A:.*]] = pipe.run @f(%{{.*}}) forward(0) micro_batch(0)
// CHECK-NOT: pipe.place
// CHECK: pipe.gradient @w, %[[A]]
func.func @step(%x: tensor<4x2xf32> {nn.name = "x"}) {
  %0 = dist.slice %x dim 0 over @mesh ["time"] : tensor<4x2xf32> -> tensor<4x2xf32>
  %1 = call @f(%0) {pipe.call = 0 : i64, pipe.phase = #pipe<phase forward>} : (tensor<4x2xf32>) -> tensor<4x2xf32>
  %2 = dist.all_gather %1 dim 0 over @mesh ["time"] : tensor<4x2xf32> -> tensor<4x2xf32>
  nn.gradient @w, %2 : tensor<4x2xf32>
  return
}

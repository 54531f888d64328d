// Every op of the dialect, printed and read back.
// RUN: galvatron-opt %s | galvatron-opt | FileCheck %s

dist.mesh @mesh("a" = 2) micro_batches(2)
nn.parameter @w trainable : tensor<4x4xf32>, view strided<[4, 1]> of "w" [4, 4] init normal

func.func private @mask(%ids: tensor<4x4xf32>) -> tensor<4x4xf32>
func.func private @forward_of_block(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>) -> (tensor<2x4xf32>, tensor<f32>)
func.func private @backward_of_block(%x: tensor<2x4xf32>, %m: tensor<2x4xf32>, %sum: tensor<4x4xf32>) -> tensor<4x4xf32>
  attributes {nn.accumulates = [[0, 2]]}
func.func private @update(%w: tensor<4x4xf32>, %g: tensor<4x4xf32>) -> tensor<4x4xf32>

// CHECK-LABEL: pipe.table @train stage(0) micro_batches(2) {
pipe.table @train stage(0) micro_batches(2) {
  // CHECK: %[[ALL:.*]] = pipe.input "x" : tensor<4x4xf32>
  %all = pipe.input "x" : tensor<4x4xf32>
  // CHECK: %[[MASK:.*]] = pipe.run @mask(%[[ALL]]) prepare(0) : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %mask = pipe.run @mask(%all) prepare(0) : (tensor<4x4xf32>) -> tensor<4x4xf32>
  // CHECK: %w = pipe.parameter @w : tensor<4x4xf32>
  %w = pipe.parameter @w : tensor<4x4xf32>
  // CHECK: %[[ZERO:.*]] = pipe.zero : tensor<4x4xf32>
  %zero = pipe.zero : tensor<4x4xf32>
  // CHECK: %[[X:.*]] = pipe.input "x" micro_batch(1) : tensor<2x4xf32>
  %x = pipe.input "x" micro_batch(1) : tensor<2x4xf32>
  // CHECK: %[[PIECE:.*]] = pipe.piece %[[MASK]] micro_batch(1) : tensor<4x4xf32> -> tensor<2x4xf32>
  %piece = pipe.piece %mask micro_batch(1) : tensor<4x4xf32> -> tensor<2x4xf32>
  // CHECK: %[[OWN:.*]] = pipe.input "x" micro_batch(1) over @mesh ["a"] : tensor<1x4xf32>
  %own = pipe.input "x" micro_batch(1) over @mesh ["a"] : tensor<1x4xf32>
  // CHECK: %[[MINE:.*]] = pipe.piece %[[MASK]] over @mesh ["a"] : tensor<4x4xf32> -> tensor<2x4xf32>
  %mine = pipe.piece %mask over @mesh ["a"] : tensor<4x4xf32> -> tensor<2x4xf32>
  // CHECK: pipe.all_reduce max %[[MINE]] over @mesh ["a"] : tensor<2x4xf32>
  %most = pipe.all_reduce max %mine over @mesh ["a"] : tensor<2x4xf32>
  // CHECK: %[[BEGUN:.*]] = pipe.all_reduce async sum %[[MINE]] over @mesh ["a"] : tensor<2x4xf32>
  %begun = pipe.all_reduce async sum %mine over @mesh ["a"] : tensor<2x4xf32>
  // CHECK: pipe.complete %[[BEGUN]] : tensor<2x4xf32>
  %complete = pipe.complete %begun : tensor<2x4xf32>
  // CHECK: %[[GATHERED:.*]] = pipe.all_gather async %[[OWN]] over @mesh ["a"] : tensor<1x4xf32> -> tensor<2x4xf32>
  %gathered = pipe.all_gather async %own over @mesh ["a"] : tensor<1x4xf32> -> tensor<2x4xf32>
  // CHECK: pipe.complete %[[GATHERED]] : tensor<2x4xf32>
  %whole = pipe.complete %gathered : tensor<2x4xf32>
  // CHECK: pipe.all_gather %[[OWN]] over @mesh ["a"] micro_batch(1) : tensor<1x4xf32> -> tensor<2x4xf32>
  %rows = pipe.all_gather %own over @mesh ["a"] micro_batch(1) : tensor<1x4xf32> -> tensor<2x4xf32>
  // CHECK: %[[PLACED:.*]] = pipe.place %[[PIECE]] micro_batch(0) : tensor<2x4xf32> -> tensor<4x4xf32>
  %placed0 = pipe.place %piece micro_batch(0) : tensor<2x4xf32> -> tensor<4x4xf32>
  // CHECK: pipe.place %[[PIECE]] into %[[PLACED]] micro_batch(1) : tensor<2x4xf32> -> tensor<4x4xf32>
  %placed1 = pipe.place %piece into %placed0 micro_batch(1) : tensor<2x4xf32> -> tensor<4x4xf32>
  // CHECK: pipe.run @forward_of_block(%[[X]], %w) forward(1) micro_batch(1)
  %y, %loss = pipe.run @forward_of_block(%x, %w) forward(1) micro_batch(1)
    : (tensor<2x4xf32>, tensor<4x4xf32>) -> (tensor<2x4xf32>, tensor<f32>)
  // CHECK: pipe.output "y" micro_batch(1), %{{.*}} : tensor<2x4xf32>
  pipe.output "y" micro_batch(1), %y : tensor<2x4xf32>
  // CHECK: pipe.output "y_transposed" micro_batch(1) dim(1), %{{.*}} : tensor<2x4xf32>
  pipe.output "y_transposed" micro_batch(1) dim(1), %y : tensor<2x4xf32>
  %g = pipe.run @backward_of_block(%x, %piece, %zero) backward(1) micro_batch(1)
    : (tensor<2x4xf32>, tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  // CHECK: pipe.output "loss", %{{.*}} : tensor<f32>
  pipe.output "loss", %loss : tensor<f32>
  // CHECK: pipe.gradient @w, %[[G:.*]] : tensor<4x4xf32>
  pipe.gradient @w, %g : tensor<4x4xf32>
  %new = pipe.run @update(%w, %g) finish(2) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  // CHECK: pipe.store @w, %{{.*}} : tensor<4x4xf32>
  pipe.store @w, %new : tensor<4x4xf32>
}

// RUN: galvatron-opt %s --dist-partition --verify-partitioned -split-input-file | FileCheck %s

// Everything is whole: nothing changes.
// CHECK-LABEL: func.func @step
// CHECK-NEXT: return
dist.mesh @mesh() micro_batches(2)
func.func @step(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  return %x : tensor<4x2xf32>
}

// -----

dist.mesh @mesh() micro_batches(2)
nn.parameter @w trainable : tensor<2xf32>, view strided<[1]> of "w" [2] init normal

// The block sees half of the rows; a splat shrinks with its type.
// CHECK-LABEL: func.func private @block
// CHECK-SAME: (%[[X:.*]]: tensor<2x2xf32> {{.*}}) -> (tensor<2xf32> {{.*}})
// CHECK: nn.constant dense<2.000000e+00> : tensor<2x2xf32>
// CHECK: nn.mul {{.*}} : tensor<2x2xf32>
// CHECK: nn.reduce {{.*}} : tensor<2x2xf32> -> tensor<2xf32>
func.func private @block(%x: tensor<4x2xf32> {dist.layout = #dist.layout<@mesh, [["time"], []]>})
    -> (tensor<2xf32> {dist.layout = #dist.layout<@mesh, [[]], partial <sum over "time">>}) {
  %two = nn.constant {dist.layouts = [#dist.layout<@mesh, [["time"], []]>]} dense<2.0> : tensor<4x2xf32>
  %0 = nn.mul %x, %two {dist.layouts = [#dist.layout<@mesh, [["time"], []]>]} : tensor<4x2xf32>
  %1 = nn.reduce sum %0 [0] {dist.layouts = [#dist.layout<@mesh, [[]], partial <sum over "time">>]} : tensor<4x2xf32> -> tensor<2xf32>
  return %1 : tensor<2xf32>
}

// CHECK-LABEL: func.func @step
// CHECK: %[[PIECE:.*]] = dist.slice %{{.*}} dim 0 over @mesh ["time"] : tensor<4x2xf32> -> tensor<2x2xf32>
// CHECK: %[[PART:.*]] = call @block(%[[PIECE]]) : (tensor<2x2xf32>) -> tensor<2xf32>
// CHECK: %[[SUM:.*]] = dist.all_reduce sum %[[PART]] over @mesh ["time"] : tensor<2xf32>
// CHECK: nn.set_parameter @w, %[[SUM]]
func.func @step(%x: tensor<4x2xf32> {dist.layout = #dist.layout<@mesh, [[], []]>}) {
  %0 = dist.reshard %x to <@mesh, [["time"], []]> : tensor<4x2xf32>
  %1 = call @block(%0) {dist.layouts = [#dist.layout<@mesh, [[]], partial <sum over "time">>]} : (tensor<4x2xf32>) -> tensor<2xf32>
  %2 = dist.reshard %1 to <@mesh, [[]]> : tensor<2xf32>
  nn.set_parameter @w, %2 : tensor<2xf32>
  return
}

// -----

// The axes of a mesh in space work the same way. Pieces are contiguous: those of a later dimension are cut from a transposed value.
dist.mesh @mesh("a" = 2, "b" = 3) micro_batches(2)
// CHECK-LABEL: func.func @step
// CHECK: %[[ROWS:.*]] = dist.slice %{{.*}} dim 0 over @mesh ["time", "a"] : tensor<8x6xf32> -> tensor<2x6xf32>
// CHECK: %[[TURNED:.*]] = nn.transpose %[[ROWS]] [1, 0]
// CHECK: %[[PIECE:.*]] = dist.slice %[[TURNED]] dim 0 over @mesh ["b"] : tensor<6x2xf32> -> tensor<2x2xf32>
// CHECK: nn.transpose %[[PIECE]] [1, 0]
func.func private @block(%x: tensor<8x6xf32> {dist.layout = #dist.layout<@mesh, [["time", "a"], ["b"]]>}) {
  return
}
func.func @step(%x: tensor<8x6xf32> {dist.layout = #dist.layout<@mesh, [[], []]>}) {
  %0 = dist.reshard %x to <@mesh, [["time", "a"], ["b"]]> : tensor<8x6xf32>
  call @block(%0) : (tensor<8x6xf32>) -> ()
  return
}

// -----

// What runs once a step reads a split value whole, after the last micro-batch.
dist.mesh @mesh() micro_batches(2)
// CHECK-LABEL: func.func @step
// CHECK: %[[PIECE:.*]] = dist.slice %{{.*}} dim 0 over @mesh ["time"] : tensor<4x2xf32> -> tensor<2x2xf32>
// CHECK: %[[Y:.*]] = call @block(%[[PIECE]])
// CHECK: %[[ALL:.*]] = dist.all_gather %[[Y]] dim 0 over @mesh ["time"] : tensor<2x2xf32> -> tensor<4x2xf32>
// CHECK: call @update(%[[ALL]])
func.func private @block(%x: tensor<4x2xf32> {dist.layout = #dist.layout<@mesh, [["time"], []]>})
    -> (tensor<4x2xf32> {dist.layout = #dist.layout<@mesh, [["time"], []]>}) {
  return %x : tensor<4x2xf32>
}
func.func private @update(%x: tensor<4x2xf32>) {
  return
}
func.func @step(%x: tensor<4x2xf32> {dist.layout = #dist.layout<@mesh, [[], []]>}) {
  %0 = dist.reshard %x to <@mesh, [["time"], []]> : tensor<4x2xf32>
  %1 = call @block(%0) {dist.layouts = [#dist.layout<@mesh, [["time"], []]>]} : (tensor<4x2xf32>) -> tensor<4x2xf32>
  %2 = dist.reshard %1 to <@mesh, [[], []]> : tensor<4x2xf32>
  call @update(%2) : (tensor<4x2xf32>) -> ()
  return
}

// -----

// A micro-batch's piece is contiguous in memory: where the batch is no leading dimension, it is moved there and back.
dist.mesh @mesh() micro_batches(2)
// CHECK-LABEL: func.func @step
// CHECK: %[[FIRST:.*]] = nn.transpose %{{.*}} [2, 0, 1] : tensor<2x3x4xf32> -> tensor<4x2x3xf32>
// CHECK: %[[PIECE:.*]] = dist.slice %[[FIRST]] dim 0 over @mesh ["time"] : tensor<4x2x3xf32> -> tensor<2x2x3xf32>
// CHECK: %[[BACK:.*]] = nn.transpose %[[PIECE]] [1, 2, 0] : tensor<2x2x3xf32> -> tensor<2x3x2xf32>
// CHECK: call @block(%[[BACK]])
func.func private @block(%x: tensor<2x3x4xf32> {dist.layout = #dist.layout<@mesh, [[], [], ["time"]]>}) {
  return
}
func.func @step(%x: tensor<2x3x4xf32> {dist.layout = #dist.layout<@mesh, [[], [], []]>}) {
  %0 = dist.reshard %x to <@mesh, [[], [], ["time"]]> : tensor<2x3x4xf32>
  call @block(%0) : (tensor<2x3x4xf32>) -> ()
  return
}

// -----

// What is partial over time and over ranks is accumulated first, then reduced over all ranks at once.
dist.mesh @mesh("a" = 2, "b" = 3) micro_batches(2)
nn.parameter @w trainable : tensor<2xf32>, view strided<[1]> of "w" [2] init normal
// CHECK-LABEL: func.func @step
// CHECK: %[[PART:.*]] = call @block
// CHECK: %[[OWN:.*]] = dist.all_reduce sum %[[PART]] over @mesh ["time"] : tensor<2xf32>
// CHECK: %[[SUM:.*]] = dist.all_reduce sum %[[OWN]] over @mesh ["a", "b"] : tensor<2xf32>
// CHECK: nn.set_parameter @w, %[[SUM]]
func.func private @block() -> (tensor<2xf32> {dist.layout = #dist.layout<@mesh, [[]], partial <sum over "time">, <sum over "a">, <sum over "b">>}) {
  %0 = nn.constant {dist.layouts = [#dist.layout<@mesh, [[]], partial <sum over "time">, <sum over "a">, <sum over "b">>]} dense<2.0> : tensor<2xf32>
  return %0 : tensor<2xf32>
}
func.func @step() {
  %0 = call @block() {dist.layouts = [#dist.layout<@mesh, [[]], partial <sum over "time">, <sum over "a">, <sum over "b">>]} : () -> tensor<2xf32>
  %1 = dist.reshard %0 to <@mesh, [[]]> : tensor<2xf32>
  nn.set_parameter @w, %1 : tensor<2xf32>
  return
}

// -----

// The ranks' pieces of a micro-batch lie side by side: they are gathered first, then put together over time.
dist.mesh @mesh("a" = 2) micro_batches(2)
// CHECK-LABEL: func.func @step
// CHECK: %[[ROWS:.*]] = dist.all_gather %{{.*}} dim 0 over @mesh ["a"] : tensor<1x2xf32> -> tensor<2x2xf32>
// CHECK: dist.all_gather %[[ROWS]] dim 0 over @mesh ["time"] : tensor<2x2xf32> -> tensor<4x2xf32>
func.func @step(%x: tensor<4x2xf32> {dist.layout = #dist.layout<@mesh, [["time", "a"], []]>}) -> tensor<4x2xf32> {
  %0 = dist.reshard %x to <@mesh, [[], []]> : tensor<4x2xf32>
  return %0 : tensor<4x2xf32>
}

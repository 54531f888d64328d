// RUN: galvatron-opt %s --dist-propagate-layouts -split-input-file | FileCheck %s

// Without a strategy nothing is split and no reshard is needed.
// CHECK-LABEL: func.func @step
// CHECK-NOT: dist.reshard
// CHECK: return
dist.mesh @mesh() micro_batches(2)
func.func private @once(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  return %x : tensor<4x2xf32>
}
func.func @step(%x: tensor<4x2xf32> {nn.name = "x"}) -> tensor<4x2xf32> {
  %y = call @once(%x) : (tensor<4x2xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// -----

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}

// The batch is split from the input on, through a reshape and backward into a broadcast of what is whole; what is summed over the
// batch is partial, and stays so through what is linear.
// CHECK-LABEL: func.func private @block
// CHECK-SAME: %[[X:.*]]: tensor<4x2xf32> {dist.layout = #dist.layout<@mesh, {{\[\[}}"time"], []]>}
// CHECK-SAME: %[[W:.*]]: tensor<2xf32> {dist.layout = #dist.layout<@mesh, {{\[\[}}]]>}
// CHECK-SAME: -> (tensor<2xf32> {dist.layout = #dist.layout<@mesh, {{\[\[}}]], partial <sum over "time">>})
// CHECK: nn.broadcast %[[W]] [1] {dist.layouts = [#dist.layout<@mesh, {{\[\[}}"time"], []]>]}
// CHECK: nn.add {{.*}} {dist.layouts = [#dist.layout<@mesh, {{\[\[}}"time"], []]>]}
// CHECK: nn.reshape {{.*}} {dist.layouts = [#dist.layout<@mesh, {{\[\[}}"time"]]>]}
// CHECK: nn.reshape {{.*}} {dist.layouts = [#dist.layout<@mesh, {{\[\[}}"time"], []]>]}
// CHECK: nn.reduce {{.*}} {dist.layouts = [#dist.layout<@mesh, {{\[\[}}]], partial <sum over "time">>]}
// CHECK: nn.mul {{.*}} {dist.layouts = [#dist.layout<@mesh, {{\[\[}}]], partial <sum over "time">>]}
func.func private @block(%x: tensor<4x2xf32>, %w: tensor<2xf32>) -> tensor<2xf32> {
  %b = nn.broadcast %w [1] : tensor<2xf32> -> tensor<4x2xf32>
  %0 = nn.add %x, %b : tensor<4x2xf32>
  %1 = nn.reshape %0 : tensor<4x2xf32> -> tensor<8xf32>
  %2 = nn.reshape %1 : tensor<8xf32> -> tensor<4x2xf32>
  %3 = nn.reduce sum %2 [0] : tensor<4x2xf32> -> tensor<2xf32>
  %4 = nn.mul %3, %w : tensor<2xf32>
  return %4 : tensor<2xf32>
}

// An input is whole, and resharded for the block; a partial sum is resharded for what runs once a step.
// CHECK-LABEL: func.func @step
// CHECK: %[[PIECE:.*]] = dist.reshard %{{.*}} to <@mesh, {{\[\[}}"time"], []]> : tensor<4x2xf32>
// CHECK: %[[PART:.*]] = call @block(%[[PIECE]], %w)
// CHECK: %[[SUM:.*]] = dist.reshard %[[PART]] to <@mesh, {{\[\[}}]]> : tensor<2xf32>
// CHECK: nn.set_parameter @w, %[[SUM]]
nn.parameter @w trainable : tensor<2xf32>, view strided<[1]> of "w" [2] init normal
func.func @step(%x: tensor<4x2xf32> {nn.name = "x"}) {
  %w = nn.get_parameter @w : tensor<2xf32>
  %g = call @block(%x, %w) {dist.strategy = @s0} : (tensor<4x2xf32>, tensor<2xf32>) -> tensor<2xf32>
  nn.set_parameter @w, %g : tensor<2xf32>
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}

// A prepared value has the batch in a dimension of its own, found through @prepare; the block sees a micro-batch's part of it.
func.func private @prepare(%x: tensor<4x2xf32>) -> tensor<2x4xf32> {
  %0 = nn.transpose %x [1, 0] : tensor<4x2xf32> -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}
// CHECK-LABEL: func.func private @block
// CHECK-SAME: %{{.*}}: tensor<2x4xf32> {dist.layout = #dist.layout<@mesh, {{\[\[}}], ["time"]]>}
func.func private @block(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %0 = nn.exp %x : tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}
// CHECK-LABEL: func.func @step
// CHECK: %[[P:.*]] = call @prepare(%{{.*}}) {dist.layouts = [#dist.layout<@mesh, {{\[\[}}], []]>]}
// CHECK: dist.reshard %[[P]] to <@mesh, {{\[\[}}], ["time"]]>
func.func @step(%x: tensor<4x2xf32> {nn.name = "x"}) -> tensor<2x4xf32> {
  %p = call @prepare(%x) : (tensor<4x2xf32>) -> tensor<2x4xf32>
  %y = call @block(%p) {dist.strategy = @s0} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}

// A function called with a strategy and without is two functions.
// CHECK: func.func private @shared(%{{.*}}: tensor<4xf32> {dist.layout = #dist.layout<@mesh, {{\[\[}}"time"]]>})
// CHECK: func.func private @[[CLONE:shared_.*]](%{{.*}}: tensor<4xf32>)
func.func private @shared(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = nn.exp %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}
// CHECK-LABEL: func.func @step
// CHECK: call @shared
// CHECK: call @[[CLONE]]
func.func @step(%x: tensor<4xf32> {nn.name = "x"}) -> (tensor<4xf32>, tensor<4xf32>) {
  %y = call @shared(%x) {dist.strategy = @s0} : (tensor<4xf32>) -> tensor<4xf32>
  %z = call @shared(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %y, %z : tensor<4xf32>, tensor<4xf32>
}

// -----

// With one micro-batch, what needs all of a value has it, and nothing is said to be split.
// CHECK-LABEL: func.func private @block
// CHECK-NOT: "time"
dist.mesh @mesh() micro_batches(1)
dist.strategy @s0 on @mesh {batch = ["time"]}
func.func private @block(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = nn.softmax %x 0 : tensor<4xf32>
  return %0 : tensor<4xf32>
}
// CHECK: func.func @step
func.func @step(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
  %y = call @block(%x) {dist.strategy = @s0} : (tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}

// A table that repeats for each row of the batch, as static exports hold it, is made of the rows that repeat.
// CHECK-LABEL: func.func private @block
// CHECK: %[[T:.*]] = nn.constant {{.*}} dense<{{\[\[}}1.000000e+00, 2.000000e+00]]> : tensor<1x2xf32>
// CHECK: %[[B:.*]] = nn.broadcast %[[T]] [1, 2] {{.*}} : tensor<1x2xf32> -> tensor<4x1x2xf32>
// CHECK: nn.reshape %[[B]] {dist.layouts = [#dist.layout<@mesh, {{\[\[}}"time"], []]>]}
func.func private @block(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  %t = nn.constant dense<[[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]> : tensor<4x2xf32>
  %0 = nn.add %x, %t : tensor<4x2xf32>
  return %0 : tensor<4x2xf32>
}
func.func @step(%x: tensor<4x2xf32> {nn.name = "x"}) -> tensor<4x2xf32> {
  %y = call @block(%x) {dist.strategy = @s0} : (tensor<4x2xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// -----

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}

// A constant or an iota along the batch is made by the step, once for all calls, and each micro-batch has its part.
// CHECK-LABEL: func.func private @block
// CHECK-SAME: (%[[X:.*]]: tensor<4xi64> {{.*}}, %[[A:.*]]: tensor<4xi64> {dist.layout = #dist.layout<@mesh, {{\[\[}}"time"]]>}, %[[B:.*]]: tensor<4xi64> {{.*}})
// CHECK-NOT: nn.constant
// CHECK: return
func.func private @block(%x: tensor<4xi64>) -> tensor<4xi64> {
  %t = nn.constant dense<[1, 2, 3, 5]> : tensor<4xi64>
  %i = nn.iota 0 : tensor<4xi64>
  %0 = nn.add %x, %t : tensor<4xi64>
  %1 = nn.add %0, %i : tensor<4xi64>
  return %1 : tensor<4xi64>
}
// CHECK-LABEL: func.func @step
// CHECK-DAG: %[[T:.*]] = nn.constant {{.*}}dense<[1, 2, 3, 5]>
// CHECK-DAG: %[[I:.*]] = nn.iota 0
// CHECK-NOT: nn.constant
// CHECK-NOT: nn.iota
// CHECK: call @block(
// CHECK: call @block(
func.func @step(%x: tensor<4xi64> {nn.name = "x"}) -> tensor<4xi64> {
  %y = call @block(%x) {dist.strategy = @s0} : (tensor<4xi64>) -> tensor<4xi64>
  %z = call @block(%y) {dist.strategy = @s0} : (tensor<4xi64>) -> tensor<4xi64>
  return %z : tensor<4xi64>
}

// -----

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}

// Inputs with another first dimension than the batch are whole in every micro-batch, unless what they meet is split.
// CHECK-LABEL: func.func private @block
// CHECK-SAME: %[[X:.*]]: tensor<4x3xf32> {dist.layout = #dist.layout<@mesh, {{\[\[}}"time"], []]>}
// CHECK-SAME: %{{.*}}: tensor<1x3xf32> {dist.layout = #dist.layout<@mesh, {{\[\[}}], []]>}
// CHECK-SAME: %{{.*}}: tensor<f32> {dist.layout = #dist.layout<@mesh, []>}
// CHECK-SAME: %{{.*}}: tensor<12xf32> {dist.layout = #dist.layout<@mesh, {{\[\[}}"time"]]>}
func.func private @block(%x: tensor<4x3xf32>, %positions: tensor<1x3xf32>, %scale: tensor<f32>, %flat: tensor<12xf32>) -> tensor<4x3xf32> {
  %0 = nn.reshape %positions : tensor<1x3xf32> -> tensor<3xf32>
  %1 = nn.broadcast %0 [1] : tensor<3xf32> -> tensor<4x3xf32>
  %2 = nn.broadcast %scale [] : tensor<f32> -> tensor<4x3xf32>
  %3 = nn.add %x, %1 : tensor<4x3xf32>
  %4 = nn.mul %3, %2 : tensor<4x3xf32>
  %5 = nn.reshape %flat : tensor<12xf32> -> tensor<4x3xf32>
  %6 = nn.add %4, %5 : tensor<4x3xf32>
  return %6 : tensor<4x3xf32>
}
func.func @step(%x: tensor<4x3xf32> {nn.name = "x"}, %positions: tensor<1x3xf32> {nn.name = "positions"}, %scale: tensor<f32> {nn.name = "scale"},
                %flat: tensor<12xf32> {nn.name = "flat"}) -> tensor<4x3xf32> {
  %y = call @block(%x, %positions, %scale, %flat) {dist.strategy = @s0} : (tensor<4x3xf32>, tensor<1x3xf32>, tensor<f32>, tensor<12xf32>) -> tensor<4x3xf32>
  return %y : tensor<4x3xf32>
}

// -----

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}

// A zero is a partial sum like any other, so choosing between a partial sum and zero is linear: the gradient of a relu on parameters.
// CHECK-LABEL: func.func private @block
// CHECK-SAME: -> (tensor<3xf32> {dist.layout = #dist.layout<@mesh, {{\[\[}}]], partial <sum over "time">>})
func.func private @block(%x: tensor<4x3xf32>, %mask: tensor<3xi1>) -> tensor<3xf32> {
  %0 = nn.reduce sum %x [0] : tensor<4x3xf32> -> tensor<3xf32>
  %zero = nn.constant dense<0.0> : tensor<3xf32>
  %1 = nn.select %mask, %0, %zero : tensor<3xf32>
  return %1 : tensor<3xf32>
}
func.func @step(%x: tensor<4x3xf32> {nn.name = "x"}) -> tensor<3xf32> {
  %mask = nn.constant dense<[true, false, true]> : tensor<3xi1>
  %y = call @block(%x, %mask) {dist.strategy = @s0} : (tensor<4x3xf32>, tensor<3xi1>) -> tensor<3xf32>
  return %y : tensor<3xf32>
}

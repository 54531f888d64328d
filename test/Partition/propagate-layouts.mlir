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

// -----

dist.mesh @mesh("a" = 2) micro_batches(1)
dist.strategy @s0 on @mesh {batch = ["time"], tensor = ["a"]} splits [#dist.split<input 1, dim 0, ["a"]>]
nn.parameter @table trainable : tensor<6x3xf32>, view strided<[3, 1]> of "table" [6, 3] init zero

// What counts along a loop that is split gets its numbers: an embedding those of its rows, a cross entropy those of its classes. Of all ids and labels it
// is still said that they are in range.
// CHECK-LABEL: func.func private @lookup(
// CHECK-SAME: %[[IDS:.*]]: tensor<4xi64>{{.*}}, %[[TABLE:.*]]: tensor<6x3xf32> {dist.layout = #dist.layout<@mesh, {{\[\[}}"a"], []]>}, %[[ROWS:.*]]: tensor<6xi64> {dist.layout = #dist.layout<@mesh, {{\[\[}}"a"]]>})
// CHECK: %[[CHECKED:.*]] = nn.in_range %[[IDS]] below 6 "the ids of an embedding"
// CHECK: %[[FOUND:.*]] = nn.embedding %[[TABLE]], %[[CHECKED]] rows %[[ROWS]] : tensor<6xi64> {dist.layouts = [#dist.layout<@mesh, {{\[\[}}"time"], []], partial <sum over "a">>]}
func.func private @lookup(%ids: tensor<4xi64>, %table: tensor<6x3xf32>) -> tensor<4x3xf32> {
  %0 = nn.embedding %table, %ids : (tensor<6x3xf32>, tensor<4xi64>) -> tensor<4x3xf32>
  return %0 : tensor<4x3xf32>
}

// One number for each label crosses the links: the largest logit, the sum of the exponentials, the label's own logit.
// CHECK-LABEL: func.func private @loss(
// CHECK: %[[LABELS:.*]] = nn.in_range %{{.*}} below 6 or -100 "labels"
// CHECK: %[[MAX:.*]] = nn.reduce max {{.*}} partial <max over "a">
// CHECK: dist.reshard %[[MAX]] to <@mesh, {{\[\[}}"time"]]> : tensor<4xf32>
// CHECK: %[[EXP:.*]] = nn.reduce sum {{.*}} partial <sum over "a">
// CHECK: dist.reshard %[[EXP]] to <@mesh, {{\[\[}}"time"]]> : tensor<4xf32>
// CHECK: %[[PICKED:.*]] = nn.reduce sum {{.*}} partial <sum over "a">
// CHECK: dist.reshard %[[PICKED]] to <@mesh, {{\[\[}}"time"]]> : tensor<4xf32>
// CHECK-NOT: dist.reshard
// CHECK: return
func.func private @loss(%x: tensor<4x3xf32>, %table: tensor<6x3xf32>, %labels: tensor<4xi64>) -> tensor<4xf32> {
  %0 = nn.contract %x, %table "ab,cb->ac" : (tensor<4x3xf32>, tensor<6x3xf32>) -> tensor<4x6xf32>
  %1, %log_sum = nn.cross_entropy %0, %labels ignore -100 : tensor<4x6xf32>, tensor<4xi64>
  return %1 : tensor<4xf32>
}

// CHECK-LABEL: func.func @step(
// CHECK: %[[IOTA:.*]] = nn.iota 0 {{.*}} : tensor<6xi64>
// CHECK: %[[PIECE:.*]] = dist.reshard %[[IOTA]] to <@mesh, {{\[\[}}"a"]]> : tensor<6xi64>
// CHECK: call @lookup(%{{.*}}, %{{.*}}, %[[PIECE]])
// CHECK: call @loss(
func.func @step(%ids: tensor<4xi64> {nn.name = "ids"}, %labels: tensor<4xi64> {nn.name = "labels"}) -> tensor<4xf32> {
  %table = nn.get_parameter @table : tensor<6x3xf32>
  %x = call @lookup(%ids, %table) {dist.call = 0 : i64, dist.strategy = @s0} : (tensor<4xi64>, tensor<6x3xf32>) -> tensor<4x3xf32>
  %y = call @loss(%x, %table, %labels) {dist.call = 1 : i64, dist.strategy = @s0} : (tensor<4x3xf32>, tensor<6x3xf32>, tensor<4xi64>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

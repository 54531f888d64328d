// RUN: galvatron-opt %s --dist-partition -split-input-file | FileCheck %s

// Five rows over two ranks: pieces of three, of which the last has one that is padding. It may hold anything until rows are reduced, and is the
// identity of the reduction there; where parts of a product are zero anyway, nothing is put in.
dist.mesh @mesh("a" = 2) micro_batches(1)
nn.parameter @w trainable : tensor<5x4xf32>, view strided<[4, 1]> of "w" [5, 4] init zero

// CHECK: nn.parameter @w trainable : tensor<3x4xf32>{{.*}} {dist.layout = #dist.layout<@mesh, {{\[}}["a"], []]>, dist.whole_shape = array<i64: 5, 4>}

// CHECK-LABEL: func.func private @head(
// CHECK-SAME: %[[X:.*]]: tensor<2x4xf32>{{.*}}, %[[W:.*]]: tensor<3x4xf32> {{.*}}, %[[NUMBERS:.*]]: tensor<3xi64>
// CHECK: %[[LOGITS:.*]] = nn.contract %[[X]], %[[W]]
// CHECK: %[[PLACE:.*]] = nn.broadcast %[[NUMBERS]] [1] : tensor<3xi64> -> tensor<2x3xi64>
// CHECK: %[[END:.*]] = nn.constant dense<5> : tensor<2x3xi64>
// CHECK: %[[INSIDE:.*]] = nn.compare lt %[[PLACE]], %[[END]]
// CHECK: %[[LOWEST:.*]] = nn.constant dense<0xFF800000>
// CHECK: %[[MASKED:.*]] = nn.select %[[INSIDE]], %[[LOGITS]], %[[LOWEST]]
// CHECK: nn.reduce  max %[[MASKED]] [1]
// The sum of the logits needs nothing: the table is zero in its padding, and so are they.
// CHECK: nn.reduce  sum %[[LOGITS]] [1]
// CHECK: %[[EXP:.*]] = nn.exp %[[LOGITS]]
// CHECK: %[[KEPT:.*]] = nn.select %{{.*}}, %[[EXP]], %{{.*}}
// The product has the same select in both its uses, and its result is zero in its padding then.
// CHECK: nn.reduce  sum %[[KEPT]] [1]
// CHECK: nn.contract %[[KEPT]], %[[X]] "ab,ac->bc"
func.func private @head(%x: tensor<2x4xf32> {dist.layout = #dist.layout<@mesh, [[], []]>}, %w: tensor<5x4xf32> {dist.layout = #dist.layout<@mesh, [["a"], []]>})
    -> (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<5x4xf32>) {
  %0 = nn.contract %x, %w "ac,bc->ab" {dist.layouts = [#dist.layout<@mesh, [[], ["a"]]>]} : (tensor<2x4xf32>, tensor<5x4xf32>) -> tensor<2x5xf32>
  %1 = nn.reduce max %0 [1] {dist.layouts = [#dist.layout<@mesh, [[]], partial <max over "a">>]} : tensor<2x5xf32> -> tensor<2xf32>
  %2 = nn.reduce sum %0 [1] {dist.layouts = [#dist.layout<@mesh, [[]], partial <sum over "a">>]} : tensor<2x5xf32> -> tensor<2xf32>
  %3 = nn.exp %0 {dist.layouts = [#dist.layout<@mesh, [[], ["a"]]>]} : tensor<2x5xf32>
  %4 = nn.reduce sum %3 [1] {dist.layouts = [#dist.layout<@mesh, [[]], partial <sum over "a">>]} : tensor<2x5xf32> -> tensor<2xf32>
  %5 = nn.contract %3, %x "ab,ac->bc" {dist.layouts = [#dist.layout<@mesh, [["a"], []]>]} : (tensor<2x5xf32>, tensor<2x4xf32>) -> tensor<5x4xf32>
  return %1, %2, %4, %5 : tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<5x4xf32>
}

// The step makes the numbers; behind their end come some that count nothing. What is stored is zero there already.
// CHECK-LABEL: func.func @step(
// CHECK: %[[IOTA:.*]] = nn.iota 0 : tensor<5xi64>
// CHECK: %[[PADDED:.*]] = nn.pad %[[IOTA]] [0] steps [1] value 4.61168601842738{{.*}}E+18 : tensor<5xi64> -> tensor<6xi64>
// CHECK: %[[PIECE:.*]] = dist.slice %[[PADDED]] dim 0 over @mesh ["a"] : tensor<6xi64> -> tensor<3xi64>
// CHECK: %[[CALL:.*]]:4 = call @head(%{{.*}}, %{{.*}}, %[[PIECE]])
// CHECK-NOT: nn.select
// CHECK: nn.set_parameter @w, %[[CALL]]#3 : tensor<3x4xf32>
// What is whole again is trimmed.
// CHECK: %[[ALL:.*]] = dist.all_gather %[[CALL]]#3 dim 0 over @mesh ["a"] : tensor<3x4xf32> -> tensor<6x4xf32>
// CHECK: %[[WHOLE:.*]] = nn.slice %[[ALL]] [0, 0] steps [1, 1] : tensor<6x4xf32> -> tensor<5x4xf32>
// CHECK: return %[[WHOLE]]
func.func @step(%x: tensor<2x4xf32> {dist.layout = #dist.layout<@mesh, [[], []]>}) -> tensor<5x4xf32> {
  %w = nn.get_parameter @w {dist.layouts = [#dist.layout<@mesh, [["a"], []]>]} : tensor<5x4xf32>
  %0:4 = call @head(%x, %w) {dist.layouts = [#dist.layout<@mesh, [[]], partial <max over "a">>, #dist.layout<@mesh, [[]], partial <sum over "a">>,
      #dist.layout<@mesh, [[]], partial <sum over "a">>, #dist.layout<@mesh, [["a"], []]>]} : (tensor<2x4xf32>, tensor<5x4xf32>) -> (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<5x4xf32>)
  nn.set_parameter @w, %0#3 : tensor<5x4xf32>
  %1 = dist.reshard %0#3 to <@mesh, [[], []]> : tensor<5x4xf32>
  return %1 : tensor<5x4xf32>
}

// -----

// What is stored and may be anything in its padding is made zero. A whole value is padded with zeros before it is cut.
dist.mesh @mesh("a" = 2) micro_batches(1)
nn.parameter @w trainable : tensor<5xf32>, view strided<[1]> of "w" [5] init zero

// CHECK-LABEL: func.func @step(
// CHECK: %[[W:.*]] = nn.get_parameter @w
// CHECK: %[[ONE_MORE:.*]] = nn.exp
// CHECK: %[[STORED:.*]] = nn.select %{{.*}}, %[[ONE_MORE]], %{{.*}} : tensor<3xf32>
// CHECK: nn.set_parameter @w, %[[STORED]]
// CHECK: nn.pad %{{.*}} [0] steps [1] value 0.000000e+00 : tensor<5xf32> -> tensor<6xf32>
// CHECK: dist.slice
// CHECK: nn.gradient @w, %{{.*}} : tensor<3xf32>
func.func @step(%x: tensor<5xf32> {dist.layout = #dist.layout<@mesh, [[]]>}) {
  %w = nn.get_parameter @w {dist.layouts = [#dist.layout<@mesh, [["a"]]>]} : tensor<5xf32>
  %0 = nn.exp %w {dist.layouts = [#dist.layout<@mesh, [["a"]]>]} : tensor<5xf32>
  nn.set_parameter @w, %0 : tensor<5xf32>
  %1 = dist.reshard %x to <@mesh, [["a"]]> : tensor<5xf32>
  nn.gradient @w, %1 : tensor<5xf32>
  return
}

// -----

// Over two axes the pieces are of two rows, over one of them of three: neither is pieces of the other's, so the way is through the whole.
dist.mesh @mesh("a" = 2, "b" = 2) micro_batches(1)
// CHECK-LABEL: func.func @step(
// CHECK: dist.all_gather %{{.*}} dim 0 over @mesh ["a"] : tensor<3xf32> -> tensor<6xf32>
// CHECK: nn.slice {{.*}} -> tensor<5xf32>
// CHECK: nn.pad {{.*}} -> tensor<8xf32>
// CHECK: dist.slice %{{.*}} dim 0 over @mesh ["a", "b"] : tensor<8xf32> -> tensor<2xf32>
func.func @step(%x: tensor<5xf32> {dist.layout = #dist.layout<@mesh, [["a"]]>}) -> tensor<5xf32> {
  %0 = dist.reshard %x to <@mesh, [["a", "b"]]> : tensor<5xf32>
  return %0 : tensor<5xf32>
}

// RUN: galvatron-opt %s --dist-propagate-layouts --dist-partition --verify-partitioned | FileCheck %s

// Where an op needs whole what another makes in pieces, ranks gather it, inside the function; what is partial is combined where the first
// op cannot pass it on, and returned as it is then.
dist.mesh @mesh("a" = 2) micro_batches(1)
dist.strategy @s0 on @mesh {batch = ["time"], tensor = ["a"]} splits [#dist.split<input 1, dim 1, ["a"]>, #dist.split<input 2, dim 0, ["a"]>]

// CHECK-LABEL: func.func private @block(
// CHECK-SAME: %arg0: tensor<4x8xf32>
// CHECK-SAME: tensor<8x3xf32> {dist.layout = #dist.layout<@mesh, {{\[\[}}], ["a"]]>}
// CHECK-SAME: tensor<2x8xf32> {dist.layout = #dist.layout<@mesh, {{\[\[}}"a"], []]>}
func.func private @block(%x: tensor<4x8xf32>, %w: tensor<8x6xf32>, %v: tensor<4x8xf32>, %z: tensor<4x8xf32>) -> (tensor<4x6xf32>, tensor<8x8xf32>, tensor<8x8xf32>) {
  // CHECK: %[[Y:.*]] = nn.contract {{.*}} -> tensor<4x3xf32>
  %y = nn.contract %x, %w "ab,bc->ac" : (tensor<4x8xf32>, tensor<8x6xf32>) -> tensor<4x6xf32>
  // CHECK: %[[T:.*]] = nn.transpose %[[Y]]
  // CHECK: %[[ALL:.*]] = dist.all_gather %[[T]] dim 0 over @mesh ["a"] : tensor<3x4xf32> -> tensor<6x4xf32>
  // CHECK: %[[BACK:.*]] = nn.transpose %[[ALL]]
  // CHECK: nn.softmax %[[BACK]] 1 : tensor<4x6xf32>
  %p = nn.softmax %y 1 : tensor<4x6xf32>
  // CHECK: %[[S:.*]] = nn.contract %arg3, %arg2 {{.*}}(tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<8x8xf32>
  %s = nn.contract %z, %v "ab,ac->bc" : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
  // CHECK: %[[SUM:.*]] = dist.all_reduce sum %[[S]] over @mesh ["a"] : tensor<8x8xf32>
  // CHECK: %[[E:.*]] = nn.exp %[[SUM]]
  %e = nn.exp %s : tensor<8x8xf32>
  // CHECK: return %{{.*}}, %[[E]], %[[SUM]]
  return %p, %e, %s : tensor<4x6xf32>, tensor<8x8xf32>, tensor<8x8xf32>
}
nn.parameter @w trainable : tensor<8x6xf32>, view strided<[6, 1]> of "w" [8, 6] init normal
nn.parameter @v trainable : tensor<4x8xf32>, view strided<[8, 1]> of "v" [4, 8] init normal
// CHECK-LABEL: func.func @step(
func.func @step(%x: tensor<4x8xf32> {nn.name = "x"}) -> (tensor<4x6xf32>, tensor<8x8xf32>, tensor<8x8xf32>) {
  %w = nn.get_parameter @w : tensor<8x6xf32>
  %v = nn.get_parameter @v : tensor<4x8xf32>
  // A block takes what it reads in pieces in pieces.
  // CHECK: %[[MINE:.*]] = dist.slice %arg0 dim 0 over @mesh ["a"] : tensor<4x8xf32> -> tensor<2x8xf32>
  // CHECK: call @block(%arg0, %{{.*}}, %{{.*}}, %[[MINE]])
  %0:3 = call @block(%x, %w, %v, %x) {dist.call = 0 : i64, dist.strategy = @s0} : (tensor<4x8xf32>, tensor<8x6xf32>, tensor<4x8xf32>, tensor<4x8xf32>) -> (tensor<4x6xf32>, tensor<8x8xf32>, tensor<8x8xf32>)
  return %0#0, %0#1, %0#2 : tensor<4x6xf32>, tensor<8x8xf32>, tensor<8x8xf32>
}

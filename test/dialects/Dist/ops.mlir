// Every op and attribute of the dialect, printed and read back.
// RUN: galvatron-opt %s | galvatron-opt | FileCheck %s

// CHECK: dist.mesh @one() micro_batches(4)
dist.mesh @one() micro_batches(4)
// CHECK: dist.mesh @four("a" = 2, "b" = 2) micro_batches(2)
dist.mesh @four("a" = 2, "b" = 2) micro_batches(2)
// CHECK: dist.strategy @s0 on @four {batch = ["time", "a"]}
dist.strategy @s0 on @four {batch = ["time", "a"]}
// CHECK: dist.strategy @s1 on @four {batch = ["time", "a"], tensor = ["b"]} splits [#dist.split<input 3, dim 1, ["b"]>]
dist.strategy @s1 on @four {batch = ["time", "a"], tensor = ["b"]} splits [#dist.split<input 3, dim 1, ["b"]>]
// CHECK: dist.strategy @s2 on @four {batch = ["time", "a"], tensor = ["b"]} ops [#dist.op<"up", []>, #dist.op<"down", [#dist.split<input 1, dim 1, ["b"]>]>]
dist.strategy @s2 on @four {batch = ["time", "a"], tensor = ["b"]} ops [#dist.op<"up", []>, #dist.op<"down", [#dist.split<input 1, dim 1, ["b"]>]>]

// CHECK-LABEL: func.func @moves
// CHECK-SAME: dist.layout = #dist.layout<@four, {{\[\[}}"time", "a"], []]>
func.func @moves(%x: tensor<8x4xf32> {dist.layout = #dist.layout<@four, [["time", "a"], []]>},
                 %y: tensor<f32> {dist.layout = #dist.layout<@four, [], partial <sum over "time">, <max over "a">>}) {
  // CHECK: dist.reshard %{{.*}} to <@four, {{\[\[}}], ["b"]]> : tensor<8x4xf32>
  %0 = dist.reshard %x to <@four, [[], ["b"]]> : tensor<8x4xf32>
  // CHECK: dist.slice %{{.*}} dim 0 over @four ["time", "a"] : tensor<8x4xf32> -> tensor<2x4xf32>
  %1 = dist.slice %x dim 0 over @four ["time", "a"] : tensor<8x4xf32> -> tensor<2x4xf32>
  // CHECK: dist.all_gather %{{.*}} dim 0 over @four ["time", "a"] : tensor<2x4xf32> -> tensor<8x4xf32>
  %3 = dist.all_gather %1 dim 0 over @four ["time", "a"] : tensor<2x4xf32> -> tensor<8x4xf32>
  // CHECK: dist.all_reduce max %{{.*}} over @four ["b"] : tensor<f32>
  %2 = dist.all_reduce max %y over @four ["b"] : tensor<f32>
  return
}

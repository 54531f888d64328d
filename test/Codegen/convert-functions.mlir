// RUN: galvatron-opt %s -rt-convert-functions | FileCheck %s

// CHECK: module attributes {rt.strings = ["", "labels"]}
rt.matmul_desc @m0 batch [] m 10 n 10 k 10 lhs [] [10, 1] rhs [] [10, 1] out [] [10, 1]
rt.matmul_desc @m1 batch [] m 10 n 10 k 10 lhs [] [10, 1] rhs [] [10, 1] out [] [10, 1] bias scratch 64

llvm.func @k(!llvm.ptr, i64, i64) attributes {rt.kernel, rt.rows = 10 : i64, rt.grain = 2 : i64}

// CHECK-LABEL: llvm.func internal @f(
// CHECK-SAME: %[[CTX:.*]]: !llvm.ptr, %[[ARGS:.*]]: !llvm.ptr, %[[FRAME:.*]]: !llvm.ptr)
// CHECK-SAME: rt.frame_bytes = 512
// CHECK: %[[X:.*]] = llvm.load %[[ARGS]]
// CHECK: %[[ARRAY:.*]] = llvm.alloca
func.func private @f(%x: !rt.buffer<10x10xf32>, %b: !rt.buffer<10xf32>, %ids: !rt.buffer<10xi64>, %y: !rt.buffer<10x10xf32>)
    attributes {rt.outs = 1 : i64, rt.frame_bytes = 512 : i64} {
  // CHECK: %[[AT:.*]] = llvm.mlir.constant(64 : i64)
  // CHECK: %[[T:.*]] = llvm.getelementptr %[[FRAME]][%[[AT]]]
  %t = rt.temporary at 64 : <10x10xf32>
  %s = rt.temporary at 0 : <64xi8>
  // CHECK: llvm.store %[[X]], %[[ARRAY]]
  // CHECK: %[[K:.*]] = llvm.mlir.addressof @k
  // CHECK: %[[ROWS:.*]] = llvm.mlir.constant(10 : i64)
  // CHECK: %[[GRAIN:.*]] = llvm.mlir.constant(2 : i64)
  // CHECK: llvm.call @galvatron_rt_parallel_for(%[[CTX]], %[[K]], %[[ARRAY]], %[[ROWS]], %[[GRAIN]])
  rt.parallel_for @k ins(%x : !rt.buffer<10x10xf32>) outs(%t : !rt.buffer<10x10xf32>)
  // CHECK: %[[ONE:.*]] = llvm.mlir.constant(1 : i64)
  // CHECK: llvm.call @galvatron_rt_matmul(%[[CTX]], %[[ONE]], %[[X]], %[[T]],
  rt.matmul @m1(%x, %t) bias %b : !rt.buffer<10xf32> into %y scratch %s : !rt.buffer<64xi8> : <10x10xf32>, <10x10xf32>, <10x10xf32>
  // CHECK: llvm.call @galvatron_rt_zero
  rt.zero %t : <10x10xf32>
  // CHECK: llvm.call @galvatron_rt_copy
  rt.copy %t to %y : <10x10xf32> to <10x10xf32>
  // CHECK: llvm.call @galvatron_rt_scatter_add_rows
  rt.scatter_add_rows %x by %ids into %y : <10x10xf32>, <10xi64>, <10x10xf32>
  // CHECK: llvm.mlir.constant(-100 : i64)
  // CHECK-NEXT: llvm.mlir.constant(1 : i64)
  // CHECK-NEXT: llvm.call @galvatron_rt_check_range
  rt.check_range %ids in [0, 10) or -100 "labels" : !rt.buffer<10xi64>
  return
}

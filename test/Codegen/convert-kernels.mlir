// RUN: galvatron-opt %s --rt-convert-kernels | FileCheck %s

// What is no kernel stays.
// CHECK-LABEL: func.func @other
func.func @other(%x: memref<4xf32>) {
  return
}

// The body has bare pointers; the kernel's name is that of the function that the runtime calls.
// CHECK: llvm.func internal @k_body(%{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: i64, %{{.*}}: i64)
// CHECK-NOT: unrealized_conversion_cast
// CHECK-NOT: math.
// CHECK-NOT: llvm.call
// CHECK: llvm.fadd {{.*}} {fastmathFlags = #llvm.fastmath<contract, reassoc>}
// CHECK: llvm.func @k(%[[ARGS:.*]]: !llvm.ptr, %[[B:.*]]: i64, %[[E:.*]]: i64)
// CHECK: %[[S0:.*]] = llvm.getelementptr %[[ARGS]][0]
// CHECK: %[[X:.*]] = llvm.load %[[S0]]
// CHECK: %[[S1:.*]] = llvm.getelementptr %[[ARGS]][1]
// CHECK: %[[Y:.*]] = llvm.load %[[S1]]
// CHECK: llvm.call @k_body(%[[X]], %[[Y]], %[[B]], %[[E]])
func.func private @k(%x: memref<8xf32> {llvm.noalias}, %y: memref<8xf32> {llvm.noalias}, %begin: index, %end: index) attributes {rt.kernel, rt.rows = 8 : i64, rt.grain = 8 : i64} {
  %one = arith.constant 1 : index
  scf.for %i = %begin to %end step %one {
    %a = memref.load %x[%i] : memref<8xf32>
    %b = math.exp %a : f32
    %c = math.sin %a : f32
    %d = math.powf %b, %c : f32
    %e = arith.addf %d, %a fastmath<reassoc,contract> : f32
    memref.store %e, %y[%i] : memref<8xf32>
  }
  return
}

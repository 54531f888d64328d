// RUN: galvatron-opt %s --rt-form-kernels -split-input-file | FileCheck %s

// Library calls and views stay as they are.
// CHECK-LABEL: @library
// CHECK-NOT: rt.launch
func.func @library(%x: tensor<4x8xf32>, %w: tensor<8x2xf32>) -> tensor<8xf32> {
  %y = nn.contract %x, %w "ab,bc->ac" : (tensor<4x8xf32>, tensor<8x2xf32>) -> tensor<4x2xf32>
  %z = nn.reshape %y : tensor<4x2xf32> -> tensor<8xf32>
  return %z : tensor<8xf32>
}

// -----

// Between two products: one kernel, whose broadcast is no tensor.
// CHECK-LABEL: @softmax
// CHECK-NEXT: %[[Y:.*]] = rt.launch @[[K:[a-z_0-9]+]](%{{.*}}) : (tensor<8x16xf32>) -> tensor<8x16xf32>
// CHECK-NEXT: return %[[Y]]
// CHECK: func.func private @[[K]]({{.*}}) -> tensor<8x16xf32> attributes {rt.kernel}
// CHECK: nn.exp
// CHECK: nn.reduce
func.func @softmax(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %e = nn.exp %x : tensor<8x16xf32>
  %s = nn.reduce sum %e [1] : tensor<8x16xf32> -> tensor<8xf32>
  %b = nn.broadcast %s [0] : tensor<8xf32> -> tensor<8x16xf32>
  %y = nn.div %e, %b : tensor<8x16xf32>
  return %y : tensor<8x16xf32>
}

// -----

// Equal kernels are one.
// CHECK-LABEL: @first
// CHECK: rt.launch @[[K:[a-z_0-9]+]](
// CHECK-LABEL: @second
// CHECK: rt.launch @[[K]](
// CHECK: func.func private @[[K]]({{.*}}) {{.*}} attributes {rt.kernel, rt.may_inplace = {{\[\[}}0, 0{{\]\]}}}
// CHECK-NOT: func.func private
func.func @first(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %e = nn.exp %x : tensor<8x16xf32>
  return %e : tensor<8x16xf32>
}
func.func @second(%other: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %e = nn.exp %other : tensor<8x16xf32>
  return %e : tensor<8x16xf32>
}

// -----

// The library adds a bias, and adds to a running sum.
// CHECK-LABEL: @library_adds
// CHECK: nn.contract
// CHECK: nn.broadcast
// CHECK: nn.add
// CHECK: nn.contract
// CHECK: nn.add %arg3
// CHECK-NOT: rt.launch
func.func @library_adds(%x: tensor<4x8xf32>, %w: tensor<8x2xf32>, %b: tensor<2xf32>, %sum: tensor<4x2xf32>) -> (tensor<4x2xf32>, tensor<4x2xf32>) {
  %y = nn.contract %x, %w "ab,bc->ac" : (tensor<4x8xf32>, tensor<8x2xf32>) -> tensor<4x2xf32>
  %bb = nn.broadcast %b [1] : tensor<2xf32> -> tensor<4x2xf32>
  %yb = nn.add %y, %bb : tensor<4x2xf32>
  %z = nn.contract %x, %w "ab,bc->ac" {other} : (tensor<4x8xf32>, tensor<8x2xf32>) -> tensor<4x2xf32>
  %total = nn.add %sum, %z : tensor<4x2xf32>
  return %yb, %total : tensor<4x2xf32>, tensor<4x2xf32>
}

// -----

// A kernel may not contain both ends of a path through a library call.
// CHECK-LABEL: @convex
// CHECK: %[[A:.*]] = rt.launch
// CHECK: %[[C:.*]] = nn.contract %[[A]]
// CHECK: rt.launch @{{.*}}(%[[A]], %[[C]])
func.func @convex(%x: tensor<8x8xf32>, %w: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %a = nn.exp %x : tensor<8x8xf32>
  %c = nn.contract %a, %w "ab,bc->ac" : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %y = nn.mul %a, %c : tensor<8x8xf32>
  return %y : tensor<8x8xf32>
}

// -----

// Sums down the columns are a kernel of their own, which multiplies again what it needs.
// CHECK-LABEL: @columns
// CHECK: rt.launch @[[K:[a-z_0-9]+]](%arg0, %arg1) : (tensor<64x8xf32>, tensor<64x8xf32>) -> (tensor<8xf32>, tensor<8xf32>)
// CHECK: func.func private @[[K]]
// CHECK: nn.mul
// CHECK: nn.reduce
// CHECK: nn.reduce
func.func @columns(%x: tensor<64x8xf32>, %g: tensor<64x8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %m = nn.mul %x, %g : tensor<64x8xf32>
  %a = nn.reduce sum %m [0] : tensor<64x8xf32> -> tensor<8xf32>
  %b = nn.reduce sum %g [0] : tensor<64x8xf32> -> tensor<8xf32>
  return %a, %b : tensor<8xf32>, tensor<8xf32>
}

// -----

// A sum over everything is taken in two steps.
// CHECK-LABEL: @total
// CHECK: %[[P:.*]] = rt.launch @{{.*}}(%arg0) : (tensor<256x768xf32>) -> tensor<256xf32>
// CHECK: rt.launch @{{.*}}(%[[P]]) : (tensor<256xf32>) -> tensor<f32>
func.func @total(%x: tensor<256x768xf32>) -> tensor<f32> {
  %s = nn.reduce sum %x [0, 1] : tensor<256x768xf32> -> tensor<f32>
  return %s : tensor<f32>
}

// -----

// An update works in place: each result over the input that it replaces.
// CHECK-LABEL: @update
// CHECK: func.func private @{{.*}} attributes {rt.inplace = {{\[\[}}1, 2{{\], \[}}0, 0{{\]\]}}, rt.kernel}
func.func @update(%p: tensor<64xf32>, %g: tensor<64xf32>, %m: tensor<64xf32>) -> (tensor<64xf32>, tensor<64xf32>) {
  %n = nn.add %m, %g {rt.in_place} : tensor<64xf32>
  %q = nn.sub %p, %n {rt.in_place} : tensor<64xf32>
  return %q, %n : tensor<64xf32>, tensor<64xf32>
}

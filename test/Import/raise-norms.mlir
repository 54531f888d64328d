// RUN: galvatron-opt %s --nn-raise-norms --canonicalize | FileCheck %s

// CHECK-LABEL: func @nothing
// CHECK-NEXT: %[[S:.*]] = nn.mul %arg0, %arg0
// CHECK-NEXT: return %[[S]]
func.func @nothing(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %s = nn.mul %x, %x : tensor<4x8xf32>
  return %s : tensor<4x8xf32>
}

// CHECK-LABEL: func @rms_norm
// CHECK-NEXT: %[[Y:.*]] = nn.rms_norm %arg0, %arg1 epsilon 9.99{{.*}}E-7
// CHECK-NEXT: return %[[Y]]
func.func @rms_norm(%x: tensor<2x4x8xf32>, %w: tensor<8xf32>) -> tensor<2x4x8xf32> {
  %two = nn.constant dense<2.0> : tensor<2x4x8xf32>
  %eighth = nn.constant dense<0.125> : tensor<2x4xf32>
  %eps = nn.constant dense<9.999999974752427e-07> : tensor<2x4xf32>
  %p = nn.pow %x, %two : tensor<2x4x8xf32>
  %s = nn.reduce sum %p [2] : tensor<2x4x8xf32> -> tensor<2x4xf32>
  %m = nn.mul %s, %eighth : tensor<2x4xf32>
  %e = nn.add %m, %eps : tensor<2x4xf32>
  %r = nn.rsqrt %e : tensor<2x4xf32>
  %b = nn.broadcast %r [0, 1] : tensor<2x4xf32> -> tensor<2x4x8xf32>
  %n = nn.mul %x, %b : tensor<2x4x8xf32>
  %wb = nn.broadcast %w [2] : tensor<8xf32> -> tensor<2x4x8xf32>
  %y = nn.mul %wb, %n : tensor<2x4x8xf32>
  return %y : tensor<2x4x8xf32>
}

// Normalised over heads and head together, the mean by a division, the scale 1 + w.
// CHECK-LABEL: func @rms_norm_of_two_dims
// CHECK: %[[W:.*]] = nn.add %arg1
// CHECK: nn.rms_norm %arg0, %[[W]] epsilon {{.*}} : tensor<2x4x8xf32>, tensor<4x8xf32>
func.func @rms_norm_of_two_dims(%x: tensor<2x4x8xf32>, %w: tensor<4x8xf32>) -> tensor<2x4x8xf32> {
  %n32 = nn.constant dense<32.0> : tensor<2xf32>
  %eps = nn.constant dense<1.0e-05> : tensor<2xf32>
  %one = nn.constant dense<1.0> : tensor<4x8xf32>
  %p = nn.mul %x, %x : tensor<2x4x8xf32>
  %s = nn.reduce sum %p [1, 2] : tensor<2x4x8xf32> -> tensor<2xf32>
  %m = nn.div %s, %n32 : tensor<2xf32>
  %e = nn.add %m, %eps : tensor<2xf32>
  %r = nn.rsqrt %e : tensor<2xf32>
  %b = nn.broadcast %r [0] : tensor<2xf32> -> tensor<2x4x8xf32>
  %n = nn.mul %b, %x : tensor<2x4x8xf32>
  %w1 = nn.add %w, %one : tensor<4x8xf32>
  %wb = nn.broadcast %w1 [1, 2] : tensor<4x8xf32> -> tensor<2x4x8xf32>
  %y = nn.mul %n, %wb : tensor<2x4x8xf32>
  return %y : tensor<2x4x8xf32>
}

// Without the mean: sum + ε = 16 (mean + ε / 16), hence a scale of a quarter.
// CHECK-LABEL: func @l2_norm
// CHECK: %[[S:.*]] = nn.constant dense<2.500000e-01> : tensor<16xf32>
// CHECK: nn.rms_norm %arg0, %[[S]] epsilon 0.1{{[0-9]*}}
func.func @l2_norm(%x: tensor<2x16xf32>) -> tensor<2x16xf32> {
  %eps = nn.constant dense<1.6> : tensor<2xf32>
  %p = nn.mul %x, %x : tensor<2x16xf32>
  %s = nn.reduce sum %p [1] : tensor<2x16xf32> -> tensor<2xf32>
  %e = nn.add %s, %eps : tensor<2xf32>
  %r = nn.rsqrt %e : tensor<2xf32>
  %b = nn.broadcast %r [0] : tensor<2xf32> -> tensor<2x16xf32>
  %n = nn.mul %x, %b : tensor<2x16xf32>
  return %n : tensor<2x16xf32>
}

// CHECK-LABEL: func @layer_norm
// CHECK-NEXT: %[[Y:.*]] = nn.layer_norm %arg0, %arg1, %arg2 : tensor<8xf32> epsilon 9.99{{.*}}E-6
// CHECK-NEXT: return %[[Y]]
func.func @layer_norm(%x: tensor<4x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<4x8xf32> {
  %two = nn.constant dense<2.0> : tensor<4x8xf32>
  %eighth = nn.constant dense<0.125> : tensor<4xf32>
  %eps = nn.constant dense<1.0e-05> : tensor<4xf32>
  %s0 = nn.reduce sum %x [1] : tensor<4x8xf32> -> tensor<4xf32>
  %mean = nn.mul %s0, %eighth : tensor<4xf32>
  %meanb = nn.broadcast %mean [0] : tensor<4xf32> -> tensor<4x8xf32>
  %d = nn.sub %x, %meanb : tensor<4x8xf32>
  %p = nn.pow %d, %two : tensor<4x8xf32>
  %s = nn.reduce sum %p [1] : tensor<4x8xf32> -> tensor<4xf32>
  %m = nn.mul %s, %eighth : tensor<4xf32>
  %e = nn.add %m, %eps : tensor<4xf32>
  %r = nn.rsqrt %e : tensor<4xf32>
  %rb = nn.broadcast %r [0] : tensor<4xf32> -> tensor<4x8xf32>
  %n = nn.mul %d, %rb : tensor<4x8xf32>
  %wb = nn.broadcast %w [1] : tensor<8xf32> -> tensor<4x8xf32>
  %nw = nn.mul %n, %wb : tensor<4x8xf32>
  %bb = nn.broadcast %b [1] : tensor<8xf32> -> tensor<4x8xf32>
  %y = nn.add %nw, %bb : tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// The squares are of another tensor.
// CHECK-LABEL: func @not_rms_norm
// CHECK-NOT: nn.rms_norm
// CHECK: return
func.func @not_rms_norm(%x: tensor<4x8xf32>, %z: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %eighth = nn.constant dense<0.125> : tensor<4xf32>
  %eps = nn.constant dense<1.0e-05> : tensor<4xf32>
  %p = nn.mul %z, %z : tensor<4x8xf32>
  %s = nn.reduce sum %p [1] : tensor<4x8xf32> -> tensor<4xf32>
  %m = nn.mul %s, %eighth : tensor<4xf32>
  %e = nn.add %m, %eps : tensor<4xf32>
  %r = nn.rsqrt %e : tensor<4xf32>
  %b = nn.broadcast %r [0] : tensor<4xf32> -> tensor<4x8xf32>
  %n = nn.mul %x, %b : tensor<4x8xf32>
  return %n : tensor<4x8xf32>
}

// The factor differs from row to row: it is no scale of a normalised dimension.
// CHECK-LABEL: func @not_a_scale
// CHECK: %[[N:.*]] = nn.rms_norm
// CHECK: nn.mul %[[N]]
func.func @not_a_scale(%x: tensor<4x8xf32>, %w: tensor<4xf32>) -> tensor<4x8xf32> {
  %eighth = nn.constant dense<0.125> : tensor<4xf32>
  %eps = nn.constant dense<1.0e-05> : tensor<4xf32>
  %p = nn.mul %x, %x : tensor<4x8xf32>
  %s = nn.reduce sum %p [1] : tensor<4x8xf32> -> tensor<4xf32>
  %m = nn.mul %s, %eighth : tensor<4xf32>
  %e = nn.add %m, %eps : tensor<4xf32>
  %r = nn.rsqrt %e : tensor<4xf32>
  %b = nn.broadcast %r [0] : tensor<4xf32> -> tensor<4x8xf32>
  %n = nn.mul %x, %b : tensor<4x8xf32>
  %wb = nn.broadcast %w [0] : tensor<4xf32> -> tensor<4x8xf32>
  %y = nn.mul %n, %wb : tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// A mean of half as many elements is not the mean that is subtracted.
// CHECK-LABEL: func @not_layer_norm
// CHECK-NOT: nn.layer_norm
// CHECK: return
func.func @not_layer_norm(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %quarter = nn.constant dense<0.25> : tensor<4xf32>
  %eighth = nn.constant dense<0.125> : tensor<4xf32>
  %eps = nn.constant dense<1.0e-05> : tensor<4xf32>
  %s0 = nn.reduce sum %x [1] : tensor<4x8xf32> -> tensor<4xf32>
  %mean = nn.mul %s0, %quarter : tensor<4xf32>
  %meanb = nn.broadcast %mean [0] : tensor<4xf32> -> tensor<4x8xf32>
  %d = nn.sub %x, %meanb : tensor<4x8xf32>
  %p = nn.mul %d, %d : tensor<4x8xf32>
  %s = nn.reduce sum %p [1] : tensor<4x8xf32> -> tensor<4xf32>
  %m = nn.mul %s, %eighth : tensor<4xf32>
  %e = nn.add %m, %eps : tensor<4xf32>
  %r = nn.rsqrt %e : tensor<4xf32>
  %rb = nn.broadcast %r [0] : tensor<4xf32> -> tensor<4x8xf32>
  %n = nn.mul %d, %rb : tensor<4x8xf32>
  return %n : tensor<4x8xf32>
}

// Every op prints as it was written.
// RUN: galvatron-opt %s | galvatron-opt | FileCheck %s

// CHECK: nn.parameter @qkv trainable : tensor<64x3x4x16xf32>, view strided<[192, 64, 16, 1]> of "c_attn.weight" [64, 192]
nn.parameter @qkv trainable : tensor<64x3x4x16xf32>, view strided<[192, 64, 16, 1]> of "c_attn.weight" [64, 192]
  from #nn.source<file = "model.onnx.data", offset = 8192, length = 49152, initializer = "w", transposed = false> init normal

// CHECK-LABEL: func.func @block
func.func @block(%x: tensor<8x32x64xf32>, %ids: tensor<8x32xi64>) -> tensor<8x32x64xf32> {
  %w = nn.get_parameter @qkv : tensor<64x3x4x16xf32>
  // CHECK: nn.contract %{{.*}}, %{{.*}} "abc,cdef->abdef" : (tensor<8x32x64xf32>, tensor<64x3x4x16xf32>) -> tensor<8x32x3x4x16xf32>
  %y = nn.contract %x, %w "abc,cdef->abdef" : (tensor<8x32x64xf32>, tensor<64x3x4x16xf32>) -> tensor<8x32x3x4x16xf32>
  // CHECK: nn.slice %{{.*}} [0, 0, 0, 0, 0] steps [1, 1, 1, 1, 1]
  %s = nn.slice %y [0, 0, 0, 0, 0] steps [1, 1, 1, 1, 1] : tensor<8x32x3x4x16xf32> -> tensor<8x32x1x4x16xf32>
  %q = nn.reshape %s : tensor<8x32x1x4x16xf32> -> tensor<8x32x4x1x16xf32>
  %k = nn.reshape %s : tensor<8x32x1x4x16xf32> -> tensor<8x32x4x16xf32>
  // CHECK: nn.attention %{{.*}}, %{{.*}}, %{{.*}} scale 2.500000e-01 upper 0
  %a, %p = nn.attention %q, %k, %k scale 0.25 upper 0 : tensor<8x32x4x1x16xf32>, tensor<8x32x4x16xf32>, tensor<8x32x4x16xf32> -> tensor<8x32x4x1x16xf32>, tensor<8x4x1x32x32xf32>
  %m = nn.reshape %a : tensor<8x32x4x1x16xf32> -> tensor<8x32x64xf32>
  // CHECK: nn.gelu %{{.*}} tanh : tensor<8x32x64xf32>
  %g = nn.gelu %m tanh : tensor<8x32x64xf32>
  // CHECK: nn.reduce sum %{{.*}} [0, 1] : tensor<8x32x64xf32> -> tensor<64xf32>
  %r = nn.reduce sum %g [0, 1] : tensor<8x32x64xf32> -> tensor<64xf32>
  // CHECK: nn.layer_norm %{{.*}}, %{{.*}}, %{{.*}} : tensor<64xf32> epsilon
  %n = nn.layer_norm %g, %r, %r : tensor<64xf32> epsilon 1.0e-5 : tensor<8x32x64xf32>, tensor<64xf32>
  // CHECK: nn.cross_entropy %{{.*}}, %{{.*}} ignore -100
  %c, %c_sum = nn.cross_entropy %n, %ids ignore -100 : tensor<8x32x64xf32>, tensor<8x32xi64>
  // CHECK: nn.compare le
  %b = nn.compare le %ids, %ids : tensor<8x32xi64>
  %f = nn.cast %b : tensor<8x32xi1> to tensor<8x32xf32>
  return %n : tensor<8x32x64xf32>
}

// A step names its gradients.
func.func @gradient(%g: tensor<64x3x4x16xf32>) {
  // CHECK: nn.gradient @qkv, %{{.*}} : tensor<64x3x4x16xf32>
  nn.gradient @qkv, %g : tensor<64x3x4x16xf32>
  return
}

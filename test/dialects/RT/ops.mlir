// RUN: galvatron-opt %s | galvatron-opt | FileCheck %s
// RUN: galvatron-opt %s -mlir-print-op-generic | galvatron-opt | FileCheck %s

nn.parameter @w trainable : tensor<64x192xf32>, view strided<[192, 1]> of "w" [64, 192] init normal

// CHECK: rt.matmul_desc @m0 batch [] m 256 n 192 k 64 lhs [] [64, 1] rhs [] [192, 1] out [] [192, 1] bias scratch 64
rt.matmul_desc @m0 batch [] m 256 n 192 k 64 lhs [] [64, 1] rhs [] [192, 1] out [] [192, 1] bias scratch 64
// CHECK: rt.matmul_desc @m1 batch [4] m 2 n 2 k 2 lhs [4] [2, 1] rhs [0] [2, 1] out [4] [2, 1] accumulate
rt.matmul_desc @m1 batch [4] m 2 n 2 k 2 lhs [4] [2, 1] rhs [0] [2, 1] out [4] [2, 1] accumulate
// CHECK: rt.conv_desc @c0 forward batch 8 channels 3 to 16 groups 1 src [16, 16] kernel [4, 4] dst [4, 4]
// CHECK-SAME: strides [4, 4] dilations [1, 1] pads [0, 0] [0, 0]
rt.conv_desc @c0 forward batch 8 channels 3 to 16 groups 1 src [16, 16] kernel [4, 4] dst [4, 4] strides [4, 4] dilations [1, 1] pads [0, 0] [0, 0]

func.func private @kernel_0(%x: tensor<4xf32>) -> tensor<4xf32> attributes {rt.kernel} {
  return %x : tensor<4xf32>
}

// CHECK-LABEL: @on_tensors
func.func @on_tensors(%x: tensor<4xf32>, %labels: tensor<8x32xi64>) -> tensor<4xf32> {
  // CHECK: rt.check_range %{{.*}} in[0, 211) or -100 "labels" : tensor<8x32xi64>
  rt.check_range %labels in [0, 211) or -100 "labels" : tensor<8x32xi64>
  // CHECK: rt.launch @kernel_0(%{{.*}}) : (tensor<4xf32>) -> tensor<4xf32>
  %y = rt.launch @kernel_0(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// CHECK-LABEL: @on_buffers
func.func @on_buffers(%x: !rt.buffer<256x64xf32>, %w: !rt.buffer<64x192xf32>, %b: !rt.buffer<192xf32>,
                      %ids: !rt.buffer<256xi64>, %y: !rt.buffer<256x192xf32>, %table: !rt.buffer<211x64xf32>)
    attributes {rt.outs = 2 : i64, rt.frame_bytes = 64 : i64} {
  // CHECK: rt.temporary at 0 : <64xi8>
  %scratch = rt.temporary at 0 : <64xi8>
  // CHECK: rt.matmul @m0(%{{.*}}, %{{.*}}) bias %{{.*}} : !rt.buffer<192xf32> into %{{.*}} scratch %{{.*}} : !rt.buffer<64xi8>
  rt.matmul @m0(%x, %w) bias %b : !rt.buffer<192xf32> into %y scratch %scratch : !rt.buffer<64xi8> : <256x64xf32>, <64x192xf32>, <256x192xf32>
  // CHECK: rt.zero
  rt.zero %table : <211x64xf32>
  // CHECK: rt.scatter_add_rows %{{.*}} by %{{.*}} into %{{.*}} : <256x64xf32>, <256xi64>, <211x64xf32>
  rt.scatter_add_rows %x by %ids into %table : <256x64xf32>, <256xi64>, <211x64xf32>
  // CHECK: rt.view %{{.*}} at 16 : <256x64xf32> to <4xf32>
  %piece = rt.view %x at 16 : <256x64xf32> to <4xf32>
  // CHECK: rt.view %{{.*}} at 16 axes [0] strides [32] : <256x64xf32> to <4xf32>
  %own = rt.view %x at 16 axes [0] strides [32] : <256x64xf32> to <4xf32>
  %z = rt.temporary : <4xf32>
  // CHECK: rt.parallel_for @kernel_0 ins(%{{.*}} : !rt.buffer<4xf32>) outs(%{{.*}} : !rt.buffer<4xf32>)
  rt.parallel_for @kernel_0 ins(%piece : !rt.buffer<4xf32>) outs(%z : !rt.buffer<4xf32>)
  // CHECK: rt.copy
  rt.copy %piece to %z : <4xf32> to <4xf32>
  return
}

// CHECK-LABEL: @convolution
func.func @convolution(%x: !rt.buffer<8x3x16x16xf32>, %w: !rt.buffer<16x3x4x4xf32>, %y: !rt.buffer<8x16x4x4xf32>) {
  // CHECK: rt.conv @c0 src %{{.*}} weights %{{.*}} dst %{{.*}}
  rt.conv @c0 src %x weights %w dst %y : <8x3x16x16xf32>, <16x3x4x4xf32>, <8x16x4x4xf32>
  return
}

func.func private @step(!rt.buffer<64x192xf32>, !rt.buffer<8xi64>, !rt.buffer<64x192xf32>, !rt.buffer<f32>)

// CHECK-LABEL: rt.program @program threads 2 cpu "x86-64-v4" optimizer "sgd" micro_batches 1 mesh ["a", "b"] [3, 2] arena 1048576
rt.program @program threads 2 cpu "x86-64-v4" optimizer "sgd" micro_batches 1 mesh ["a", "b"] [3, 2] arena 1048576 {
  // CHECK: rt.parameter @w at 0 : <64x192xf32>
  %w = rt.parameter @w at 0 : <64x192xf32>
  // CHECK: rt.tensor input "x" at 49152 : <8xi64>
  %x = rt.tensor input "x" at 49152 : <8xi64>
  %loss = rt.tensor scalar "loss" : <f32>
  // CHECK: rt.table train
  rt.table train {
    // CHECK: rt.slot "g" at 65536 : <64x192xf32>
    %g = rt.slot "g" at 65536 : <64x192xf32>
    // CHECK: rt.run @step micro_batch 0 ins({{.*}}) outs({{.*}}) frame 131072
    rt.run @step micro_batch 0 ins(%w, %x : !rt.buffer<64x192xf32>, !rt.buffer<8xi64>)
      outs(%g, %loss : !rt.buffer<64x192xf32>, !rt.buffer<f32>) frame 131072
    // CHECK: rt.all_reduce sum %{{.*}} into %{{.*}} axes [0, 1] : <64x192xf32>, <64x192xf32>
    rt.all_reduce sum %g into %g axes [0, 1] : <64x192xf32>, <64x192xf32>
    // CHECK: rt.complete %{{.*}} of %{{.*}} : <64x192xf32>, <64x192xf32>
    rt.complete %g of %g : <64x192xf32>, <64x192xf32>
    %all = rt.slot "all" : <128x192xf32>
    // CHECK: rt.all_gather %{{.*}} into %{{.*}} axes [1] micro_batch 0 : <64x192xf32>, <128x192xf32>
    rt.all_gather %g into %all axes [1] micro_batch 0 : <64x192xf32>, <128x192xf32>
    rt.complete %all of %g : <128x192xf32>, <64x192xf32>
    // CHECK: rt.gradient @w,
    rt.gradient @w, %g : <64x192xf32>
    // CHECK: rt.publish_gradients
    rt.publish_gradients
    // CHECK: rt.publish_output "g" %{{.*}} along 0 micro_batch 0 : <64x192xf32>
    rt.publish_output "g" %g along 0 micro_batch 0 : <64x192xf32>
  }
}

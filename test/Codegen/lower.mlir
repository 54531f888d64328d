// RUN: galvatron-opt %s -rt-lower='threads=2 cpu=x86-64-v3' -split-input-file | FileCheck %s

// A product with its bias, and a transposed operand read as it lies.
// CHECK: rt.matmul_desc @[[BIAS:m[0-9]+]] batch [] m 256 n 192 k 64 lhs [] [64, 1] rhs [] [192, 1] out [] [192, 1] bias
// CHECK: func.func private @linear(%[[X:.*]]: !rt.buffer<8x32x64xf32>, %[[W:.*]]: !rt.buffer<64x3x64xf32>, %[[B:.*]]: !rt.buffer<3x64xf32>, %[[Y:.*]]: !rt.buffer<8x32x3x64xf32>)
// CHECK-SAME: rt.outs = 1
// CHECK-NEXT: rt.matmul @[[BIAS]](%[[X]], %[[W]]) bias %[[B]] : !rt.buffer<3x64xf32> into %[[Y]]
// CHECK-NEXT: return
func.func private @linear(%x: tensor<8x32x64xf32>, %w: tensor<64x3x64xf32>, %b: tensor<3x64xf32>) -> tensor<8x32x3x64xf32> {
  %p = nn.contract %x, %w "abc,cde->abde" : (tensor<8x32x64xf32>, tensor<64x3x64xf32>) -> tensor<8x32x3x64xf32>
  %c = nn.broadcast %b [2, 3] : tensor<3x64xf32> -> tensor<8x32x3x64xf32>
  %y = nn.add %p, %c : tensor<8x32x3x64xf32>
  return %y : tensor<8x32x3x64xf32>
}

// -----

// Attention scores: batch, heads and groups are batch dimensions; the keys do not have the groups.
// CHECK: rt.matmul_desc @m0 batch [2, 3, 4] m 32 n 16 k 8 lhs [3072, 32, 8] [96, 1] rhs [384, 8, 0] [1, 24] out [6144, 2048, 512] [16, 1]
func.func private @scores(%q: tensor<2x32x3x4x8xf32>, %k: tensor<2x16x3x8xf32>) -> tensor<2x3x4x32x16xf32> {
  %s = nn.contract %q, %k "bqhgd,bkhd->bhgqk" : (tensor<2x32x3x4x8xf32>, tensor<2x16x3x8xf32>) -> tensor<2x3x4x32x16xf32>
  return %s : tensor<2x3x4x32x16xf32>
}

// -----

// The groups are summed by two calls, the second of which adds.
// CHECK-DAG: rt.matmul_desc @[[FIRST:m[0-9]+]] batch [2, 2] m 8 n 4 k 8 {{.*}} out [64, 4] [8, 1]{{$}}
// CHECK-DAG: rt.matmul_desc @[[REST:m[0-9]+]] batch [2, 2] m 8 n 4 k 8 {{.*}} out [64, 4] [8, 1] accumulate
// CHECK: func.func private @values
// CHECK: rt.matmul @[[FIRST]]
// CHECK: rt.view %{{.*}} at 256
// CHECK: rt.view %{{.*}} at 16
// CHECK: rt.matmul @[[REST]]
func.func private @values(%p: tensor<2x2x2x8x8xf32>, %d: tensor<2x8x2x2x4xf32>) -> tensor<2x8x2x4xf32> {
  %y = nn.contract %p, %d "bhgqk,bqhgd->bkhd" : (tensor<2x2x2x8x8xf32>, tensor<2x8x2x2x4xf32>) -> tensor<2x8x2x4xf32>
  return %y : tensor<2x8x2x4xf32>
}

// -----

// A sum over micro-batches is made in place; so is a gradient of rows.
// CHECK: func.func private @accumulate
// CHECK-SAME: rt.aliases = {{\[\[}}0, 0], [1, 1]], rt.outs = 2
// CHECK-NEXT: rt.matmul @{{.*}}(%arg2, %arg2) into %arg0
// CHECK-NEXT: rt.scatter_add_rows %arg2 by %arg3 into %arg1
// CHECK-NEXT: return
func.func private @accumulate(%g: tensor<4x4xf32>, %t: tensor<7x4xf32>, %x: tensor<4x4xf32>, %ids: tensor<4xi64>)
    -> (tensor<4x4xf32>, tensor<7x4xf32>) attributes {nn.accumulates = [[0, 0], [1, 1]]} {
  %p = nn.contract %x, %x "ab,ac->bc" : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %s = nn.add %g, %p : tensor<4x4xf32>
  %r = nn.embedding_grad %ids, %x : (tensor<4xi64>, tensor<4x4xf32>) -> tensor<7x4xf32>
  %u = nn.add %r, %t : tensor<7x4xf32>
  return %s, %u : tensor<4x4xf32>, tensor<7x4xf32>
}

// -----

// What the caller does not give away is copied, not overwritten; a result that is an argument is copied too.
// CHECK: func.func private @keep(%[[G:.*]]: !rt.buffer<4x4xf32>, %{{.*}}: !rt.buffer<4x4xf32>, %[[OUT:.*]]: !rt.buffer<4x4xf32>, %[[OLD:.*]]: !rt.buffer<16xf32>)
// CHECK-NOT: rt.aliases
// CHECK: rt.copy %[[G]] to %[[OUT]]
// CHECK-NEXT: rt.matmul {{.*}} into %[[OUT]]
// CHECK-NEXT: %[[V:.*]] = rt.view %[[G]]
// CHECK-NEXT: rt.copy %[[V]] to %[[OLD]]
func.func private @keep(%g: tensor<4x4xf32>, %x: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<16xf32>) {
  %p = nn.contract %x, %x "ab,ac->bc" : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %s = nn.add %g, %p : tensor<4x4xf32>
  %f = nn.reshape %g : tensor<4x4xf32> -> tensor<16xf32>
  return %s, %f : tensor<4x4xf32>, tensor<16xf32>
}

// -----

// Kernels write to results, or to temporaries; an update is in place.
func.func private @k0(%x: tensor<4xf32>) -> tensor<4xf32> attributes {rt.kernel} {
  %y = nn.exp %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
func.func private @k1(%x: tensor<4xf32>, %g: tensor<4xf32>) -> tensor<4xf32> attributes {rt.kernel, rt.inplace = [[0, 0]]} {
  %y = nn.sub %x, %g : tensor<4xf32>
  return %y : tensor<4xf32>
}
// CHECK: func.func private @update(%[[P:.*]]: !rt.buffer<4xf32>, %[[G:.*]]: !rt.buffer<4xf32>, %{{.*}}: !rt.buffer<4xf32>)
// CHECK-SAME: rt.aliases = {{\[\[}}0, 0]]
// CHECK-NEXT: %[[T:.*]] = rt.temporary : <4xf32>
// CHECK-NEXT: rt.parallel_for @k0 ins(%[[G]] : !rt.buffer<4xf32>) outs(%[[T]] : !rt.buffer<4xf32>)
// CHECK-NEXT: rt.parallel_for @k1 ins(%[[P]], %[[T]] : !rt.buffer<4xf32>, !rt.buffer<4xf32>) outs(%[[P]] : !rt.buffer<4xf32>)
func.func private @update(%p: tensor<4xf32>, %g: tensor<4xf32>) -> tensor<4xf32> attributes {nn.accumulates = [[0, 0]]} {
  %e = rt.launch @k0(%g) : (tensor<4xf32>) -> tensor<4xf32>
  %y = rt.launch @k1(%p, %e) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

// CHECK-DAG: rt.conv_desc @[[F:c[0-9]+]] forward batch 8 channels 3 to 16 groups 1 src [16, 16] kernel [4, 4] dst [4, 4] strides [4, 4] dilations [1, 1] pads [0, 0] [0, 0]
// CHECK-DAG: rt.conv_desc @[[W:c[0-9]+]] backward_weights
// CHECK: func.func private @patches(%[[X:.*]]: !rt.buffer<8x3x16x16xf32>, %[[K:.*]]: !rt.buffer<16x3x4x4xf32>, %[[Y:.*]]: !rt.buffer<8x16x4x4xf32>, %[[D:.*]]: !rt.buffer<16x3x4x4xf32>)
// CHECK-NEXT: rt.conv @[[F]] src %[[X]] weights %[[K]] dst %[[Y]]
// CHECK-NEXT: rt.conv @[[W]] src %[[X]] weights %[[D]] dst %[[Y]]
func.func private @patches(%x: tensor<8x3x16x16xf32>, %w: tensor<16x3x4x4xf32>) -> (tensor<8x16x4x4xf32>, tensor<16x3x4x4xf32>) {
  %y = nn.conv %x, %w strides [4, 4] pads [0, 0] [0, 0] dilations [1, 1] groups 1 : (tensor<8x3x16x16xf32>, tensor<16x3x4x4xf32>) -> tensor<8x16x4x4xf32>
  %d = nn.conv_weight_grad %x, %y strides [4, 4] pads [0, 0] [0, 0] dilations [1, 1] groups 1 : (tensor<8x3x16x16xf32>, tensor<8x16x4x4xf32>) -> tensor<16x3x4x4xf32>
  return %y, %d : tensor<8x16x4x4xf32>, tensor<16x3x4x4xf32>
}

// -----

// The table: an accumulator is made once and added to, a parameter is updated in its place, the loss is written where
// the runtime looks for it.
nn.parameter @w trainable : tensor<4xf32>, view strided<[1]> of "w" [4] init normal
func.func private @k(%x: tensor<4xf32>, %g: tensor<4xf32>) -> tensor<4xf32> attributes {rt.kernel, rt.inplace = [[0, 0]]} {
  %y = nn.add %x, %g : tensor<4xf32>
  return %y : tensor<4xf32>
}
func.func private @s(%x: tensor<4xf32>) -> tensor<f32> attributes {rt.kernel} {
  %y = nn.reduce sum %x [0] : tensor<4xf32> -> tensor<f32>
  return %y : tensor<f32>
}
func.func private @add(%a: tensor<4xf32>, %x: tensor<4xf32>) -> tensor<4xf32> attributes {nn.accumulates = [[0, 0]]} {
  %y = rt.launch @k(%a, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}
func.func private @sum(%x: tensor<4xf32>) -> tensor<f32> {
  %y = rt.launch @s(%x) : (tensor<4xf32>) -> tensor<f32>
  return %y : tensor<f32>
}
// CHECK: rt.program @program threads 2 cpu "x86-64-v3" optimizer "none" micro_batches 2
// CHECK: %[[W:.*]] = rt.parameter @w : <4xf32>
// CHECK: %[[IN:.*]] = rt.tensor input "x" : <8xf32>
// CHECK: %[[LOSS:.*]] = rt.tensor scalar "loss" : <f32>
// CHECK: rt.table train
// CHECK: %[[ACC:.*]] = rt.slot "zero" : <4xf32>
// CHECK: rt.run @zero_4xf32 outs(%[[ACC]] : !rt.buffer<4xf32>)
// CHECK: %[[X0:.*]] = rt.view %[[IN]] : <8xf32> to <4xf32>
// CHECK: rt.run @add micro_batch 0 ins(%[[ACC]], %[[X0]] : {{.*}}) outs(%[[ACC]] : {{.*}})
// CHECK: %[[X1:.*]] = rt.view %[[IN]] at 16 : <8xf32> to <4xf32>
// CHECK: rt.run @add micro_batch 1 ins(%[[ACC]], %[[X1]] : {{.*}}) outs(%[[ACC]] : {{.*}})
// CHECK: rt.gradient @w, %[[ACC]]
// CHECK: rt.publish_gradients
// CHECK: rt.run @sum ins(%[[ACC]] : {{.*}}) outs(%[[LOSS]] : {{.*}})
// CHECK: rt.run @add ins(%[[W]], %[[ACC]] : {{.*}}) outs(%[[W]] : {{.*}})
// CHECK-NOT: rt.run
// CHECK: rt.table forward
// The parameter must stay: a copy is made.
// CHECK: %[[COPY:.*]] = rt.slot
// CHECK: rt.run @copy_4xf32 ins(%[[W]] : {{.*}}) outs(%[[COPY]] : {{.*}})
// CHECK: rt.run @add micro_batch 0 ins(%[[COPY]], {{.*}}) outs(%[[COPY]] : {{.*}})
// CHECK: %[[Y:.*]] = rt.slot "y"
// CHECK: rt.run @copy_4xf32 ins(%[[COPY]] : {{.*}}) outs(%[[Y]] : {{.*}})
// CHECK: rt.publish_output "y" %[[Y]] along 0 micro_batch 0
pipe.table @train stage(0) micro_batches(2) {
  %w = pipe.parameter @w : tensor<4xf32>
  %z = pipe.zero : tensor<4xf32>
  %x0 = pipe.input "x" micro_batch(0) : tensor<4xf32>
  %g0 = pipe.run @add(%z, %x0) backward(0) micro_batch(0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %x1 = pipe.input "x" micro_batch(1) : tensor<4xf32>
  %g1 = pipe.run @add(%g0, %x1) backward(0) micro_batch(1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  pipe.gradient @w, %g1 : tensor<4xf32>
  %l = pipe.run @sum(%g1) finish(0) : (tensor<4xf32>) -> tensor<f32>
  pipe.output "loss", %l : tensor<f32>
  %n = pipe.run @add(%w, %g1) finish(0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  pipe.store @w, %n : tensor<4xf32>
}
pipe.table @forward stage(0) micro_batches(2) {
  %w = pipe.parameter @w : tensor<4xf32>
  %x0 = pipe.input "x" micro_batch(0) : tensor<4xf32>
  %y0 = pipe.run @add(%w, %x0) forward(0) micro_batch(0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  pipe.output "y" micro_batch(0), %y0 : tensor<4xf32>
  %x1 = pipe.input "x" micro_batch(1) : tensor<4xf32>
  %y1 = pipe.run @add(%w, %x1) forward(0) micro_batch(1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  pipe.output "y" micro_batch(1), %y1 : tensor<4xf32>
}

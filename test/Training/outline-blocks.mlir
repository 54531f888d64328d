// RUN: galvatron-opt %s -split-input-file --nn-outline-blocks | FileCheck %s

// Four equal layers and a fifth with another constant: four calls of one function, and the fifth is part of
// what comes after.
// CHECK: func.func private @block0(%[[X:.*]]: tensor<2x3x4xf32>, %[[LN:.*]]: tensor<4xf32>, %[[UP:.*]]: tensor<4x16xf32>, %[[DOWN:.*]]: tensor<16x4xf32>) -> tensor<2x3x4xf32>
// CHECK: nn.rms_norm %[[X]], %[[LN]]
// CHECK: %[[TWO:.*]] = nn.constant dense<2.000000e+00>
// CHECK: nn.mul %{{.*}}, %[[TWO]]
// CHECK-NOT: func.func private @block1
// CHECK: func.func private @prologue
// CHECK: nn.embedding
// CHECK: func.func private @epilogue
// CHECK: nn.constant dense<3.000000e+00>
// CHECK: func.func @forward(%[[IDS:.*]]: tensor<2x3xi64> {nn.name = "input_ids"}) -> (tensor<2x3x11xf32> {nn.name = "logits"})
// CHECK: %[[H0:.*]] = call @prologue(%[[IDS]], %wte)
// CHECK: %[[H1:.*]] = call @block0(%[[H0]], %ln0, %up0, %down0)
// CHECK: %[[H2:.*]] = call @block0(%[[H1]], %ln1, %up1, %down1)
// CHECK: %[[H3:.*]] = call @block0(%[[H2]], %ln2, %up2, %down2)
// CHECK: %[[H4:.*]] = call @block0(%[[H3]], %ln3, %up3, %down3)
// CHECK: %[[LOGITS:.*]] = call @epilogue(%[[H4]], %ln4, %up4, %down4, %lnf, %wte)
// CHECK: return %[[LOGITS]]
nn.parameter @wte trainable : tensor<11x4xf32>, view strided<[4, 1]> of "wte" [11, 4] init normal
nn.parameter @ln0 trainable : tensor<4xf32>, view strided<[1]> of "ln0" [4] init normal
nn.parameter @up0 trainable : tensor<4x16xf32>, view strided<[16, 1]> of "up0" [4, 16] init normal
nn.parameter @down0 trainable : tensor<16x4xf32>, view strided<[4, 1]> of "down0" [16, 4] init normal
nn.parameter @ln1 trainable : tensor<4xf32>, view strided<[1]> of "ln1" [4] init normal
nn.parameter @up1 trainable : tensor<4x16xf32>, view strided<[16, 1]> of "up1" [4, 16] init normal
nn.parameter @down1 trainable : tensor<16x4xf32>, view strided<[4, 1]> of "down1" [16, 4] init normal
nn.parameter @ln2 trainable : tensor<4xf32>, view strided<[1]> of "ln2" [4] init normal
nn.parameter @up2 trainable : tensor<4x16xf32>, view strided<[16, 1]> of "up2" [4, 16] init normal
nn.parameter @down2 trainable : tensor<16x4xf32>, view strided<[4, 1]> of "down2" [16, 4] init normal
nn.parameter @ln3 trainable : tensor<4xf32>, view strided<[1]> of "ln3" [4] init normal
nn.parameter @up3 trainable : tensor<4x16xf32>, view strided<[16, 1]> of "up3" [4, 16] init normal
nn.parameter @down3 trainable : tensor<16x4xf32>, view strided<[4, 1]> of "down3" [16, 4] init normal
nn.parameter @ln4 trainable : tensor<4xf32>, view strided<[1]> of "ln4" [4] init normal
nn.parameter @up4 trainable : tensor<4x16xf32>, view strided<[16, 1]> of "up4" [4, 16] init normal
nn.parameter @down4 trainable : tensor<16x4xf32>, view strided<[4, 1]> of "down4" [16, 4] init normal
nn.parameter @lnf trainable : tensor<4xf32>, view strided<[1]> of "lnf" [4] init normal
func.func @forward(%ids: tensor<2x3xi64> {nn.name = "input_ids"}) -> (tensor<2x3x11xf32> {nn.name = "logits"}) {
  %wte = nn.get_parameter @wte : tensor<11x4xf32>
  %h0 = nn.embedding %wte, %ids : (tensor<11x4xf32>, tensor<2x3xi64>) -> tensor<2x3x4xf32>
  %ln0 = nn.get_parameter @ln0 : tensor<4xf32>
  %up0 = nn.get_parameter @up0 : tensor<4x16xf32>
  %down0 = nn.get_parameter @down0 : tensor<16x4xf32>
  %n0 = nn.rms_norm %h0, %ln0 epsilon 1.0e-5 : tensor<2x3x4xf32>, tensor<4xf32>
  %u0 = nn.contract %n0, %up0 "abc,cd->abd" : (tensor<2x3x4xf32>, tensor<4x16xf32>) -> tensor<2x3x16xf32>
  %g0 = nn.gelu %u0 tanh : tensor<2x3x16xf32>
  %d0 = nn.contract %g0, %down0 "abc,cd->abd" : (tensor<2x3x16xf32>, tensor<16x4xf32>) -> tensor<2x3x4xf32>
  %c0 = nn.constant dense<2.0> : tensor<2x3x4xf32>
  %s0 = nn.mul %d0, %c0 : tensor<2x3x4xf32>
  %h1 = nn.add %h0, %s0 : tensor<2x3x4xf32>
  %ln1 = nn.get_parameter @ln1 : tensor<4xf32>
  %up1 = nn.get_parameter @up1 : tensor<4x16xf32>
  %down1 = nn.get_parameter @down1 : tensor<16x4xf32>
  %n1 = nn.rms_norm %h1, %ln1 epsilon 1.0e-5 : tensor<2x3x4xf32>, tensor<4xf32>
  %u1 = nn.contract %n1, %up1 "abc,cd->abd" : (tensor<2x3x4xf32>, tensor<4x16xf32>) -> tensor<2x3x16xf32>
  %g1 = nn.gelu %u1 tanh : tensor<2x3x16xf32>
  %d1 = nn.contract %g1, %down1 "abc,cd->abd" : (tensor<2x3x16xf32>, tensor<16x4xf32>) -> tensor<2x3x4xf32>
  %c1 = nn.constant dense<2.0> : tensor<2x3x4xf32>
  %s1 = nn.mul %d1, %c1 : tensor<2x3x4xf32>
  %h2 = nn.add %h1, %s1 : tensor<2x3x4xf32>
  %ln2 = nn.get_parameter @ln2 : tensor<4xf32>
  %up2 = nn.get_parameter @up2 : tensor<4x16xf32>
  %down2 = nn.get_parameter @down2 : tensor<16x4xf32>
  %n2 = nn.rms_norm %h2, %ln2 epsilon 1.0e-5 : tensor<2x3x4xf32>, tensor<4xf32>
  %u2 = nn.contract %n2, %up2 "abc,cd->abd" : (tensor<2x3x4xf32>, tensor<4x16xf32>) -> tensor<2x3x16xf32>
  %g2 = nn.gelu %u2 tanh : tensor<2x3x16xf32>
  %d2 = nn.contract %g2, %down2 "abc,cd->abd" : (tensor<2x3x16xf32>, tensor<16x4xf32>) -> tensor<2x3x4xf32>
  %c2 = nn.constant dense<2.0> : tensor<2x3x4xf32>
  %s2 = nn.mul %d2, %c2 : tensor<2x3x4xf32>
  %h3 = nn.add %h2, %s2 : tensor<2x3x4xf32>
  %ln3 = nn.get_parameter @ln3 : tensor<4xf32>
  %up3 = nn.get_parameter @up3 : tensor<4x16xf32>
  %down3 = nn.get_parameter @down3 : tensor<16x4xf32>
  %n3 = nn.rms_norm %h3, %ln3 epsilon 1.0e-5 : tensor<2x3x4xf32>, tensor<4xf32>
  %u3 = nn.contract %n3, %up3 "abc,cd->abd" : (tensor<2x3x4xf32>, tensor<4x16xf32>) -> tensor<2x3x16xf32>
  %g3 = nn.gelu %u3 tanh : tensor<2x3x16xf32>
  %d3 = nn.contract %g3, %down3 "abc,cd->abd" : (tensor<2x3x16xf32>, tensor<16x4xf32>) -> tensor<2x3x4xf32>
  %c3 = nn.constant dense<2.0> : tensor<2x3x4xf32>
  %s3 = nn.mul %d3, %c3 : tensor<2x3x4xf32>
  %h4 = nn.add %h3, %s3 : tensor<2x3x4xf32>
  %ln4 = nn.get_parameter @ln4 : tensor<4xf32>
  %up4 = nn.get_parameter @up4 : tensor<4x16xf32>
  %down4 = nn.get_parameter @down4 : tensor<16x4xf32>
  %n4 = nn.rms_norm %h4, %ln4 epsilon 1.0e-5 : tensor<2x3x4xf32>, tensor<4xf32>
  %u4 = nn.contract %n4, %up4 "abc,cd->abd" : (tensor<2x3x4xf32>, tensor<4x16xf32>) -> tensor<2x3x16xf32>
  %g4 = nn.gelu %u4 tanh : tensor<2x3x16xf32>
  %d4 = nn.contract %g4, %down4 "abc,cd->abd" : (tensor<2x3x16xf32>, tensor<16x4xf32>) -> tensor<2x3x4xf32>
  %c4 = nn.constant dense<3.0> : tensor<2x3x4xf32>
  %s4 = nn.mul %d4, %c4 : tensor<2x3x4xf32>
  %h5 = nn.add %h4, %s4 : tensor<2x3x4xf32>
  %lnf = nn.get_parameter @lnf : tensor<4xf32>
  %n = nn.rms_norm %h5, %lnf epsilon 1.0e-5 : tensor<2x3x4xf32>, tensor<4xf32>
  %logits = nn.contract %n, %wte "abc,dc->abd" : (tensor<2x3x4xf32>, tensor<11x4xf32>) -> tensor<2x3x11xf32>
  return %logits : tensor<2x3x11xf32>
}

// -----

// No repeats: one function.
nn.parameter @w trainable : tensor<4x4xf32>, view strided<[4, 1]> of "w" [4, 4] init normal
// CHECK: func.func private @model(%[[X:.*]]: tensor<2x4xf32>, %[[W:.*]]: tensor<4x4xf32>) -> tensor<2x4xf32>
// CHECK: nn.contract %[[X]], %[[W]]
// CHECK: call @model(%{{.*}}, %w)
func.func @forward(%x: tensor<2x4xf32> {nn.name = "x"}) -> (tensor<2x4xf32> {nn.name = "y"}) {
  %w = nn.get_parameter @w : tensor<4x4xf32>
  %y = nn.contract %x, %w "ab,bc->ac" : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// Three layers share one parameter, a mask made of the inputs, and a table of a cosine. The mask and the table are prepared once;
// what is cheap (the iota, compared and cast) is computed in each. The order of ops in the file does not matter.
nn.parameter @w trainable : tensor<4x4xf32>, view strided<[4, 1]> of "w" [4, 4] init normal
// CHECK: func.func private @prepare(%[[MASK:.*]]: tensor<2x4xi64>) -> (tensor<2x4xf32>, tensor<2x4xf32>)
// CHECK: nn.cos
// CHECK: nn.cast %[[MASK]]
// CHECK: func.func private @block0(%[[X:.*]]: tensor<2x4xf32>, %[[COS:.*]]: tensor<2x4xf32>, %[[M:.*]]: tensor<2x4xf32>, %[[W:.*]]: tensor<4x4xf32>) -> tensor<2x4xf32>
// CHECK: nn.contract %[[X]], %[[W]]
// CHECK: nn.iota
// CHECK: return
// CHECK: func.func @forward(%[[IN:.*]]: tensor<2x4xf32> {nn.name = "x"}, %[[MASK:.*]]: tensor<2x4xi64>
// CHECK: %[[P:.*]]:2 = call @prepare(%[[MASK]])
// CHECK: %[[Y1:.*]] = call @block0(%[[IN]], %[[P]]#0, %[[P]]#1, %w)
// CHECK: %[[Y2:.*]] = call @block0(%[[Y1]], %[[P]]#0, %[[P]]#1, %w)
// CHECK: %[[Y3:.*]] = call @block0(%[[Y2]], %[[P]]#0, %[[P]]#1, %w)
// CHECK: return %[[Y3]]
func.func @forward(%x: tensor<2x4xf32> {nn.name = "x"}, %mask: tensor<2x4xi64> {nn.name = "mask"}) -> (tensor<2x4xf32> {nn.name = "y"}) {
  %w = nn.get_parameter @w : tensor<4x4xf32>
  %iota = nn.iota 1 : tensor<2x4xi64>
  %one = nn.constant dense<1> : tensor<2x4xi64>
  %late = nn.compare gt %iota, %one : tensor<2x4xi64>
  %bool = nn.cast %late : tensor<2x4xi1> to tensor<2x4xf32>
  %m = nn.cast %mask : tensor<2x4xi64> to tensor<2x4xf32>
  %f = nn.cast %iota : tensor<2x4xi64> to tensor<2x4xf32>
  %cos = nn.cos %f : tensor<2x4xf32>
  %a0 = nn.contract %x, %w "ab,bc->ac" : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %b0 = nn.mul %a0, %m : tensor<2x4xf32>
  %c0 = nn.mul %a0, %cos : tensor<2x4xf32>
  %d0 = nn.mul %b0, %bool : tensor<2x4xf32>
  %e0 = nn.add %c0, %d0 : tensor<2x4xf32>
  %y0 = nn.add %x, %e0 : tensor<2x4xf32>
  %a1 = nn.contract %y0, %w "ab,bc->ac" : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %c1 = nn.mul %a1, %cos : tensor<2x4xf32>
  %b1 = nn.mul %a1, %m : tensor<2x4xf32>
  %d1 = nn.mul %b1, %bool : tensor<2x4xf32>
  %e1 = nn.add %c1, %d1 : tensor<2x4xf32>
  %y1 = nn.add %y0, %e1 : tensor<2x4xf32>
  %a2 = nn.contract %y1, %w "ab,bc->ac" : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %b2 = nn.mul %a2, %m : tensor<2x4xf32>
  %c2 = nn.mul %a2, %cos : tensor<2x4xf32>
  %d2 = nn.mul %b2, %bool : tensor<2x4xf32>
  %e2 = nn.add %c2, %d2 : tensor<2x4xf32>
  %y2 = nn.add %y1, %e2 : tensor<2x4xf32>
  return %y2 : tensor<2x4xf32>
}

// -----

// Equal branches side by side are no chain of layers.
nn.parameter @a trainable : tensor<4x4xf32>, view strided<[4, 1]> of "a" [4, 4] init normal
nn.parameter @b trainable : tensor<4x4xf32>, view strided<[4, 1]> of "b" [4, 4] init normal
// CHECK: func.func private @model
// CHECK-NOT: func.func private
// CHECK: func.func @forward
func.func @forward(%x: tensor<2x4xf32> {nn.name = "x"}) -> (tensor<2x4xf32> {nn.name = "y"}) {
  %a = nn.get_parameter @a : tensor<4x4xf32>
  %b = nn.get_parameter @b : tensor<4x4xf32>
  %0 = nn.contract %x, %a "ab,bc->ac" : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %1 = nn.tanh %0 : tensor<2x4xf32>
  %2 = nn.neg %1 : tensor<2x4xf32>
  %3 = nn.contract %x, %b "ab,bc->ac" : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %4 = nn.tanh %3 : tensor<2x4xf32>
  %5 = nn.neg %4 : tensor<2x4xf32>
  %y = nn.mul %2, %5 : tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// A mask is passed before it is repeated, and a table of the file that differs from layer to layer is no part of the
// layer but an argument.
nn.parameter @w trainable : tensor<16x16xf32>, view strided<[16, 1]> of "w" [16, 16] init normal
// CHECK: func.func private @prepare(%{{.*}}: tensor<2xi64>) -> (tensor<2xi1>, tensor<16xf32>, tensor<16xf32>)
// CHECK: func.func private @block0(%{{.*}}: tensor<2x16xf32>, %[[MASK:.*]]: tensor<2xi1>, %[[TABLE:.*]]: tensor<16xf32>, %{{.*}}: tensor<16x16xf32>)
// CHECK-DAG: nn.broadcast %[[MASK]] [0]
// CHECK-DAG: nn.broadcast %[[TABLE]] [1]
// CHECK: %[[P:.*]]:3 = call @prepare
// CHECK: call @block0(%{{.*}}, %[[P]]#0, %[[P]]#1, %w)
// CHECK: call @block0(%{{.*}}, %[[P]]#0, %[[P]]#2, %w)
func.func @forward(%x: tensor<2x16xf32> {nn.name = "x"}, %ids: tensor<2xi64> {nn.name = "ids"}) -> (tensor<2x16xf32> {nn.name = "y"}) {
  %w = nn.get_parameter @w : tensor<16x16xf32>
  %a = nn.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0]> : tensor<16xf32>
  %b = nn.constant dense<[1.0, 3.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 17.0]> : tensor<16xf32>
  %as = nn.broadcast %a [1] : tensor<16xf32> -> tensor<2x16xf32>
  %bs = nn.broadcast %b [1] : tensor<16xf32> -> tensor<2x16xf32>
  %bit = nn.cast %ids : tensor<2xi64> to tensor<2xi1>
  %mask = nn.broadcast %bit [0] : tensor<2xi1> -> tensor<2x16xi1>
  %0 = nn.contract %x, %w "ab,bc->ac" : (tensor<2x16xf32>, tensor<16x16xf32>) -> tensor<2x16xf32>
  %1 = nn.select %mask, %0, %as : tensor<2x16xf32>
  %2 = nn.add %x, %1 : tensor<2x16xf32>
  %3 = nn.contract %2, %w "ab,bc->ac" : (tensor<2x16xf32>, tensor<16x16xf32>) -> tensor<2x16xf32>
  %4 = nn.select %mask, %3, %bs : tensor<2x16xf32>
  %5 = nn.add %2, %4 : tensor<2x16xf32>
  return %5 : tensor<2x16xf32>
}

// -----

// What sums over the batch is made where all of the batch is, though one function reads it; what goes row by row is not.
nn.parameter @w trainable : tensor<4x4xf32>, view strided<[4, 1]> of "w" [4, 4] init normal
// CHECK: func.func private @prepare(%[[X:.*]]: tensor<2x4xf32>) -> tensor<f32>
// CHECK: %[[SUM:.*]] = nn.reduce sum %[[X]] [0, 1]
// CHECK: return %[[SUM]]
// CHECK: func.func private @model(%[[X:.*]]: tensor<2x4xf32>, %[[SUM:.*]]: tensor<f32>, %{{.*}}: tensor<4x4xf32>)
// CHECK-DAG: nn.reduce max %[[X]] [1]
// CHECK-DAG: nn.div %{{.*}}, %[[SUM]]
func.func @forward(%x: tensor<2x4xf32> {nn.name = "x"}) -> (tensor<f32> {nn.name = "loss"}) {
  %w = nn.get_parameter @w : tensor<4x4xf32>
  %sum = nn.reduce sum %x [0, 1] : tensor<2x4xf32> -> tensor<f32>
  %rows = nn.reduce max %x [1] : tensor<2x4xf32> -> tensor<2xf32>
  %scales = nn.broadcast %rows [0] : tensor<2xf32> -> tensor<2x4xf32>
  %0 = nn.contract %x, %w "ab,bc->ac" : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %1 = nn.mul %0, %scales : tensor<2x4xf32>
  %2 = nn.reduce sum %1 [0, 1] : tensor<2x4xf32> -> tensor<f32>
  %3 = nn.div %2, %sum : tensor<f32>
  return %3 : tensor<f32>
}

// -----

// A bias of all layers is repeated along the rows inside each block.
// CHECK: func.func private @block0(%{{.*}}: tensor<4x2xf32>, %{{.*}}: tensor<2x2xf32>, %[[BIAS:.*]]: tensor<2xf32>) -> tensor<4x2xf32>
// CHECK: nn.broadcast %[[BIAS]]
nn.parameter @w trainable : tensor<2x2xf32>, view strided<[2, 1]> of "w" [2, 2] init normal
nn.parameter @bias trainable : tensor<2xf32>, view strided<[1]> of "bias" [2] init zero
func.func @forward(%x: tensor<4x2xf32> {nn.name = "x"}) -> (tensor<4x2xf32> {nn.name = "y"}) {
  %w = nn.get_parameter @w : tensor<2x2xf32>
  %bias = nn.get_parameter @bias : tensor<2xf32>
  %b = nn.broadcast %bias [1] : tensor<2xf32> -> tensor<4x2xf32>
  %0 = nn.contract %x, %w "ab,bc->ac" : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  %1 = nn.add %0, %b : tensor<4x2xf32>
  %2 = nn.tanh %1 : tensor<4x2xf32>
  %3 = nn.contract %2, %w "ab,bc->ac" : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  %4 = nn.add %3, %b : tensor<4x2xf32>
  %5 = nn.tanh %4 : tensor<4x2xf32>
  %6 = nn.contract %5, %w "ab,bc->ac" : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  %7 = nn.add %6, %b : tensor<4x2xf32>
  %8 = nn.tanh %7 : tensor<4x2xf32>
  return %8 : tensor<4x2xf32>
}

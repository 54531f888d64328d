// A training step as nn-add-optimizer leaves it: an embedding tied to the head, the same block twice, a mask that is
// prepared from the inputs, and updates that stand for an optimizer. The tests of planning, partition and schedule share it.

nn.parameter @wte trainable : tensor<5x4xf32>, view strided<[4, 1]> of "wte" [5, 4] init normal
nn.parameter @w0 trainable : tensor<4x4xf32>, view strided<[4, 1]> of "w0" [4, 4] init normal
nn.parameter @w1 trainable : tensor<4x4xf32>, view strided<[4, 1]> of "w1" [4, 4] init normal

func.func private @prepare(%labels: tensor<4x3xi64>, %ids: tensor<4x3xi64>) -> (tensor<f32>, tensor<4x3xi1>) {
  %ignored = nn.constant dense<-100> : tensor<4x3xi64>
  %counted = nn.compare ne %labels, %ignored : tensor<4x3xi64>
  %ones = nn.cast %counted : tensor<4x3xi1> to tensor<4x3xf32>
  %count = nn.reduce sum %ones [0, 1] : tensor<4x3xf32> -> tensor<f32>
  %zero = nn.constant dense<0> : tensor<4x3xi64>
  %mask = nn.compare ne %ids, %zero : tensor<4x3xi64>
  return %count, %mask : tensor<f32>, tensor<4x3xi1>
}

func.func private @prologue(%ids: tensor<4x3xi64>, %wte: tensor<5x4xf32>, %dh: tensor<4x3x4xf32>) -> (tensor<4x3x4xf32>, tensor<5x4xf32>)
  attributes {nn.joint = #nn.joint<inputs = 2, results = 1, cotangents = [0], differentiated = [1]>} {
  %h = nn.embedding %wte, %ids : (tensor<5x4xf32>, tensor<4x3xi64>) -> tensor<4x3x4xf32>
  nn.backward_begin
  %dw = nn.embedding_grad %ids, %dh : (tensor<4x3xi64>, tensor<4x3x4xf32>) -> tensor<5x4xf32>
  return %h, %dw : tensor<4x3x4xf32>, tensor<5x4xf32>
}

func.func private @block(%x: tensor<4x3x4xf32>, %w: tensor<4x4xf32>, %mask: tensor<4x3xi1>, %dy: tensor<4x3x4xf32>) -> (tensor<4x3x4xf32>, tensor<4x3x4xf32>, tensor<4x4xf32>)
  attributes {nn.joint = #nn.joint<inputs = 3, results = 1, cotangents = [0], differentiated = [0, 1]>} {
  %wide = nn.broadcast %mask [0, 1] : tensor<4x3xi1> -> tensor<4x3x4xi1>
  %zero = nn.constant dense<0.0> : tensor<4x3x4xf32>
  %m = nn.select %wide, %x, %zero : tensor<4x3x4xf32>
  %p = nn.contract %m, %w "abc,cd->abd" : (tensor<4x3x4xf32>, tensor<4x4xf32>) -> tensor<4x3x4xf32>
  %t = nn.tanh %p : tensor<4x3x4xf32>
  nn.backward_begin
  %one = nn.constant dense<1.0> : tensor<4x3x4xf32>
  %tt = nn.mul %t, %t : tensor<4x3x4xf32>
  %d = nn.sub %one, %tt : tensor<4x3x4xf32>
  %dp = nn.mul %dy, %d : tensor<4x3x4xf32>
  %dw = nn.contract %m, %dp "abc,abd->cd" : (tensor<4x3x4xf32>, tensor<4x3x4xf32>) -> tensor<4x4xf32>
  %dm = nn.contract %dp, %w "abd,cd->abc" : (tensor<4x3x4xf32>, tensor<4x4xf32>) -> tensor<4x3x4xf32>
  %dx = nn.select %wide, %dm, %zero : tensor<4x3x4xf32>
  return %t, %dx, %dw : tensor<4x3x4xf32>, tensor<4x3x4xf32>, tensor<4x4xf32>
}

func.func private @epilogue(%x: tensor<4x3x4xf32>, %wte: tensor<5x4xf32>, %labels: tensor<4x3xi64>, %count: tensor<f32>) -> (tensor<f32>, tensor<4x3x5xf32>, tensor<4x3x4xf32>, tensor<5x4xf32>)
  attributes {nn.joint = #nn.joint<inputs = 4, results = 2, cotangents = [], differentiated = [0, 1]>} {
  %logits = nn.contract %x, %wte "abc,dc->abd" : (tensor<4x3x4xf32>, tensor<5x4xf32>) -> tensor<4x3x5xf32>
  %each, %log_sum = nn.cross_entropy %logits, %labels ignore -100 : tensor<4x3x5xf32>, tensor<4x3xi64>
  %sum = nn.reduce sum %each [0, 1] : tensor<4x3xf32> -> tensor<f32>
  %loss = nn.div %sum, %count : tensor<f32>
  nn.backward_begin
  %one = nn.constant dense<1.0> : tensor<f32>
  %dsum = nn.div %one, %count : tensor<f32>
  %deach = nn.broadcast %dsum [] : tensor<f32> -> tensor<4x3xf32>
  %dlogits = nn.cross_entropy_grad %logits, %labels, %log_sum, %deach ignore -100 : tensor<4x3x5xf32>, tensor<4x3xi64>, tensor<4x3xf32>
  %dx = nn.contract %dlogits, %wte "abd,dc->abc" : (tensor<4x3x5xf32>, tensor<5x4xf32>) -> tensor<4x3x4xf32>
  %dw = nn.contract %dlogits, %x "abd,abc->dc" : (tensor<4x3x5xf32>, tensor<4x3x4xf32>) -> tensor<5x4xf32>
  return %loss, %logits, %dx, %dw : tensor<f32>, tensor<4x3x5xf32>, tensor<4x3x4xf32>, tensor<5x4xf32>
}

func.func private @norm(%a: tensor<5x4xf32>, %b: tensor<4x4xf32>, %c: tensor<4x4xf32>) -> tensor<f32> {
  %aa = nn.contract %a, %a "ab,ab->" : (tensor<5x4xf32>, tensor<5x4xf32>) -> tensor<f32>
  %bb = nn.contract %b, %b "ab,ab->" : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<f32>
  %cc = nn.contract %c, %c "ab,ab->" : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<f32>
  %0 = nn.add %aa, %bb : tensor<f32>
  %1 = nn.add %0, %cc : tensor<f32>
  %2 = nn.sqrt %1 : tensor<f32>
  return %2 : tensor<f32>
}
func.func private @update_5x4(%w: tensor<5x4xf32>, %g: tensor<5x4xf32>, %hyper: tensor<16xf32>) -> tensor<5x4xf32> {
  %0 = nn.sub %w, %g : tensor<5x4xf32>
  return %0 : tensor<5x4xf32>
}
func.func private @update_4x4(%w: tensor<4x4xf32>, %g: tensor<4x4xf32>, %hyper: tensor<16xf32>) -> tensor<4x4xf32> {
  %0 = nn.sub %w, %g : tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}

func.func @step(%ids: tensor<4x3xi64> {nn.name = "input_ids"}, %labels: tensor<4x3xi64> {nn.name = "labels"}, %hyper: tensor<16xf32> {nn.name = "hyper"})
  -> (tensor<f32> {nn.name = "loss"}, tensor<f32> {nn.name = "grad_norm"}) {
  %count, %mask = call @prepare(%labels, %ids) : (tensor<4x3xi64>, tensor<4x3xi64>) -> (tensor<f32>, tensor<4x3xi1>)
  %wte = nn.get_parameter @wte : tensor<5x4xf32>
  %w0 = nn.get_parameter @w0 : tensor<4x4xf32>
  %w1 = nn.get_parameter @w1 : tensor<4x4xf32>
  %h0, %r0 = nn.forward @prologue(%ids, %wte) : (tensor<4x3xi64>, tensor<5x4xf32>) -> (tensor<4x3x4xf32>, !nn.residuals)
  %h1, %r1 = nn.forward @block(%h0, %w0, %mask) : (tensor<4x3x4xf32>, tensor<4x4xf32>, tensor<4x3xi1>) -> (tensor<4x3x4xf32>, !nn.residuals)
  %h2, %r2 = nn.forward @block(%h1, %w1, %mask) : (tensor<4x3x4xf32>, tensor<4x4xf32>, tensor<4x3xi1>) -> (tensor<4x3x4xf32>, !nn.residuals)
  %loss, %logits, %r3 = nn.forward @epilogue(%h2, %wte, %labels, %count) : (tensor<4x3x4xf32>, tensor<5x4xf32>, tensor<4x3xi64>, tensor<f32>) -> (tensor<f32>, tensor<4x3x5xf32>, !nn.residuals)
  %dh2, %dwte3 = nn.backward @epilogue %r3() : () -> (tensor<4x3x4xf32>, tensor<5x4xf32>)
  %dh1, %dw1 = nn.backward @block %r2(%dh2) : (tensor<4x3x4xf32>) -> (tensor<4x3x4xf32>, tensor<4x4xf32>)
  %dh0, %dw0 = nn.backward @block %r1(%dh1) : (tensor<4x3x4xf32>) -> (tensor<4x3x4xf32>, tensor<4x4xf32>)
  %dwte0 = nn.backward @prologue %r0(%dh0) : (tensor<4x3x4xf32>) -> tensor<5x4xf32>
  %dwte = nn.add %dwte3, %dwte0 : tensor<5x4xf32>
  nn.gradient @wte, %dwte : tensor<5x4xf32>
  nn.gradient @w0, %dw0 : tensor<4x4xf32>
  nn.gradient @w1, %dw1 : tensor<4x4xf32>
  %norm = call @norm(%dwte, %dw0, %dw1) : (tensor<5x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<f32>
  %new = call @update_5x4(%wte, %dwte, %hyper) : (tensor<5x4xf32>, tensor<5x4xf32>, tensor<16xf32>) -> tensor<5x4xf32>
  nn.set_parameter @wte, %new : tensor<5x4xf32>
  %new0 = call @update_4x4(%w0, %dw0, %hyper) : (tensor<4x4xf32>, tensor<4x4xf32>, tensor<16xf32>) -> tensor<4x4xf32>
  nn.set_parameter @w0, %new0 : tensor<4x4xf32>
  %new1 = call @update_4x4(%w1, %dw1, %hyper) : (tensor<4x4xf32>, tensor<4x4xf32>, tensor<16xf32>) -> tensor<4x4xf32>
  nn.set_parameter @w1, %new1 : tensor<4x4xf32>
  return %loss, %norm : tensor<f32>, tensor<f32>
}

func.func @infer(%ids: tensor<4x3xi64> {nn.name = "input_ids"}, %labels: tensor<4x3xi64> {nn.name = "labels"})
  -> (tensor<f32> {nn.name = "loss"}, tensor<4x3x5xf32> {nn.name = "logits"}) {
  %count, %mask = call @prepare(%labels, %ids) : (tensor<4x3xi64>, tensor<4x3xi64>) -> (tensor<f32>, tensor<4x3xi1>)
  %wte = nn.get_parameter @wte : tensor<5x4xf32>
  %w0 = nn.get_parameter @w0 : tensor<4x4xf32>
  %w1 = nn.get_parameter @w1 : tensor<4x4xf32>
  %h0, %r0 = nn.forward @prologue(%ids, %wte) : (tensor<4x3xi64>, tensor<5x4xf32>) -> (tensor<4x3x4xf32>, !nn.residuals)
  %h1, %r1 = nn.forward @block(%h0, %w0, %mask) : (tensor<4x3x4xf32>, tensor<4x4xf32>, tensor<4x3xi1>) -> (tensor<4x3x4xf32>, !nn.residuals)
  %h2, %r2 = nn.forward @block(%h1, %w1, %mask) : (tensor<4x3x4xf32>, tensor<4x4xf32>, tensor<4x3xi1>) -> (tensor<4x3x4xf32>, !nn.residuals)
  %loss, %logits, %r3 = nn.forward @epilogue(%h2, %wte, %labels, %count) : (tensor<4x3x4xf32>, tensor<5x4xf32>, tensor<4x3xi64>, tensor<f32>) -> (tensor<f32>, tensor<4x3x5xf32>, !nn.residuals)
  return %loss, %logits : tensor<f32>, tensor<4x3x5xf32>
}

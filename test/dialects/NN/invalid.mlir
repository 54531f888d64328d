// One case for each constraint that ODS cannot say.
// RUN: galvatron-opt %s -split-input-file -verify-diagnostics

func.func @iota() {
  // expected-error@+1 {{'nn.iota' op counts along dimension 1 of a tensor of rank 1}}
  %0 = nn.iota 1 : tensor<4xi64>
  return
}

// -----

// expected-error@+1 {{'nn.parameter' op has a view of rank 1 for a tensor of rank 2}}
nn.parameter @w trainable : tensor<4x4xf32>, view strided<[1]> of "w" [16] init zero

// -----

// expected-error@+1 {{'nn.parameter' op views elements 2 to 17 of a saved tensor that has 16}}
nn.parameter @w trainable : tensor<4x4xf32>, view strided<[4, 1], offset: 2> of "w" [16] init zero

// -----

// expected-error@+1 {{'nn.parameter' op has a saved tensor with a dimension of size -1}}
nn.parameter @w trainable : tensor<4xf32>, view strided<[1]> of "w" [-1] init zero

// -----

// expected-error@+1 {{'nn.parameter' op is state and has a saved tensor}}
nn.parameter @w state : tensor<4xf32>, view strided<[1]> of "w" [4] init zero

// -----

// expected-error@+1 {{'nn.parameter' op has no saved tensor}}
nn.parameter @w trainable : tensor<4xf32>, view strided<[1]> of "" [4] init zero

// -----

func.func @get() {
  // expected-error@+1 {{'nn.get_parameter' op names @w, which is no nn.parameter}}
  %0 = nn.get_parameter @w : tensor<4xf32>
  return
}

// -----

nn.parameter @w trainable : tensor<4xf32>, view strided<[1]> of "w" [4] init zero
func.func @set(%x: tensor<5xf32>) {
  // expected-error@+1 {{'nn.set_parameter' op has type 'tensor<5xf32>', but parameter @w has 'tensor<4xf32>'}}
  nn.set_parameter @w, %x : tensor<5xf32>
  return
}

// -----

func.func @reduce(%x: tensor<4x5xf32>) {
  // expected-error@+2 {{'nn.reduce' op names dimension 0 of a tensor of rank 2; dimensions ascend and are inside the rank}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.reduce sum %x [1, 0] : tensor<4x5xf32> -> tensor<f32>
  return
}

// -----

func.func @cumsum(%x: tensor<4xf32>) {
  // expected-error@+1 {{'nn.cumsum' op names dimension 1 of a tensor of rank 1}}
  %0 = nn.cumsum %x 1 : tensor<4xf32>
  return
}

// -----

func.func @softmax(%x: tensor<4xf32>) {
  // expected-error@+1 {{'nn.softmax' op names dimension -1 of a tensor of rank 1}}
  %0 = nn.softmax %x -1 : tensor<4xf32>
  return
}

// -----

func.func @broadcast(%x: tensor<4xf32>) {
  // expected-error@+1 {{'nn.broadcast' op places 0 dimensions of an operand of rank 1}}
  %0 = nn.broadcast %x [] : tensor<4xf32> -> tensor<2x4xf32>
  return
}

// -----

func.func @broadcast(%x: tensor<4x2xf32>) {
  // expected-error@+1 {{'nn.broadcast' op places dimension 1 at 0, but places ascend and are inside rank 2}}
  %0 = nn.broadcast %x [1, 0] : tensor<4x2xf32> -> tensor<2x4xf32>
  return
}

// -----

func.func @broadcast(%x: tensor<1xf32>) {
  // expected-error@+1 {{'nn.broadcast' op places dimension 0 of size 1 at 0, which has size 4}}
  %0 = nn.broadcast %x [0] : tensor<1xf32> -> tensor<4xf32>
  return
}

// -----

func.func @broadcast(%x: tensor<4xi64>) {
  // expected-error@+1 {{'nn.broadcast' op has an operand of 'i64' and a result of 'f32'}}
  %0 = nn.broadcast %x [0] : tensor<4xi64> -> tensor<4xf32>
  return
}

// -----

func.func @reshape(%x: tensor<4xf32>) {
  // expected-error@+1 {{'nn.reshape' op makes 6 elements of 4}}
  %0 = nn.reshape %x : tensor<4xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @transpose(%x: tensor<4x5xf32>) {
  // expected-error@+2 {{'nn.transpose' op permutes 1 dimensions of a tensor of rank 2}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.transpose %x [0] : tensor<4x5xf32> -> tensor<4x5xf32>
  return
}

// -----

func.func @transpose(%x: tensor<4x5xf32>) {
  // expected-error@+2 {{'nn.transpose' op has no permutation of 2 dimensions}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.transpose %x [0, 0] : tensor<4x5xf32> -> tensor<4x4xf32>
  return
}

// -----

func.func @slice(%x: tensor<4x5xf32>) {
  // expected-error@+1 {{'nn.slice' op takes elements 2 to 5 in steps of 1 of dimension 1, which has size 5}}
  %0 = nn.slice %x [0, 2] steps [1, 1] : tensor<4x5xf32> -> tensor<4x4xf32>
  return
}

// -----

func.func @slice(%x: tensor<4x5xf32>) {
  // expected-error@+1 {{'nn.slice' op has ranks 2 and 1 with 2 offsets and 2 steps}}
  %0 = nn.slice %x [0, 2] steps [1, 1] : tensor<4x5xf32> -> tensor<4xf32>
  return
}

// -----

func.func @pad(%x: tensor<4xf32>) {
  // expected-error@+1 {{'nn.pad' op puts elements at 1 to 7 of dimension 0, which has size 6}}
  %0 = nn.pad %x [1] steps [2] value 0.0 : tensor<4xf32> -> tensor<6xf32>
  return
}

// -----

func.func @pad(%x: tensor<4xf32>) {
  // expected-error@+1 {{'nn.pad' op has ranks 1 and 1 with 2 offsets and 1 steps}}
  %0 = nn.pad %x [1, 1] steps [2] value 0.0 : tensor<4xf32> -> tensor<6xf32>
  return
}

// -----

func.func @concat(%x: tensor<4xf32>, %y: tensor<4x1xf32>) {
  // expected-error@+2 {{'nn.concat' op joins 'tensor<4xf32>' and 'tensor<4x1xf32>' along dimension 0}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.concat 0 %x, %y : tensor<4xf32>, tensor<4x1xf32> -> tensor<8xf32>
  return
}

// -----

func.func @concat(%x: tensor<4xf32>) {
  // expected-error@+2 {{'nn.concat' op names dimension 1 of tensors of rank 1}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.concat 1 %x : tensor<4xf32> -> tensor<4xf32>
  return
}

// -----

func.func @contract(%x: tensor<4x5xf32>, %y: tensor<5x6xf32>) {
  // expected-error@+2 {{'nn.contract' op has subscripts "ab", not of the form "ab,bc->ac"}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.contract %x, %y "ab" : (tensor<4x5xf32>, tensor<5x6xf32>) -> tensor<4x6xf32>
  return
}

// -----

func.func @contract(%x: tensor<4x5xf32>, %y: tensor<5x6xf32>) {
  // expected-error@+2 {{'nn.contract' op has subscripts "a,bc->ac" for operands of rank 2 and 2}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.contract %x, %y "a,bc->ac" : (tensor<4x5xf32>, tensor<5x6xf32>) -> tensor<4x6xf32>
  return
}

// -----

func.func @contract(%x: tensor<4x5xf32>, %y: tensor<4x6xf32>) {
  // expected-error@+2 {{'nn.contract' op has sizes 5 and 4 for the loop b}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.contract %x, %y "ab,bc->ac" : (tensor<4x5xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
  return
}

// -----

func.func @contract(%x: tensor<4x5xf32>, %y: tensor<5x6xf32>) {
  // expected-error@+2 {{'nn.contract' op has a result loop d that no operand has}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.contract %x, %y "ab,bc->ad" : (tensor<4x5xf32>, tensor<5x6xf32>) -> tensor<4x6xf32>
  return
}

// -----

func.func @contract(%x: tensor<4x4xf32>, %y: tensor<4x6xf32>) {
  // expected-error@+2 {{'nn.contract' op has the loop a twice in one tensor}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.contract %x, %y "aa,ac->ac" : (tensor<4x4xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
  return
}

// -----

func.func @contract(%x: tensor<4x5xf32>, %y: tensor<4x6xf32>) {
  // expected-error@+2 {{'nn.contract' op has the loop b in only one tensor}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.contract %x, %y "ab,ac->ac" : (tensor<4x5xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
  return
}

// -----

func.func @conv(%x: tensor<1x3x8xf32>, %w: tensor<4x3x3xf32>) {
  // expected-error@+2 {{'nn.conv' op has an input of rank 3 and a weight of rank 3; it needs one to three spatial dimensions with one stride, pad and dilation each}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.conv %x, %w strides [1, 1] pads [0] [0] dilations [1] groups 1 : (tensor<1x3x8xf32>, tensor<4x3x3xf32>) -> tensor<1x4x6xf32>
  return
}

// -----

func.func @conv(%x: tensor<1x3x8xf32>, %w: tensor<4x3x3xf32>) {
  // expected-error@+2 {{'nn.conv' op has 3 input channels and a weight of 'tensor<4x3x3xf32>' in 2 groups}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.conv %x, %w strides [1] pads [0] [0] dilations [1] groups 2 : (tensor<1x3x8xf32>, tensor<4x3x3xf32>) -> tensor<1x4x6xf32>
  return
}

// -----

func.func @conv(%x: tensor<1x3x2xf32>, %w: tensor<4x3x3xf32>) {
  // expected-error@+2 {{'nn.conv' op has a padded input of size 2 under a kernel of size 3}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.conv %x, %w strides [1] pads [0] [0] dilations [1] groups 1 : (tensor<1x3x2xf32>, tensor<4x3x3xf32>) -> tensor<1x4x0xf32>
  return
}

// -----

func.func @embedding(%t: tensor<f32>, %ids: tensor<3xi64>) {
  // expected-error@+2 {{'nn.embedding' op has a table without rows}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.embedding %t, %ids : (tensor<f32>, tensor<3xi64>) -> tensor<3xf32>
  return
}

// -----

func.func @embedding_grad(%ids: tensor<3xi64>, %g: tensor<4x8xf32>) {
  // expected-error@+1 {{'nn.embedding_grad' op has ids of type 'tensor<3xi64>' and a gradient of type 'tensor<4x8xf32>' for a table of type 'tensor<9x8xf32>'}}
  %0 = nn.embedding_grad %ids, %g : (tensor<3xi64>, tensor<4x8xf32>) -> tensor<9x8xf32>
  return
}

// -----

func.func @take_along(%x: tensor<4x8xf32>, %i: tensor<3x8xi64>) {
  // expected-error@+2 {{'nn.take_along' op picks with indices of type 'tensor<3x8xi64>' from 'tensor<4x8xf32>' along dimension 1}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.take_along %x, %i 1 : (tensor<4x8xf32>, tensor<3x8xi64>) -> tensor<3x8xf32>
  return
}

// -----

func.func @layer_norm(%x: tensor<4x8xf32>, %s: tensor<4xf32>) {
  // expected-error@+1 {{'nn.layer_norm' op normalises 'tensor<4x8xf32>' with a scale of type 'tensor<4xf32>'}}
  %0 = nn.layer_norm %x, %s epsilon 1.0e-5 : tensor<4x8xf32>, tensor<4xf32>
  return
}

// -----

func.func @layer_norm(%x: tensor<4x8xf32>, %s: tensor<8xf32>, %b: tensor<4xf32>) {
  // expected-error@+1 {{'nn.layer_norm' op has a scale of type 'tensor<8xf32>' and a bias of type 'tensor<4xf32>'}}
  %0 = nn.layer_norm %x, %s, %b : tensor<4xf32> epsilon 1.0e-5 : tensor<4x8xf32>, tensor<8xf32>
  return
}

// -----

func.func @rotary(%x: tensor<2x4x5xf32>, %c: tensor<4x2xf32>) {
  // expected-error@+1 {{'nn.rotary' op rotates pairs of a last dimension in 'tensor<2x4x5xf32>'}}
  %0 = nn.rotary %x, %c, %c sequence 1 : tensor<2x4x5xf32>, tensor<4x2xf32>, tensor<4x2xf32>
  return
}

// -----

func.func @rotary(%x: tensor<2x4x6xf32>, %c: tensor<4x2xf32>) {
  // expected-error@+1 {{'nn.rotary' op has an input of type 'tensor<2x4x6xf32>' with sequence dimension 1, cosines of type 'tensor<4x2xf32>' and sines of type 'tensor<4x2xf32>'}}
  %0 = nn.rotary %x, %c, %c sequence 1 : tensor<2x4x6xf32>, tensor<4x2xf32>, tensor<4x2xf32>
  return
}

// -----

func.func @attention(%q: tensor<2x3x4x1x8xf32>, %k: tensor<2x5x2x8xf32>) {
  // expected-error@+1 {{'nn.attention' op has operands whose sizes disagree: query 'tensor<2x3x4x1x8xf32>'}}
  %0, %1 = nn.attention %q, %k, %k scale 1.0 : tensor<2x3x4x1x8xf32>, tensor<2x5x2x8xf32>, tensor<2x5x2x8xf32> -> tensor<2x3x4x1x8xf32>, tensor<2x4x1x3x5xf32>
  return
}

// -----

func.func @attention(%q: tensor<2x3x4x1x8xf32>, %k: tensor<2x5x4x8xf32>) {
  // expected-error@+1 {{'nn.attention' op has results whose sizes disagree with those of the query, the key and the value}}
  %0, %1 = nn.attention %q, %k, %k scale 1.0 : tensor<2x3x4x1x8xf32>, tensor<2x5x4x8xf32>, tensor<2x5x4x8xf32> -> tensor<2x3x4x1x8xf32>, tensor<2x4x1x5x3xf32>
  return
}

// -----

func.func @attention(%q: tensor<2x3x4x8xf32>, %k: tensor<2x5x4x8xf32>) {
  // expected-error@+1 {{'nn.attention' op needs operands of rank 5, 4 and 4}}
  %0, %1 = nn.attention %q, %k, %k scale 1.0 : tensor<2x3x4x8xf32>, tensor<2x5x4x8xf32>, tensor<2x5x4x8xf32> -> tensor<2x3x4x1x8xf32>, tensor<2x4x1x3x5xf32>
  return
}

// -----

func.func @attention(%q: tensor<2x3x4x1x8xf32>, %k: tensor<2x5x4x8xf32>, %m: tensor<2x3xi1>) {
  // expected-error@+1 {{'nn.attention' op has a key mask of type 'tensor<2x3xi1>' for 2 rows of 5 keys}}
  %0, %1 = nn.attention %q, %k, %k key_mask %m : tensor<2x3xi1> scale 1.0 : tensor<2x3x4x1x8xf32>, tensor<2x5x4x8xf32>, tensor<2x5x4x8xf32> -> tensor<2x3x4x1x8xf32>, tensor<2x4x1x3x5xf32>
  return
}

// -----

func.func @attention(%q: tensor<2x3x4x1x8xf32>, %k: tensor<2x5x4x8xf32>, %b: tensor<1x1x1x5x3xf32>) {
  // expected-error@+1 {{'nn.attention' op has a bias of type 'tensor<1x1x1x5x3xf32>' for probabilities of type 'tensor<2x4x1x3x5xf32>'}}
  %0, %1 = nn.attention %q, %k, %k bias %b : tensor<1x1x1x5x3xf32> scale 1.0 : tensor<2x3x4x1x8xf32>, tensor<2x5x4x8xf32>, tensor<2x5x4x8xf32> -> tensor<2x3x4x1x8xf32>, tensor<2x4x1x3x5xf32>
  return
}

// -----

func.func @cross_entropy(%x: tensor<2x3x7xf32>, %l: tensor<2xi64>) {
  // expected-error@+1 {{labels of type 'tensor<2xi64>' do not fit logits of type 'tensor<2x3x7xf32>': they have every dimension but the last}}
  %0:2 = nn.cross_entropy %x, %l ignore -100 : tensor<2x3x7xf32>, tensor<2xi64>
  return
}

// -----

func.func @forward(%x: tensor<4xf32>) {
  // expected-error@+1 {{'nn.forward' op calls @f, which is no function}}
  %0, %r = nn.forward @f(%x) : (tensor<4xf32>) -> (tensor<4xf32>, !nn.residuals)
  return
}

// -----

func.func private @f(%x: tensor<4xf32>) -> tensor<4xf32>
func.func @forward(%x: tensor<4xf32>) {
  // expected-error@+1 {{'nn.forward' op calls @f, which is no joint function: it has no nn.joint attribute}}
  %0, %r = nn.forward @f(%x) : (tensor<4xf32>) -> (tensor<4xf32>, !nn.residuals)
  return
}

// -----

func.func private @f(%x: tensor<4xf32>) -> tensor<4xf32> attributes {nn.joint = #nn.joint<inputs = 2, results = 1, cotangents = [], differentiated = []>}
func.func @forward(%x: tensor<4xf32>) {
  // expected-error@+1 {{'nn.forward' op calls @f, whose nn.joint attribute does not fit its type}}
  %0, %r = nn.forward @f(%x) : (tensor<4xf32>) -> (tensor<4xf32>, !nn.residuals)
  return
}

// -----

func.func private @f(%x: tensor<4xf32>, %dy: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  attributes {nn.joint = #nn.joint<inputs = 1, results = 1, cotangents = [0], differentiated = [0]>}
func.func @forward(%x: tensor<5xf32>) {
  // expected-error@+1 {{'nn.forward' op has input 0 of type 'tensor<5xf32>', but the callee has 'tensor<4xf32>'}}
  %0, %r = nn.forward @f(%x) : (tensor<5xf32>) -> (tensor<4xf32>, !nn.residuals)
  return
}

// -----

func.func private @f(%x: tensor<4xf32>, %dy: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  attributes {nn.joint = #nn.joint<inputs = 1, results = 1, cotangents = [0], differentiated = [0]>}
func.func @backward(%x: tensor<4xf32>) {
  %0, %r = nn.forward @f(%x) : (tensor<4xf32>) -> (tensor<4xf32>, !nn.residuals)
  // expected-error@+1 {{'nn.backward' op has 2 cotangents, but the callee has 1}}
  %1 = nn.backward @f %r(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

func.func private @f(%x: tensor<4xf32>, %dy: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  attributes {nn.joint = #nn.joint<inputs = 1, results = 1, cotangents = [0], differentiated = [0]>}
func.func private @g(%x: tensor<4xf32>, %dy: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  attributes {nn.joint = #nn.joint<inputs = 1, results = 1, cotangents = [0], differentiated = [0]>}
func.func @backward(%x: tensor<4xf32>) {
  %0, %r = nn.forward @f(%x) : (tensor<4xf32>) -> (tensor<4xf32>, !nn.residuals)
  // expected-error@+1 {{'nn.backward' op takes residuals that no nn.forward of @g made}}
  %1 = nn.backward @g %r(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @gradient(%g: tensor<4xf32>) {
  // expected-error@+1 {{'nn.gradient' op names @w, which is no nn.parameter}}
  nn.gradient @w, %g : tensor<4xf32>
  return
}

// -----

func.func @concat() {
  // expected-error@+2 {{'nn.concat' op joins nothing}}
  // expected-error@+1 {{'nn.concat' op failed to infer returned types}}
  %0 = "nn.concat"() <{dim = 0 : i64}> : () -> tensor<8xf32>
  return
}

// -----

func.func @conv_input_grad(%g: tensor<2x4x9xf32>, %w: tensor<4x3x3xf32>) {
  // expected-error@+1 {{'nn.conv_input_grad' op has a gradient of type 'tensor<2x4x9xf32>' for a convolution that makes 'tensor<2x4x8xf32>'}}
  %0 = nn.conv_input_grad %g, %w strides [1] pads [0] [0] dilations [1] groups 1 : (tensor<2x4x9xf32>, tensor<4x3x3xf32>) -> tensor<2x3x10xf32>
  return
}

// -----

func.func @conv_weight_grad(%x: tensor<3xf32>) {
  // expected-error@+1 {{'nn.conv_weight_grad' op has an input of rank 1 and a weight of rank 1; it needs}}
  %0 = nn.conv_weight_grad %x, %x strides [1] pads [0] [0] dilations [1] groups 1 : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
  return
}

// -----

func.func @layer_norm_grad(%x: tensor<2x8xf32>, %s: tensor<3x2x8xf32>) {
  // expected-error@+1 {{'nn.layer_norm_grad' op normalises 'tensor<2x8xf32>' with a scale of type 'tensor<3x2x8xf32>'}}
  %0:3 = nn.layer_norm_grad %x, %s, %x epsilon 1.0e-5 : tensor<2x8xf32>, tensor<3x2x8xf32>
  return
}

// -----

func.func @rms_norm_grad(%x: tensor<2x8xf32>, %s: tensor<4xf32>) {
  // expected-error@+1 {{'nn.rms_norm_grad' op normalises 'tensor<2x8xf32>' with a scale of type 'tensor<4xf32>'}}
  %0:2 = nn.rms_norm_grad %x, %s, %x epsilon 1.0e-5 : tensor<2x8xf32>, tensor<4xf32>
  return
}

// -----

func.func @attention_grad(%x: tensor<2xf32>) {
  // expected-error@+1 {{'nn.attention_grad' op needs operands of rank 5, 4 and 4: query 'tensor<2xf32>'}}
  %0:3 = nn.attention_grad %x, %x, %x, %x, %x scale 1.0 : tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32> -> tensor<2xf32>, tensor<2xf32>, tensor<2xf32>
  return
}

// -----

func.func @attention_grad_sizes(%q: tensor<2x3x4x1x8xf32>, %k: tensor<2x5x4x8xf32>, %p: tensor<2x4x1x3x5xf32>, %g: tensor<2x3x4x1x7xf32>) {
  // expected-error@+1 {{'nn.attention_grad' op has a gradient or probabilities whose sizes disagree with those of the query, the key and the value}}
  %0:3 = nn.attention_grad %q, %k, %k, %p, %g scale 1.0 : tensor<2x3x4x1x8xf32>, tensor<2x5x4x8xf32>, tensor<2x5x4x8xf32>, tensor<2x4x1x3x5xf32>, tensor<2x3x4x1x7xf32> -> tensor<2x3x4x1x8xf32>, tensor<2x5x4x8xf32>, tensor<2x5x4x8xf32>
  return
}

// -----

func.func @attention_grad_bias(%q: tensor<2x3x4x1x8xf32>, %k: tensor<2x5x4x8xf32>, %p: tensor<2x4x1x3x5xf32>, %b: tensor<1x1x1x3x5xf32>) {
  // expected-error@+1 {{'nn.attention_grad' op has a bias and a bias's gradient of different types, or only one of them}}
  %0:4 = nn.attention_grad %q, %k, %k, %p, %q bias %b : tensor<1x1x1x3x5xf32> -> tensor<3x5xf32> scale 1.0 : tensor<2x3x4x1x8xf32>, tensor<2x5x4x8xf32>, tensor<2x5x4x8xf32>, tensor<2x4x1x3x5xf32>, tensor<2x3x4x1x8xf32> -> tensor<2x3x4x1x8xf32>, tensor<2x5x4x8xf32>, tensor<2x5x4x8xf32>
  return
}

// -----

func.func @cross_entropy_grad_labels(%x: tensor<2x8xf32>, %l: tensor<3xi64>, %g: tensor<2xf32>) {
  // expected-error@+1 {{labels of type 'tensor<3xi64>' do not fit logits of type 'tensor<2x8xf32>'}}
  %0 = nn.cross_entropy_grad %x, %l, %g, %g ignore -100 : tensor<2x8xf32>, tensor<3xi64>, tensor<2xf32>
  return
}

// -----

func.func @cross_entropy_grad(%x: tensor<2x8xf32>, %l: tensor<2xi64>, %g: tensor<f32>) {
  // expected-error@+1 {{'nn.cross_entropy_grad' op has a gradient of type 'tensor<f32>' for labels of type 'tensor<2xi64>'}}
  %0 = nn.cross_entropy_grad %x, %l, %g, %g ignore -100 : tensor<2x8xf32>, tensor<2xi64>, tensor<f32>
  return
}

// -----

func.func @adamw(%p: tensor<2xf32>, %h: tensor<4x4xf32>, %c: tensor<f32>) {
  // expected-error@+1 {{'nn.adamw' op operand #4 must be f32 tensor of the 16 scalars of a step, but got 'tensor<4x4xf32>'}}
  %0:3 = nn.adamw %p, %p, %p, %p, %h, %c decay : tensor<2xf32>, tensor<4x4xf32>
  return
}

// -----

func.func @embedding_rows(%t: tensor<6x4xf32>, %i: tensor<2xi64>, %r: tensor<5xi64>) {
  // expected-error@+2 {{'nn.embedding' op has rows of type 'tensor<5xi64>' for a table of type 'tensor<6x4xf32>'}}
  // expected-error@+1 {{failed to infer returned types}}
  %0 = nn.embedding %t, %i rows %r : tensor<5xi64> : (tensor<6x4xf32>, tensor<2xi64>) -> tensor<2x4xf32>
  return
}

// -----

func.func @embedding_grad_rows(%i: tensor<2xi64>, %d: tensor<2x4xf32>, %r: tensor<5xi64>) {
  // expected-error@+1 {{'nn.embedding_grad' op has rows of type 'tensor<5xi64>' for a table of type 'tensor<6x4xf32>'}}
  %0 = nn.embedding_grad %i, %d rows %r : tensor<5xi64> : (tensor<2xi64>, tensor<2x4xf32>) -> tensor<6x4xf32>
  return
}

// One op a function, small and with sizes that can be cut. A float argument is drawn from `test.range`, or is away from zero and of
// either sign; integers need a range, of which the end is excluded.

func.func private @neg(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.neg %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @abs(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.abs %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @sign(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.sign %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @floor(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.floor %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @ceil(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.ceil %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @round(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.round %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @reciprocal(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.reciprocal %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @sqrt(%x: tensor<4x6xf32> {test.range = [0.5, 2.0]}) -> tensor<4x6xf32> { %0 = nn.sqrt %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @rsqrt(%x: tensor<4x6xf32> {test.range = [0.5, 2.0]}) -> tensor<4x6xf32> { %0 = nn.rsqrt %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @exp(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.exp %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @log(%x: tensor<4x6xf32> {test.range = [0.5, 2.0]}) -> tensor<4x6xf32> { %0 = nn.log %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @sin(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.sin %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @cos(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.cos %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @tanh(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.tanh %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @erf(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.erf %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @sigmoid(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.sigmoid %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @silu(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.silu %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @relu(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.relu %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @softplus(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.softplus %x : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @gelu_erf(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.gelu %x erf : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @gelu_tanh(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.gelu %x tanh : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @gelu_grad(%x: tensor<4x6xf32>, %d: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.gelu_grad %x, %d tanh : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @not(%x: tensor<4x6xi1>) -> tensor<4x6xi1> { %0 = nn.not %x : tensor<4x6xi1> return %0 : tensor<4x6xi1> }
func.func private @is_nan(%x: tensor<4x6xf32>) -> tensor<4x6xi1> { %0 = nn.is_nan %x : tensor<4x6xf32> return %0 : tensor<4x6xi1> }
func.func private @cast(%x: tensor<4x6xf32>) -> tensor<4x6xi64> { %0 = nn.cast %x : tensor<4x6xf32> to tensor<4x6xi64> return %0 : tensor<4x6xi64> }
func.func private @add(%x: tensor<4x6xf32>, %y: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.add %x, %y : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @sub(%x: tensor<4x6xf32>, %y: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.sub %x, %y : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @mul(%x: tensor<4x6xf32>, %y: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.mul %x, %y : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @div(%x: tensor<4x6xf32>, %y: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.div %x, %y : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @div_int(%x: tensor<4xi64> {test.range = [-9, 9]}, %y: tensor<4xi64> {test.range = [-2, 3]}) -> tensor<4xi64> { %0 = nn.div %x, %y : tensor<4xi64> return %0 : tensor<4xi64> }
func.func private @maximum(%x: tensor<4x6xf32>, %y: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.maximum %x, %y : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @minimum(%x: tensor<4x6xf32>, %y: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.minimum %x, %y : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @pow(%x: tensor<4x6xf32> {test.range = [0.5, 2.0]}, %y: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.pow %x, %y : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @mod(%x: tensor<4x6xf32> {test.range = [4.1, 4.3]}, %y: tensor<4x6xf32> {test.range = [1.5, 1.9]}) -> tensor<4x6xf32> { %0 = nn.mod %x, %y : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @and(%x: tensor<4x6xi1>, %y: tensor<4x6xi1>) -> tensor<4x6xi1> { %0 = nn.and %x, %y : tensor<4x6xi1> return %0 : tensor<4x6xi1> }
func.func private @or(%x: tensor<4x6xi1>, %y: tensor<4x6xi1>) -> tensor<4x6xi1> { %0 = nn.or %x, %y : tensor<4x6xi1> return %0 : tensor<4x6xi1> }
func.func private @xor(%x: tensor<4x6xi1>, %y: tensor<4x6xi1>) -> tensor<4x6xi1> { %0 = nn.xor %x, %y : tensor<4x6xi1> return %0 : tensor<4x6xi1> }
func.func private @compare(%x: tensor<4x6xf32>, %y: tensor<4x6xf32>) -> tensor<4x6xi1> { %0 = nn.compare lt %x, %y : tensor<4x6xf32> return %0 : tensor<4x6xi1> }
func.func private @select(%c: tensor<4x6xi1>, %x: tensor<4x6xf32>, %y: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.select %c, %x, %y : tensor<4x6xf32> return %0 : tensor<4x6xf32> }

func.func private @constant() -> tensor<4x6xf32> { %0 = nn.constant dense<2.0> : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @constant_table() -> tensor<4xi64> { %0 = nn.constant dense<[3, 1, 4, 1]> : tensor<4xi64> return %0 : tensor<4xi64> }
func.func private @iota() -> tensor<4x6xi64> { %0 = nn.iota 1 : tensor<4x6xi64> return %0 : tensor<4x6xi64> }
func.func private @reduce_sum(%x: tensor<4x2x6xf32>) -> tensor<2xf32> { %0 = nn.reduce sum %x [0, 2] : tensor<4x2x6xf32> -> tensor<2xf32> return %0 : tensor<2xf32> }
func.func private @reduce_max(%x: tensor<4x6xf32>) -> tensor<4xf32> { %0 = nn.reduce max %x [1] : tensor<4x6xf32> -> tensor<4xf32> return %0 : tensor<4xf32> }
func.func private @reduce_min(%x: tensor<4x6xf32>) -> tensor<6xf32> { %0 = nn.reduce min %x [0] : tensor<4x6xf32> -> tensor<6xf32> return %0 : tensor<6xf32> }
func.func private @reduce_prod(%x: tensor<4x6xf32>) -> tensor<4xf32> { %0 = nn.reduce prod %x [1] : tensor<4x6xf32> -> tensor<4xf32> return %0 : tensor<4xf32> }
func.func private @cumsum(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.cumsum %x 1 : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @cumsum_back(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.cumsum %x 0 exclusive reverse : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @broadcast(%x: tensor<2x6xf32>) -> tensor<4x2x3x6xf32> { %0 = nn.broadcast %x [1, 3] : tensor<2x6xf32> -> tensor<4x2x3x6xf32> return %0 : tensor<4x2x3x6xf32> }
func.func private @reshape_merge(%x: tensor<4x2x1x6xf32>) -> tensor<8x6xf32> { %0 = nn.reshape %x : tensor<4x2x1x6xf32> -> tensor<8x6xf32> return %0 : tensor<8x6xf32> }
func.func private @reshape_split(%x: tensor<8x6xf32>) -> tensor<2x2x2x3x2xf32> { %0 = nn.reshape %x : tensor<8x6xf32> -> tensor<2x2x2x3x2xf32> return %0 : tensor<2x2x2x3x2xf32> }
func.func private @reshape_rest(%x: tensor<4x6x4xf32>) -> tensor<4x4x6xf32> { %0 = nn.reshape %x : tensor<4x6x4xf32> -> tensor<4x4x6xf32> return %0 : tensor<4x4x6xf32> }
func.func private @reshape_rest_inside(%x: tensor<4x9x2x2xf32>) -> tensor<8x1x9x2xf32> { %0 = nn.reshape %x : tensor<4x9x2x2xf32> -> tensor<8x1x9x2xf32> return %0 : tensor<8x1x9x2xf32> }
func.func private @reshape_both(%x: tensor<6x4xf32>) -> tensor<2x12xf32> { %0 = nn.reshape %x : tensor<6x4xf32> -> tensor<2x12xf32> return %0 : tensor<2x12xf32> }
func.func private @transpose(%x: tensor<4x2x6xf32>) -> tensor<6x4x2xf32> { %0 = nn.transpose %x [2, 0, 1] : tensor<4x2x6xf32> -> tensor<6x4x2xf32> return %0 : tensor<6x4x2xf32> }
func.func private @slice(%x: tensor<4x6xf32>) -> tensor<4x2xf32> { %0 = nn.slice %x [0, 1] steps [1, 3] : tensor<4x6xf32> -> tensor<4x2xf32> return %0 : tensor<4x2xf32> }
func.func private @slice_back(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.slice %x [0, 5] steps [1, -1] : tensor<4x6xf32> -> tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @pad(%x: tensor<4x2xf32>) -> tensor<4x6xf32> { %0 = nn.pad %x [0, 1] steps [1, 3] value 0.0 : tensor<4x2xf32> -> tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @pad_ones(%x: tensor<4x2xf32>) -> tensor<4x6xf32> { %0 = nn.pad %x [0, 1] steps [1, 1] value 1.0 : tensor<4x2xf32> -> tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @concat(%x: tensor<4x2xf32>, %y: tensor<4x4xf32>) -> tensor<4x6xf32> { %0 = nn.concat 1 %x, %y : tensor<4x2xf32>, tensor<4x4xf32> -> tensor<4x6xf32> return %0 : tensor<4x6xf32> }

func.func private @contract(%x: tensor<4x2x6xf32>, %w: tensor<6x2x3xf32>) -> tensor<4x2x2x3xf32> { %0 = nn.contract %x, %w "abc,cde->abde" : (tensor<4x2x6xf32>, tensor<6x2x3xf32>) -> tensor<4x2x2x3xf32> return %0 : tensor<4x2x2x3xf32> }
func.func private @contract_batch(%x: tensor<4x2x6xf32>, %w: tensor<4x3x6xf32>) -> tensor<2x4x3xf32> { %0 = nn.contract %x, %w "abc,adc->bad" : (tensor<4x2x6xf32>, tensor<4x3x6xf32>) -> tensor<2x4x3xf32> return %0 : tensor<2x4x3xf32> }
func.func private @conv(%x: tensor<2x4x7x6xf32>, %w: tensor<6x4x3x2xf32>) -> tensor<2x6x4x3xf32> { %0 = nn.conv %x, %w strides [2, 2] pads [1, 0] [1, 1] dilations [1, 2] groups 1 : (tensor<2x4x7x6xf32>, tensor<6x4x3x2xf32>) -> tensor<2x6x4x3xf32> return %0 : tensor<2x6x4x3xf32> }
func.func private @conv_groups(%x: tensor<2x4x5xf32>, %w: tensor<6x2x3xf32>) -> tensor<2x6x3xf32> { %0 = nn.conv %x, %w strides [1] pads [0] [0] dilations [1] groups 2 : (tensor<2x4x5xf32>, tensor<6x2x3xf32>) -> tensor<2x6x3xf32> return %0 : tensor<2x6x3xf32> }
func.func private @conv_input_grad(%d: tensor<2x6x3xf32>, %w: tensor<6x4x3xf32>) -> tensor<2x4x5xf32> { %0 = nn.conv_input_grad %d, %w strides [1] pads [0] [0] dilations [1] groups 1 : (tensor<2x6x3xf32>, tensor<6x4x3xf32>) -> tensor<2x4x5xf32> return %0 : tensor<2x4x5xf32> }
func.func private @conv_weight_grad(%x: tensor<2x4x5xf32>, %d: tensor<2x6x3xf32>) -> tensor<6x4x3xf32> { %0 = nn.conv_weight_grad %x, %d strides [1] pads [0] [0] dilations [1] groups 1 : (tensor<2x4x5xf32>, tensor<2x6x3xf32>) -> tensor<6x4x3xf32> return %0 : tensor<6x4x3xf32> }
func.func private @embedding(%t: tensor<6x4xf32>, %i: tensor<4x2xi64> {test.range = [0, 6]}) -> tensor<4x2x4xf32> { %0 = nn.embedding %t, %i : (tensor<6x4xf32>, tensor<4x2xi64>) -> tensor<4x2x4xf32> return %0 : tensor<4x2x4xf32> }
func.func private @embedding_grad(%i: tensor<4x2xi64> {test.range = [0, 6]}, %d: tensor<4x2x4xf32>) -> tensor<6x4xf32> { %0 = nn.embedding_grad %i, %d : (tensor<4x2xi64>, tensor<4x2x4xf32>) -> tensor<6x4xf32> return %0 : tensor<6x4xf32> }
func.func private @embedding_rows(%t: tensor<6x4xf32>, %i: tensor<4x2xi64> {test.range = [0, 6]}, %r: tensor<6xi64> {test.numbers}) -> tensor<4x2x4xf32> { %0 = nn.embedding %t, %i rows %r : tensor<6xi64> : (tensor<6x4xf32>, tensor<4x2xi64>) -> tensor<4x2x4xf32> return %0 : tensor<4x2x4xf32> }
func.func private @embedding_grad_rows(%i: tensor<4x2xi64> {test.range = [-1, 6]}, %d: tensor<4x2x4xf32>, %r: tensor<6xi64> {test.numbers}) -> tensor<6x4xf32> { %0 = nn.embedding_grad %i, %d rows %r : tensor<6xi64> : (tensor<4x2xi64>, tensor<4x2x4xf32>) -> tensor<6x4xf32> return %0 : tensor<6x4xf32> }
func.func private @in_range(%i: tensor<4x2xi64> {test.range = [0, 6]}) -> tensor<4x2xi64> { %0 = nn.in_range %i below 6 or -100 "labels" : tensor<4x2xi64> return %0 : tensor<4x2xi64> }
func.func private @take_along(%x: tensor<4x6xf32>, %i: tensor<4x2xi64> {test.range = [0, 6]}) -> tensor<4x2xf32> { %0 = nn.take_along %x, %i 1 : (tensor<4x6xf32>, tensor<4x2xi64>) -> tensor<4x2xf32> return %0 : tensor<4x2xf32> }

func.func private @softmax(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.softmax %x 1 : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @log_softmax(%x: tensor<4x6xf32>) -> tensor<4x6xf32> { %0 = nn.log_softmax %x 0 : tensor<4x6xf32> return %0 : tensor<4x6xf32> }
func.func private @layer_norm(%x: tensor<4x2x6xf32>, %s: tensor<6xf32>, %b: tensor<6xf32>) -> tensor<4x2x6xf32> { %0 = nn.layer_norm %x, %s, %b : tensor<6xf32> epsilon 1.0e-5 : tensor<4x2x6xf32>, tensor<6xf32> return %0 : tensor<4x2x6xf32> }
func.func private @layer_norm_no_bias(%x: tensor<4x2x6xf32>, %s: tensor<2x6xf32>) -> tensor<4x2x6xf32> { %0 = nn.layer_norm %x, %s epsilon 1.0e-5 : tensor<4x2x6xf32>, tensor<2x6xf32> return %0 : tensor<4x2x6xf32> }
func.func private @layer_norm_grad(%x: tensor<4x2x6xf32>, %s: tensor<6xf32>, %d: tensor<4x2x6xf32>) -> (tensor<4x2x6xf32>, tensor<6xf32>, tensor<6xf32>) { %0:3 = nn.layer_norm_grad %x, %s, %d epsilon 1.0e-5 : tensor<4x2x6xf32>, tensor<6xf32> return %0#0, %0#1, %0#2 : tensor<4x2x6xf32>, tensor<6xf32>, tensor<6xf32> }
func.func private @rms_norm(%x: tensor<4x2x6xf32>, %s: tensor<6xf32>) -> tensor<4x2x6xf32> { %0 = nn.rms_norm %x, %s epsilon 1.0e-5 : tensor<4x2x6xf32>, tensor<6xf32> return %0 : tensor<4x2x6xf32> }
func.func private @rms_norm_grad(%x: tensor<4x2x6xf32>, %s: tensor<6xf32>, %d: tensor<4x2x6xf32>) -> (tensor<4x2x6xf32>, tensor<6xf32>) { %0:2 = nn.rms_norm_grad %x, %s, %d epsilon 1.0e-5 : tensor<4x2x6xf32>, tensor<6xf32> return %0#0, %0#1 : tensor<4x2x6xf32>, tensor<6xf32> }
func.func private @rotary(%x: tensor<2x4x2x6xf32>, %c: tensor<4x3xf32>, %s: tensor<4x3xf32>) -> tensor<2x4x2x6xf32> { %0 = nn.rotary %x, %c, %s sequence 1 : tensor<2x4x2x6xf32>, tensor<4x3xf32>, tensor<4x3xf32> return %0 : tensor<2x4x2x6xf32> }
func.func private @rotary_pairs(%x: tensor<2x2x4x6xf32>, %c: tensor<2x4x3xf32>, %s: tensor<2x4x3xf32>) -> tensor<2x2x4x6xf32> { %0 = nn.rotary %x, %c, %s sequence 2 interleaved : tensor<2x2x4x6xf32>, tensor<2x4x3xf32>, tensor<2x4x3xf32> return %0 : tensor<2x2x4x6xf32> }

func.func private @attention(%q: tensor<2x4x2x2x3xf32>, %k: tensor<2x6x2x3xf32>, %v: tensor<2x6x2x4xf32>) -> (tensor<2x4x2x2x4xf32>, tensor<2x2x2x4x6xf32>) {
  %0:2 = nn.attention %q, %k, %v scale 0.5 : tensor<2x4x2x2x3xf32>, tensor<2x6x2x3xf32>, tensor<2x6x2x4xf32> -> tensor<2x4x2x2x4xf32>, tensor<2x2x2x4x6xf32>
  return %0#0, %0#1 : tensor<2x4x2x2x4xf32>, tensor<2x2x2x4x6xf32>
}
func.func private @attention_causal(%q: tensor<2x4x2x2x3xf32>, %k: tensor<2x4x2x3xf32>, %v: tensor<2x4x2x4xf32>, %m: tensor<2x4xi1>) -> (tensor<2x4x2x2x4xf32>, tensor<2x2x2x4x4xf32>) {
  %0:2 = nn.attention %q, %k, %v key_mask %m : tensor<2x4xi1> scale 0.5 upper 0 : tensor<2x4x2x2x3xf32>, tensor<2x4x2x3xf32>, tensor<2x4x2x4xf32> -> tensor<2x4x2x2x4xf32>, tensor<2x2x2x4x4xf32>
  return %0#0, %0#1 : tensor<2x4x2x2x4xf32>, tensor<2x2x2x4x4xf32>
}
func.func private @attention_bias(%q: tensor<2x4x2x2x3xf32>, %k: tensor<2x6x2x3xf32>, %v: tensor<2x6x2x4xf32>, %b: tensor<1x2x1x4x6xf32>) -> (tensor<2x4x2x2x4xf32>, tensor<2x2x2x4x6xf32>) {
  %0:2 = nn.attention %q, %k, %v bias %b : tensor<1x2x1x4x6xf32> scale 0.5 : tensor<2x4x2x2x3xf32>, tensor<2x6x2x3xf32>, tensor<2x6x2x4xf32> -> tensor<2x4x2x2x4xf32>, tensor<2x2x2x4x6xf32>
  return %0#0, %0#1 : tensor<2x4x2x2x4xf32>, tensor<2x2x2x4x6xf32>
}
func.func private @attention_softcap(%q: tensor<2x4x2x2x3xf32>, %k: tensor<2x6x2x3xf32>, %v: tensor<2x6x2x4xf32>) -> (tensor<2x4x2x2x4xf32>, tensor<2x2x2x4x6xf32>) {
  %0:2 = nn.attention %q, %k, %v scale 0.5 {softcap = 2.0 : f64} : tensor<2x4x2x2x3xf32>, tensor<2x6x2x3xf32>, tensor<2x6x2x4xf32> -> tensor<2x4x2x2x4xf32>, tensor<2x2x2x4x6xf32>
  return %0#0, %0#1 : tensor<2x4x2x2x4xf32>, tensor<2x2x2x4x6xf32>
}
func.func private @attention_grad(%q: tensor<2x4x2x2x3xf32>, %k: tensor<2x6x2x3xf32>, %v: tensor<2x6x2x4xf32>, %p: tensor<2x2x2x4x6xf32>, %d: tensor<2x4x2x2x4xf32>) -> (tensor<2x4x2x2x3xf32>, tensor<2x6x2x3xf32>, tensor<2x6x2x4xf32>) {
  %0:3 = nn.attention_grad %q, %k, %v, %p, %d scale 0.5 : tensor<2x4x2x2x3xf32>, tensor<2x6x2x3xf32>, tensor<2x6x2x4xf32>, tensor<2x2x2x4x6xf32>, tensor<2x4x2x2x4xf32> -> tensor<2x4x2x2x3xf32>, tensor<2x6x2x3xf32>, tensor<2x6x2x4xf32>
  return %0#0, %0#1, %0#2 : tensor<2x4x2x2x3xf32>, tensor<2x6x2x3xf32>, tensor<2x6x2x4xf32>
}
func.func private @attention_grad_bias(%q: tensor<2x4x2x2x3xf32>, %k: tensor<2x6x2x3xf32>, %v: tensor<2x6x2x4xf32>, %p: tensor<2x2x2x4x6xf32>, %d: tensor<2x4x2x2x4xf32>, %b: tensor<1x2x2x4x6xf32>) -> (tensor<2x4x2x2x3xf32>, tensor<2x6x2x3xf32>, tensor<2x6x2x4xf32>, tensor<1x2x2x4x6xf32>) {
  %0:4 = nn.attention_grad %q, %k, %v, %p, %d bias %b : tensor<1x2x2x4x6xf32> -> tensor<1x2x2x4x6xf32> scale 0.5 : tensor<2x4x2x2x3xf32>, tensor<2x6x2x3xf32>, tensor<2x6x2x4xf32>, tensor<2x2x2x4x6xf32>, tensor<2x4x2x2x4xf32> -> tensor<2x4x2x2x3xf32>, tensor<2x6x2x3xf32>, tensor<2x6x2x4xf32>
  return %0#0, %0#1, %0#2, %0#3 : tensor<2x4x2x2x3xf32>, tensor<2x6x2x3xf32>, tensor<2x6x2x4xf32>, tensor<1x2x2x4x6xf32>
}

func.func private @cross_entropy(%x: tensor<4x2x6xf32>, %l: tensor<4x2xi64> {test.range = [0, 6]}) -> (tensor<4x2xf32>, tensor<4x2xf32>) { %0, %1 = nn.cross_entropy %x, %l ignore 1 : tensor<4x2x6xf32>, tensor<4x2xi64> return %0, %1 : tensor<4x2xf32>, tensor<4x2xf32> }
func.func private @cross_entropy_grad(%x: tensor<4x2x6xf32>, %l: tensor<4x2xi64> {test.range = [0, 6]}, %s: tensor<4x2xf32>, %d: tensor<4x2xf32>) -> tensor<4x2x6xf32> { %0 = nn.cross_entropy_grad %x, %l, %s, %d ignore 1 : tensor<4x2x6xf32>, tensor<4x2xi64>, tensor<4x2xf32> return %0 : tensor<4x2x6xf32> }
func.func private @adamw(%p: tensor<4x6xf32>, %g: tensor<4x6xf32>, %m: tensor<4x6xf32>, %v: tensor<4x6xf32> {test.range = [0.5, 2.0]}, %h: tensor<16xf32> {test.range = [0.1, 0.9]}, %c: tensor<f32>) -> (tensor<4x6xf32>, tensor<4x6xf32>, tensor<4x6xf32>) {
  %0:3 = nn.adamw %p, %g, %m, %v, %h, %c decay : tensor<4x6xf32>, tensor<16xf32>
  return %0#0, %0#1, %0#2 : tensor<4x6xf32>, tensor<4x6xf32>, tensor<4x6xf32>
}
func.func private @sgd(%p: tensor<4x6xf32>, %g: tensor<4x6xf32>, %m: tensor<4x6xf32>, %h: tensor<16xf32> {test.range = [0.1, 0.9]}, %c: tensor<f32>) -> (tensor<4x6xf32>, tensor<4x6xf32>) {
  %0:2 = nn.sgd %p, %g, %m, %h, %c : tensor<4x6xf32>, tensor<16xf32>
  return %0#0, %0#1 : tensor<4x6xf32>, tensor<4x6xf32>
}

// RUN: galvatron-opt %s --dist-propagate-layouts -split-input-file -verify-diagnostics

// expected-error@+1 {{module has 0 meshes; exactly one is needed (--dist-apply-plan adds it)}}
module {
}

// -----

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}
func.func private @block(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+2 {{'nn.softmax' op needs a dimension of size 4 whole that is split over "time"}}
  // expected-note@+1 {{"time" is the}}
  %0 = nn.softmax %x 0 : tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func @step(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
  %y = call @block(%x) {dist.strategy = @s0} : (tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}
func.func private @block(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = nn.reduce sum %x [0] : tensor<4xf32> -> tensor<f32>
  // All that is wrong is reported, each op once.
  // expected-error@+2 {{'nn.exp' op needs all of operand #0, which is a partial sum over "time" until the last piece}}
  // expected-note@+1 {{"time" is the}}
  %1 = nn.exp %0 : tensor<f32>
  // expected-error@+1 {{'nn.broadcast' op needs all of operand #0, which is a partial sum over "time" until the last piece}}
  %2 = nn.broadcast %0 [] : tensor<f32> -> tensor<4xf32>
  %3 = nn.add %x, %2 : tensor<4xf32>
  return %3 : tensor<4xf32>
}
func.func @step(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
  %y = call @block(%x) {dist.strategy = @s0} : (tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}
func.func private @block(%x: tensor<4x2xf32>) -> tensor<4x4xf32> {
  // expected-error@+2 {{'nn.contract' op has two loops that are split over "time"}}
  // expected-note@+1 {{"time" is the}}
  %0 = nn.contract %x, %x "ac,bc->ab" : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}
func.func @step(%x: tensor<4x2xf32> {nn.name = "x"}) -> tensor<4x4xf32> {
  %y = call @block(%x) {dist.strategy = @s0} : (tensor<4x2xf32>) -> tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}

// -----

dist.mesh @mesh() micro_batches(4)
dist.strategy @s0 on @mesh {batch = ["time"]}
func.func private @block(%x: tensor<4x2xf32>) -> tensor<2x2x2xf32> {
  // expected-error@+2 {{'nn.reshape' op cuts a loop of size 2 into 4 pieces over "time", which does not divide it}}
  // expected-note@+1 {{"time" is the}}
  %0 = nn.reshape %x : tensor<4x2xf32> -> tensor<2x2x2xf32>
  return %0 : tensor<2x2x2xf32>
}
func.func @step(%x: tensor<4x2xf32> {nn.name = "x"}) -> tensor<2x2x2xf32> {
  %y = call @block(%x) {dist.strategy = @s0} : (tensor<4x2xf32>) -> tensor<2x2x2xf32>
  return %y : tensor<2x2x2xf32>
}

// -----

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}
func.func private @block(%x: tensor<4x2xf32>) -> tensor<8xf32> {
  %0 = nn.transpose %x [1, 0] : tensor<4x2xf32> -> tensor<2x4xf32>
  // expected-error@+2 {{'nn.reshape' op merges a dimension that is split over "time" into the inside of another}}
  // expected-note@+1 {{"time" is the}}
  %1 = nn.reshape %0 : tensor<2x4xf32> -> tensor<8xf32>
  return %1 : tensor<8xf32>
}
func.func @step(%x: tensor<4x2xf32> {nn.name = "x"}) -> tensor<8xf32> {
  %y = call @block(%x) {dist.strategy = @s0} : (tensor<4x2xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

dist.mesh @mesh() micro_batches(3)
dist.strategy @s0 on @mesh {batch = ["time"]}
func.func private @block(%x: tensor<4xf32>) {
  return
}
func.func @step(%x: tensor<4xf32> {nn.name = "x"}) {
  // expected-error@+2 {{cuts a dimension of size 4 into 3 pieces over "time", which does not divide it}}
  // expected-note@+1 {{"time" is the}}
  call @block(%x) {dist.strategy = @s0} : (tensor<4xf32>) -> ()
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}
// expected-error@+1 {{is called by a step and has no body}}
func.func private @outside(%x: tensor<4xf32>)
func.func private @inner() {
  return
}
func.func private @block(%x: tensor<4xf32>) {
  // expected-error@+1 {{is in a function that a step calls; only steps call functions}}
  call @inner() : () -> ()
  return
}
func.func @step(%x: tensor<4xf32> {nn.name = "x"}) {
  call @outside(%x) {dist.strategy = @s0} : (tensor<4xf32>) -> ()
  call @block(%x) {dist.strategy = @s0} : (tensor<4xf32>) -> ()
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}
func.func private @sum(%x: tensor<4xf32>) -> tensor<f32> {
  %0 = nn.reduce sum %x [0] : tensor<4xf32> -> tensor<f32>
  return %0 : tensor<f32>
}
func.func private @negate(%x: tensor<f32>) -> tensor<f32> {
  %0 = nn.neg %x : tensor<f32>
  return %0 : tensor<f32>
}
nn.parameter @w trainable : tensor<f32>, view strided<[]> of "w" [] init normal
func.func @step(%x: tensor<4xf32> {nn.name = "x"}) -> (tensor<f32>, tensor<f32>) {
  %w = nn.get_parameter @w : tensor<f32>
  %s = call @sum(%x) {dist.strategy = @s0} : (tensor<4xf32>) -> tensor<f32>
  %a = call @negate(%s) {dist.strategy = @s0} : (tensor<f32>) -> tensor<f32>
  // expected-error@+2 {{has a whole operand #0 where another call of negate has a partial result over "time"}}
  // expected-note@+1 {{"time" is the}}
  %b = call @negate(%w) {dist.strategy = @s0} : (tensor<f32>) -> tensor<f32>
  return %a, %b : tensor<f32>, tensor<f32>
}

// -----

dist.mesh @mesh("a" = 2) micro_batches(1)
dist.strategy @s0 on @mesh {batch = ["time"], tensor = ["a"]} splits [#dist.split<input 1, dim 0, ["a"]>]
func.func private @block(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
func.func @step(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
  // expected-error@+1 {{has no input 1 with a dimension 0, which s0 splits}}
  %y = call @block(%x) {dist.call = 0 : i64, dist.strategy = @s0} : (tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

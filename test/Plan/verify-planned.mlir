// RUN: galvatron-opt %s --verify-planned -split-input-file -verify-diagnostics

// expected-error@+1 {{module has 0 meshes after planning; exactly one is needed}}
module {
}

// -----

dist.mesh @mesh() micro_batches(2)
func.func private @prepare()
func.func @step() {
  // expected-error@+1 {{has no dist.stage after planning}}
  call @prepare() : () -> ()
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
func.func private @prepare()
func.func @step() {
  // expected-error@+1 {{names @s0, which is no dist.strategy}}
  call @prepare() {dist.stage = 0 : i64, dist.strategy = @s0} : () -> ()
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
func.func private @block(%x: tensor<2xf32>) -> tensor<2xf32> attributes {nn.joint = #nn.joint<inputs = 1, results = 0, cotangents = [], differentiated = [0]>} {
  nn.backward_begin
  return %x : tensor<2xf32>
}
func.func @step(%x: tensor<2xf32>) {
  // expected-error@+1 {{has no dist.strategy after planning}}
  %r = nn.forward @block(%x) {dist.stage = 0 : i64} : (tensor<2xf32>) -> !nn.residuals
  return
}

// -----

dist.mesh @mesh("a" = 2) stages(2) micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}
func.func private @block(%x: tensor<2xf32>) -> tensor<2xf32> attributes {nn.joint = #nn.joint<inputs = 1, results = 0, cotangents = [], differentiated = [0]>} {
  nn.backward_begin
  return %x : tensor<2xf32>
}
func.func @step(%x: tensor<2xf32>) {
  %r = nn.forward @block(%x) {dist.stage = 0 : i64, dist.strategy = @s0} : (tensor<2xf32>) -> !nn.residuals
  // expected-error@+1 {{has dist.stage = 1 : i64, but its forward has 0 : i64}}
  %g = nn.backward @block %r() {dist.stage = 1 : i64, dist.strategy = @s0} : () -> tensor<2xf32>
  return
}

// -----

dist.mesh @mesh("a" = 2) stages(2) micro_batches(2)
func.func private @prepare()
func.func @step() {
  // expected-error@+1 {{is on stage 2 of 2}}
  call @prepare() {dist.stage = 2 : i64} : () -> ()
  return
}

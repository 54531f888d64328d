// RUN: galvatron-opt %s -rt-lower -split-input-file -verify-diagnostics

func.func private @not_in_a_kernel(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{is neither in a kernel nor a call of the library; run --rt-form-kernels first}}
  %y = nn.exp %x : tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

func.func private @too_many_products(%x: tensor<4x8x8x9x5xf32>, %w: tensor<9x8x8x4x6xf32>) -> tensor<5x6xf32> {
  // expected-error@+1 {{takes more than 32 matrix products; run --rt-legalize-contracts first}}
  %y = nn.contract %x, %w "abcdm,dcban->mn" : (tensor<4x8x8x9x5xf32>, tensor<9x8x8x4x6xf32>) -> tensor<5x6xf32>
  return %y : tensor<5x6xf32>
}

// -----

func.func private @bias_used_twice(%x: tensor<4x4xf32>, %b: tensor<4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>) {
  %p = nn.contract %x, %x "ab,bc->ac" : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  // expected-error@+1 {{is a bias of a product, but also used by 'func.return'}}
  %c = nn.broadcast %b [1] : tensor<4xf32> -> tensor<4x4xf32>
  %y = nn.add %p, %c : tensor<4x4xf32>
  return %y, %c : tensor<4x4xf32>, tensor<4x4xf32>
}

// -----

func.func private @f(tensor<4xf32>) -> tensor<4xf32>
pipe.table @train stage(0) micro_batches(1) {
  %x = pipe.input "x" micro_batch(0) : tensor<4xf32>
  // expected-error@+1 {{runs @f, which is no stage function}}
  %y = pipe.run @f(%x) forward(0) micro_batch(0) : (tensor<4xf32>) -> tensor<4xf32>
}

// -----

pipe.table @train stage(0) micro_batches(1) {
  %x = pipe.input "x" micro_batch(0) : tensor<4xf32>
  // expected-error@+1 {{has type 'tensor<4xf32>', expected an f32 scalar}}
  pipe.output "loss", %x : tensor<4xf32>
}

// -----

pipe.table @train stage(0) micro_batches(2) {
  %x = pipe.input "x" micro_batch(0) : tensor<4xf32>
  // expected-error@+1 {{has a whole of type '!rt.buffer<10xf32>', but another row of it '!rt.buffer<8xf32>'}}
  %y = pipe.input "x" micro_batch(1) : tensor<5xf32>
}

// -----

pipe.table @train stage(0) micro_batches(2) {
  // expected-error@+1 {{cuts a scalar into micro-batches}}
  %x = pipe.input "x" micro_batch(0) : tensor<f32>
}

// -----

dist.mesh @mesh("a" = 2) stages(2) micro_batches(1)
// expected-error@+1 {{is of stage 2, but the mesh has 2}}
pipe.table @train.stage2 stage(2) micro_batches(1) {
}

// -----

// expected-error@+1 {{stage 1 of 2 has no table}}
module {
  dist.mesh @mesh("a" = 2) stages(2) micro_batches(1)
  pipe.table @train.stage0 stage(0) micro_batches(1) {
  }
}

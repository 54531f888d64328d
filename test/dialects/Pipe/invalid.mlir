// RUN: galvatron-opt %s -split-input-file -verify-diagnostics -allow-unregistered-dialect

pipe.table @train stage(0) micro_batches(1) {
  // table C1
  // expected-error@+1 {{is no row of a table: rows are ops of the pipe dialect, transfers apart}}
  %c = nn.constant dense<1.0> : tensor<f32>
  // expected-error@+1 {{is no row of a table: rows are ops of the pipe dialect, transfers apart}}
  "of.no"() : () -> ()
}

// -----

pipe.table @train stage(0) micro_batches(2) {
  // table C2
  // expected-error@+1 {{is of micro-batch 2, but the table has 2}}
  %x = pipe.input "x" micro_batch(2) : tensor<2x4xf32>
}

// -----

pipe.table @train stage(0) micro_batches(2) {
  // run C1
  // expected-error@+1 {{runs @nothing, which is no function}}
  pipe.run @nothing() prepare(0) : () -> ()
}

// -----

func.func private @f(%x: tensor<2xf32>)

pipe.table @train stage(0) micro_batches(2) {
  // run C1
  // expected-error@+1 {{has type '() -> ()', but @f has '(tensor<2xf32>) -> ()'}}
  pipe.run @f() prepare(0) : () -> ()
}

// -----

func.func private @f()

pipe.table @train stage(0) micro_batches(2) {
  // run C2
  // expected-error@+1 {{of phase forward needs a micro-batch}}
  pipe.run @f() forward(0) : () -> ()
}

// -----

func.func private @f()

pipe.table @train stage(0) micro_batches(2) {
  // run C2
  // expected-error@+1 {{of phase finish runs once a step and has no micro-batch}}
  pipe.run @f() finish(0) micro_batch(0) : () -> ()
}

// -----

func.func private @f()

pipe.table @train stage(0) micro_batches(2) {
  // parameter C1
  // expected-error@+1 {{names @f, which is no nn.parameter}}
  %w = pipe.parameter @f : tensor<2xf32>
}

// -----

nn.parameter @w trainable : tensor<4xf32>, view strided<[1]> of "w" [4] init normal

pipe.table @train stage(0) micro_batches(2) {
  %zero = pipe.zero : tensor<2xf32>
  // store C1
  // expected-error@+1 {{has type 'tensor<2xf32>', but parameter @w has 'tensor<4xf32>'}}
  pipe.store @w, %zero : tensor<2xf32>
}

// -----

nn.parameter @w trainable : tensor<4xf32>, view strided<[1]> of "w" [4] init normal

pipe.table @train stage(0) micro_batches(2) {
  %zero = pipe.zero : tensor<2xf32>
  // gradient C1
  // expected-error@+1 {{has type 'tensor<2xf32>', but parameter @w has 'tensor<4xf32>'}}
  pipe.gradient @w, %zero : tensor<2xf32>
}

// -----

pipe.table @train stage(0) micro_batches(2) {
  %x = pipe.input "x" : tensor<8x4xf32>
  // piece C1
  // expected-error@+1 {{takes a 'tensor<4x2xf32>' out of a 'tensor<8x4xf32>': they may differ only in one dimension}}
  %p = pipe.piece %x micro_batch(0) : tensor<8x4xf32> -> tensor<4x2xf32>
}

// -----

pipe.table @train stage(0) micro_batches(2) {
  %x = pipe.input "x" : tensor<8x4xf32>
  // piece C2
  // expected-error@+1 {{takes a piece along dimension 1 of a 'tensor<8x4xf32>', which is not contiguous}}
  %q = pipe.piece %x micro_batch(0) : tensor<8x4xf32> -> tensor<8x2xf32>
}

// -----

pipe.table @train stage(0) micro_batches(2) {
  %x = pipe.input "x" : tensor<8x4xf32>
  // piece C3
  // expected-error@+1 {{takes rows up to 10 of a value that has 8}}
  %p = pipe.piece %x micro_batch(1) : tensor<8x4xf32> -> tensor<5x4xf32>
}

// -----

pipe.table @train stage(0) micro_batches(2) {
  %x = pipe.input "x" : tensor<4x4xf32>
  // place C1
  // expected-error@+1 {{puts a 'tensor<4x4xf32>' into a 'tensor<8x2xf32>': they may differ only in one dimension}}
  %p = pipe.place %x micro_batch(0) : tensor<4x4xf32> -> tensor<8x2xf32>
}

// -----

pipe.table @train stage(0) micro_batches(2) {
  %x = pipe.input "x" : tensor<4x4xf32>
  // place C2
  // expected-error@+1 {{puts a piece along dimension 1 of a 'tensor<4x8xf32>', which is not contiguous}}
  %p = pipe.place %x micro_batch(0) : tensor<4x4xf32> -> tensor<4x8xf32>
}

// -----

pipe.table @train stage(0) micro_batches(2) {
  %x = pipe.input "x" : tensor<4x4xf32>
  // place C3
  // expected-error@+1 {{puts rows up to 8 of a value that has 6}}
  %p = pipe.place %x micro_batch(1) : tensor<4x4xf32> -> tensor<6x4xf32>
}

// -----

pipe.table @train stage(0) micro_batches(2) {
  %x = pipe.input "x" : tensor<4x4xf32>
  // output C1
  // expected-error@+1 {{hands out pieces along dimension 2 of a tensor of rank 2}}
  pipe.output "y" micro_batch(0) dim(2), %x : tensor<4x4xf32>
}

// -----

dist.mesh @mesh("a" = 2) micro_batches(1)
pipe.table @train stage(0) micro_batches(1) {
  // expected-error@+1 {{names axis "b", which @mesh does not have}}
  %x = pipe.input "x" over @mesh ["b"] : tensor<4x4xf32>
}

// -----

dist.mesh @mesh("a" = 2) micro_batches(1)
pipe.table @train stage(0) micro_batches(1) {
  %x = pipe.input "x" : tensor<4x4xf32>
  // expected-error@+1 {{is over ["time"]; a row is over axes of ranks}}
  %y = pipe.all_reduce sum %x over @mesh ["time"] : tensor<4x4xf32>
}

// -----

dist.mesh @mesh("a" = 2) micro_batches(1)
pipe.table @train stage(0) micro_batches(1) {
  %x = pipe.input "x" : tensor<4x4xi1>
  // expected-error@+1 {{combines elements of type i1}}
  %y = pipe.all_reduce sum %x over @mesh ["a"] : tensor<4x4xi1>
}

// -----

dist.mesh @mesh("a" = 2) micro_batches(1)
pipe.table @train stage(0) micro_batches(1) {
  %x = pipe.input "x" : tensor<4x4xf32>
  // expected-error@+1 {{'product' is no monoid; sum, max and min are}}
  %y = pipe.all_reduce product %x over @mesh ["a"] : tensor<4x4xf32>
}

// -----

dist.mesh @mesh("a" = 2) micro_batches(1)
pipe.table @train stage(0) micro_batches(1) {
  %x = pipe.input "x" : tensor<4x4xf32>
  // expected-error@+1 {{makes a 'tensor<12x4xf32>' of 2 pieces of type 'tensor<4x4xf32>'}}
  %y = pipe.all_gather %x over @mesh ["a"] : tensor<4x4xf32> -> tensor<12x4xf32>
}

// -----

// The second rank's piece would end behind the value.
dist.mesh @mesh("a" = 2) micro_batches(2)
pipe.table @train stage(0) micro_batches(2) {
  %x = pipe.input "x" : tensor<6x4xf32>
  // expected-error@+1 {{takes rows up to 8 of a value that has 6}}
  %y = pipe.piece %x micro_batch(1) over @mesh ["a"] : tensor<6x4xf32> -> tensor<2x4xf32>
}

// -----

dist.mesh @mesh("a" = 2, "b" = 2) stages(2) micro_batches(1)
pipe.table @train.stage0 stage(0) micro_batches(1) {
  %x = pipe.zero : tensor<4xf32>
  // expected-error@+1 {{is over "a", an axis of stages, which run other tables}}
  %y = pipe.all_reduce sum %x over @mesh ["a", "b"] : tensor<4xf32>
}

// -----

func.func @step(%x: tensor<f32>) {
  // expected-error@+1 {{is from stage 1 to itself}}
  %y = pipe.transfer %x number(0) from(1) to(1) : tensor<f32>
  return
}

// -----

pipe.table @train stage(0) micro_batches(1) {
  %x = pipe.zero : tensor<f32>
  // expected-error@+1 {{is no row of a table: rows are ops of the pipe dialect, transfers apart}}
  %y = pipe.transfer %x number(0) from(0) to(1) : tensor<f32>
}

// -----

dist.mesh @mesh("a" = 2) micro_batches(1)
pipe.table @train stage(0) micro_batches(1) {
  %x = pipe.input "x" : tensor<4x4xf32>
  // expected-error@+1 {{is async, and its result has other users than one pipe.complete}}
  %y = pipe.all_reduce async sum %x over @mesh ["a"] : tensor<4x4xf32>
  pipe.output "y", %y : tensor<4x4xf32>
}

// -----

dist.mesh @mesh("a" = 2) micro_batches(1)
pipe.table @train stage(0) micro_batches(1) {
  %x = pipe.input "x" : tensor<4x4xf32>
  // expected-error@+1 {{is async, and its result has other users than one pipe.complete}}
  %y = pipe.all_gather async %x over @mesh ["a"] : tensor<4x4xf32> -> tensor<8x4xf32>
  %z = pipe.complete %y : tensor<8x4xf32>
  %u = pipe.complete %y : tensor<8x4xf32>
}

// -----

dist.mesh @mesh("a" = 2) micro_batches(1)
pipe.table @train stage(0) micro_batches(1) {
  %x = pipe.input "x" : tensor<4x4xf32>
  %y = pipe.all_reduce sum %x over @mesh ["a"] : tensor<4x4xf32>
  // expected-error@+1 {{waits for a value that no collective makes that is async}}
  %z = pipe.complete %y : tensor<4x4xf32>
}

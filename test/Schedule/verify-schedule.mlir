// RUN: galvatron-opt %s --pipe-verify-schedule -split-input-file -verify-diagnostics

// A table that is right.
func.func private @f(%x: tensor<f32>) -> tensor<f32>
func.func private @g(%x: tensor<f32>) -> tensor<f32>
func.func private @g_more(%x: tensor<f32>, %sum: tensor<f32>) -> tensor<f32> attributes {nn.accumulates = [[0, 1]]}
nn.parameter @w trainable : tensor<f32>, view strided<[]> of "w" [] init normal
pipe.table @train stage(0) micro_batches(2) {
  %w = pipe.parameter @w : tensor<f32>
  %y0 = pipe.run @f(%w) forward(0) micro_batch(0) : (tensor<f32>) -> tensor<f32>
  %g0 = pipe.run @g(%y0) backward(0) micro_batch(0) : (tensor<f32>) -> tensor<f32>
  %y1 = pipe.run @f(%w) forward(0) micro_batch(1) : (tensor<f32>) -> tensor<f32>
  %g1 = pipe.run @g_more(%y1, %g0) backward(0) micro_batch(1) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %new = pipe.run @f(%g1) finish(1) : (tensor<f32>) -> tensor<f32>
  pipe.store @w, %new : tensor<f32>
}

// -----

// A result is used where some table reads it, of some micro-batch.
func.func private @f() -> (tensor<f32>, tensor<f32>)
pipe.table @train stage(0) micro_batches(2) {
  %0:2 = pipe.run @f() forward(0) micro_batch(0) : () -> (tensor<f32>, tensor<f32>)
  pipe.output "y" micro_batch(0), %0#0 : tensor<f32>
  %1:2 = pipe.run @f() forward(0) micro_batch(1) : () -> (tensor<f32>, tensor<f32>)
  pipe.output "y" micro_batch(1), %1#0 : tensor<f32>
}
pipe.table @forward stage(0) micro_batches(2) {
  %0:2 = pipe.run @f() forward(0) micro_batch(0) : () -> (tensor<f32>, tensor<f32>)
  %1:2 = pipe.run @f() forward(0) micro_batch(1) : () -> (tensor<f32>, tensor<f32>)
  pipe.output "y", %1#1 : tensor<f32>
}

// -----

func.func private @f()
pipe.table @train stage(0) micro_batches(1) {
  pipe.run @f() forward(0) micro_batch(0) : () -> ()
  // expected-error@+1 {{runs forward(0) a second time for micro-batch 0}}
  pipe.run @f() forward(0) micro_batch(0) : () -> ()
  pipe.run @f() finish(1) : () -> ()
  // expected-error@+1 {{runs finish(1) a second time}}
  pipe.run @f() finish(1) : () -> ()
}

// -----

func.func private @f()
// expected-error@+1 {{never runs forward(0) of micro-batch 1}}
pipe.table @train stage(0) micro_batches(2) {
  pipe.run @f() forward(0) micro_batch(0) : () -> ()
}

// -----

func.func private @f()
pipe.table @train stage(0) micro_batches(1) {
  // expected-error@+1 {{runs backward(0) of micro-batch 0 before its forward}}
  pipe.run @f() backward(0) micro_batch(0) : () -> ()
  pipe.run @f() forward(0) micro_batch(0) : () -> ()
  // expected-error@+1 {{runs prepare(1) after a micro-batch has begun}}
  pipe.run @f() prepare(1) : () -> ()
  pipe.run @f() finish(2) : () -> ()
  // expected-error@+1 {{runs forward(3) of micro-batch 0 after the step has begun to finish}}
  pipe.run @f() forward(3) micro_batch(0) : () -> ()
}

// -----

func.func private @f() -> (tensor<f32>, tensor<f32>)
pipe.table @train stage(0) micro_batches(1) {
  // expected-error@+1 {{makes a value that no row uses}}
  %0:2 = pipe.run @f() forward(0) micro_batch(0) : () -> (tensor<f32>, tensor<f32>)
  pipe.output "y" micro_batch(0), %0#0 : tensor<f32>
}

// -----

func.func private @more(%sum: tensor<f32>) -> tensor<f32> attributes {nn.accumulates = [[0, 0]]}
pipe.table @train stage(0) micro_batches(1) {
  %0 = pipe.zero : tensor<f32>
  %1 = pipe.run @more(%0) forward(0) micro_batch(0) : (tensor<f32>) -> tensor<f32>
  pipe.output "sum", %1 : tensor<f32>
  // expected-error@+1 {{reads a value that an earlier row has added to in place}}
  pipe.output "zero", %0 : tensor<f32>
}

// -----

func.func private @first() -> tensor<f32>
func.func private @more(%sum: tensor<f32>) -> tensor<f32> attributes {nn.accumulates = [[0, 0]]}
func.func private @update(%g: tensor<f32>) -> tensor<f32>
pipe.table @train stage(0) micro_batches(3) {
  %0 = pipe.run @first() forward(0) micro_batch(0) : () -> tensor<f32>
  %1 = pipe.run @more(%0) forward(0) micro_batch(1) : (tensor<f32>) -> tensor<f32>
  %2 = pipe.run @first() forward(0) micro_batch(2) : () -> tensor<f32>
  // expected-error@+1 {{reads a sum without the contribution of call 0 for micro-batch 2}}
  %3 = pipe.run @update(%1) finish(1) : (tensor<f32>) -> tensor<f32>
  pipe.output "a", %2 : tensor<f32>
  pipe.output "b", %3 : tensor<f32>
}

// -----

nn.parameter @w trainable : tensor<f32>, view strided<[]> of "w" [] init normal
pipe.table @train stage(0) micro_batches(1) {
  %w = pipe.parameter @w : tensor<f32>
  pipe.store @w, %w : tensor<f32>
  // expected-error@+1 {{stores @w a second time}}
  pipe.store @w, %w : tensor<f32>
  // expected-error@+1 {{reads @w after the step has stored it}}
  %late = pipe.parameter @w : tensor<f32>
}

// -----

nn.parameter @w trainable : tensor<f32>, view strided<[]> of "w" [] init normal
func.func private @f(%w: tensor<f32>) -> tensor<f32>
pipe.table @train stage(0) micro_batches(1) {
  %w = pipe.parameter @w : tensor<f32>
  %0 = pipe.run @f(%w) finish(0) : (tensor<f32>) -> tensor<f32>
  pipe.store @w, %0 : tensor<f32>
  // expected-error@+1 {{reads @w after the step has stored it}}
  %1 = pipe.run @f(%w) finish(1) : (tensor<f32>) -> tensor<f32>
  pipe.output "y", %1 : tensor<f32>
}

// -----

func.func private @f() -> tensor<2xf32>
func.func private @g(%x: tensor<2xf32>) -> tensor<2xf32>
// expected-error@+1 {{never hands out micro-batch 1 of "y"}}
pipe.table @forward stage(0) micro_batches(2) {
  %0 = pipe.run @f() forward(0) micro_batch(0) : () -> tensor<2xf32>
  %1 = pipe.run @g(%0) forward(1) micro_batch(0) : (tensor<2xf32>) -> tensor<2xf32>
  pipe.output "y" micro_batch(0), %1 : tensor<2xf32>
  %2 = pipe.run @f() forward(0) micro_batch(1) : () -> tensor<2xf32>
  pipe.output "z" micro_batch(1), %2 : tensor<2xf32>
  // expected-error@+1 {{belongs to micro-batch 1 and reads a value of micro-batch 0}}
  %3 = pipe.run @g(%0) forward(1) micro_batch(1) : (tensor<2xf32>) -> tensor<2xf32>
  // expected-error@+2 {{hands out micro-batch 0 of "y" a second time}}
  // expected-error@+1 {{belongs to micro-batch 0 and reads a value of micro-batch 1}}
  pipe.output "y" micro_batch(0), %3 : tensor<2xf32>
  pipe.output "z" micro_batch(0), %0 : tensor<2xf32>
}

// -----

// expected-error@+1 {{has an nn.accumulates attribute that is no list of [result, argument] pairs}}
func.func private @f() attributes {nn.accumulates = [0]}
// expected-error@+1 {{accumulates result 0 into argument 1, but has 1 results and 1 arguments}}
func.func private @g(%x: tensor<f32>) -> tensor<f32> attributes {nn.accumulates = [[0, 1]]}
// expected-error@+1 {{accumulates result 0 of type 'tensor<f32>' into argument 0 of type 'tensor<2xf32>'}}
func.func private @h(%x: tensor<2xf32>) -> tensor<f32> attributes {nn.accumulates = [[0, 0]]}
pipe.table @train stage(0) micro_batches(1) {
  pipe.run @f() forward(0) micro_batch(0) : () -> ()
  %0 = pipe.zero : tensor<f32>
  %1 = pipe.run @g(%0) forward(1) micro_batch(0) : (tensor<f32>) -> tensor<f32>
  %2 = pipe.zero : tensor<2xf32>
  %3 = pipe.run @h(%2) forward(2) micro_batch(0) : (tensor<2xf32>) -> tensor<f32>
}

// -----

func.func private @f() -> tensor<2xf32>
func.func private @update(%g: tensor<4xf32>) -> tensor<4xf32>
pipe.table @train stage(0) micro_batches(2) {
  %0 = pipe.run @f() forward(0) micro_batch(0) : () -> tensor<2xf32>
  %1 = pipe.place %0 micro_batch(0) : tensor<2xf32> -> tensor<4xf32>
  %2 = pipe.run @f() forward(0) micro_batch(1) : () -> tensor<2xf32>
  %3 = pipe.place %2 into %1 micro_batch(1) : tensor<2xf32> -> tensor<4xf32>
  // expected-error@+2 {{reads a sum without the contribution of call 0 for micro-batch 1}}
  // expected-error@+1 {{reads a value that an earlier row has written to in place}}
  %4 = pipe.run @update(%1) finish(1) : (tensor<4xf32>) -> tensor<4xf32>
  %5 = pipe.run @update(%3) finish(2) : (tensor<4xf32>) -> tensor<4xf32>
  pipe.output "a", %4 : tensor<4xf32>
  pipe.output "b", %5 : tensor<4xf32>
}

// -----

// What one table adds up and another does not read comes from variants of one function: that is no waste.
func.func private @f() -> (tensor<f32>, tensor<f32>)
func.func private @f.one(%sum: tensor<f32>) -> (tensor<f32>, tensor<f32>) attributes {nn.accumulates = [[0, 0]], pipe.variant_of = "f"}
func.func private @f.both(%sum: tensor<f32>, %other: tensor<f32>) -> (tensor<f32>, tensor<f32>) attributes {nn.accumulates = [[0, 0], [1, 1]], pipe.variant_of = "f"}
pipe.table @train stage(0) micro_batches(2) {
  %0:2 = pipe.run @f() forward(0) micro_batch(0) : () -> (tensor<f32>, tensor<f32>)
  %1:2 = pipe.run @f.one(%0#0) forward(0) micro_batch(1) : (tensor<f32>) -> (tensor<f32>, tensor<f32>)
  pipe.output "loss", %1#0 : tensor<f32>
}
pipe.table @forward stage(0) micro_batches(2) {
  %0:2 = pipe.run @f() forward(0) micro_batch(0) : () -> (tensor<f32>, tensor<f32>)
  %1:2 = pipe.run @f.both(%0#0, %0#1) forward(0) micro_batch(1) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)
  pipe.output "loss", %1#0 : tensor<f32>
  pipe.output "mean", %1#1 : tensor<f32>
}

// -----

// A call of a function that was cut runs all its parts, of every micro-batch.
func.func private @f.0() -> tensor<f32>
func.func private @f.1(%x: tensor<f32>)
// expected-error@+1 {{runs 1 parts of forward(0) of micro-batch 1, and 2 of another}}
pipe.table @train stage(0) micro_batches(2) {
  %0 = pipe.run @f.0() forward(0) micro_batch(0) : () -> tensor<f32>
  pipe.run @f.1(%0) forward(0) micro_batch(0) : (tensor<f32>) -> ()
  %1 = pipe.run @f.0() forward(0) micro_batch(1) : () -> tensor<f32>
}

// RUN: galvatron-opt %s --pipe-verify-schedule --split-input-file --verify-diagnostics
// What relates the tables of several stages.

// Two stages, 1F1B: this is right. Sends do not wait, so stages that send to each other at the same time do not block.
func.func private @f(%x: tensor<f32>) -> tensor<f32>
pipe.table @train.stage0 stage(0) micro_batches(2) {
  %x0 = pipe.input "x" micro_batch(0) : tensor<f32>
  %h0 = pipe.run @f(%x0) forward(0) micro_batch(0) : (tensor<f32>) -> tensor<f32>
  pipe.send %h0 transfer(0) to(1) micro_batch(0) : tensor<f32>
  %x1 = pipe.input "x" micro_batch(1) : tensor<f32>
  %h1 = pipe.run @f(%x1) forward(0) micro_batch(1) : (tensor<f32>) -> tensor<f32>
  pipe.wait %h0 transfer(0) to(1) micro_batch(0) : tensor<f32>
  pipe.send %h1 transfer(0) to(1) micro_batch(1) : tensor<f32>
  %g0 = pipe.receive transfer(1) from(1) micro_batch(0) : tensor<f32>
  pipe.output "g" micro_batch(0), %g0 : tensor<f32>
  %g1 = pipe.receive transfer(1) from(1) micro_batch(1) : tensor<f32>
  pipe.output "g" micro_batch(1), %g1 : tensor<f32>
  pipe.wait %h1 transfer(0) to(1) micro_batch(1) : tensor<f32>
}
pipe.table @train.stage1 stage(1) micro_batches(2) {
  %h0 = pipe.receive transfer(0) from(0) micro_batch(0) : tensor<f32>
  %g0 = pipe.run @f(%h0) forward(0) micro_batch(0) : (tensor<f32>) -> tensor<f32>
  pipe.send %g0 transfer(1) to(0) micro_batch(0) : tensor<f32>
  %h1 = pipe.receive transfer(0) from(0) micro_batch(1) : tensor<f32>
  %g1 = pipe.run @f(%h1) forward(0) micro_batch(1) : (tensor<f32>) -> tensor<f32>
  pipe.wait %g0 transfer(1) to(0) micro_batch(0) : tensor<f32>
  pipe.send %g1 transfer(1) to(0) micro_batch(1) : tensor<f32>
  pipe.wait %g1 transfer(1) to(0) micro_batch(1) : tensor<f32>
}

// -----

// Each waits until the other has received, and neither comes to its receive.
pipe.table @train.stage0 stage(0) micro_batches(1) {
  %a = pipe.zero : tensor<f32>
  pipe.send %a transfer(0) to(1) : tensor<f32>
  // expected-error@+1 {{can never go on: stage 0 waits for stage 1 to receive transfer 0, stage 1 waits for stage 0 to receive transfer 1}}
  pipe.wait %a transfer(0) to(1) : tensor<f32>
  %b = pipe.receive transfer(1) from(1) : tensor<f32>
  pipe.output "b", %b : tensor<f32>
}
pipe.table @train.stage1 stage(1) micro_batches(1) {
  %a = pipe.zero : tensor<f32>
  pipe.send %a transfer(1) to(0) : tensor<f32>
  pipe.wait %a transfer(1) to(0) : tensor<f32>
  %b = pipe.receive transfer(0) from(0) : tensor<f32>
  pipe.output "b", %b : tensor<f32>
}

// -----

// A circle of three.
pipe.table @train.stage0 stage(0) micro_batches(1) {
  // expected-error@+1 {{stage 0 waits for stage 2 to send transfer 2, stage 2 waits for stage 1 to send transfer 1, stage 1 waits for stage 0 to send transfer 0}}
  %b = pipe.receive transfer(2) from(2) : tensor<f32>
  pipe.send %b transfer(0) to(1) : tensor<f32>
  pipe.wait %b transfer(0) to(1) : tensor<f32>
}
pipe.table @train.stage1 stage(1) micro_batches(1) {
  %b = pipe.receive transfer(0) from(0) : tensor<f32>
  pipe.send %b transfer(1) to(2) : tensor<f32>
  pipe.wait %b transfer(1) to(2) : tensor<f32>
}
pipe.table @train.stage2 stage(2) micro_batches(1) {
  %b = pipe.receive transfer(1) from(1) : tensor<f32>
  pipe.send %b transfer(2) to(0) : tensor<f32>
  pipe.wait %b transfer(2) to(0) : tensor<f32>
}

// -----

pipe.table @train.stage0 stage(0) micro_batches(1) {
}
pipe.table @train.stage1 stage(1) micro_batches(1) {
  // expected-error@+1 {{can never go on: stage 1 waits for stage 0 to send transfer 0 of micro-batch 0, which it never does}}
  %b = pipe.receive transfer(0) from(0) micro_batch(0) : tensor<f32>
  pipe.output "b" micro_batch(0), %b : tensor<f32>
}

// -----

pipe.table @train.stage0 stage(0) micro_batches(1) {
  %a = pipe.zero : tensor<f32>
  pipe.send %a transfer(0) to(1) : tensor<f32>
  // expected-error@+1 {{can never go on: stage 0 waits for stage 1 to receive transfer 0, which it never does}}
  pipe.wait %a transfer(0) to(1) : tensor<f32>
}
pipe.table @train.stage1 stage(1) micro_batches(1) {
}

// -----

pipe.table @train.stage0 stage(0) micro_batches(1) {
  %a = pipe.zero : tensor<f32>
  // expected-error@+1 {{sends transfer 0, which stage 1 never receives}}
  pipe.send %a transfer(0) to(1) : tensor<f32>
  // expected-error@+1 {{sends transfer 1, which stage 1 never receives}}
  pipe.send %a transfer(1) to(1) : tensor<f32>
}
pipe.table @train.stage1 stage(1) micro_batches(1) {
}

// -----

// The value may be written over any time.
pipe.table @train.stage0 stage(0) micro_batches(1) {
  %a = pipe.zero : tensor<f32>
  // expected-error@+1 {{sends transfer 0 and never waits until stage 1 has it}}
  pipe.send %a transfer(0) to(1) : tensor<f32>
}
pipe.table @train.stage1 stage(1) micro_batches(1) {
  %b = pipe.receive transfer(0) from(0) : tensor<f32>
  pipe.output "b", %b : tensor<f32>
}

// -----

// Its slot is written over before the other stage has it.
func.func private @add(%x: tensor<f32>) -> tensor<f32> attributes {nn.accumulates = [[0, 0]]}
pipe.table @train.stage0 stage(0) micro_batches(1) {
  %a = pipe.zero : tensor<f32>
  pipe.send %a transfer(0) to(1) : tensor<f32>
  %b = pipe.run @add(%a) forward(0) micro_batch(0) : (tensor<f32>) -> tensor<f32>
  // expected-error@+1 {{reads a value that an earlier row has added to in place}}
  pipe.wait %a transfer(0) to(1) : tensor<f32>
  pipe.output "b" micro_batch(0), %b : tensor<f32>
}
pipe.table @train.stage1 stage(1) micro_batches(1) {
  %b = pipe.receive transfer(0) from(0) : tensor<f32>
  pipe.output "b", %b : tensor<f32>
}

// -----

pipe.table @train.stage0 stage(0) micro_batches(1) {
  %a = pipe.zero : tensor<f32>
  pipe.send %a transfer(0) to(1) : tensor<f32>
  pipe.send %a transfer(1) to(1) : tensor<f32>
  pipe.wait %a transfer(0) to(1) : tensor<f32>
  pipe.wait %a transfer(1) to(1) : tensor<f32>
}
pipe.table @train.stage1 stage(1) micro_batches(1) {
  // expected-error@+1 {{receives transfer 1, but what stage 0 sends next is transfer 0}}
  %b = pipe.receive transfer(1) from(0) : tensor<f32>
  %c = pipe.receive transfer(0) from(0) : tensor<f32>
  pipe.output "b", %b : tensor<f32>
  pipe.output "c", %c : tensor<f32>
}

// -----

pipe.table @train.stage0 stage(0) micro_batches(1) {
  %a = pipe.zero : tensor<f32>
  pipe.send %a transfer(0) to(1) : tensor<f32>
  pipe.wait %a transfer(0) to(1) : tensor<f32>
}
pipe.table @train.stage1 stage(1) micro_batches(1) {
  // expected-error@+1 {{receives 'tensor<2xf32>', but stage 0 sends 'tensor<f32>'}}
  %b = pipe.receive transfer(0) from(0) : tensor<2xf32>
  pipe.output "b", %b : tensor<2xf32>
}

// -----

pipe.table @train.stage0 stage(0) micro_batches(1) {
  %a = pipe.zero : tensor<f32>
  pipe.send %a transfer(0) to(1) : tensor<f32>
  // expected-error@+1 {{waits for transfer 1, which no earlier row sends to stage 1}}
  pipe.wait %a transfer(1) to(1) : tensor<f32>
}
pipe.table @train.stage1 stage(1) micro_batches(1) {
  %b = pipe.receive transfer(0) from(0) : tensor<f32>
  pipe.output "b", %b : tensor<f32>
}

// -----

pipe.table @train.stage0 stage(0) micro_batches(1) {
  %a = pipe.zero : tensor<f32>
  pipe.send %a transfer(0) to(1) : tensor<f32>
  pipe.send %a transfer(1) to(1) : tensor<f32>
  // expected-error@+1 {{waits for transfer 1, but transfer 0 was sent to stage 1 before it and is not waited for yet}}
  pipe.wait %a transfer(1) to(1) : tensor<f32>
}
pipe.table @train.stage1 stage(1) micro_batches(1) {
}

// -----

pipe.table @train.stage0 stage(0) micro_batches(1) {
  // expected-error@+1 {{of stage 0 names stage 2 of 2}}
  %b = pipe.receive transfer(0) from(2) : tensor<f32>
  pipe.output "b", %b : tensor<f32>
}
pipe.table @train.stage1 stage(1) micro_batches(1) {
}

// -----

// expected-error@+1 {{is of stage 1, but @train has tables of 1 stage}}
pipe.table @train.stage1 stage(1) micro_batches(1) {
}

// -----

pipe.table @train.stage0 stage(0) micro_batches(1) {
}
// expected-error@+1 {{has 2 micro-batches, but another stage 1}}
pipe.table @train.stage1 stage(1) micro_batches(2) {
}

// -----

pipe.table @train stage(0) micro_batches(1) {
}
// expected-error@+1 {{is the second table of stage 0 of @train}}
pipe.table @train.stage0 stage(0) micro_batches(1) {
}

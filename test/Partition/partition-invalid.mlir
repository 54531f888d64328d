// RUN: galvatron-opt %s --dist-partition -split-input-file -verify-diagnostics

dist.mesh @mesh() micro_batches(2)
dist.strategy @s0 on @mesh {batch = ["time"]}
func.func private @block(%x: tensor<4xf32> {dist.layout = #dist.layout<@mesh, [["time"]]>})
    -> (tensor<4xf32> {dist.layout = #dist.layout<@mesh, [["time"]]>}) {
  return %x : tensor<4xf32>
}
func.func private @update(%x: tensor<4xf32>) {
  return
}
func.func @step(%x: tensor<4xf32> {dist.layout = #dist.layout<@mesh, [[]]>}) {
  %0 = dist.reshard %x to <@mesh, [["time"]]> : tensor<4xf32>
  %1 = call @block(%0) {dist.layouts = [#dist.layout<@mesh, [["time"]]>]} : (tensor<4xf32>) -> tensor<4xf32>
  %2 = dist.reshard %1 to <@mesh, [[]]> : tensor<4xf32>
  // expected-error@+1 {{needs all of dimension 0 of a value that is split over ["time"]; over "time" a value is whole only before the first micro-batch or after the last}}
  call @update(%2) {dist.strategy = @s0} : (tensor<4xf32>) -> ()
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
func.func @step(%x: tensor<4xf32>) {
  // expected-error@+1 {{has an operand without a layout (--dist-propagate-layouts adds them)}}
  %0 = dist.reshard %x to <@mesh, [["time"]]> : tensor<4xf32>
  return
}

// -----

dist.mesh @mesh() micro_batches(3)
func.func @step(%x: tensor<4xf32> {dist.layout = #dist.layout<@mesh, [[]]>}) {
  // expected-error@+1 {{cuts dimension 0 of size 4 into 3 pieces, which does not divide it}}
  %0 = dist.reshard %x to <@mesh, [["time"]]> : tensor<4xf32>
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
func.func @step(%x: tensor<4xf32> {dist.layout = #dist.layout<@mesh, [[]]>}) {
  // expected-error@+1 {{makes a partial result over "time" of a value that is none}}
  %0 = dist.reshard %x to <@mesh, [[]], partial <sum over "time">> : tensor<4xf32>
  return
}

// -----

dist.mesh @mesh() micro_batches(3)
// expected-error@+1 {{cuts dimension 0 of size 4 into 3 pieces, which does not divide it}}
func.func private @block(%x: tensor<4xf32> {dist.layout = #dist.layout<@mesh, [["time"]]>}) {
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
// expected-error@+1 {{has a layout of 2 dimensions for a value of rank 1}}
func.func private @block(%x: tensor<4xf32> {dist.layout = #dist.layout<@mesh, [[], []]>}) {
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
// expected-error@+1 {{has the layout #dist.layout<@mesh, [["a"]]>, which names an axis that the mesh lacks}}
func.func private @block(%x: tensor<4xf32> {dist.layout = #dist.layout<@mesh, [["a"]]>}) {
  return
}

// -----

dist.mesh @mesh("a" = 2) micro_batches(2)
func.func @step(%x: tensor<4x2xf32> {dist.layout = #dist.layout<@mesh, [["a", "time"], []]>}) -> tensor<4x2xf32> {
  // expected-error@+1 {{gathers dimension 0 over ["a", "time"]; micro-batches are the outermost pieces of a dimension}}
  %0 = dist.reshard %x to <@mesh, [[], []]> : tensor<4x2xf32>
  return %0 : tensor<4x2xf32>
}

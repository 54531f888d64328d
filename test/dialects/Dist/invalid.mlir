// RUN: galvatron-opt %s -split-input-file -verify-diagnostics

// mesh C1
// expected-error@+1 {{has an axis named "time", which is taken}}
dist.mesh @mesh("time" = 2) micro_batches(1)

// -----

// mesh C1
// expected-error@+1 {{has two axes named "a"}}
dist.mesh @mesh("a" = 2, "a" = 2) micro_batches(1)

// -----

// expected-error@+1 {{has 1 axis names and 2 sizes}}
"dist.mesh"() <{sym_name = "mesh", axis_names = ["a"], axis_sizes = array<i64: 2, 2>, micro_batches = 1 : i64}> : () -> ()

// -----

// mesh C2
// expected-error@+1 {{has axis "a" of size 1; an axis has at least 2 points}}
dist.mesh @mesh("a" = 1) micro_batches(1)

// -----

// mesh C3
// expected-error@+1 {{has 0 micro-batches; at least 1 is needed}}
dist.mesh @mesh() micro_batches(0)

// -----

// strategy C1
// expected-error@+1 {{names @mesh, which is no dist.mesh}}
dist.strategy @s on @mesh {batch = ["time"]}

// -----

dist.mesh @mesh() micro_batches(1)
// strategy C2
// expected-error@+1 {{names axis "a", which @mesh does not have}}
dist.strategy @s on @mesh {batch = ["a"]}

// -----

dist.mesh @mesh() micro_batches(1)
// strategy C2
// expected-error@+1 {{gives role "batch" the value "time", which is no list of axes}}
dist.strategy @s on @mesh {batch = "time"}

// -----

dist.mesh @mesh() micro_batches(1)
// strategy C3
// expected-error@+1 {{has an unknown role "bach"; known: "batch"}}
dist.strategy @s on @mesh {bach = ["time"]}

// -----

dist.mesh @mesh() micro_batches(1)
// strategy C4
// expected-error@+1 {{gives axis "time" two roles}}
dist.strategy @s on @mesh {batch = ["time", "time"]}

// -----

// layout C1
// expected-error@+1 {{dimension "time" of a layout is no list of axis names}}
func.func private @f(tensor<2xf32> {dist.layout = #dist.layout<@mesh, ["time"]>})

// -----

// layout C2
// expected-error@+1 {{axis "time" is named twice}}
func.func private @f(tensor<2xf32> {dist.layout = #dist.layout<@mesh, [["time"]], partial <sum over "time">>})

// -----

func.func @f(%x: tensor<2x2xf32>) {
  // reshard C1
  // expected-error@+1 {{has a layout of 1 dimensions for a tensor of rank 2}}
  %0 = dist.reshard %x to <@mesh, [[]]> : tensor<2x2xf32>
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
func.func @f(%x: tensor<8x2xf32>) {
  // slice C1
  // expected-error@+1 {{slices dimension 2 of a tensor of rank 2}}
  %0 = dist.slice %x dim 2 over @mesh ["time"] : tensor<8x2xf32> -> tensor<4x2xf32>
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
func.func @f(%x: tensor<8x2xf32>) {
  // slice C2
  // expected-error@+1 {{names axis "a", which @mesh does not have}}
  %0 = dist.slice %x dim 0 over @mesh ["a"] : tensor<8x2xf32> -> tensor<4x2xf32>
  return
}

// -----

dist.mesh @mesh() micro_batches(3)
func.func @f(%x: tensor<8x2xf32>) {
  // slice C3
  // expected-error@+1 {{cuts dimension 0 of size 8 into 3 pieces, which does not divide it}}
  %0 = dist.slice %x dim 0 over @mesh ["time"] : tensor<8x2xf32> -> tensor<4x2xf32>
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
func.func @f(%x: tensor<8x2xf32>) {
  // slice C3
  // expected-error@+1 {{has a piece of type 'tensor<2x2xf32>' where a piece of the whole is 'tensor<4x2xf32>'}}
  %0 = dist.slice %x dim 0 over @mesh ["time"] : tensor<8x2xf32> -> tensor<2x2xf32>
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
func.func @f(%x: tensor<4x2xf32>) {
  // all_gather C1
  // expected-error@+1 {{gathers dimension 2 of a tensor of rank 2}}
  %0 = dist.all_gather %x dim 2 over @mesh ["time"] : tensor<4x2xf32> -> tensor<8x2xf32>
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
func.func @f(%x: tensor<4x2xf32>) {
  // all_gather C2
  // expected-error@+1 {{names axis "a", which @mesh does not have}}
  %0 = dist.all_gather %x dim 0 over @mesh ["a"] : tensor<4x2xf32> -> tensor<8x2xf32>
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
func.func @f(%x: tensor<4x2xf32>) {
  // all_gather C3
  // expected-error@+1 {{has a piece of type 'tensor<4x2xf32>' where a piece of the whole is 'tensor<2x2xf32>'}}
  %0 = dist.all_gather %x dim 0 over @mesh ["time"] : tensor<4x2xf32> -> tensor<4x2xf32>
  return
}

// -----

dist.mesh @mesh() micro_batches(2)
func.func @f(%x: tensor<2xf32>) {
  // all_reduce C1
  // expected-error@+1 {{names axis "a", which @mesh does not have}}
  %0 = dist.all_reduce sum %x over @mesh ["a"] : tensor<2xf32>
  return
}

// -----

dist.mesh @mesh("a" = 2) micro_batches(2)
// strategy C5
// expected-error@+1 {{splits input 1 over "a", which has not the role tensor}}
dist.strategy @s0 on @mesh {batch = ["time", "a"]} splits [#dist.split<input 1, dim 0, ["a"]>]

// -----

dist.mesh @mesh("a" = 2) micro_batches(2)
// strategy C6
// expected-error@+1 {{splits input 1 over "a" twice}}
dist.strategy @s0 on @mesh {tensor = ["a"]} splits [#dist.split<input 1, dim 0, ["a"]>, #dist.split<input 1, dim 1, ["a"]>]

// -----

dist.mesh @mesh("a" = 2) micro_batches(2)
// split C1
// expected-error@+1 {{split of input 1, dimension 0 is over [2], which is no list of axis names}}
dist.strategy @s0 on @mesh {tensor = ["a"]} splits [#dist.split<input 1, dim 0, [2]>]

// -----

// expected-error@+1 {{has 3 stages, which is no product of its outermost axes}}
dist.mesh @mesh("a" = 2, "b" = 3) stages(3) micro_batches(1)

// -----

dist.mesh @mesh("a" = 2) micro_batches(2)
// strategy C5
// expected-error@+1 {{splits op "up" over "a", which has not the role tensor}}
dist.strategy @s0 on @mesh {batch = ["time", "a"]} ops [#dist.op<"up", [#dist.split<input 1, dim 0, ["a"]>]>]

// -----

dist.mesh @mesh("a" = 2) micro_batches(2)
// strategy C6
// expected-error@+1 {{splits op "up" over "a" twice}}
dist.strategy @s0 on @mesh {tensor = ["a"]} ops [#dist.op<"up", [#dist.split<input 1, dim 0, ["a"]>, #dist.split<input 0, dim 1, ["a"]>]>]

// -----

dist.mesh @mesh("a" = 2) micro_batches(2)
// op C1
// expected-error@+1 {{op "up" has [2], which is no list of splits}}
dist.strategy @s0 on @mesh {tensor = ["a"]} ops [#dist.op<"up", [2]>]

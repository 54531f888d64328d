// RUN: galvatron-opt %s -split-input-file -verify-diagnostics

// expected-error@+1 {{has element type 'f64', expected f32, i64, i8 or i1}}
func.func private @type(!rt.buffer<4xf64>)

// -----

func.func private @callee(tensor<4xf32>) -> tensor<4xf32>
func.func @launch_of_no_kernel(%x: tensor<4xf32>) {
  // expected-error@+1 {{callee @callee has no attribute 'rt.kernel'}}
  %y = rt.launch @callee(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @launch_of_nothing(%x: tensor<4xf32>) {
  // expected-error@+1 {{kernel @callee is not declared}}
  %y = rt.launch @callee(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

func.func private @callee(tensor<5xf32>) -> tensor<4xf32> attributes {rt.kernel}
func.func @launch_of_another_type(%x: tensor<4xf32>) {
  // expected-error@+1 {{calls @callee as '(tensor<4xf32>) -> tensor<4xf32>', but it is '(tensor<5xf32>) -> tensor<4xf32>'}}
  %y = rt.launch @callee(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @view_outside(%x: !rt.buffer<4xf32>) {
  // expected-error@+1 {{covers bytes 8 to 24 of a buffer of 16}}
  %y = rt.view %x at 8 : <4xf32> to <4xf32>
  return
}

// -----

func.func @view_inside_an_element(%x: !rt.buffer<4xf32>) {
  // expected-error@+1 {{starts at byte 2, which is inside an element of 4 bytes}}
  %y = rt.view %x at 2 : <4xf32> to <2xf32>
  return
}

// -----

func.func @copy_of_another_size(%x: !rt.buffer<4xf32>, %y: !rt.buffer<5xf32>) {
  // expected-error@+1 {{copies 16 bytes to a buffer of 20}}
  rt.copy %x to %y : <4xf32> to <5xf32>
  return
}

// -----

// expected-error@+1 {{has 5 batch dimensions, at most 4 are possible}}
rt.matmul_desc @m batch [2, 2, 2, 2, 2] m 1 n 1 k 1 lhs [1, 1, 1, 1, 1] [1, 1] rhs [1, 1, 1, 1, 1] [1, 1] out [1, 1, 1, 1, 1] [1, 1]

// -----

// expected-error@+1 {{has 0 batch strides for 1 batch dimensions}}
rt.matmul_desc @m batch [2] m 1 n 1 k 1 lhs [] [1, 1] rhs [1] [1, 1] out [1] [1, 1]

// -----

// expected-error@+1 {{has 1 matrix strides, expected 2}}
rt.matmul_desc @m batch [] m 1 n 1 k 1 lhs [] [1] rhs [] [1, 1] out [] [1, 1]

// -----

// expected-error@+1 {{has a dimension of size 0}}
rt.matmul_desc @m batch [] m 0 n 1 k 1 lhs [] [1, 1] rhs [] [1, 1] out [] [1, 1]

// -----

func.func @matmul_without_descriptor(%x: !rt.buffer<4xf32>) {
  // expected-error@+1 {{descriptor @m is not an 'rt.matmul_desc'}}
  rt.matmul @m(%x, %x) into %x : <4xf32>, <4xf32>, <4xf32>
  return
}

// -----

rt.matmul_desc @m batch [] m 2 n 2 k 2 lhs [] [2, 1] rhs [] [2, 1] out [] [2, 1] bias
func.func @matmul_without_bias(%x: !rt.buffer<4xf32>, %y: !rt.buffer<4xf32>) {
  // expected-error@+1 {{descriptor @m has a bias, but the call has none}}
  rt.matmul @m(%x, %x) into %y : <4xf32>, <4xf32>, <4xf32>
  return
}

// -----

rt.matmul_desc @m batch [] m 2 n 2 k 3 lhs [] [3, 1] rhs [] [2, 1] out [] [2, 1]
func.func @matmul_outside(%x: !rt.buffer<5xf32>, %w: !rt.buffer<6xf32>, %y: !rt.buffer<4xf32>) {
  // expected-error@+1 {{lhs needs 6 elements, but its buffer has 5}}
  rt.matmul @m(%x, %w) into %y : <5xf32>, <6xf32>, <4xf32>
  return
}

// -----

// expected-error@+1 {{has 4 spatial dimensions, expected 1 to 3}}
rt.conv_desc @c forward batch 1 channels 1 to 1 groups 1 src [1, 1, 1, 1] kernel [1] dst [1] strides [1] dilations [1] pads [0] [0]

// -----

// expected-error@+1 {{has 2 numbers for 1 spatial dimensions}}
rt.conv_desc @c forward batch 1 channels 1 to 1 groups 1 src [1] kernel [1, 1] dst [1] strides [1] dilations [1] pads [0] [0]

// -----

func.func @conv_without_descriptor(%x: !rt.buffer<4xf32>) {
  // expected-error@+1 {{descriptor @c is not an 'rt.conv_desc'}}
  rt.conv @c src %x weights %x dst %x : <4xf32>, <4xf32>, <4xf32>
  return
}

// -----

rt.conv_desc @c forward batch 1 channels 1 to 1 groups 1 src [1] kernel [1] dst [1] strides [1] dilations [1] pads [0] [0]
func.func @conv_with_bias(%x: !rt.buffer<1x1x1xf32>, %b: !rt.buffer<1xf32>, %y: !rt.buffer<1x1x1xf32>) {
  // expected-error@+1 {{descriptor @c has no bias, but the call has one}}
  rt.conv @c src %x weights %x bias %b : !rt.buffer<1xf32> dst %y : <1x1x1xf32>, <1x1x1xf32>, <1x1x1xf32>
  return
}

// -----

func.func @scatter_of_other_rows(%x: !rt.buffer<3x4xf32>, %ids: !rt.buffer<2xi64>, %table: !rt.buffer<5x4xf32>) {
  // expected-error@+1 {{has 12 elements to add, but 2 ids for rows of 4}}
  rt.scatter_add_rows %x by %ids into %table : <3x4xf32>, <2xi64>, <5x4xf32>
  return
}

// -----

func.func @scatter_by_floats(%x: !rt.buffer<2x4xf32>, %ids: !rt.buffer<2xf32>, %table: !rt.buffer<5x4xf32>) {
  // expected-error@+1 {{has ids of type 'f32', expected i64}}
  rt.scatter_add_rows %x by %ids into %table : <2x4xf32>, <2xf32>, <5x4xf32>
  return
}

// -----

func.func @scatter_to_nothing(%x: !rt.buffer<2x4xf32>, %ids: !rt.buffer<2xi64>, %table: !rt.buffer<0x4xf32>) {
  // expected-error@+1 {{has a table without rows}}
  rt.scatter_add_rows %x by %ids into %table : <2x4xf32>, <2xi64>, <0x4xf32>
  return
}

// -----

func.func @range_of_floats(%x: tensor<4xf32>) {
  // expected-error@+1 {{has ids of type 'tensor<4xf32>', expected a buffer or static tensor of i64}}
  rt.check_range %x in [0, 4) "x" : tensor<4xf32>
  return
}

// -----

rt.program @p threads 1 cpu "x86-64-v3" optimizer "sgd" micro_batches 1 {
  // expected-error@+1 {{symbol @w is not an 'nn.parameter'}}
  %w = rt.parameter @w : <4xf32>
}

// -----

nn.parameter @w trainable : tensor<4xf32>, view strided<[1]> of "w" [4] init normal
rt.program @p threads 1 cpu "x86-64-v3" optimizer "sgd" micro_batches 1 {
  // expected-error@+1 {{has type '!rt.buffer<5xf32>', but the parameter needs '!rt.buffer<4xf32>'}}
  %w = rt.parameter @w : <5xf32>
}

// -----

rt.program @p threads 1 cpu "x86-64-v3" optimizer "sgd" micro_batches 1 {
  rt.table train {
    // expected-error@+1 {{function @f is not declared}}
    rt.run @f
  }
}

// -----

func.func private @f(!rt.buffer<4xf32>)
rt.program @p threads 1 cpu "x86-64-v3" optimizer "sgd" micro_batches 1 {
  rt.table train {
    // expected-error@+1 {{passes , but @f takes '!rt.buffer<4xf32>'}}
    rt.run @f
  }
}

// -----

func.func private @f(!rt.buffer<4xf32>, !rt.buffer<4xf32>) attributes {rt.outs = 1 : i64}
rt.program @p threads 1 cpu "x86-64-v3" optimizer "sgd" micro_batches 1 {
  rt.table train {
    %x = rt.slot "x" : <4xf32>
    // expected-error@+1 {{writes output 0 over input 0, but @f does not alias these}}
    rt.run @f ins(%x : !rt.buffer<4xf32>) outs(%x : !rt.buffer<4xf32>)
  }
}

// -----

func.func private @f(!rt.buffer<4xf32>, !rt.buffer<4xf32>) attributes {rt.outs = 2 : i64}
rt.program @p threads 1 cpu "x86-64-v3" optimizer "sgd" micro_batches 1 {
  rt.table train {
    %x = rt.slot "x" : <4xf32>
    // expected-error@+1 {{has the same buffer for outputs 0 and 1}}
    rt.run @f outs(%x, %x : !rt.buffer<4xf32>, !rt.buffer<4xf32>)
  }
}

// -----

func.func @view_with_an_axis_too_many(%x: !rt.buffer<8xf32>) {
  // expected-error@+1 {{has 2 axes and 1 strides}}
  %y = rt.view %x axes [0, 1] strides [4] : <8xf32> to <2xf32>
  return
}

// -----

func.func @view_inside_an_element(%x: !rt.buffer<8xf32>) {
  // expected-error@+1 {{has a stride of 6 bytes for elements of 4}}
  %y = rt.view %x axes [0] strides [6] : <8xf32> to <2xf32>
  return
}

// -----

// expected-error@+1 {{has 2 axis names and 1 sizes}}
rt.program @program threads 1 cpu "native" optimizer "sgd" micro_batches 1 mesh ["a", "b"] [2] {
}

// -----

// expected-error@+1 {{has an axis of size 1; an axis has at least 2 points}}
rt.program @program threads 1 cpu "native" optimizer "sgd" micro_batches 1 mesh ["a"] [1] {
}

// -----

rt.program @program threads 1 cpu "native" optimizer "sgd" micro_batches 1 mesh ["a", "b"] [2, 2] {
  rt.table train {
    %x = rt.slot "x" : <8xf32>
    // expected-error@+1 {{is over axes [1, 0] of a mesh of 2; axes ascend}}
    rt.all_reduce sum %x into %x axes [1, 0] : <8xf32>, <8xf32>
  }
}

// -----

rt.program @program threads 1 cpu "native" optimizer "sgd" micro_batches 1 mesh ["a"] [2] {
  rt.table train {
    %x = rt.slot "x" : <8xf32>
    %y = rt.slot "y" : <9xf32>
    // expected-error@+1 {{reads '!rt.buffer<8xf32>' and writes '!rt.buffer<9xf32>'}}
    rt.all_reduce sum %x into %y axes [0] : <8xf32>, <9xf32>
  }
}

// -----

rt.program @program threads 1 cpu "native" optimizer "sgd" micro_batches 1 mesh ["a"] [2] {
  rt.table train {
    %x = rt.slot "x" : <8xi1>
    // expected-error@+1 {{combines elements of type 'i1'}}
    rt.all_reduce sum %x into %x axes [0] : <8xi1>, <8xi1>
  }
}

// -----

rt.program @program threads 1 cpu "native" optimizer "sgd" micro_batches 1 mesh ["a"] [2] {
  rt.table train {
    %x = rt.slot "x" : <8xf32>
    // expected-error@+1 {{gathers into what it reads}}
    rt.all_gather %x into %x axes [0] : <8xf32>, <8xf32>
  }
}

// -----

rt.program @program threads 1 cpu "native" optimizer "sgd" micro_batches 1 mesh ["a"] [2] {
  rt.table train {
    %x = rt.slot "x" : <8xf32>
    %y = rt.slot "y" : <24xf32>
    // expected-error@+1 {{makes '!rt.buffer<24xf32>' of 2 times '!rt.buffer<8xf32>'}}
    rt.all_gather %x into %y axes [0] : <8xf32>, <24xf32>
  }
}

// -----

rt.program @program threads 1 cpu "native" optimizer "sgd" micro_batches 1 mesh ["a"] [2] {
  rt.table train {
    %x = rt.slot "x" : <8xf32>
    %y = rt.slot "y" : <8xf32>
    rt.all_reduce sum %x into %y axes [0] : <8xf32>, <8xf32>
    // expected-error@+1 {{waits for a collective of these buffers, but no row before it begins one}}
    rt.complete %x of %y : <8xf32>, <8xf32>
  }
}

// -----

// expected-error@+1 {{is stage 2 of 2 on 2 ranks}}
rt.program @program stage 2 of 2 threads 1 cpu "native" optimizer "sgd" micro_batches 1 mesh ["a"] [2] {
}

// -----

// expected-error@+1 {{is stage 0 of 2 on 3 ranks}}
rt.program @program stage 0 of 2 threads 1 cpu "native" optimizer "sgd" micro_batches 1 mesh ["a"] [3] {
}

// -----

rt.program @program stage 1 of 2 threads 1 cpu "native" optimizer "sgd" micro_batches 1 mesh ["a"] [2] {
  rt.table train {
    %x = rt.slot "x" : <8xf32>
    // expected-error@+1 {{names stage 1 of 2}}
    rt.send %x to 1 : <8xf32>
  }
}

// -----

rt.program @program stage 1 of 2 threads 1 cpu "native" optimizer "sgd" micro_batches 1 mesh ["a"] [2] {
  rt.table train {
    %x = rt.slot "x" : <8xf32>
    // expected-error@+1 {{names stage 2 of 2}}
    rt.wait_sent %x to 2 : <8xf32>
  }
}

// -----

rt.program @program stage 1 of 2 threads 1 cpu "native" optimizer "sgd" micro_batches 1 mesh ["a"] [2] {
  rt.table train {
    %x = rt.slot "x" : <8xf32>
    // expected-error@+1 {{names stage 1 of 2}}
    rt.receive %x from 1 : <8xf32>
  }
}

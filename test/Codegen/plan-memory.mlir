// RUN: galvatron-opt %s -rt-plan-memory | FileCheck %s

nn.parameter @w trainable : tensor<100xf32>, view strided<[1]> of "w" [100] init normal
func.func private @k(tensor<100xf32>) -> tensor<100xf32> attributes {rt.kernel}

// A temporary takes the place of one that nobody reads any more.
// CHECK: func.func private @f
// CHECK-SAME: rt.frame_bytes = 896
func.func private @f(%x: !rt.buffer<100xf32>, %y: !rt.buffer<100xf32>) attributes {rt.outs = 1 : i64} {
  // CHECK: %[[A:.*]] = rt.temporary at [[AT:[0-9]+]] : <100xf32>
  // CHECK: %[[B:.*]] = rt.temporary at {{[0-9]+}} : <100xf32>
  // CHECK: %[[C:.*]] = rt.temporary at [[AT]] : <100xf32>
  %a = rt.temporary : <100xf32>
  rt.parallel_for @k ins(%x : !rt.buffer<100xf32>) outs(%a : !rt.buffer<100xf32>)
  %b = rt.temporary : <100xf32>
  rt.parallel_for @k ins(%a : !rt.buffer<100xf32>) outs(%b : !rt.buffer<100xf32>)
  %c = rt.temporary : <100xf32>
  rt.parallel_for @k ins(%b : !rt.buffer<100xf32>) outs(%c : !rt.buffer<100xf32>)
  rt.parallel_for @k ins(%c : !rt.buffer<100xf32>) outs(%y : !rt.buffer<100xf32>)
  return
}

// Scratch memory is asked for and becomes a temporary.
// CHECK: rt.matmul_desc @m0 {{.*}} scratch {{[0-9]+}}
rt.matmul_desc @m0 batch [] m 10 n 10 k 10 lhs [] [10, 1] rhs [] [10, 1] out [] [10, 1]

// Tensors of the program first, then slots and frames; the gradient stays until it is published.
// CHECK: rt.program @program threads 1 cpu "x86-64-v3" optimizer "none" micro_batches 1 arena 2688
// CHECK: rt.parameter @w at 0
// CHECK: rt.tensor input "x" at 448
rt.program @program threads 1 cpu "x86-64-v3" optimizer "none" micro_batches 1 {
  %w = rt.parameter @w : <100xf32>
  %x = rt.tensor input "x" : <100xf32>
  // CHECK: rt.table train
  rt.table train {
    // CHECK: rt.slot "g" at [[G:[0-9]+]]
    // CHECK-NOT: rt.slot "h" at [[G]]
    // CHECK: rt.slot "h" at
    %g = rt.slot "g" : <100xf32>
    %h = rt.slot "h" : <100xf32>
    rt.run @f ins(%x : !rt.buffer<100xf32>) outs(%g : !rt.buffer<100xf32>)
    rt.gradient @w, %g : <100xf32>
    // CHECK: rt.run @f {{.*}} frame {{[0-9]+}}
    rt.run @f ins(%x : !rt.buffer<100xf32>) outs(%h : !rt.buffer<100xf32>)
    rt.publish_gradients
  }
}

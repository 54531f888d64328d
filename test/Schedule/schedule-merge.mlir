// What cannot be accumulated in place is merged: here two results of one call that belong to one sum. The sum starts at zero, so that
// every micro-batch runs the same rows.
// RUN: galvatron-opt %s -split-input-file --pipe-schedule --pipe-verify-schedule | FileCheck %s

dist.mesh @mesh() micro_batches(2)

// CHECK: func.func private @f.accumulate({{.*}}) {{.*}} attributes {nn.accumulates = {{\[\[}}0, 1]], pipe.variant_of = "f"}
func.func private @f(%x: tensor<1x2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
  %0 = nn.reduce sum %x [0] : tensor<1x2xf32> -> tensor<2xf32>
  %1 = nn.neg %0 : tensor<2xf32>
  return %0, %1 : tensor<2xf32>, tensor<2xf32>
}

// CHECK: func.func private @accumulate_sum({{.*}}) -> tensor<2xf32> attributes {nn.accumulates = {{\[\[}}0, 0]]}

// CHECK-LABEL: pipe.table @train
// CHECK: %[[Z:.*]] = pipe.zero : tensor<2xf32>
// CHECK: %[[A:.*]]:2 = pipe.run @f.accumulate(%{{.*}}, %[[Z]]) forward(0) micro_batch(0)
// CHECK: %[[B:.*]] = pipe.run @accumulate_sum(%[[A]]#0, %[[A]]#1) forward(1) micro_batch(0)
// CHECK: %[[C:.*]]:2 = pipe.run @f.accumulate(%{{.*}}, %[[B]]) forward(0) micro_batch(1)
// CHECK: %[[D:.*]] = pipe.run @accumulate_sum(%[[C]]#0, %[[C]]#1) forward(1) micro_batch(1)
// CHECK: pipe.output "sum", %[[D]]
func.func @step(%x: tensor<2x2xf32> {nn.name = "x"}) -> (tensor<2xf32> {nn.name = "sum"}) {
  %0 = dist.slice %x dim 0 over @mesh ["time"] : tensor<2x2xf32> -> tensor<1x2xf32>
  %1:2 = call @f(%0) {pipe.call = 0 : i64, pipe.phase = #pipe<phase forward>} : (tensor<1x2xf32>) -> (tensor<2xf32>, tensor<2xf32>)
  %3 = nn.add %1#0, %1#1 : tensor<2xf32>
  %4 = dist.all_reduce sum %3 over @mesh ["time"] : tensor<2xf32>
  return %4 : tensor<2xf32>
}

// -----

// So is what ranks have combined: a move adds to nothing.
dist.mesh @mesh("a" = 2) micro_batches(2)
func.func private @f(%x: tensor<1x2xf32>) -> tensor<2xf32> {
  %0 = nn.reduce sum %x [0] : tensor<1x2xf32> -> tensor<2xf32>
  return %0 : tensor<2xf32>
}
// CHECK-LABEL: pipe.table @train
// CHECK: %[[Z:.*]] = pipe.zero : tensor<2xf32>
// CHECK: %[[A:.*]] = pipe.run @f({{.*}}) forward(0) micro_batch(0)
// CHECK: %[[ALL:.*]] = pipe.all_reduce sum %[[A]] over @mesh ["a"] micro_batch(0)
// CHECK: %[[B:.*]] = pipe.run @accumulate_sum(%[[Z]], %[[ALL]]) forward(1) micro_batch(0)
// CHECK: %[[C:.*]] = pipe.run @f({{.*}}) forward(0) micro_batch(1)
// CHECK: %[[TOO:.*]] = pipe.all_reduce sum %[[C]] over @mesh ["a"] micro_batch(1)
// CHECK: %[[D:.*]] = pipe.run @accumulate_sum(%[[B]], %[[TOO]]) forward(1) micro_batch(1)
// CHECK: pipe.output "sum", %[[D]]
func.func @step(%x: tensor<2x2xf32> {nn.name = "x"}) -> (tensor<2xf32> {nn.name = "sum"}) {
  %0 = dist.slice %x dim 0 over @mesh ["time"] : tensor<2x2xf32> -> tensor<1x2xf32>
  %1 = call @f(%0) {pipe.call = 0 : i64, pipe.phase = #pipe<phase forward>} : (tensor<1x2xf32>) -> tensor<2xf32>
  %2 = dist.all_reduce sum %1 over @mesh ["a"] : tensor<2xf32>
  %3 = dist.all_reduce sum %2 over @mesh ["time"] : tensor<2xf32>
  return %3 : tensor<2xf32>
}

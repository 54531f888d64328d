// RUN: galvatron-opt %s -split-input-file --nn-add-loss="loss=cross-entropy:logits ignore-index=-1" | FileCheck %s

// The function that makes the logits makes the loss; labels are counted once a step, over the whole batch.
// CHECK: func.func private @epilogue(%{{.*}}: tensor<2x3x4xf32>, %[[LABELS:.*]]: tensor<2x3xi64>, %[[COUNT:.*]]: tensor<f32>) -> (tensor<2x3x4xf32>, tensor<f32>)
func.func private @epilogue(%x: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  // CHECK: %[[LOGITS:.*]] = nn.neg
  // CHECK: %[[LOSSES:.*]], %{{.*}} = nn.cross_entropy %[[LOGITS]], %[[LABELS]] ignore -1
  // CHECK: %[[SUM:.*]] = nn.reduce sum %[[LOSSES]] [0, 1]
  // CHECK: %[[LOSS:.*]] = nn.div %[[SUM]], %[[COUNT]]
  // CHECK: return %[[LOGITS]], %[[LOSS]]
  %y = nn.neg %x : tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}
// CHECK: func.func private @prepare(%[[LABELS:.*]]: tensor<2x3xi64>) -> tensor<f32>
// CHECK: %[[IGNORED:.*]] = nn.constant dense<-1>
// CHECK: %[[COUNTED:.*]] = nn.compare ne %[[LABELS]], %[[IGNORED]]
// CHECK: nn.cast %[[COUNTED]]
// CHECK: nn.reduce sum
// CHECK: func.func @forward(%{{.*}}, %[[LABELS:.*]]: tensor<2x3xi64> {nn.name = "labels"}) -> (tensor<f32> {nn.name = "loss"}, tensor<2x3x4xf32> {nn.name = "logits"})
func.func @forward(%x: tensor<2x3x4xf32> {nn.name = "x"}) -> (tensor<2x3x4xf32> {nn.name = "logits"}) {
  // CHECK: %[[COUNT:.*]] = call @prepare(%[[LABELS]])
  // CHECK: %[[RESULT:.*]]:2 = call @epilogue(%{{.*}}, %[[LABELS]], %[[COUNT]])
  // CHECK: return %[[RESULT]]#1, %[[RESULT]]#0
  %y = call @epilogue(%x) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// -----

// A block that is called several times cannot make the loss; what is prepared already stays.
func.func private @prepare(%m: tensor<2xi64>) -> tensor<2xi64> { return %m : tensor<2xi64> }
func.func private @block0(%x: tensor<2x4xf32>, %m: tensor<2xi64>) -> tensor<2x4xf32> { return %x : tensor<2x4xf32> }
// CHECK: func.func private @loss(%{{.*}}: tensor<2x4xf32>, %{{.*}}: tensor<2xi64>, %{{.*}}: tensor<f32>) -> tensor<f32>
// CHECK: func.func @forward
func.func @forward(%x: tensor<2x4xf32> {nn.name = "x"}, %m: tensor<2xi64> {nn.name = "m"}) -> (tensor<2x4xf32> {nn.name = "logits"}) {
  // CHECK: %[[PREPARED:.*]]:2 = call @prepare(%{{.*}}, %[[LABELS:[a-z0-9]+]]) :
  // CHECK: call @block0(%{{.*}}, %[[PREPARED]]#0)
  // CHECK: %[[Z:.*]] = call @block0(%{{.*}}, %[[PREPARED]]#0)
  // CHECK: call @loss(%[[Z]], %[[LABELS]], %[[PREPARED]]#1)
  %p = call @prepare(%m) : (tensor<2xi64>) -> tensor<2xi64>
  %y = call @block0(%x, %p) : (tensor<2x4xf32>, tensor<2xi64>) -> tensor<2x4xf32>
  %z = call @block0(%y, %p) : (tensor<2x4xf32>, tensor<2xi64>) -> tensor<2x4xf32>
  return %z : tensor<2x4xf32>
}

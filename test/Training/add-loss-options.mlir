// RUN: not galvatron-opt %s --nn-add-loss=loss=mse:y 2>&1 | FileCheck %s --check-prefix=KIND
// RUN: not galvatron-opt %s --nn-add-loss=loss=output:y 2>&1 | FileCheck %s --check-prefix=SCALAR

// KIND: error: loss "mse:y" is neither cross-entropy:NAME nor output:NAME
// SCALAR: error: output "y" of type 'tensor<2xf32>' cannot be the loss: it is not a float scalar
func.func @forward(%x: tensor<2xf32>) -> (tensor<2xf32> {nn.name = "y"}) {
  return %x : tensor<2xf32>
}

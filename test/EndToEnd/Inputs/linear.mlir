// A linear layer. The weight is used transposed and saved as PyTorch has it.
nn.parameter @weight trainable : tensor<4x5xf32>, view strided<[1, 4]> of "linear.weight" [5, 4]
  from <file = "linear.bin", offset = 0, length = 80, initializer = "", transposed = false> init normal
nn.parameter @bias trainable : tensor<5xf32>, view strided<[1]> of "linear.bias" [5]
  from <file = "linear.bin", offset = 80, length = 20, initializer = "", transposed = false> init zero

func.func @forward(%x: tensor<8x4xf32> {nn.name = "x"}) -> (tensor<8x5xf32> {nn.name = "logits"}) {
  %w = nn.get_parameter @weight : tensor<4x5xf32>
  %b = nn.get_parameter @bias : tensor<5xf32>
  %p = nn.contract %x, %w "ab,bc->ac" : (tensor<8x4xf32>, tensor<4x5xf32>) -> tensor<8x5xf32>
  %c = nn.broadcast %b [1] : tensor<5xf32> -> tensor<8x5xf32>
  %y = nn.add %p, %c : tensor<8x5xf32>
  return %y : tensor<8x5xf32>
}

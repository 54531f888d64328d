//===- KernelTest.cpp - Kernels compute what their ops mean ---------------===//
//
// Each test compiles ops, runs the kernels with one and with two threads, and
// compares with loops in double. Two threads must give the same bits as one.
//
//===----------------------------------------------------------------------===//

#include "KernelChecks.h"

using namespace galvatron::test;

namespace {

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

void checkUnary(const std::string &op, const Floats &x, std::function<double(double)> reference, double relative = 2e-6,
                double absolute = 4e-7) {
  std::string type = "tensor<" + std::to_string(x.size()) + "xf32>";
  KernelRunner runner(fill("func.func @f(%x: $t) -> $t { %y = nn.$op : $t  return %y : $t }", {{"$op", op}, {"$t", type}}));
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(x)});
  Doubles wanted;
  for (float value : x)
    wanted.push_back(reference(value));
  SCOPED_TRACE(op);
  expectNear(results[0], wanted, relative, absolute);
  if (x.size() >= 64)
    expectGoodCode(runner);
}

TEST(Kernel, UnaryFunctions) {
  Floats x = randomFloats(1009, 1, -8, 8), positive = randomFloats(1009, 2, 1e-3, 50);
  x[0] = 0;
  checkUnary("exp %x", x, [](double v) { return std::exp(v); });
  checkUnary("log %x", positive, [](double v) { return std::log(v); });
  checkUnary("tanh %x", x, [](double v) { return std::tanh(v); });
  checkUnary("erf %x", x, [](double v) { return std::erf(v); });
  checkUnary("sigmoid %x", x, [](double v) { return 1 / (1 + std::exp(-v)); });
  checkUnary("silu %x", x, [](double v) { return v / (1 + std::exp(-v)); });
  checkUnary("softplus %x", randomFloats(1009, 3, -40, 40), [](double v) { return std::fmax(v, 0) + std::log1p(std::exp(-std::fabs(v))); },
             2e-6, 0);                                  // its tail too, where it is far below 1
  checkUnary("rsqrt %x", positive, [](double v) { return 1 / std::sqrt(v); });
  checkUnary("reciprocal %x", positive, [](double v) { return 1 / v; });
  checkUnary("floor %x", x, [](double v) { return std::floor(v); });
  checkUnary("round %x", {-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.49f}, [](double v) { return std::nearbyint(v); });
  checkUnary("gelu %x erf", x, [](double v) { return v / 2 * (1 + std::erf(v / std::sqrt(2.0))); });
  checkUnary("gelu %x tanh", x, [](double v) {
    return v / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
  }, 2e-6, 2e-6);
}

TEST(Kernel, SpecialValues) {
  float infinity = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  Floats x{-infinity, infinity, nan, 0, -0.0f, 88.0f, -104.0f};
  checkUnary("exp %x", x, [](double v) { return float(std::exp(v)); });
  checkUnary("tanh %x", x, [](double v) { return std::tanh(v); });
  checkUnary("relu %x", {-1, 0, 2, infinity, nan}, [](double v) { return std::isnan(v) ? v : std::fmax(v, 0); });
  checkUnary("sin %x", {infinity, nan, 1}, [](double v) { return std::sin(v); });
}

TEST(Kernel, SinAndCosOfLargeAngles) {
  Floats x = randomFloats(4099, 5, -8192, 8192);
  x[0] = 8000;
  x[1] = 0;
  x[2] = float(M_PI);
  checkUnary("sin %x", x, [](double v) { return std::sin(v); }, 0, 4e-7);
  checkUnary("cos %x", x, [](double v) { return std::cos(v); }, 0, 4e-7);
}

TEST(Kernel, Pow) {
  const char *text = "func.func @f(%x: tensor<12xf32>, %y: tensor<12xf32>) -> tensor<12xf32> {"
                     " %z = nn.pow %x, %y : tensor<12xf32> return %z : tensor<12xf32> }";
  Floats x{2, -2, -2, 0, 0, 9, 1, -1.5f, 10, -3, 0.25f, 7}, y{0.5f, 3, 2, 2, 0, -0.5f, 100, 0.5f, -3, 0, 1.5f, 1};
  KernelRunner runner(text);
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(x), Buffer::of(y)});
  Doubles wanted;
  for (size_t i = 0; i < x.size(); ++i)
    wanted.push_back(std::pow(double(x[i]), double(y[i])));
  expectNear(results[0], wanted, 3e-6, 0);
  for (double exponent : {2.0, 3.0, 0.5, -0.5, -1.0, 1.5}) {
    std::string text = fill("func.func @f(%x: tensor<100xf32>) -> tensor<100xf32> { %c = nn.constant dense<$e> : tensor<100xf32>"
                            " %z = nn.pow %x, %c : tensor<100xf32> return %z : tensor<100xf32> }",
                            {{"$e", std::to_string(exponent)}});
    Floats base = randomFloats(100, 7, 0.1, 9);
    KernelRunner constant(text);
    std::vector<Buffer> powers = runBoth(constant, {Buffer::of(base)});
    Doubles want;
    for (float v : base)
      want.push_back(std::pow(double(v), exponent));
    expectNear(powers[0], want, 5e-7, 0);
  }
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

struct Shape2 {
  int64_t rows, columns;
};

class Rows : public testing::TestWithParam<Shape2> {
protected:
  int64_t rows = GetParam().rows, columns = GetParam().columns;
  std::vector<std::pair<std::string, std::string>> names{
      {"$x", "tensor<" + std::to_string(rows) + "x" + std::to_string(columns) + "xf32>"},
      {"$c", "tensor<" + std::to_string(columns) + "xf32>"},
      {"$r", "tensor<" + std::to_string(rows) + "xf32>"},
      {"$l", "tensor<" + std::to_string(rows) + "xi64>"}};
};

TEST_P(Rows, LayerNorm) {
  KernelRunner runner(fill("func.func @f(%x: $x, %s: $c, %b: $c) -> $x {"
                           " %y = nn.layer_norm %x, %s, %b : $c epsilon 1.0e-5 : $x, $c  return %y : $x }", names));
  EXPECT_EQ(runner.kernelCount(), 1);
  Floats x = randomFloats(rows * columns, 1), scale = randomFloats(columns, 2), bias = randomFloats(columns, 3);
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(x), Buffer::of(scale), Buffer::of(bias)});
  Doubles wanted(rows * columns);
  for (int64_t r = 0; r < rows; ++r) {
    double mean = 0, variance = 0;
    for (int64_t c = 0; c < columns; ++c)
      mean += x[r * columns + c] / double(columns);
    for (int64_t c = 0; c < columns; ++c)
      variance += std::pow(x[r * columns + c] - mean, 2) / columns;
    for (int64_t c = 0; c < columns; ++c)
      wanted[r * columns + c] = (x[r * columns + c] - mean) / std::sqrt(variance + 1e-5) * scale[c] + bias[c];
  }
  expectNear(results[0], wanted, 1e-5, 1e-5);
  expectGoodCode(runner, columns >= 64);
}

TEST_P(Rows, LayerNormGrad) {
  KernelRunner runner(fill("func.func @f(%x: $x, %s: $c, %g: $x) -> ($x, $c, $c) {"
                           " %a, %b, %c = nn.layer_norm_grad %x, %s, %g epsilon 1.0e-5 : $x, $c  return %a, %b, %c : $x, $c, $c }", names));
  EXPECT_LE(runner.kernelCount(), 2);
  Floats x = randomFloats(rows * columns, 1), scale = randomFloats(columns, 2), dy = randomFloats(rows * columns, 3);
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(x), Buffer::of(scale), Buffer::of(dy)});
  Doubles dx(rows * columns), dScale(columns), dBias(columns);
  for (int64_t r = 0; r < rows; ++r) {
    double mean = 0, variance = 0, g1 = 0, g2 = 0;
    auto at = [&](const Floats &v, int64_t c) { return double(v[r * columns + c]); };
    for (int64_t c = 0; c < columns; ++c)
      mean += at(x, c) / columns;
    for (int64_t c = 0; c < columns; ++c)
      variance += std::pow(at(x, c) - mean, 2) / columns;
    double rstd = 1 / std::sqrt(variance + 1e-5);
    for (int64_t c = 0; c < columns; ++c) {
      double hat = (at(x, c) - mean) * rstd, g = at(dy, c) * scale[c];
      g1 += g / columns;
      g2 += g * hat / columns;
      dScale[c] += at(dy, c) * hat;
      dBias[c] += at(dy, c);
    }
    for (int64_t c = 0; c < columns; ++c)
      dx[r * columns + c] = rstd * (at(dy, c) * scale[c] - g1 - (at(x, c) - mean) * rstd * g2);
  }
  double spread = columns == 1 ? 1e-2 : 2e-5; // one column: the difference of equals over the root of epsilon
  expectNear(results[0], dx, 2e-5, spread);
  expectNear(results[1], dScale, 2e-5, 2e-5 * std::sqrt(double(rows)));
  expectNear(results[2], dBias, 2e-5, 2e-5 * std::sqrt(double(rows)));
  expectGoodCode(runner, columns >= 64);
}

TEST_P(Rows, RmsNormAndItsGradient) {
  KernelRunner runner(fill("func.func @f(%x: $x, %s: $c, %g: $x) -> ($x, $x, $c) { %y = nn.rms_norm %x, %s epsilon 1.0e-6 : $x, $c"
                           " %a, %b = nn.rms_norm_grad %x, %s, %g epsilon 1.0e-6 : $x, $c  return %y, %a, %b : $x, $x, $c }", names));
  Floats x = randomFloats(rows * columns, 1), scale = randomFloats(columns, 2), dy = randomFloats(rows * columns, 3);
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(x), Buffer::of(scale), Buffer::of(dy)});
  Doubles y(rows * columns), dx(rows * columns), dScale(columns);
  for (int64_t r = 0; r < rows; ++r) {
    auto at = [&](const Floats &v, int64_t c) { return double(v[r * columns + c]); };
    double square = 0, inner = 0;
    for (int64_t c = 0; c < columns; ++c) {
      square += at(x, c) * at(x, c) / columns;
      inner += at(dy, c) * scale[c] * at(x, c) / columns;
    }
    double k = 1 / std::sqrt(square + 1e-6);
    for (int64_t c = 0; c < columns; ++c) {
      y[r * columns + c] = at(x, c) * k * scale[c];
      dx[r * columns + c] = k * (at(dy, c) * scale[c] - at(x, c) * k * k * inner);
      dScale[c] += at(dy, c) * at(x, c) * k;
    }
  }
  expectNear(results[0], y, 1e-5, 1e-5);
  expectNear(results[1], dx, 2e-5, columns == 1 ? 1e-2 : 2e-5);
  expectNear(results[2], dScale, 2e-5, 2e-5 * std::sqrt(double(rows)));
}

TEST_P(Rows, SoftmaxAndLogSoftmax) {
  KernelRunner runner(fill("func.func @f(%x: $x) -> ($x, $x, $x) { %y = nn.softmax %x 1 : $x  %z = nn.log_softmax %x 1 : $x"
                           " %w = nn.softmax %x 0 : $x  return %y, %z, %w : $x, $x, $x }", names));
  Floats x = randomFloats(rows * columns, 1, -30, 30);
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(x)});
  Doubles y(rows * columns), z(rows * columns), w(rows * columns);
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0, max = -1e30;
    for (int64_t c = 0; c < columns; ++c)
      max = std::fmax(max, x[r * columns + c]);
    for (int64_t c = 0; c < columns; ++c)
      sum += std::exp(x[r * columns + c] - max);
    for (int64_t c = 0; c < columns; ++c) {
      y[r * columns + c] = std::exp(x[r * columns + c] - max) / sum;
      z[r * columns + c] = x[r * columns + c] - max - std::log(sum);
    }
  }
  for (int64_t c = 0; c < columns; ++c) {
    double sum = 0, max = -1e30;
    for (int64_t r = 0; r < rows; ++r)
      max = std::fmax(max, x[r * columns + c]);
    for (int64_t r = 0; r < rows; ++r)
      sum += std::exp(x[r * columns + c] - max);
    for (int64_t r = 0; r < rows; ++r)
      w[r * columns + c] = std::exp(x[r * columns + c] - max) / sum;
  }
  expectNear(results[0], y, 1e-5);
  expectNear(results[1], z, 1e-5, 1e-5);
  expectNear(results[2], w, 1e-5);
}

TEST_P(Rows, CrossEntropyAndItsGradient) {
  KernelRunner runner(fill("func.func @f(%x: $x, %t: $l, %g: $r) -> ($r, $x) { %y, %s = nn.cross_entropy %x, %t ignore -100 : $x, $l"
                           " %z = nn.cross_entropy_grad %x, %t, %s, %g ignore -100 : $x, $l, $r  return %y, %z : $r, $x }", names));
  EXPECT_EQ(runner.kernelCount(), 1);
  Floats x = randomFloats(rows * columns, 1, -5, 5), gradient = randomFloats(rows, 2);
  std::vector<int64_t> labels(rows);
  for (int64_t r = 0; r < rows; ++r)
    labels[r] = r % 5 == 3 ? -100 : (r * 7919) % columns;
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(x), Buffer::of(labels), Buffer::of(gradient)});
  Doubles loss(rows), dx(rows * columns);
  for (int64_t r = 0; r < rows; ++r) {
    if (labels[r] == -100)
      continue;
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c)
      sum += std::exp(double(x[r * columns + c]));
    loss[r] = std::log(sum) - x[r * columns + labels[r]];
    for (int64_t c = 0; c < columns; ++c)
      dx[r * columns + c] = (std::exp(double(x[r * columns + c])) / sum - (c == labels[r])) * gradient[r];
  }
  expectNear(results[0], loss, 1e-5, 4e-6);
  expectNear(results[1], dx, 1e-5, 1e-6);
  expectGoodCode(runner, columns >= 64);
}

TEST_P(Rows, ReductionsOfEveryKind) {
  KernelRunner runner(fill("func.func @f(%x: $x) -> ($r, $r, $c, $c, tensor<f32>) { %a = nn.reduce sum %x [1] : $x -> $r"
                           " %b = nn.reduce max %x [1] : $x -> $r %c = nn.reduce sum %x [0] : $x -> $c"
                           " %d = nn.reduce min %x [0] : $x -> $c %e = nn.reduce sum %x [0, 1] : $x -> tensor<f32>"
                           " return %a, %b, %c, %d, %e : $r, $r, $c, $c, tensor<f32> }", names));
  Floats x = randomFloats(rows * columns, 1);
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(x)});
  Doubles a(rows), b(rows, -1e30), c(columns), d(columns, 1e30), e(1);
  for (int64_t i = 0; i < rows * columns; ++i) {
    a[i / columns] += x[i];
    b[i / columns] = std::fmax(b[i / columns], x[i]);
    c[i % columns] += x[i];
    d[i % columns] = std::fmin(d[i % columns], x[i]);
    e[0] += x[i];
  }
  expectNear(results[0], a, 1e-5, 1e-5 * std::sqrt(double(columns)));
  expectNear(results[1], b, 0, 0);
  expectNear(results[2], c, 1e-5, 1e-5 * std::sqrt(double(rows)));
  expectNear(results[3], d, 0, 0);
  expectNear(results[4], e, 1e-5, 1e-5 * std::sqrt(double(rows * columns)));
}

INSTANTIATE_TEST_SUITE_P(Shapes, Rows,
                         testing::Values(Shape2{1, 1}, Shape2{1, 64}, Shape2{7, 1}, Shape2{5, 13}, Shape2{37, 64},
                                         Shape2{64, 768}, Shape2{131, 97}, Shape2{3, 2053}, Shape2{4, 50257}),
                         [](const auto &info) {
                           return std::to_string(info.param.rows) + "x" + std::to_string(info.param.columns);
                         });

//===----------------------------------------------------------------------===//
// Moves
//===----------------------------------------------------------------------===//

TEST(Kernel, MiddleAndScatteredReductions) {
  KernelRunner runner("func.func @f(%x: tensor<5x7x11xf32>) -> (tensor<5x11xf32>, tensor<7xf32>, tensor<5x11xf32>) {"
                      " %a = nn.reduce sum %x [1] : tensor<5x7x11xf32> -> tensor<5x11xf32>"
                      " %b = nn.reduce sum %x [0, 2] : tensor<5x7x11xf32> -> tensor<7xf32>"
                      " %c = nn.reduce prod %x [1] : tensor<5x7x11xf32> -> tensor<5x11xf32>"
                      " return %a, %b, %c : tensor<5x11xf32>, tensor<7xf32>, tensor<5x11xf32> }");
  Floats x = randomFloats(5 * 7 * 11, 1);
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(x)});
  Doubles a(55), b(7), c(55, 1);
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 7; ++j)
      for (int k = 0; k < 11; ++k) {
        double v = x[(i * 7 + j) * 11 + k];
        a[i * 11 + k] += v;
        b[j] += v;
        c[i * 11 + k] *= v;
      }
  expectNear(results[0], a);
  expectNear(results[1], b, 1e-5, 1e-5);
  expectNear(results[2], c);
}

TEST(Kernel, TransposeSlicePadConcat) {
  KernelRunner runner(
      "func.func @f(%x: tensor<3x5x4xf32>) -> (tensor<4x5x3xf32>, tensor<3x2x4xf32>, tensor<3x9x4xf32>, tensor<3x10x4xf32>, tensor<3x5x8xf32>) {"
      " %a = nn.transpose %x [2, 1, 0] : tensor<3x5x4xf32> -> tensor<4x5x3xf32>"
      " %b = nn.slice %x [0, 4, 0] steps [1, -3, 1] : tensor<3x5x4xf32> -> tensor<3x2x4xf32>"
      " %c = nn.pad %x [0, 0, 0] steps [1, 2, 1] value 7.0 : tensor<3x5x4xf32> -> tensor<3x9x4xf32>"
      " %d = nn.concat 1 %x, %x : tensor<3x5x4xf32>, tensor<3x5x4xf32> -> tensor<3x10x4xf32>"
      " %n = nn.neg %x : tensor<3x5x4xf32>"
      " %e = nn.concat 2 %x, %n : tensor<3x5x4xf32>, tensor<3x5x4xf32> -> tensor<3x5x8xf32>"
      " return %a, %b, %c, %d, %e : tensor<4x5x3xf32>, tensor<3x2x4xf32>, tensor<3x9x4xf32>, tensor<3x10x4xf32>, tensor<3x5x8xf32> }");
  Floats x = randomFloats(60, 1);
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(x)});
  auto at = [&](int i, int j, int k) { return double(x[(i * 5 + j) * 4 + k]); };
  Doubles a, b, c, d, e;
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 5; ++j)
      for (int k = 0; k < 3; ++k)
        a.push_back(at(k, j, i));
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 2; ++j)
      for (int k = 0; k < 4; ++k)
        b.push_back(at(i, 4 - 3 * j, k));
    for (int j = 0; j < 9; ++j)
      for (int k = 0; k < 4; ++k)
        c.push_back(j % 2 ? 7 : at(i, j / 2, k));
    for (int j = 0; j < 10; ++j)
      for (int k = 0; k < 4; ++k)
        d.push_back(at(i, j % 5, k));
    for (int j = 0; j < 5; ++j)
      for (int k = 0; k < 8; ++k)
        e.push_back(k < 4 ? at(i, j, k) : -at(i, j, k - 4));
  }
  expectNear(results[0], a, 0, 0);
  expectNear(results[1], b, 0, 0);
  expectNear(results[2], c, 0, 0);
  expectNear(results[3], d, 0, 0);
  expectNear(results[4], e, 0, 0);
}

TEST(Kernel, LargeTransposes) {
  for (auto [n, m] : {std::pair(128, 96), std::pair(67, 131)}) {
    KernelRunner runner(fill("func.func @f(%x: tensor<2x$nx$mxf32>) -> tensor<2x$mx$nxf32> {"
                             " %a = nn.transpose %x [0, 2, 1] : tensor<2x$nx$mxf32> -> tensor<2x$mx$nxf32> return %a : tensor<2x$mx$nxf32> }",
                             {{"$n", std::to_string(n)}, {"$m", std::to_string(m)}}));
    Floats x = randomFloats(2 * n * m, 1);
    std::vector<Buffer> results = runBoth(runner, {Buffer::of(x)});
    Doubles wanted;
    for (int b = 0; b < 2; ++b)
      for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j)
          wanted.push_back(x[(b * n + j) * m + i]);
    expectNear(results[0], wanted, 0, 0);
  }
}

TEST(Kernel, Cumsum) {
  KernelRunner runner("func.func @f(%x: tensor<3x7x2xf32>, %i: tensor<5xi64>) -> (tensor<3x7x2xf32>, tensor<3x7x2xf32>, tensor<5xi64>) {"
                      " %a = nn.cumsum %x 1 : tensor<3x7x2xf32> %b = nn.cumsum %x 1 exclusive reverse : tensor<3x7x2xf32>"
                      " %c = nn.cumsum %i 0 : tensor<5xi64>"
                      " return %a, %b, %c : tensor<3x7x2xf32>, tensor<3x7x2xf32>, tensor<5xi64> }");
  Floats x = randomFloats(42, 1);
  std::vector<int64_t> ids{3, 1, 4, 1, 5};
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(x), Buffer::of(ids)});
  Doubles a(42), b(42);
  for (int i = 0; i < 3; ++i)
    for (int k = 0; k < 2; ++k) {
      double sum = 0, back = 0;
      for (int j = 0; j < 7; ++j) {
        sum += x[(i * 7 + j) * 2 + k];
        a[(i * 7 + j) * 2 + k] = sum;
        b[(i * 7 + 6 - j) * 2 + k] = back;
        back += x[(i * 7 + 6 - j) * 2 + k];
      }
    }
  expectNear(results[0], a);
  expectNear(results[1], b);
  EXPECT_EQ(results[2].values<int64_t>(), (std::vector<int64_t>{3, 4, 8, 9, 14}));
}

// A kernel may read with ids that it computes itself, before their check has run. Whatever they are, it reads inside the table.
TEST(Kernel, ComputedIdsStayInsideTheTable) {
  KernelRunner runner("func.func @f(%w: tensor<5x16xf32>, %i: tensor<4x1xi64>) -> tensor<4x16xf32> {"
                      " %ids = nn.reshape %i : tensor<4x1xi64> -> tensor<4xi64>"
                      " %moved = nn.add %ids, %ids : tensor<4xi64>"
                      " %e = nn.embedding %w, %moved : (tensor<5x16xf32>, tensor<4xi64>) -> tensor<4x16xf32>"
                      " return %e : tensor<4x16xf32> }");
  EXPECT_EQ(runner.kernelCount(), 1);
  Floats w = randomFloats(5 * 16, 1);
  std::vector<int64_t> ids{1, 1000000000000, -1000000000000, 0}, rows{2, 4, 0, 0};
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(w), Buffer::of(ids)});
  Doubles wanted;
  for (int64_t row : rows)
    for (int c = 0; c < 16; ++c)
      wanted.push_back(w[row * 16 + c]);
  expectNear(results[0], wanted, 0, 0);
}

TEST(Kernel, EmbeddingWithPositionsAndNorm) {
  KernelRunner runner("func.func @f(%w: tensor<19x64xf32>, %p: tensor<8x64xf32>, %i: tensor<3x8xi64>) -> (tensor<3x8x64xf32>, tensor<3x8xf32>) {"
                      " %e = nn.embedding %w, %i : (tensor<19x64xf32>, tensor<3x8xi64>) -> tensor<3x8x64xf32>"
                      " %b = nn.broadcast %p [1, 2] : tensor<8x64xf32> -> tensor<3x8x64xf32>"
                      " %x = nn.add %e, %b : tensor<3x8x64xf32>"
                      " %s = nn.reduce sum %x [2] : tensor<3x8x64xf32> -> tensor<3x8xf32>"
                      " return %x, %s : tensor<3x8x64xf32>, tensor<3x8xf32> }");
  EXPECT_EQ(runner.kernelCount(), 1);
  Floats w = randomFloats(19 * 64, 1), p = randomFloats(8 * 64, 2);
  std::vector<int64_t> ids(24);
  for (int i = 0; i < 24; ++i)
    ids[i] = (i * 7) % 19;
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(w), Buffer::of(p), Buffer::of(ids)});
  Doubles x, s(24);
  for (int i = 0; i < 24; ++i)
    for (int c = 0; c < 64; ++c) {
      x.push_back(double(w[ids[i] * 64 + c]) + p[i % 8 * 64 + c]);
      s[i] += x.back();
    }
  expectNear(results[0], x);
  expectNear(results[1], s, 1e-5, 1e-5);
  expectGoodCode(runner);
}

TEST(Kernel, BooleansAndTables) {
  KernelRunner runner("func.func @f(%m: tensor<2x5xi1>, %x: tensor<2x5xf32>) -> (tensor<2x5xf32>, tensor<2x5xi1>, tensor<2x5xi64>) {"
                      " %t = nn.constant dense<[[0.5, 1.5, 2.5, 3.5, 4.5], [5.5, 6.5, 7.5, 8.5, 9.5]]> : tensor<2x5xf32>"
                      " %y = nn.select %m, %x, %t : tensor<2x5xf32> %n = nn.not %m : tensor<2x5xi1>"
                      " %c = nn.cast %m : tensor<2x5xi1> to tensor<2x5xi64>"
                      " return %y, %n, %c : tensor<2x5xf32>, tensor<2x5xi1>, tensor<2x5xi64> }");
  std::vector<char> mask{1, 0, 1, 1, 0, 0, 0, 1, 0, 1};
  Floats x = randomFloats(10, 1);
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(mask), Buffer::of(x)});
  Doubles y;
  std::vector<char> inverse;
  std::vector<int64_t> numbers(mask.begin(), mask.end());
  for (int i = 0; i < 10; ++i) {
    y.push_back(mask[i] ? x[i] : i + 0.5);
    inverse.push_back(!mask[i]);
  }
  expectNear(results[0], y, 0, 0);
  EXPECT_EQ(results[1].values<char>(), inverse);
  EXPECT_EQ(results[2].values<int64_t>(), numbers);
}

} // namespace

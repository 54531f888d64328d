//===- KernelTest.cpp - Kernels compute what their ops mean ---------------===//
//
// Each test compiles ops, runs the kernels with one and with two threads, and
// compares with loops in double. Two threads must give the same bits as one.
//
//===----------------------------------------------------------------------===//

#include "KernelRunner.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <limits>
#include <random>

using namespace galvatron::test;

namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

Floats randomFloats(size_t count, unsigned seed, double low = -2, double high = 2) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> distribution(low, high);
  Floats values(count);
  for (float &value : values)
    value = distribution(generator);
  return values;
}

/// `text` with each "$name" replaced by its value.
std::string fill(std::string text, const std::vector<std::pair<std::string, std::string>> &values) {
  for (auto &[name, value] : values)
    for (size_t at; (at = text.find(name)) != std::string::npos;)
      text.replace(at, name.size(), value);
  return text;
}

/// Runs with one and two threads, checks that both give the same bits, and returns the results.
std::vector<Buffer> runBoth(KernelRunner &runner, const std::vector<Buffer> &inputs) {
  std::vector<Buffer> one = runner.run(inputs, 1), two = runner.run(inputs, 2);
  EXPECT_EQ(one.size(), two.size());
  for (size_t i = 0; i < one.size(); ++i)
    EXPECT_EQ(one[i].bytes, two[i].bytes) << "result " << i << " depends on the number of threads";
  return one;
}

/// Every element within `relative` of the wanted one, or of the largest if that is more lenient.
void expectNear(Buffer &found, const Doubles &wanted, double relative = 1e-5, double absolute = 1e-6) {
  Floats values = found.values<float>();
  ASSERT_EQ(values.size(), wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (std::isnan(wanted[i])) {
      ASSERT_TRUE(std::isnan(values[i])) << "element " << i;
      continue;
    }
    if (std::isinf(wanted[i])) {
      ASSERT_EQ(values[i], float(wanted[i])) << "element " << i;
      continue;
    }
    ASSERT_NEAR(values[i], wanted[i], absolute + relative * std::fabs(wanted[i])) << "element " << i;
  }
}

/// What LLVM made of a kernel whose rows are long enough for vectors.
void expectGoodCode(const KernelRunner &runner, bool vectors = true) {
  if (!vectors)
    return;
  const std::string &ir = runner.optimizedIR();
  for (const char *bad : {"llvm.masked.gather", "llvm.masked.scatter", "memrefCopy", "malloc"})
    EXPECT_EQ(ir.find(bad), std::string::npos) << bad << " in\n" << ir;
  EXPECT_NE(ir.find(" x float>"), std::string::npos) << "no vectors in\n" << ir;
}

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
  checkUnary("softplus %x", randomFloats(1009, 3, -40, 40), [](double v) { return std::fmax(v, 0) + std::log1p(std::exp(-std::fabs(v))); });
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
  KernelRunner runner(fill("func.func @f(%x: $x, %t: $l, %g: $r) -> ($r, $x) { %y = nn.cross_entropy %x, %t ignore -100 : $x, $l"
                           " %z = nn.cross_entropy_grad %x, %t, %g ignore -100 : $x, $l, $r  return %y, %z : $r, $x }", names));
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

//===----------------------------------------------------------------------===//
// Attention, rotary, updates
//===----------------------------------------------------------------------===//

TEST(Kernel, AttentionWithMasksAndItsGradient) {
  constexpr int B = 2, Q = 9, K = 9, H = 2, G = 3, D = 8, E = 4;
  KernelRunner runner(
      "func.func @f(%q: tensor<2x9x2x3x8xf32>, %k: tensor<2x9x2x8xf32>, %v: tensor<2x9x2x4xf32>, %m: tensor<2x9xi1>, %b: tensor<1x2x1x9x9xf32>, %g: tensor<2x9x2x3x4xf32>)"
      " -> (tensor<2x9x2x3x4xf32>, tensor<2x2x3x9x9xf32>, tensor<2x9x2x3x8xf32>, tensor<2x9x2x8xf32>, tensor<2x9x2x4xf32>, tensor<1x2x1x9x9xf32>) {"
      " %o, %p = nn.attention %q, %k, %v key_mask %m : tensor<2x9xi1> bias %b : tensor<1x2x1x9x9xf32> scale 0.5 lower -3 upper 0 {softcap = 3.0}"
      " : tensor<2x9x2x3x8xf32>, tensor<2x9x2x8xf32>, tensor<2x9x2x4xf32> -> tensor<2x9x2x3x4xf32>, tensor<2x2x3x9x9xf32>"
      " %dq, %dk, %dv, %db = nn.attention_grad %q, %k, %v, %p, %g bias %b : tensor<1x2x1x9x9xf32> -> tensor<1x2x1x9x9xf32> scale 0.5 {softcap = 3.0}"
      " : tensor<2x9x2x3x8xf32>, tensor<2x9x2x8xf32>, tensor<2x9x2x4xf32>, tensor<2x2x3x9x9xf32>, tensor<2x9x2x3x4xf32>"
      " -> tensor<2x9x2x3x8xf32>, tensor<2x9x2x8xf32>, tensor<2x9x2x4xf32>"
      " return %o, %p, %dq, %dk, %dv, %db : tensor<2x9x2x3x4xf32>, tensor<2x2x3x9x9xf32>, tensor<2x9x2x3x8xf32>, tensor<2x9x2x8xf32>, tensor<2x9x2x4xf32>, tensor<1x2x1x9x9xf32> }");
  Floats q = randomFloats(B * Q * H * G * D, 1), k = randomFloats(B * K * H * D, 2), v = randomFloats(B * K * H * E, 3),
         bias = randomFloats(H * Q * K, 4), g = randomFloats(B * Q * H * G * E, 5);
  std::vector<char> keys(B * K, 1);
  keys[0] = keys[1] = keys[2] = 0; // rows 0 to 2 of the first sequence see nothing
  keys[K + 4] = 0;
  std::vector<Buffer> results =
      runBoth(runner, {Buffer::of(q), Buffer::of(k), Buffer::of(v), Buffer::of(keys), Buffer::of(bias), Buffer::of(g)});
  Doubles out(B * Q * H * G * E), p(B * H * G * Q * K), dq(q.size()), dk(k.size()), dv(v.size()), db(bias.size());
  for (int b = 0; b < B; ++b)
    for (int h = 0; h < H; ++h)
      for (int r = 0; r < G; ++r)
        for (int i = 0; i < Q; ++i) {
          auto qi = [&](int d) { return ((((b * Q + i) * H + h) * G + r) * D) + d; };
          auto oi = [&](int e) { return ((((b * Q + i) * H + h) * G + r) * E) + e; };
          auto ki = [&](int j, int d) { return ((b * K + j) * H + h) * D + d; };
          auto vi = [&](int j, int e) { return ((b * K + j) * H + h) * E + e; };
          auto pi = [&](int j) { return (((b * H + h) * G + r) * Q + i) * K + j; };
          double raw[K], sum = 0;
          for (int j = 0; j < K; ++j) {
            double score = 0;
            for (int d = 0; d < D; ++d)
              score += double(q[qi(d)]) * k[ki(j, d)];
            raw[j] = std::tanh(score * 0.5 / 3.0);
            bool seen = keys[b * K + j] && j - i <= 0 && j - i >= -3;
            p[pi(j)] = seen ? std::exp(3.0 * raw[j] + bias[(h * Q + i) * K + j]) : 0;
            sum += p[pi(j)];
          }
          double inner = 0, dp[K] = {};
          for (int j = 0; j < K; ++j) {
            p[pi(j)] = sum > 0 ? p[pi(j)] / sum : 0;
            for (int e = 0; e < E; ++e) {
              out[oi(e)] += p[pi(j)] * v[vi(j, e)];
              dp[j] += double(g[oi(e)]) * v[vi(j, e)];
              dv[vi(j, e)] += p[pi(j)] * g[oi(e)];
            }
            inner += dp[j] * p[pi(j)];
          }
          for (int j = 0; j < K; ++j) {
            double ds = p[pi(j)] * (dp[j] - inner);
            db[(h * Q + i) * K + j] += ds;
            ds *= (1 - raw[j] * raw[j]) * 0.5;
            for (int d = 0; d < D; ++d) {
              dq[qi(d)] += ds * k[ki(j, d)];
              dk[ki(j, d)] += ds * q[qi(d)];
            }
          }
        }
  expectNear(results[0], out, 1e-5, 1e-5);
  expectNear(results[1], p, 1e-5, 1e-6);
  expectNear(results[2], dq, 1e-5, 1e-5);
  expectNear(results[3], dk, 1e-5, 1e-5);
  expectNear(results[4], dv, 1e-5, 1e-5);
  expectNear(results[5], db, 1e-5, 1e-5);
}

TEST(Kernel, Rotary) {
  constexpr int B = 2, S = 5, H = 3, D = 64;
  for (bool interleaved : {false, true})
    for (bool inverse : {false, true}) {
      KernelRunner runner(fill("func.func @f(%x: tensor<2x5x3x64xf32>, %c: tensor<5x32xf32>, %s: tensor<5x32xf32>) -> tensor<2x5x3x64xf32> {"
                               " %y = nn.rotary %x, %c, %s sequence 1 $i $v : tensor<2x5x3x64xf32>, tensor<5x32xf32>, tensor<5x32xf32>"
                               " return %y : tensor<2x5x3x64xf32> }",
                               {{"$i", interleaved ? "interleaved" : ""}, {"$v", inverse ? "inverse" : ""}}));
      Floats x = randomFloats(B * S * H * D, 1), c = randomFloats(S * D / 2, 2), s = randomFloats(S * D / 2, 3);
      std::vector<Buffer> results = runBoth(runner, {Buffer::of(x), Buffer::of(c), Buffer::of(s)});
      Doubles wanted(x.size());
      for (int row = 0; row < B * S * H; ++row)
        for (int d = 0; d < D / 2; ++d) {
          int first = row * D + (interleaved ? 2 * d : d), second = first + (interleaved ? 1 : D / 2);
          int table = row / H % S * (D / 2) + d;
          double cosine = c[table], sine = inverse ? -s[table] : s[table];
          wanted[first] = x[first] * cosine - x[second] * sine;
          wanted[second] = x[second] * cosine + x[first] * sine;
        }
      expectNear(results[0], wanted);
      if (!interleaved)
        expectGoodCode(runner);
    }
}

TEST(Kernel, AdamWInPlace) {
  KernelRunner runner("func.func @f(%p: tensor<37x53xf32>, %g: tensor<37x53xf32>, %m: tensor<37x53xf32>, %v: tensor<37x53xf32>, %h: tensor<16xf32>, %c: tensor<f32>)"
                      " -> (tensor<37x53xf32>, tensor<37x53xf32>, tensor<37x53xf32>) {"
                      " %a, %b, %d = nn.adamw %p, %g, %m, %v, %h, %c decay : tensor<37x53xf32>, tensor<16xf32>"
                      " return %a, %b, %d : tensor<37x53xf32>, tensor<37x53xf32>, tensor<37x53xf32> }");
  EXPECT_EQ(runner.kernelCount(), 1);
  size_t n = 37 * 53;
  double lr = 3e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, decay = 0.1, clip = 0.7;
  int step = 3;
  double bias1 = 1 / (1 - std::pow(beta1, step)), bias2 = 1 / std::sqrt(1 - std::pow(beta2, step));
  Floats hyper{float(lr), float(beta1), float(beta2), float(eps), float(decay), float(bias1), float(bias2), 0, 1, 0,
               float(1 - beta1), float(1 - beta2), float(lr * bias1), float(1 - lr * decay), float(step), 0};
  Floats p = randomFloats(n, 1), g = randomFloats(n, 2), m = randomFloats(n, 3), v = randomFloats(n, 4, 0, 1);
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(p), Buffer::of(g), Buffer::of(m), Buffer::of(v), Buffer::of(hyper),
                                                 Buffer::of(Floats{float(clip)})});
  Doubles newP, newM, newV;
  for (size_t i = 0; i < n; ++i) {
    double grad = g[i] * clip;
    newM.push_back(beta1 * m[i] + (1 - beta1) * grad);
    newV.push_back(beta2 * v[i] + (1 - beta2) * grad * grad);
    newP.push_back(p[i] * (1 - lr * decay) - lr * bias1 * newM[i] / (std::sqrt(newV[i]) * bias2 + eps));
  }
  expectNear(results[0], newP, 1e-6);
  expectNear(results[1], newM, 1e-6);
  expectNear(results[2], newV, 1e-6);
  expectGoodCode(runner);
}

TEST(Kernel, SgdWithMomentum) {
  KernelRunner runner("func.func @f(%p: tensor<101xf32>, %g: tensor<101xf32>, %m: tensor<101xf32>, %h: tensor<16xf32>, %c: tensor<f32>)"
                      " -> (tensor<101xf32>, tensor<101xf32>) { %a, %b = nn.sgd %p, %g, %m, %h, %c decay : tensor<101xf32>, tensor<16xf32>"
                      " return %a, %b : tensor<101xf32>, tensor<101xf32> }");
  for (float first : {1.0f, 0.0f}) {
    Floats hyper(16);
    hyper[0] = 0.1f, hyper[4] = 0.01f, hyper[7] = 0.9f, hyper[9] = first;
    Floats p = randomFloats(101, 1), g = randomFloats(101, 2), m = randomFloats(101, 3);
    std::vector<Buffer> results =
        runBoth(runner, {Buffer::of(p), Buffer::of(g), Buffer::of(m), Buffer::of(hyper), Buffer::of(Floats{0.5f})});
    Doubles newP, newM;
    for (int i = 0; i < 101; ++i) {
      double grad = g[i] * 0.5 + double(0.01f) * p[i];
      newM.push_back(first ? grad : double(0.9f) * m[i] + grad);
      newP.push_back(p[i] - double(0.1f) * newM[i]);
    }
    expectNear(results[0], newP, 1e-6);
    expectNear(results[1], newM, 1e-6);
  }
}

//===----------------------------------------------------------------------===//
// Speed: not a test. --gtest_also_run_disabled_tests --gtest_filter=*Speed* prints milliseconds on one thread.
//===----------------------------------------------------------------------===//

void report(const char *what, const std::string &function, std::vector<size_t> bytes) {
  KernelRunner runner(function);
  // In whatever order the kernel takes them: all are as large as the largest. Zeros are valid labels as well.
  std::vector<Buffer> arguments(bytes.size());
  for (Buffer &argument : arguments)
    argument.bytes.assign(*std::max_element(bytes.begin(), bytes.end()), 0);
  printf("%-28s %8.3f ms\n", what, 1e3 * runner.time(runner.onlyKernel(), arguments, 40));
}

TEST(KernelSpeed, DISABLED_Table) {
  size_t big = 4096 * 768 * 4, wide = 1024 * 3072 * 4, row = 768 * 4, ce = size_t(256) * 50257 * 4;
  report("floor: y = 1.5 x, 1024x3072", "func.func @f(%x: tensor<1024x3072xf32>) -> tensor<1024x3072xf32> {"
         " %c = nn.constant dense<1.5> : tensor<1024x3072xf32> %y = nn.mul %x, %c : tensor<1024x3072xf32>"
         " return %y : tensor<1024x3072xf32> }", {wide, wide});
  report("gelu forward 1024x3072", "func.func @f(%x: tensor<1024x3072xf32>, %b: tensor<3072xf32>) -> tensor<1024x3072xf32> {"
         " %c = nn.broadcast %b [1] : tensor<3072xf32> -> tensor<1024x3072xf32> %s = nn.add %x, %c : tensor<1024x3072xf32>"
         " %y = nn.gelu %s tanh : tensor<1024x3072xf32> return %y : tensor<1024x3072xf32> }", {wide, 3072 * 4, wide});
  report("gelu backward 1024x3072", "func.func @f(%x: tensor<1024x3072xf32>, %g: tensor<1024x3072xf32>) -> tensor<1024x3072xf32> {"
         " %y = nn.gelu_grad %x, %g tanh : tensor<1024x3072xf32> return %y : tensor<1024x3072xf32> }", {wide, wide, wide});
  report("layer_norm forward 4096x768", "func.func @f(%x: tensor<4096x768xf32>, %s: tensor<768xf32>, %b: tensor<768xf32>) -> tensor<4096x768xf32> {"
         " %y = nn.layer_norm %x, %s, %b : tensor<768xf32> epsilon 1.0e-5 : tensor<4096x768xf32>, tensor<768xf32>"
         " return %y : tensor<4096x768xf32> }", {big, row, row, big});
  report("layer_norm backward dx", "func.func @f(%x: tensor<4096x768xf32>, %s: tensor<768xf32>, %g: tensor<4096x768xf32>) -> tensor<4096x768xf32> {"
         " %a, %b, %c = nn.layer_norm_grad %x, %s, %g epsilon 1.0e-5 : tensor<4096x768xf32>, tensor<768xf32>"
         " return %a : tensor<4096x768xf32> }", {big, big, big, big});
  report("column sums 4096x768 (two)", "func.func @f(%x: tensor<4096x768xf32>, %g: tensor<4096x768xf32>) -> (tensor<768xf32>, tensor<768xf32>) {"
         " %m = nn.mul %x, %g : tensor<4096x768xf32> %a = nn.reduce sum %m [0] : tensor<4096x768xf32> -> tensor<768xf32>"
         " %b = nn.reduce sum %g [0] : tensor<4096x768xf32> -> tensor<768xf32> return %a, %b : tensor<768xf32>, tensor<768xf32> }",
         {big, big, row, row});
  report("softmax 4096x1024", "func.func @f(%x: tensor<4x1024x1024xf32>) -> tensor<4x1024x1024xf32> {"
         " %y = nn.softmax %x 2 : tensor<4x1024x1024xf32> return %y : tensor<4x1024x1024xf32> }", {size_t(1) << 24, size_t(1) << 24});
  report("cross entropy fwd+bwd", "func.func @f(%x: tensor<256x50257xf32>, %t: tensor<256xi64>, %g: tensor<256xf32>) -> (tensor<256xf32>, tensor<256x50257xf32>) {"
         " %y = nn.cross_entropy %x, %t ignore -100 : tensor<256x50257xf32>, tensor<256xi64>"
         " %z = nn.cross_entropy_grad %x, %t, %g ignore -100 : tensor<256x50257xf32>, tensor<256xi64>, tensor<256xf32>"
         " return %y, %z : tensor<256xf32>, tensor<256x50257xf32> }", {ce, 256 * 8, 256 * 4, 256 * 4, ce});
  report("rotary 4x1024x12x64", "func.func @f(%x: tensor<4x1024x12x64xf32>, %c: tensor<1024x32xf32>, %s: tensor<1024x32xf32>) -> tensor<4x1024x12x64xf32> {"
         " %y = nn.rotary %x, %c, %s sequence 1 : tensor<4x1024x12x64xf32>, tensor<1024x32xf32>, tensor<1024x32xf32>"
         " return %y : tensor<4x1024x12x64xf32> }", {big, 1024 * 32 * 4, 1024 * 32 * 4, big});
  report("transpose 1024x3072", "func.func @f(%x: tensor<1024x3072xf32>) -> tensor<3072x1024xf32> {"
         " %y = nn.transpose %x [1, 0] : tensor<1024x3072xf32> -> tensor<3072x1024xf32> return %y : tensor<3072x1024xf32> }", {wide, wide});
  size_t p = 2359296 * 4;
  report("AdamW 2.36 M", "func.func @f(%p: tensor<2359296xf32>, %g: tensor<2359296xf32>, %m: tensor<2359296xf32>, %v: tensor<2359296xf32>, %h: tensor<16xf32>, %c: tensor<f32>)"
         " -> (tensor<2359296xf32>, tensor<2359296xf32>, tensor<2359296xf32>) {"
         " %a, %b, %d = nn.adamw %p, %g, %m, %v, %h, %c decay : tensor<2359296xf32>, tensor<16xf32>"
         " return %a, %b, %d : tensor<2359296xf32>, tensor<2359296xf32>, tensor<2359296xf32> }", {4, p, 64, p, p, p, p, p, p});
}

} // namespace

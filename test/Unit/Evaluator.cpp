//===- Evaluator.cpp ------------------------------------------------------===//

#include "Evaluator.h"

#include "llvm/ADT/TypeSwitch.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace galvatron;
using namespace galvatron::test;

static int64_t sizeOf(const Index &shape) {
  int64_t size = 1;
  for (int64_t dim : shape)
    size *= dim;
  return size;
}

static int64_t offsetOf(const Index &shape, const Index &index) {
  int64_t offset = 0;
  for (size_t i = 0; i < shape.size(); ++i)
    offset = offset * shape[i] + index[i];
  return offset;
}

Tensor::Tensor(Index shape, double value) : shape(std::move(shape)), data(sizeOf(this->shape), value) {}
Tensor::Tensor(Type type) : Tensor(Index(cast<RankedTensorType>(type).getShape())) {}
double &Tensor::at(const Index &index) { return data[offsetOf(shape, index)]; }
double Tensor::at(const Index &index) const { return data[offsetOf(shape, index)]; }

void galvatron::test::forEach(const Index &shape, llvm::function_ref<void(const Index &)> visit) {
  Index index(shape.size(), 0);
  for (int64_t i = 0, n = sizeOf(shape); i < n; ++i) {
    visit(index);
    for (int64_t d = int64_t(shape.size()) - 1; d >= 0 && ++index[d] == shape[d]; --d)
      index[d] = 0;
  }
}

namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double gelu(nn::GeluKind kind, double x) {
  return kind == nn::GeluKind::Erf ? x / 2 * (1 + std::erf(x / std::sqrt(2.0)))
                                   : x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

/// The derivative of a smooth function.
double derivative(llvm::function_ref<double(double)> f, double x) {
  double h = 1e-5;
  return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h);
}

bool compare(nn::Predicate predicate, double a, double b) {
  switch (predicate) {
  case nn::Predicate::EQ:
    return a == b;
  case nn::Predicate::NE:
    return a != b;
  case nn::Predicate::LT:
    return a < b;
  case nn::Predicate::LE:
    return a <= b;
  case nn::Predicate::GT:
    return a > b;
  case nn::Predicate::GE:
    return a >= b;
  }
  llvm_unreachable("covered switch");
}

/// One element of an elementwise op, or nothing if it is none.
std::optional<double> scalar(Operation *op, ArrayRef<double> x) {
  bool isInt = isa<IntegerType>(getElementTypeOrSelf(op->getResult(0).getType()));
  using R = std::optional<double>;
  return llvm::TypeSwitch<Operation *, R>(op)
      .Case<nn::NegOp>([&](auto) { return -x[0]; })
      .Case<nn::AbsOp>([&](auto) { return std::abs(x[0]); })
      .Case<nn::SignOp>([&](auto) { return double((x[0] > 0) - (x[0] < 0)); })
      .Case<nn::FloorOp>([&](auto) { return std::floor(x[0]); })
      .Case<nn::CeilOp>([&](auto) { return std::ceil(x[0]); })
      .Case<nn::RoundOp>([&](auto) { return std::nearbyint(x[0]); })
      .Case<nn::ReciprocalOp>([&](auto) { return 1 / x[0]; })
      .Case<nn::SqrtOp>([&](auto) { return std::sqrt(x[0]); })
      .Case<nn::RsqrtOp>([&](auto) { return 1 / std::sqrt(x[0]); })
      .Case<nn::ExpOp>([&](auto) { return std::exp(x[0]); })
      .Case<nn::LogOp>([&](auto) { return std::log(x[0]); })
      .Case<nn::SinOp>([&](auto) { return std::sin(x[0]); })
      .Case<nn::CosOp>([&](auto) { return std::cos(x[0]); })
      .Case<nn::TanhOp>([&](auto) { return std::tanh(x[0]); })
      .Case<nn::ErfOp>([&](auto) { return std::erf(x[0]); })
      .Case<nn::SigmoidOp>([&](auto) { return sigmoid(x[0]); })
      .Case<nn::SiluOp>([&](auto) { return x[0] * sigmoid(x[0]); })
      .Case<nn::ReluOp>([&](auto) { return std::max(x[0], 0.0); })
      .Case<nn::SoftplusOp>([&](auto) { return std::max(x[0], 0.0) + std::log1p(std::exp(-std::abs(x[0]))); })
      .Case<nn::GeluOp>([&](auto gelu_) { return gelu(gelu_.getApproximation(), x[0]); })
      .Case<nn::GeluGradOp>([&](auto grad) {
        return x[1] * derivative([&](double v) { return gelu(grad.getApproximation(), v); }, x[0]);
      })
      .Case<nn::NotOp>([&](auto) { return double(x[0] == 0); })
      .Case<nn::IsNanOp>([&](auto) { return double(std::isnan(x[0])); })
      .Case<nn::CastOp>([&](nn::CastOp cast) {
        Type to = cast.getType().getElementType();
        return to.isInteger(1) ? double(x[0] != 0) : isa<IntegerType>(to) ? std::trunc(x[0]) : x[0];
      })
      .Case<nn::AddOp>([&](auto) { return x[0] + x[1]; })
      .Case<nn::SubOp>([&](auto) { return x[0] - x[1]; })
      .Case<nn::MulOp>([&](auto) { return x[0] * x[1]; })
      .Case<nn::DivOp>([&](auto) { return !isInt ? x[0] / x[1] : x[1] == 0 ? 0 : std::trunc(x[0] / x[1]); })
      .Case<nn::MaximumOp>([&](auto) { return std::max(x[0], x[1]); })
      .Case<nn::MinimumOp>([&](auto) { return std::min(x[0], x[1]); })
      .Case<nn::PowOp>([&](auto) { return std::pow(x[0], x[1]); })
      .Case<nn::ModOp>([&](auto) { return isInt && x[1] == 0 ? 0 : x[0] - x[1] * std::floor(x[0] / x[1]); })
      .Case<nn::AndOp>([&](auto) { return double(x[0] && x[1]); })
      .Case<nn::OrOp>([&](auto) { return double(x[0] || x[1]); })
      .Case<nn::XorOp>([&](auto) { return double((x[0] != 0) != (x[1] != 0)); })
      .Case<nn::CompareOp>([&](auto op) { return double(compare(op.getPredicate(), x[0], x[1])); })
      .Case<nn::SelectOp>([&](auto) { return x[0] ? x[1] : x[2]; })
      .Default([](Operation *) { return R(); });
}

double combine(nn::ReduceKind kind, double a, double b) {
  switch (kind) {
  case nn::ReduceKind::Sum:
    return a + b;
  case nn::ReduceKind::Max:
    return std::max(a, b);
  case nn::ReduceKind::Min:
    return std::min(a, b);
  case nn::ReduceKind::Prod:
    return a * b;
  }
  llvm_unreachable("covered switch");
}

/// Ops that are not elementwise, one function each.
class OpEvaluator {
public:
  OpEvaluator(Operation *op, const std::vector<Tensor> &in) : in(in) {
    for (Type type : op->getResultTypes())
      out.emplace_back(type);
  }

  const std::vector<Tensor> &in;
  std::vector<Tensor> out;

  void run(nn::ConstantOp op) {
    auto elements = cast<DenseElementsAttr>(op.getValue());
    if (auto value = nn::getSplat(elements)) {
      std::fill(out[0].data.begin(), out[0].data.end(), *value);
      return;
    }
    size_t i = 0;
    if (isa<FloatType>(elements.getElementType()))
      for (APFloat value : elements.getValues<APFloat>())
        out[0].data[i++] = value.convertToDouble();
    else
      for (APInt value : elements.getValues<APInt>())
        out[0].data[i++] = value.getBitWidth() == 1 ? double(value.getZExtValue()) : double(value.getSExtValue());
  }

  void run(nn::IotaOp op) {
    forEach(out[0].shape, [&](const Index &i) { out[0].at(i) = i[op.getDim()]; });
  }

  void run(nn::ReduceOp op) {
    std::vector<bool> seen(out[0].data.size());
    forEach(in[0].shape, [&](const Index &i) {
      Index j;
      for (int64_t d = 0; d < in[0].rank(); ++d)
        if (!llvm::is_contained(op.getDims(), d))
          j.push_back(i[d]);
      int64_t k = offsetOf(out[0].shape, j);
      out[0].data[k] = seen[k] ? combine(op.getKind(), out[0].data[k], in[0].at(i)) : in[0].at(i);
      seen[k] = true;
    });
  }

  void run(nn::CumsumOp op) {
    forEach(in[0].shape, [&](const Index &i) {
      Index j = i;
      int64_t dim = op.getDim(), size = in[0].shape[dim];
      for (j[dim] = 0; j[dim] < size; ++j[dim])
        if (op.getReverse() ? j[dim] >= i[dim] + op.getExclusive() : j[dim] <= i[dim] - op.getExclusive())
          out[0].at(i) += in[0].at(j);
    });
  }

  void run(nn::BroadcastOp op) {
    forEach(out[0].shape, [&](const Index &i) {
      Index j;
      for (int64_t dim : op.getDims())
        j.push_back(i[dim]);
      out[0].at(i) = in[0].at(j);
    });
  }

  void run(nn::ReshapeOp) { out[0].data = in[0].data; }

  void run(nn::TransposeOp op) {
    forEach(out[0].shape, [&](const Index &i) {
      Index j(i.size());
      for (size_t d = 0; d < i.size(); ++d)
        j[op.getPermutation()[d]] = i[d];
      out[0].at(i) = in[0].at(j);
    });
  }

  void run(nn::SliceOp op) {
    forEach(out[0].shape, [&](const Index &i) {
      Index j(i.size());
      for (size_t d = 0; d < i.size(); ++d)
        j[d] = op.getOffsets()[d] + i[d] * op.getSteps()[d];
      out[0].at(i) = in[0].at(j);
    });
  }

  void run(nn::PadOp op) {
    out[0] = Tensor(out[0].shape, op.getValue().convertToDouble());
    forEach(in[0].shape, [&](const Index &i) {
      Index j(i.size());
      for (size_t d = 0; d < i.size(); ++d)
        j[d] = op.getLow()[d] + i[d] * op.getSteps()[d];
      out[0].at(j) = in[0].at(i);
    });
  }

  void run(nn::ConcatOp op) {
    int64_t start = 0;
    for (const Tensor &piece : in) {
      forEach(piece.shape, [&](Index i) {
        double value = piece.at(i);
        i[op.getDim()] += start;
        out[0].at(i) = value;
      });
      start += piece.shape[op.getDim()];
    }
  }

  void run(nn::ContractOp op) {
    auto subscripts = op.getParsedSubscripts();
    Index sizes;
    std::string letters;
    auto add = [&](StringRef text, const Tensor &tensor) {
      for (auto [letter, size] : llvm::zip(text, tensor.shape))
        if (letters.find(letter) == std::string::npos) {
          letters += letter;
          sizes.push_back(size);
        }
    };
    add(subscripts.lhs, in[0]);
    add(subscripts.rhs, in[1]);
    auto pick = [&](StringRef text, const Index &loop) {
      Index index;
      for (char letter : text)
        index.push_back(loop[letters.find(letter)]);
      return index;
    };
    forEach(sizes, [&](const Index &loop) {
      out[0].at(pick(subscripts.result, loop)) += in[0].at(pick(subscripts.lhs, loop)) * in[1].at(pick(subscripts.rhs, loop));
    });
  }

  /// Calls `visit(input, weight, output)` for each product that a convolution adds up.
  template <typename Op, typename Visit>
  void convolve(Op op, const Index &input, const Index &weight, const Index &output, Visit visit) {
    Index loop(output);
    loop.insert(loop.end(), weight.begin() + 1, weight.end());
    size_t spatial = output.size() - 2;
    int64_t perGroup = weight[0] / op.getGroups();
    forEach(loop, [&](const Index &i) {
      Index o(i.begin(), i.begin() + output.size()), w(1, o[1]), x{o[0], o[1] / perGroup * weight[1] + i[output.size()]};
      w.insert(w.end(), i.begin() + output.size(), i.end());
      for (size_t d = 0; d < spatial; ++d) {
        x.push_back(o[2 + d] * op.getStrides()[d] - op.getPadsBegin()[d] + w[2 + d] * op.getDilations()[d]);
        if (x.back() < 0 || x.back() >= input[2 + d])
          return;
      }
      visit(x, w, o);
    });
  }
  void run(nn::ConvOp op) {
    convolve(op, in[0].shape, in[1].shape, out[0].shape, [&](auto &x, auto &w, auto &o) { out[0].at(o) += in[0].at(x) * in[1].at(w); });
  }
  void run(nn::ConvInputGradOp op) {
    convolve(op, out[0].shape, in[1].shape, in[0].shape, [&](auto &x, auto &w, auto &o) { out[0].at(x) += in[0].at(o) * in[1].at(w); });
  }
  void run(nn::ConvWeightGradOp op) {
    convolve(op, in[0].shape, out[0].shape, in[1].shape, [&](auto &x, auto &w, auto &o) { out[0].at(w) += in[0].at(x) * in[1].at(o); });
  }

  void run(nn::EmbeddingOp op) {
    const Tensor &table = in[0], &ids = in[1];
    int64_t first = op.getRows() ? in[2].data[0] : 0;
    forEach(out[0].shape, [&](const Index &i) {
      Index j{int64_t(ids.at(Index(i.begin(), i.begin() + ids.rank()))) - first};
      j.insert(j.end(), i.begin() + ids.rank(), i.end());
      if (j[0] >= 0 && j[0] < table.shape[0])
        out[0].at(i) = table.at(j);
    });
  }

  void run(nn::EmbeddingGradOp op) {
    const Tensor &ids = in[0], &gradient = in[1];
    int64_t first = op.getRows() ? in[2].data[0] : 0;
    forEach(gradient.shape, [&](const Index &i) {
      Index j{int64_t(ids.at(Index(i.begin(), i.begin() + ids.rank()))) - first};
      j.insert(j.end(), i.begin() + ids.rank(), i.end());
      if (j[0] >= 0 && j[0] < out[0].shape[0])
        out[0].at(j) += gradient.at(i);
    });
  }

  void run(nn::InRangeOp) { out[0] = in[0]; }

  void run(nn::TakeAlongOp op) {
    forEach(out[0].shape, [&](const Index &i) {
      Index j = i;
      j[op.getDim()] = in[1].at(i);
      out[0].at(i) = in[0].at(j);
    });
  }

  /// exp(x - max), divided by its sum, along one dimension.
  static Tensor softmax(const Tensor &x, int64_t dim) {
    Tensor y(x.shape);
    forEach(x.shape, [&](const Index &i) {
      Index j = i;
      double largest = -INFINITY, sum = 0;
      for (j[dim] = 0; j[dim] < x.shape[dim]; ++j[dim])
        largest = std::max(largest, x.at(j));
      for (j[dim] = 0; j[dim] < x.shape[dim]; ++j[dim])
        sum += std::exp(x.at(j) - largest);
      y.at(i) = std::exp(x.at(i) - largest) / sum;
    });
    return y;
  }
  void run(nn::SoftmaxOp op) { out[0] = softmax(in[0], op.getDim()); }
  void run(nn::LogSoftmaxOp op) {
    out[0] = softmax(in[0], op.getDim());
    for (double &value : out[0].data)
      value = std::log(value);
  }

  /// Normalises rows of the size of the scale; returns what multiplies the scale, and 1 / deviation in `rstd`.
  Tensor normalise(bool centre, double epsilon, Tensor &rstd) {
    int64_t width = in[1].data.size(), rows = in[0].data.size() / width;
    Tensor x = in[0];
    rstd = Tensor(Index{rows});
    for (int64_t r = 0; r < rows; ++r) {
      double *row = x.data.data() + r * width, mean = 0, square = 0;
      for (int64_t i = 0; centre && i < width; ++i)
        mean += row[i] / width;
      for (int64_t i = 0; i < width; ++i)
        square += (row[i] - mean) * (row[i] - mean) / width;
      rstd.data[r] = 1 / std::sqrt(square + epsilon);
      for (int64_t i = 0; i < width; ++i)
        row[i] = (row[i] - mean) * rstd.data[r];
    }
    return x;
  }
  void norm(bool centre, double epsilon) {
    Tensor rstd;
    out[0] = normalise(centre, epsilon, rstd);
    int64_t width = in[1].data.size();
    for (size_t i = 0; i < out[0].data.size(); ++i)
      out[0].data[i] = out[0].data[i] * in[1].data[i % width] + (in.size() > 2 ? in[2].data[i % width] : 0);
  }
  void normGrad(bool centre, double epsilon) {
    Tensor rstd, x = normalise(centre, epsilon, rstd);
    int64_t width = in[1].data.size();
    const std::vector<double> &scale = in[1].data, &dy = in[2].data;
    for (size_t r = 0; r < rstd.data.size(); ++r) {
      double sum = 0, dot = 0;
      for (int64_t i = 0, k = r * width; i < width; ++i, ++k) {
        sum += centre ? dy[k] * scale[i] / width : 0;
        dot += dy[k] * scale[i] * x.data[k] / width;
        out[1].data[i] += dy[k] * x.data[k];
        if (centre)
          out[2].data[i] += dy[k];
      }
      for (int64_t i = 0, k = r * width; i < width; ++i, ++k)
        out[0].data[k] = (dy[k] * scale[i] - sum - x.data[k] * dot) * rstd.data[r];
    }
  }
  void run(nn::LayerNormOp op) { norm(true, op.getEpsilon().convertToDouble()); }
  void run(nn::RmsNormOp op) { norm(false, op.getEpsilon().convertToDouble()); }
  void run(nn::LayerNormGradOp op) { normGrad(true, op.getEpsilon().convertToDouble()); }
  void run(nn::RmsNormGradOp op) { normGrad(false, op.getEpsilon().convertToDouble()); }

  void run(nn::RotaryOp op) {
    const Tensor &x = in[0], &cos = in[1];
    int64_t half = x.shape.back() / 2;
    forEach(x.shape, [&](const Index &i) {
      int64_t d = i.back(), pair = op.getInterleaved() ? d / 2 : d % half;
      bool second = op.getInterleaved() ? d % 2 : d >= half;
      Index angle{i[op.getSeqDim()], pair}, other = i;
      if (cos.rank() == 3)
        angle.insert(angle.begin(), i[0]);
      other.back() = op.getInterleaved() ? d ^ 1 : (d + half) % (2 * half);
      double sin = in[2].at(angle) * (op.getInverse() ? -1 : 1) * (second ? 1 : -1);
      out[0].at(i) = x.at(i) * cos.at(angle) + x.at(other) * sin;
    });
  }

  /// scale * q.k, before the cap.
  static double score(const Tensor &query, const Tensor &key, double scale, const Index &p) {
    double sum = 0;
    for (int64_t d = 0; d < query.shape[4]; ++d)
      sum += query.at({p[0], p[3], p[1], p[2], d}) * key.at({p[0], p[4], p[1], d});
    return sum * scale;
  }
  static Index biasIndex(const Tensor &bias, Index p) {
    for (size_t d = 0; d < p.size(); ++d)
      p[d] = bias.shape[d] == 1 ? 0 : p[d];
    return p;
  }
  void run(nn::AttentionOp op) {
    const Tensor *mask = op.getKeyMask() ? &in[3] : nullptr, *bias = op.getBias() ? &in.back() : nullptr;
    double scale = op.getScale().convertToDouble(), cap = op.getSoftcap().convertToDouble();
    Tensor scores(out[1].shape);
    forEach(scores.shape, [&](const Index &p) {
      double s = score(in[0], in[1], scale, p);
      s = cap > 0 ? cap * std::tanh(s / cap) : s;
      s += bias ? bias->at(biasIndex(*bias, p)) : 0;
      int64_t distance = p[4] - p[3];
      bool in = (!op.getLower() || distance >= int64_t(*op.getLower())) && (!op.getUpper() || distance <= int64_t(*op.getUpper())) &&
                (!mask || mask->at({p[0], p[4]}));
      scores.at(p) = in ? s : op.getFiniteMask() ? -double(std::numeric_limits<float>::max()) : -INFINITY;
    });
    out[1] = softmax(scores, 4);
    for (double &value : out[1].data)
      value = std::isnan(value) ? 0 : value; // a row in which nothing takes part
    forEach(out[1].shape, [&](const Index &p) {
      for (int64_t d = 0; d < in[2].shape[3]; ++d)
        out[0].at({p[0], p[3], p[1], p[2], d}) += out[1].at(p) * in[2].at({p[0], p[4], p[1], d});
    });
  }
  void run(nn::AttentionGradOp op) {
    const Tensor &query = in[0], &key = in[1], &value = in[2], &probabilities = in[3], &dy = in[4];
    double scale = op.getScale().convertToDouble(), cap = op.getSoftcap().convertToDouble();
    Tensor dp(probabilities.shape);
    forEach(dp.shape, [&](const Index &p) {
      for (int64_t d = 0; d < value.shape[3]; ++d) {
        double g = dy.at({p[0], p[3], p[1], p[2], d});
        dp.at(p) += g * value.at({p[0], p[4], p[1], d});
        out[2].at({p[0], p[4], p[1], d}) += g * probabilities.at(p);
      }
    });
    forEach(dp.shape, [&](const Index &p) {
      double dot = 0;
      Index j = p;
      for (j[4] = 0; j[4] < dp.shape[4]; ++j[4])
        dot += dp.at(j) * probabilities.at(j);
      double ds = probabilities.at(p) * (dp.at(p) - dot);
      if (out.size() > 3)
        out[3].at(biasIndex(out[3], p)) += ds;
      if (cap > 0)
        ds *= 1 - std::pow(std::tanh(score(query, key, scale, p) / cap), 2);
      for (int64_t d = 0; d < query.shape[4]; ++d) {
        Index q{p[0], p[3], p[1], p[2], d}, k{p[0], p[4], p[1], d};
        out[0].at(q) += scale * ds * key.at(k);
        out[1].at(k) += scale * ds * query.at(q);
      }
    });
  }

  void run(nn::CrossEntropyOp op) {
    Tensor p = softmax(in[0], in[0].rank() - 1);
    forEach(out[0].shape, [&](const Index &i) {
      int64_t label = in[1].at(i);
      Index j = i;
      j.push_back(label);
      out[0].at(i) = label == int64_t(op.getIgnoreIndex()) ? 0 : -std::log(p.at(j));
      out[1].at(i) = in[0].at(j) - std::log(p.at(j));
    });
  }
  void run(nn::CrossEntropyGradOp op) {
    forEach(in[0].shape, [&](const Index &i) {
      Index row(i.begin(), i.end() - 1);
      int64_t label = in[1].at(row);
      if (label != int64_t(op.getIgnoreIndex()))
        out[0].at(i) = (std::exp(in[0].at(i) - in[2].at(row)) - (i.back() == label)) * in[3].at(row);
    });
  }

  // Scalars of the step, in the order of galvatron_rt_hyper.
  enum Hyper { Lr, Beta1, Beta2, Eps, WeightDecay, Bias1, Bias2, Momentum, MaxNorm, FirstStep };
  void run(nn::AdamWOp op) {
    const std::vector<double> &h = in[4].data;
    for (size_t i = 0; i < out[0].data.size(); ++i) {
      double g = in[1].data[i] * in[5].data[0], p = in[0].data[i] * (op.getDecay() ? 1 - h[Lr] * h[WeightDecay] : 1);
      double m = h[Beta1] * in[2].data[i] + (1 - h[Beta1]) * g, v = h[Beta2] * in[3].data[i] + (1 - h[Beta2]) * g * g;
      out[0].data[i] = p - h[Lr] * h[Bias1] * m / std::max<double>(std::sqrt(v) * h[Bias2] + h[Eps], std::numeric_limits<float>::min());
      out[1].data[i] = m;
      out[2].data[i] = v;
    }
  }
  void run(nn::SgdOp op) {
    const std::vector<double> &h = in[3].data;
    for (size_t i = 0; i < out[0].data.size(); ++i) {
      double g = in[1].data[i] * in[4].data[0] + (op.getDecay() ? h[WeightDecay] * in[0].data[i] : 0);
      double b = h[FirstStep] ? g : h[Momentum] * in[2].data[i] + g;
      out[0].data[i] = in[0].data[i] - h[Lr] * b;
      out[1].data[i] = b;
    }
  }
};

} // namespace

std::vector<Tensor> Evaluator::evaluate(Operation *op, const std::vector<Tensor> &operands) {
  OpEvaluator evaluator(op, operands);
  if (op->hasTrait<OpTrait::Elementwise>()) {
    Tensor &result = evaluator.out[0];
    for (size_t i = 0; i < result.data.size(); ++i) {
      SmallVector<double> x;
      for (const Tensor &operand : operands)
        x.push_back(operand.data[i]);
      std::optional<double> value = scalar(op, x);
      if (!value)
        llvm::report_fatal_error("the evaluator does not know " + op->getName().getStringRef());
      result.data[i] = *value;
    }
    return evaluator.out;
  }
  llvm::TypeSwitch<Operation *>(op)
      .Case<nn::ConstantOp, nn::IotaOp, nn::ReduceOp, nn::CumsumOp, nn::BroadcastOp, nn::ReshapeOp, nn::TransposeOp, nn::SliceOp,
            nn::PadOp, nn::ConcatOp, nn::ContractOp, nn::ConvOp, nn::ConvInputGradOp, nn::ConvWeightGradOp, nn::EmbeddingOp,
            nn::EmbeddingGradOp, nn::InRangeOp, nn::TakeAlongOp, nn::SoftmaxOp, nn::LogSoftmaxOp, nn::LayerNormOp, nn::RmsNormOp,
            nn::LayerNormGradOp, nn::RmsNormGradOp, nn::RotaryOp, nn::AttentionOp, nn::AttentionGradOp, nn::CrossEntropyOp,
            nn::CrossEntropyGradOp, nn::AdamWOp, nn::SgdOp>([&](auto known) { evaluator.run(known); })
      .Default([](Operation *unknown) {
        llvm::report_fatal_error("the evaluator does not know " + unknown->getName().getStringRef());
      });
  return evaluator.out;
}

std::vector<Tensor> Evaluator::evaluate(func::FuncOp function, const std::vector<Tensor> &arguments) {
  DenseMap<Value, Tensor> values;
  for (auto [argument, tensor] : llvm::zip(function.getArguments(), arguments))
    values[argument] = tensor;
  std::vector<Tensor> operands;
  for (Operation &op : function.front()) {
    operands.clear();
    for (Value operand : op.getOperands())
      operands.push_back(values.lookup(operand));
    if (op.hasTrait<OpTrait::IsTerminator>() || isa<nn::BackwardBeginOp>(op))
      continue;
    std::vector<Tensor> results = evaluate(&op, operands);
    for (auto [result, tensor] : llvm::zip(op.getResults(), results))
      values[result] = tensor;
  }
  return operands;
}

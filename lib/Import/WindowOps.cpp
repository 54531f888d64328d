//===- WindowOps.cpp - Convolution, pooling and resizing ------------------===//

#include "Importer.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <limits>

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

/// The window attributes that Conv and the pools share, checked against the input.
struct Window {
  Shape kernel, strides, dilations, begin, end, output;
};

FailureOr<Window> readWindow(NodeContext &node, ArrayRef<int64_t> kernel, ArrayRef<int64_t> input, bool ceilMode) {
  Window w;
  size_t rank = kernel.size();
  w.kernel.assign(kernel.begin(), kernel.end());
  w.strides = node.getInts("strides").value_or(Shape(rank, 1));
  w.dilations = node.getInts("dilations").value_or(Shape(rank, 1));
  Shape pads = node.getInts("pads").value_or(Shape(2 * rank, 0));
  std::string automatic = node.getString("auto_pad", "NOTSET");
  if (automatic.empty())
    automatic = "NOTSET";
  if (w.strides.size() != rank || w.dilations.size() != rank || pads.size() != 2 * rank) {
    node.error() << "has " << w.strides.size() << " strides, " << w.dilations.size() << " dilations and "
                 << pads.size() << " pads for " << rank << " spatial dimensions";
    return failure();
  }
  for (size_t d = 0; d < rank; ++d) {
    int64_t k = kernel[d], s = w.strides[d], dilation = w.dilations[d];
    if (k < 1 || s < 1 || dilation < 1 || k > INT32_MAX || s > INT32_MAX || dilation > INT32_MAX || pads[d] < 0 ||
        pads[d + rank] < 0 || pads[d] > INT32_MAX || pads[d + rank] > INT32_MAX) {
      node.error() << "kernel " << k << ", stride " << s << ", dilation " << dilation << ", pads " << pads[d] << " and "
                   << pads[d + rank] << " in spatial dimension " << d << " are not a window";
      return failure();
    }
    int64_t extent = (k - 1) * dilation + 1, begin = pads[d], end = pads[d + rank];
    if (automatic == "VALID") {
      begin = end = 0;
    } else if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
      int64_t out = divideCeil(input[d], s), total = std::max<int64_t>((out - 1) * s + extent - input[d], 0);
      begin = automatic == "SAME_UPPER" ? total / 2 : total - total / 2;
      end = total - begin;
    } else if (automatic != "NOTSET") {
      node.error() << "auto_pad = '" << automatic << "' is not known";
      return failure();
    }
    int64_t span = input[d] + begin + end - extent;
    if (span < 0) {
      node.error() << "a window of " << extent << " does not fit spatial dimension " << d << " of " << input[d]
                   << " with pads " << begin << " and " << end;
      return failure();
    }
    int64_t out = span / s + 1;
    if (ceilMode && span % s != 0 && out * s < input[d] + begin) { // one more, begun inside the input
      end += s - span % s;
      ++out;
    }
    w.begin.push_back(begin);
    w.end.push_back(end);
    w.output.push_back(out);
  }
  return w;
}

LogicalResult importConv(NodeContext &node) {
  int64_t groups = node.getInt("group", 1);
  std::optional<Shape> kernel = node.getInts("kernel_shape");
  if (failed(node.expectInputs(2, 3)))
    return failure();
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (node.has(i) && failed(node.expectElement(i, ElementKind::F32)))
      return failure();
  const Shape &x = node.inputs[0].shape, &w = node.inputs[1].shape;
  if (x.size() < 3 || x.size() > 5 || w.size() != x.size())
    return node.error() << "has an input of rank " << x.size() << " and a weight of rank " << w.size()
                        << "; wanted 1 to 3 spatial dimensions";
  ArrayRef<int64_t> spatial = ArrayRef<int64_t>(x).drop_front(2), wSpatial = ArrayRef<int64_t>(w).drop_front(2);
  if (kernel && ArrayRef<int64_t>(*kernel) != wSpatial)
    return node.error() << "kernel_shape is not that of the weight";
  FailureOr<Window> window = readWindow(node, wSpatial, spatial, false);
  if (failed(window))
    return failure();
  if (groups < 1 || x[1] % groups || w[0] % groups || x[1] / groups != w[1])
    return node.error() << x[1] << " channels in " << groups << " groups do not fit a weight of " << w[0] << "x" << w[1];
  if (node.has(2) && (node.inputs[2].rank() != 1 || node.inputs[2].shape[0] != w[0]))
    return node.error() << "the bias has " << node.inputs[2].count() << " elements; wanted " << w[0];
  Emitter &emit = node.emit;
  Shape shape = {x[0], w[0]};
  shape.append(window->output);
  Value y = emit.make<nn::ConvOp>(emit.type(ElementKind::F32, shape), node.tensor(0), node.tensor(1), window->strides,
                                  window->begin, window->end, window->dilations, groups);
  if (node.has(2))
    y = emit.make<nn::AddOp>(y, emit.broadcastDims(node.tensor(2), {1}, shape));
  return node.result(y);
}

/// Combines the elements of each window. Windows that tile the input are a reshape and a reduction; others
/// are a combination of one strided slice per element of the window.
Value reduceWindows(Emitter &emit, nn::ReduceKind kind, Value x, const Window &w, double padding) {
  Shape shape(nn::tensorType(x).getShape());
  size_t rank = w.kernel.size();
  bool tiles = true;
  for (size_t d = 0; d < rank; ++d)
    tiles &= w.kernel[d] == w.strides[d] && w.dilations[d] == 1 && w.begin[d] == 0 && w.end[d] == 0 &&
             shape[d + 2] % w.kernel[d] == 0;
  if (tiles) {
    Shape split = {shape[0], shape[1]}, dims;
    for (size_t d = 0; d < rank; ++d) {
      split.append({w.output[d], w.kernel[d]});
      dims.push_back(3 + 2 * d);
    }
    return emit.reduce(kind, emit.reshape(x, split), dims, false);
  }
  Shape low(rank + 2, 0), ones(rank + 2, 1), padded = shape, sizes = {shape[0], shape[1]}, steps = {1, 1};
  for (size_t d = 0; d < rank; ++d) {
    low[d + 2] = w.begin[d];
    padded[d + 2] += w.begin[d] + w.end[d];
    sizes.push_back(w.output[d]);
    steps.push_back(w.output[d] == 1 ? 1 : w.strides[d]);
  }
  if (padded != shape)
    x = emit.make<nn::PadOp>(RankedTensorType::get(padded, nn::tensorType(x).getElementType()), x, low, ones, APFloat(padding));
  Value result;
  forEachIndex(w.kernel, [&](ArrayRef<int64_t> index) {
    Shape offsets = {0, 0};
    for (size_t d = 0; d < rank; ++d)
      offsets.push_back(index[d] * w.dilations[d]);
    Value part = emit.slice(x, offsets, sizes, steps);
    if (!result)
      result = part;
    else
      result = kind == nn::ReduceKind::Max ? emit.make<nn::MaximumOp>(result, part) : emit.make<nn::AddOp>(result, part);
  });
  return result;
}

/// How many elements of the input each window holds, as a constant along the spatial dimensions.
ImportValue windowCounts(const Window &w, ArrayRef<int64_t> input, bool includePad, ArrayRef<int64_t> declaredEnd) {
  std::vector<Scalar> data;
  forEachIndex(w.output, [&](ArrayRef<int64_t> index) {
    int64_t count = 1;
    for (size_t d = 0; d < index.size(); ++d) {
      int64_t inside = 0;
      for (int64_t k = 0; k < w.kernel[d]; ++k) {
        int64_t at = index[d] * w.strides[d] - w.begin[d] + k * w.dilations[d];
        inside += includePad ? at < input[d] + declaredEnd[d] : at >= 0 && at < input[d];
      }
      count *= inside;
    }
    Scalar s;
    s.i = 0;
    s.f = 1.0f / static_cast<float>(std::max<int64_t>(count, 1));
    data.push_back(s);
  });
  if (all_of(data, [&](Scalar s) { return s.i == data[0].i; }))
    data.resize(1);
  return ImportValue::dense(ElementKind::F32, w.output, std::move(data));
}

FailureOr<Window> readPool(NodeContext &node) {
  std::optional<Shape> kernel = node.getInts("kernel_shape");
  bool ceilMode = node.getInt("ceil_mode", 0);
  if (failed(node.expectInputs(1, 1)) || failed(node.expectElement(0, ElementKind::F32)))
    return failure();
  const Shape &x = node.inputs[0].shape;
  if (x.size() < 3 || x.size() > 5 || !kernel || kernel->size() != x.size() - 2) {
    node.error() << "has an input of rank " << x.size() << " and a window of "
                 << (kernel ? kernel->size() : 0) << " dimensions; wanted 1 to 3 spatial dimensions";
    return failure();
  }
  FailureOr<Window> w = readWindow(node, *kernel, ArrayRef<int64_t>(x).drop_front(2), ceilMode);
  if (failed(w))
    return failure();
  std::optional<int64_t> size = numElements(*kernel);
  if (!size || *size > 4096) {
    node.error() << "the window has more than 4096 elements";
    return failure();
  }
  return w;
}

LogicalResult importMaxPool(NodeContext &node) {
  node.ignore("storage_order");
  FailureOr<Window> w = readPool(node);
  if (failed(w))
    return failure();
  return node.result(reduceWindows(node.emit, nn::ReduceKind::Max, node.tensor(0), *w, -HUGE_VAL));
}

LogicalResult importAveragePool(NodeContext &node) {
  bool includePad = node.getInt("count_include_pad", 0);
  FailureOr<Window> w = readPool(node);
  if (failed(w))
    return failure();
  ArrayRef<int64_t> spatial = ArrayRef<int64_t>(node.inputs[0].shape).drop_front(2);
  Shape pads = node.getInts("pads").value_or(Shape(2 * spatial.size(), 0));
  Shape declaredEnd = w->end;
  if (node.getInt("ceil_mode", 0)) // what ceil_mode adds at the end is not counted
    for (size_t d = 0; d < declaredEnd.size(); ++d)
      declaredEnd[d] = std::min(declaredEnd[d], pads[d + spatial.size()]);
  if (numElements(w->output).value_or(INT64_MAX) > maxDenseElements)
    return node.error() << "the result is too large";
  Value sum = reduceWindows(node.emit, nn::ReduceKind::Sum, node.tensor(0), *w, 0);
  ArrayRef<int64_t> shape = nn::tensorType(sum).getShape();
  Value weight = node.emit.broadcast(node.emit.materialize(windowCounts(*w, spatial, includePad, declaredEnd)), shape);
  return node.result(node.emit.make<nn::MulOp>(sum, weight));
}

template <nn::ReduceKind kind> LogicalResult importGlobalPool(NodeContext &node) {
  if (failed(node.expectInputs(1, 1)) || failed(node.expectElement(0, ElementKind::F32)))
    return failure();
  if (node.inputs[0].rank() < 3)
    return node.error() << "has an input of rank " << node.inputs[0].rank() << "; wanted at least 3";
  Shape dims = countFrom(2, node.inputs[0].rank());
  Value x = node.tensor(0);
  return node.result(kind == nn::ReduceKind::Max ? node.emit.reduce(kind, x, dims, true) : node.emit.mean(x, dims, true));
}

// Resizing: along each dimension, every element of the result is a weighted sum of a few of the input (ONNX Resize-19).

enum class Interpolation { Nearest, Linear, Cubic };
enum class Coordinates { HalfPixel, PytorchHalfPixel, AlignCorners, Asymmetric, HalfPixelSymmetric };

struct Resizing {
  Interpolation mode;
  Coordinates coordinates;
  std::string nearest;
  double cubic;
  bool excludeOutside;

  double coordinateOf(int64_t o, int64_t in, int64_t out, double scale) const;
  std::vector<std::pair<int64_t, double>> weightsOf(double x, int64_t in) const;
};

double Resizing::coordinateOf(int64_t o, int64_t in, int64_t out, double scale) const {
  double half = (static_cast<double>(o) + 0.5) / scale - 0.5;
  switch (coordinates) {
  case Coordinates::HalfPixel:
    return half;
  case Coordinates::PytorchHalfPixel:
    return out > 1 ? half : 0;
  case Coordinates::AlignCorners:
    return out > 1 ? static_cast<double>(o * (in - 1)) / static_cast<double>(out - 1) : 0;
  case Coordinates::Asymmetric:
    return static_cast<double>(o) / scale;
  case Coordinates::HalfPixelSymmetric:
    return static_cast<double>(in) / 2 * (1 - static_cast<double>(out) / (scale * static_cast<double>(in))) + half;
  }
  llvm_unreachable("covered switch");
}

/// Places of the input and their weights. What lies outside is the nearest place inside.
std::vector<std::pair<int64_t, double>> Resizing::weightsOf(double x, int64_t in) const {
  if (mode == Interpolation::Nearest) {
    double place = nearest == "floor"               ? std::floor(x)
                   : nearest == "ceil"              ? std::ceil(x)
                   : nearest == "round_prefer_ceil" ? std::floor(x + 0.5)
                                                    : std::ceil(x - 0.5);
    return {{std::clamp<int64_t>(static_cast<int64_t>(place), 0, in - 1), 1.0}};
  }
  auto kernel = [&](double t) {
    t = std::abs(t);
    if (mode == Interpolation::Linear)
      return std::max(0.0, 1 - t);
    // Keys, Cubic convolution interpolation, 1981.
    return t <= 1  ? ((cubic + 2) * t - (cubic + 3)) * t * t + 1
           : t < 2 ? ((cubic * t - 5 * cubic) * t + 8 * cubic) * t - 4 * cubic
                   : 0.0;
  };
  int64_t reach = mode == Interpolation::Linear ? 1 : 2, first = static_cast<int64_t>(std::floor(x)) - reach + 1;
  std::vector<std::pair<int64_t, double>> weights;
  double sum = 0;
  for (int64_t place = first; place < first + 2 * reach; ++place) {
    if (excludeOutside && (place < 0 || place >= in))
      continue;
    double weight = kernel(x - static_cast<double>(place));
    sum += weight;
    weights.emplace_back(std::clamp<int64_t>(place, 0, in - 1), weight);
  }
  if (excludeOutside)
    for (auto &[place, weight] : weights)
      weight /= sum;
  return weights;
}

/// `value` with dimension `dim` resized; nothing where that takes a table over 1 MiB.
Value resizeDim(Emitter &emit, Value value, int64_t dim, ArrayRef<std::vector<std::pair<int64_t, double>>> weights) {
  ArrayRef<int64_t> from = nn::tensorType(value).getShape();
  int64_t in = from[dim], out = weights.size(), rank = from.size();
  Shape to(from);
  to[dim] = out;
  bool isRepetition = out % in == 0;
  for (int64_t o = 0; o < out && isRepetition; ++o)
    isRepetition = weights[o].size() == 1 && weights[o][0].first == o / (out / in);
  if (isRepetition) {
    Shape apart(from), kept;
    apart.insert(apart.begin() + dim + 1, out / in);
    for (int64_t d = 0; d <= rank; ++d)
      if (d != dim + 1)
        kept.push_back(d);
    return emit.reshape(emit.broadcastDims(value, kept, apart), to);
  }
  if (out * in > nn::maxConstantBytes / 4)
    return {};
  std::vector<float> matrix(out * in, 0.0f);
  for (int64_t o = 0; o < out; ++o)
    for (auto [place, weight] : weights[o])
      matrix[o * in + place] += static_cast<float>(weight);
  RankedTensorType type = emit.type(ElementKind::F32, {out, in});
  Value table = emit.builder.create<nn::ConstantOp>(emit.loc, DenseElementsAttr::get(type, ArrayRef(matrix)));
  std::string letters, result;
  for (int64_t d = 0; d < rank; ++d)
    letters.push_back(static_cast<char>('a' + d));
  result = letters;
  result[dim] = 'z';
  return emit.contract(value, table, letters + ",z" + letters[dim] + "->" + result);
}

LogicalResult importResize(NodeContext &node) {
  if (failed(node.expectInputs(1, 4)) || failed(node.expectElement(0, ElementKind::F32)))
    return failure();
  node.ignore("extrapolation_value"); // of tf_crop_and_resize alone
  Resizing resizing;
  std::string mode = node.getString("mode", "nearest"), coordinates = node.getString("coordinate_transformation_mode", "half_pixel"),
              policy = node.getString("keep_aspect_ratio_policy", "stretch");
  auto interpolation = llvm::StringSwitch<std::optional<Interpolation>>(mode)
                           .Case("nearest", Interpolation::Nearest)
                           .Case("linear", Interpolation::Linear)
                           .Case("cubic", Interpolation::Cubic)
                           .Default(std::nullopt);
  auto transformation = llvm::StringSwitch<std::optional<Coordinates>>(coordinates)
                            .Case("half_pixel", Coordinates::HalfPixel)
                            .Case("pytorch_half_pixel", Coordinates::PytorchHalfPixel)
                            .Case("align_corners", Coordinates::AlignCorners)
                            .Case("asymmetric", Coordinates::Asymmetric)
                            .Case("half_pixel_symmetric", Coordinates::HalfPixelSymmetric)
                            .Default(std::nullopt);
  resizing.nearest = node.getString("nearest_mode", "round_prefer_floor");
  resizing.cubic = node.getFloat("cubic_coeff_a", -0.75f);
  resizing.excludeOutside = node.getInt("exclude_outside", 0);
  if (!interpolation || !transformation || node.getInt("antialias", 0) || policy != "stretch" ||
      !is_contained({"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"}, resizing.nearest))
    return node.error() << "mode '" << mode << "', coordinates '" << coordinates << "', nearest_mode '" << resizing.nearest
                        << "', aspect ratio '" << policy << "' or antialias is not supported";
  resizing.mode = *interpolation;
  resizing.coordinates = *transformation;

  ArrayRef<int64_t> shape = node.inputs[0].shape;
  Shape axes = node.getInts("axes").value_or(countFrom(0, shape.size()));
  bool bySizes = node.has(3);
  if (!bySizes && !node.has(2))
    return node.error() << "has neither scales nor sizes";
  std::optional<std::vector<Scalar>> given = elementsOf(node.inputs[bySizes ? 3 : 2]);
  if (failed(node.expectElement(bySizes ? 3 : 2, bySizes ? ElementKind::I64 : ElementKind::F32)))
    return failure();
  if (!given || given->size() != axes.size())
    return node.error() << "the " << (bySizes ? "sizes are not " : "scales are not ") << axes.size() << " known numbers";
  if (shape.size() > 25)
    return node.error() << "has an input of rank " << shape.size() << "; wanted at most 25";
  Value value = node.tensor(0);
  for (auto [axis, number] : zip(axes, *given)) {
    FailureOr<int64_t> dim = node.dimension(axis, shape.size());
    if (failed(dim))
      return failure();
    int64_t in = shape[*dim];
    double scale = bySizes ? static_cast<double>(number.i) / static_cast<double>(in) : number.f;
    double size = bySizes ? static_cast<double>(number.i) : std::floor(static_cast<double>(in) * scale);
    if (!(size >= 1 && size <= static_cast<double>(maxDenseElements)))
      return node.error() << "gives dimension " << *dim << " of size " << in << " no size from 1 to " << maxDenseElements;
    int64_t out = static_cast<int64_t>(size);
    if (out == in && scale == 1)
      continue;
    std::vector<std::vector<std::pair<int64_t, double>>> weights;
    for (int64_t o = 0; o < out; ++o)
      weights.push_back(resizing.weightsOf(resizing.coordinateOf(o, in, out, scale), in));
    value = resizeDim(node.emit, value, *dim, weights);
    if (!value)
      return node.error() << "makes " << out << " elements of " << in << " in dimension " << *dim << ", for which a table of more than "
                          << nn::maxConstantBytes << " bytes would be needed";
  }
  return node.result(value);
}

} // namespace

static const OpImporter table[] = {
    {"AveragePool", 13, importAveragePool, "1 to 3 spatial dimensions"},
    {"Conv", 13, importConv, "1 to 3 spatial dimensions"},
    {"GlobalAveragePool", 13, importGlobalPool<nn::ReduceKind::Sum>},
    {"GlobalMaxPool", 13, importGlobalPool<nn::ReduceKind::Max>},
    {"MaxPool", 13, importMaxPool, "1 to 3 spatial dimensions, no indices"},
    {"Resize", 13, importResize, "known sizes or scales, no antialias, no cropping"},
};

ArrayRef<OpImporter> windowOps() { return table; }

} // namespace galvatron

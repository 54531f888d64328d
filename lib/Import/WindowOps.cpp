//===- WindowOps.cpp - Convolution and pooling ----------------------------===//

#include "Importer.h"
#include "llvm/Support/MathExtras.h"
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

} // namespace

static const OpImporter table[] = {
    {"AveragePool", 13, importAveragePool, "1 to 3 spatial dimensions"},
    {"Conv", 13, importConv, "1 to 3 spatial dimensions"},
    {"GlobalAveragePool", 13, importGlobalPool<nn::ReduceKind::Sum>},
    {"GlobalMaxPool", 13, importGlobalPool<nn::ReduceKind::Max>},
    {"MaxPool", 13, importMaxPool, "1 to 3 spatial dimensions, no indices"},
};

ArrayRef<OpImporter> windowOps() { return table; }

} // namespace galvatron

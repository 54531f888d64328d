//===- ShapeOps.cpp - Ops that move elements ------------------------------===//

#include "Importer.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

// Shapes ---------------------------------------------------------------------

LogicalResult importShape(NodeContext &node) {
  if (failed(node.expectInputs(1, 1)))
    return failure();
  int64_t rank = node.inputs[0].rank();
  int64_t start = node.getInt("start", 0), end = node.getInt("end", rank);
  start = std::clamp<int64_t>(start < 0 ? start + rank : start, 0, rank);
  end = std::clamp<int64_t>(end < 0 ? end + rank : end, start, rank);
  return node.result(ImportValue::ints(ArrayRef<int64_t>(node.inputs[0].shape).slice(start, end - start)));
}

LogicalResult importSize(NodeContext &node) {
  if (failed(node.expectInputs(1, 1)))
    return failure();
  return node.result(ImportValue::scalar(node.inputs[0].count()));
}

LogicalResult importReshape(NodeContext &node) {
  bool allowZero = node.getInt("allowzero", 0);
  if (failed(node.expectInputs(2, 2)))
    return failure();
  FailureOr<Shape> wanted = node.knownInts(1, "shape");
  if (failed(wanted))
    return failure();
  const Shape &from = node.inputs[0].shape;
  Shape shape = *wanted;
  std::optional<size_t> open;
  int64_t known = 1;
  for (auto [d, size] : enumerate(shape)) {
    if (size == 0 && !allowZero) {
      if (d >= from.size())
        return node.error() << "dimension " << d << " is copied from the input, which has rank " << from.size();
      size = from[d];
    }
    if (size == -1) {
      if (open)
        return node.error() << "the shape leaves dimensions " << *open << " and " << d << " open; one may be -1";
      open = d;
      continue;
    }
    if (size < 0 || MulOverflow(known, size, known))
      return node.error() << "the shape has a dimension of size " << size;
  }
  int64_t count = node.inputs[0].count();
  if (open && known != 0 && count % known == 0)
    shape[*open] = count / known;
  else if (open)
    return node.error() << count << " elements do not divide into the shape's other dimensions (" << known << ")";
  if (numElements(shape) != count) {
    InFlightDiagnostic d = node.error() << "cannot reshape [";
    interleaveComma(from, d);
    d << "] to [";
    interleaveComma(shape, d);
    d << "]";
    return failure();
  }
  return node.result(node.emit.reshape(node.inputs[0], shape));
}

LogicalResult importFlatten(NodeContext &node) {
  int64_t axis = node.getInt("axis", 1);
  if (failed(node.expectInputs(1, 1)))
    return failure();
  int64_t rank = node.inputs[0].rank();
  if (axis < -rank || axis > rank)
    return node.error() << "axis " << axis << " does not exist in a tensor of rank " << rank;
  axis = axis < 0 ? axis + rank : axis;
  Shape shape = {1, 1};
  for (auto [d, size] : enumerate(node.inputs[0].shape))
    shape[static_cast<int64_t>(d) < axis ? 0 : 1] *= size;
  return node.result(node.emit.reshape(node.inputs[0], shape));
}

LogicalResult importSqueeze(NodeContext &node) {
  if (failed(node.expectInputs(1, 2)))
    return failure();
  Shape axes;
  if (node.has(1)) {
    FailureOr<Shape> ints = node.knownInts(1, "axes");
    FailureOr<Shape> dims = failed(ints) ? FailureOr<Shape>(failure()) : node.dimensions(*ints, node.inputs[0].rank());
    if (failed(dims))
      return failure();
    axes = *dims;
  } else {
    for (auto [d, size] : enumerate(node.inputs[0].shape))
      if (size == 1)
        axes.push_back(d);
  }
  Shape shape;
  for (auto [d, size] : enumerate(node.inputs[0].shape)) {
    if (!is_contained(axes, static_cast<int64_t>(d)))
      shape.push_back(size);
    else if (size != 1)
      return node.error() << "dimension " << d << " has size " << size << "; wanted 1";
  }
  return node.result(node.emit.reshape(node.inputs[0], shape));
}

LogicalResult importUnsqueeze(NodeContext &node) {
  if (failed(node.expectInputs(2, 2)))
    return failure();
  FailureOr<Shape> ints = node.knownInts(1, "axes");
  if (failed(ints))
    return failure();
  int64_t rank = node.inputs[0].rank() + ints->size();
  FailureOr<Shape> axes = node.dimensions(*ints, rank);
  if (failed(axes))
    return failure();
  Shape shape;
  const int64_t *next = node.inputs[0].shape.begin();
  for (int64_t d = 0; d < rank; ++d)
    shape.push_back(is_contained(*axes, d) ? 1 : *next++);
  return node.result(node.emit.reshape(node.inputs[0], shape));
}

LogicalResult importTranspose(NodeContext &node) {
  if (failed(node.expectInputs(1, 1)))
    return failure();
  int64_t rank = node.inputs[0].rank();
  Shape permutation = countFrom(0, rank);
  std::reverse(permutation.begin(), permutation.end());
  permutation = node.getInts("perm").value_or(permutation);
  FailureOr<Shape> sorted = node.dimensions(permutation, rank);
  if (failed(sorted))
    return failure();
  if (static_cast<int64_t>(permutation.size()) != rank || any_of(permutation, [](int64_t p) { return p < 0; }))
    return node.error() << "perm has " << permutation.size() << " entries for a tensor of rank " << rank;
  return node.result(node.emit.transpose(node.inputs[0], permutation));
}

LogicalResult importExpand(NodeContext &node) {
  if (failed(node.expectInputs(2, 2)))
    return failure();
  FailureOr<Shape> wanted = node.knownInts(1, "shape");
  if (failed(wanted))
    return failure();
  std::optional<Shape> shape = broadcastShapes(node.inputs[0].shape, *wanted);
  if (!shape || !numElements(*shape) || is_contained(*shape, 0)) {
    InFlightDiagnostic d = node.error() << "cannot expand [";
    interleaveComma(node.inputs[0].shape, d);
    d << "] to [";
    interleaveComma(*wanted, d);
    d << "]";
    return failure();
  }
  return node.result(node.emit.broadcast(node.inputs[0], *shape));
}

LogicalResult importTile(NodeContext &node) {
  if (failed(node.expectInputs(2, 2)))
    return failure();
  FailureOr<Shape> repeats = node.knownInts(1, "repeats");
  if (failed(repeats))
    return failure();
  const Shape &from = node.inputs[0].shape;
  if (repeats->size() != from.size())
    return node.error() << "has " << repeats->size() << " repeats for a tensor of rank " << from.size();
  // [a, b] -> [1, a, 1, b] -> [r, a, s, b] -> [r a, s b]
  Shape split, repeated, shape;
  for (auto [size, repeat] : zip(from, *repeats)) {
    int64_t product;
    if (repeat < 1 || MulOverflow(size, repeat, product))
      return node.error() << "has a repeat of " << repeat;
    split.append({1, size});
    repeated.append({repeat, size});
    shape.push_back(product);
  }
  if (!numElements(shape))
    return node.error() << "has more elements than 63 bits can count";
  return node.result(node.emit.reshape(node.emit.broadcast(node.emit.reshape(node.inputs[0], split), repeated), shape));
}

// Joining and cutting --------------------------------------------------------

LogicalResult importConcat(NodeContext &node) {
  std::optional<int64_t> axis = node.getInt("axis");
  if (failed(node.expectInputs(1, SIZE_MAX)))
    return failure();
  if (!axis)
    return node.error() << "attribute 'axis' is missing";
  FailureOr<int64_t> dim = node.dimension(*axis, node.inputs[0].rank());
  if (failed(dim))
    return failure();
  SmallVector<ImportValue> parts;
  for (auto [i, input] : enumerate(node.inputs)) {
    if (failed(node.expectElement(i, node.inputs[0].element)))
      return failure();
    Shape a = input.shape, b = node.inputs[0].shape;
    if (a.size() == b.size())
      a[*dim] = b[*dim] = 0;
    if (a != b) {
      InFlightDiagnostic d = node.error() << "input " << i << " has shape [";
      interleaveComma(input.shape, d);
      d << "], which does not agree with [";
      interleaveComma(node.inputs[0].shape, d);
      d << "] outside dimension " << *dim;
      return failure();
    }
    if (input.shape[*dim] != 0) // an empty part, as a cache of length 0 is
      parts.push_back(input);
  }
  return node.result(parts.empty() ? node.inputs[0] : node.emit.concat(parts, *dim));
}

/// The piece [start, start + size) of a dimension.
ImportValue piece(NodeContext &node, const ImportValue &value, int64_t dim, int64_t start, int64_t size) {
  Shape offsets(value.rank(), 0), sizes = value.shape, steps(value.rank(), 1);
  offsets[dim] = start;
  sizes[dim] = size;
  return node.emit.slice(value, offsets, sizes, steps);
}

/// Sizes of a split from a list or a number of pieces.
FailureOr<Shape> splitSizes(NodeContext &node, int64_t size, std::optional<int64_t> pieces, size_t input) {
  Shape sizes;
  if (node.has(input)) {
    FailureOr<Shape> given = node.knownInts(input, "split");
    if (failed(given))
      return failure();
    int64_t sum = 0;
    for (int64_t s : *given)
      if (s < 0 || AddOverflow(sum, s, sum)) {
        node.error() << "has a piece of size " << s;
        return failure();
      }
    if (sum != size) {
      node.error() << "pieces add up to " << sum << "; the dimension has " << size;
      return failure();
    }
    return *given;
  }
  if (!pieces || *pieces < 1 || *pieces > size) {
    node.error() << "cannot split " << size << " into " << pieces.value_or(0) << " pieces";
    return failure();
  }
  int64_t each = divideCeil(size, *pieces);
  for (int64_t left = size, i = 0; i < *pieces; ++i, left -= sizes.back())
    sizes.push_back(std::min(each, std::max<int64_t>(left, 0)));
  return sizes;
}

LogicalResult importSplit(NodeContext &node) {
  int64_t axis = node.getInt("axis", 0);
  std::optional<int64_t> pieces = node.getInt("num_outputs");
  if (failed(node.expectInputs(1, 2)))
    return failure();
  FailureOr<int64_t> dim = node.dimension(axis, node.inputs[0].rank());
  if (failed(dim))
    return failure();
  FailureOr<Shape> sizes = splitSizes(node, node.inputs[0].shape[*dim], pieces.value_or(node.numOutputs()), 1);
  if (failed(sizes))
    return failure();
  if (sizes->size() != node.numOutputs())
    return node.error() << "has " << node.numOutputs() << " outputs for " << sizes->size() << " pieces";
  int64_t start = 0;
  for (auto [i, size] : enumerate(*sizes)) {
    if (size == 0 && node.wantsOutput(i))
      return node.error() << "piece " << i << " is empty";
    if (node.wantsOutput(i))
      node.setOutput(i, piece(node, node.inputs[0], *dim, start, size));
    start += size;
  }
  return success();
}

LogicalResult importSplitToSequence(NodeContext &node) {
  int64_t axis = node.getInt("axis", 0), keep = node.getInt("keepdims", 1);
  if (failed(node.expectInputs(1, 2)))
    return failure();
  FailureOr<int64_t> dim = node.dimension(axis, node.inputs[0].rank());
  if (failed(dim))
    return failure();
  int64_t size = node.inputs[0].shape[*dim];
  Shape sizes(std::min<int64_t>(size, maxDenseElements), 1);
  if (node.has(1)) {
    FailureOr<Shape> given = node.knownInts(1, "split");
    if (failed(given))
      return failure();
    if (node.inputs[1].rank() == 0) { // pieces of this size, the last may be smaller
      if ((*given)[0] < 1 || size / (*given)[0] > maxDenseElements)
        return node.error() << "has pieces of size " << (*given)[0];
      sizes.clear();
      for (int64_t left = size; left > 0; left -= sizes.back())
        sizes.push_back(std::min((*given)[0], left));
    } else {
      FailureOr<Shape> listed = splitSizes(node, size, std::nullopt, 1);
      if (failed(listed))
        return failure();
      sizes = *listed;
    }
  }
  ImportValue sequence;
  sequence.kind = ImportValue::Sequence;
  sequence.element = node.inputs[0].element;
  sequence.sequence = std::make_shared<std::vector<ImportValue>>();
  int64_t start = 0;
  for (int64_t s : sizes) {
    ImportValue part = piece(node, node.inputs[0], *dim, start, s);
    start += s;
    if (!keep && !node.has(1)) {
      Shape shape = part.shape;
      shape.erase(shape.begin() + *dim);
      part = node.emit.reshape(part, shape);
    }
    sequence.sequence->push_back(part);
  }
  return node.result(sequence);
}

LogicalResult importSequenceConstruct(NodeContext &node) {
  ImportValue sequence;
  sequence.kind = ImportValue::Sequence;
  sequence.sequence = std::make_shared<std::vector<ImportValue>>(node.inputs.begin(), node.inputs.end());
  return node.result(sequence);
}

LogicalResult importSequenceAt(NodeContext &node) {
  if (failed(node.expectInputs(2, 2)))
    return failure();
  FailureOr<Shape> position = node.knownInts(1, "position");
  if (failed(position))
    return failure();
  if (node.inputs[0].kind != ImportValue::Sequence || position->size() != 1)
    return node.error() << "wanted a sequence and one position";
  int64_t size = node.inputs[0].sequence->size(), at = (*position)[0] < 0 ? (*position)[0] + size : (*position)[0];
  if (at < 0 || at >= size)
    return node.error() << "position " << (*position)[0] << " is not in a sequence of " << size;
  return node.result((*node.inputs[0].sequence)[at]);
}

LogicalResult importConcatFromSequence(NodeContext &node) {
  std::optional<int64_t> axis = node.getInt("axis");
  int64_t fresh = node.getInt("new_axis", 0);
  if (failed(node.expectInputs(1, 1)))
    return failure();
  if (node.inputs[0].kind != ImportValue::Sequence || node.inputs[0].sequence->empty() || !axis)
    return node.error() << "wanted a sequence that is not empty, and an axis";
  SmallVector<ImportValue> parts(node.inputs[0].sequence->begin(), node.inputs[0].sequence->end());
  FailureOr<int64_t> dim = node.dimension(*axis, parts[0].rank() + (fresh ? 1 : 0));
  if (failed(dim))
    return failure();
  for (ImportValue &part : parts) {
    if (part.element != parts[0].element)
      return node.error() << "the sequence's tensors do not have one type";
    Shape a = part.shape, b = parts[0].shape;
    if (fresh) {
      if (a.size() != node.inputs[0].sequence->front().shape.size())
        return node.error() << "the sequence's tensors do not have one shape";
      a.insert(a.begin() + *dim, 1);
      part = node.emit.reshape(part, a);
      continue;
    }
    if (a.size() == b.size())
      a[*dim] = b[*dim] = 0;
    if (a != b)
      return node.error() << "the sequence's tensors do not agree outside dimension " << *dim;
  }
  for (const ImportValue &part : parts)
    if (fresh && part.shape != parts[0].shape)
      return node.error() << "the sequence's tensors do not have one shape";
  return node.result(node.emit.concat(parts, *dim));
}

LogicalResult importSlice(NodeContext &node) {
  if (failed(node.expectInputs(3, 5)))
    return failure();
  FailureOr<Shape> starts = node.knownInts(1, "starts"), ends = node.knownInts(2, "ends");
  if (failed(starts) || failed(ends))
    return failure();
  int64_t rank = node.inputs[0].rank();
  Shape axes = countFrom(0, starts->size()), strides(starts->size(), 1);
  for (auto [i, what, list] : {std::make_tuple(3, "axes", &axes), std::make_tuple(4, "steps", &strides)})
    if (node.has(i)) {
      FailureOr<Shape> given = node.knownInts(i, what);
      if (failed(given))
        return failure();
      *list = *given;
    }
  if (starts->size() != ends->size() || starts->size() != axes.size() || starts->size() != strides.size())
    return node.error() << "has " << starts->size() << " starts, " << ends->size() << " ends, " << axes.size()
                        << " axes and " << strides.size() << " steps";
  Shape offsets(rank, 0), sizes = node.inputs[0].shape, steps(rank, 1);
  Shape seen;
  for (auto [start, end, axis, step] : zip(*starts, *ends, axes, strides)) {
    FailureOr<int64_t> dim = node.dimension(axis, rank);
    if (failed(dim))
      return failure();
    if (is_contained(seen, *dim))
      return node.error() << "axis " << axis << " is named twice";
    seen.push_back(*dim);
    int64_t size = node.inputs[0].shape[*dim];
    if (step == 0 || step == INT64_MIN)
      return node.error() << "has a step of " << step;
    // PyTorch writes "to the end" as a number beyond all dimensions.
    if (int64_t asked = std::max(end, start == INT64_MIN ? 0 : -start); step > 0 && asked > size && asked < INT32_MAX)
      node.importer.shortSlices.push_back({node.loc, asked, size});
    int64_t from = start < -size ? -1 : start < 0 ? start + size : start, to = end < -size ? -1 : end < 0 ? end + size : end;
    from = step > 0 ? std::clamp<int64_t>(start < -size ? 0 : from, 0, size) : std::clamp<int64_t>(start < -size ? 0 : from, 0, size - 1);
    to = step > 0 ? std::clamp<int64_t>(end < -size ? 0 : to, 0, size) : std::clamp<int64_t>(to, -1, size - 1);
    int64_t span = step > 0 ? to - from : from - to;
    int64_t count = span <= 0 ? 0 : (span - 1) / std::abs(step) + 1;
    offsets[*dim] = from;
    sizes[*dim] = count;
    steps[*dim] = count <= 1 ? 1 : step;
  }
  if (is_contained(sizes, 0)) {
    // Lists of nothing occur in shape arithmetic.
    if (node.inputs[0].isKnown())
      return node.result(ImportValue::dense(node.inputs[0].element, sizes, {}));
    return node.error() << "the result is empty";
  }
  return node.result(node.emit.slice(node.inputs[0], offsets, sizes, steps));
}

LogicalResult importPad(NodeContext &node) {
  std::string mode = node.getString("mode", "constant");
  if (failed(node.expectInputs(2, 4)))
    return failure();
  FailureOr<Shape> pads = node.knownInts(1, "pads");
  if (failed(pads))
    return failure();
  int64_t rank = node.inputs[0].rank();
  Shape axes = countFrom(0, rank);
  if (node.has(3)) {
    FailureOr<Shape> ints = node.knownInts(3, "axes");
    if (failed(ints) || failed(node.dimensions(*ints, rank)))
      return failure();
    axes.clear();
    for (int64_t axis : *ints)
      axes.push_back(axis < 0 ? axis + rank : axis);
  }
  if (pads->size() != 2 * axes.size())
    return node.error() << "has " << pads->size() << " pads for " << axes.size() << " dimensions";
  double fill = 0;
  if (node.has(2)) {
    if (!node.inputs[2].isSplat() || node.inputs[2].element != node.inputs[0].element)
      return node.error() << "the fill value depends on data or has another type";
    fill = node.inputs[2].element == ElementKind::F32 ? node.inputs[2].at(0).f : node.inputs[2].at(0).i;
  }
  if (mode != "constant")
    return node.error() << "mode '" << mode << "' is not supported; wanted 'constant'";
  // Negative pads cut, positive ones add.
  Shape offsets(rank, 0), sizes = node.inputs[0].shape, low(rank, 0), padded, ones(rank, 1);
  padded = sizes;
  for (auto [i, axis] : enumerate(axes)) {
    int64_t before = (*pads)[i], after = (*pads)[i + axes.size()], cut = 0;
    if (before < -sizes[axis] || after < -sizes[axis] || before > INT32_MAX || after > INT32_MAX)
      return node.error() << "has pads of " << before << " and " << after << " in dimension " << axis;
    cut = std::max<int64_t>(-before, 0) + std::max<int64_t>(-after, 0);
    if (cut >= sizes[axis])
      return node.error() << "leaves nothing of dimension " << axis;
    offsets[axis] = std::max<int64_t>(-before, 0);
    sizes[axis] -= cut;
    low[axis] = std::max<int64_t>(before, 0);
    padded[axis] = sizes[axis] + low[axis] + std::max<int64_t>(after, 0);
  }
  ImportValue value = node.emit.slice(node.inputs[0], offsets, sizes, ones);
  if (padded == value.shape)
    return node.result(value);
  if (!numElements(padded))
    return node.error() << "has more elements than 63 bits can count";
  return node.result(node.emit.make<nn::PadOp>(node.emit.type(value.element, padded), node.emit.materialize(value), low,
                                               ones, APFloat(fill)));
}

/// Blocks of a feature map move between channels and space.
LogicalResult importDepthToSpace(NodeContext &node) {
  std::optional<int64_t> block = node.getInt("blocksize");
  std::string mode = node.getString("mode", "DCR");
  if (failed(node.expectInputs(1, 1)))
    return failure();
  const Shape &s = node.inputs[0].shape;
  if (s.size() != 4 || !block || *block < 1 || *block > INT16_MAX || s[1] % (*block * *block) != 0)
    return node.error() << "blocksize does not divide the channels of an image";
  int64_t b = *block, c = s[1] / (b * b);
  bool dcr = mode == "DCR";
  ImportValue x = node.emit.reshape(node.inputs[0], dcr ? Shape{s[0], b, b, c, s[2], s[3]} : Shape{s[0], c, b, b, s[2], s[3]});
  x = node.emit.transpose(x, dcr ? Shape{0, 3, 4, 1, 5, 2} : Shape{0, 1, 4, 2, 5, 3});
  return node.result(node.emit.reshape(x, {s[0], c, s[2] * b, s[3] * b}));
}

LogicalResult importSpaceToDepth(NodeContext &node) {
  std::optional<int64_t> block = node.getInt("blocksize");
  if (failed(node.expectInputs(1, 1)))
    return failure();
  const Shape &s = node.inputs[0].shape;
  if (s.size() != 4 || !block || *block < 1 || s[2] % *block || s[3] % *block)
    return node.error() << "blocksize does not divide an image";
  int64_t b = *block;
  ImportValue x = node.emit.reshape(node.inputs[0], {s[0], s[1], s[2] / b, b, s[3] / b, b});
  return node.result(node.emit.reshape(node.emit.transpose(x, {0, 3, 5, 1, 2, 4}), {s[0], s[1] * b * b, s[2] / b, s[3] / b}));
}

} // namespace

static const OpImporter table[] = {
    {"Concat", 13, importConcat},
    {"ConcatFromSequence", 13, importConcatFromSequence},
    {"DepthToSpace", 13, importDepthToSpace},
    {"Expand", 13, importExpand, "known shape"},
    {"Flatten", 13, importFlatten},
    {"Pad", 13, importPad, "mode constant, known pads"},
    {"Reshape", 13, importReshape, "known shape"},
    {"SequenceAt", 13, importSequenceAt, "known position"},
    {"SequenceConstruct", 13, importSequenceConstruct},
    {"Shape", 13, importShape},
    {"Size", 13, importSize},
    {"Slice", 13, importSlice, "known bounds"},
    {"SpaceToDepth", 13, importSpaceToDepth},
    {"Split", 13, importSplit, "known sizes"},
    {"SplitToSequence", 13, importSplitToSequence, "known sizes"},
    {"Squeeze", 13, importSqueeze, "known axes"},
    {"Tile", 13, importTile, "known repeats"},
    {"Transpose", 13, importTranspose},
    {"Unsqueeze", 13, importUnsqueeze, "known axes"},
};

ArrayRef<OpImporter> shapeOps() { return table; }

} // namespace galvatron

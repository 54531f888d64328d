//===- Initializers.cpp - Initializers become constants and parameters ----===//

#include "Importer.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace llvm;
using namespace mlir;

namespace galvatron {

/// Floats that do not train and are no more than this are constants of the program, not tables of the file.
static constexpr int64_t maxConstantFloats = 1024;
/// Masks up to this size are read to see what they say.
static constexpr int64_t maxMaskElements = int64_t(1) << 24;

/// The view of a whole tensor: row-major, or the transpose of the saved one.
static StridedLayoutAttr wholeView(MLIRContext *context, ArrayRef<int64_t> shape, bool transposed) {
  Shape strides(shape.size(), 1);
  if (transposed)
    strides = {1, shape[0]};
  else
    for (size_t d = shape.size(); d-- > 1;)
      strides[d - 1] = strides[d] * shape[d];
  return StridedLayoutAttr::get(context, 0, strides);
}

/// A float table of two values, 0 and something very negative, is what the exporter made of a mask.
std::optional<ImportValue> Importer::importMask(const ImportValue &data) {
  if (data.rank() < 2 || data.isSplat())
    return std::nullopt;
  float low = 0;
  for (Scalar s : *data.data) {
    if (s.f == 0)
      continue;
    if (!(s.f <= -1e4f) || (low != 0 && s.f != low))
      return std::nullopt;
    low = s.f;
  }
  std::vector<Scalar> kept(data.data->size());
  for (auto [k, s] : zip(kept, *data.data))
    k.i = s.f == 0;
  std::optional<ImportValue> condition =
      fitSymbolic(ImportValue::dense(ElementKind::I1, data.shape, std::move(kept)));
  if (!condition)
    return std::nullopt;
  // At the start of the function, with the other masks: many nodes may use it.
  RankedTensorType type = emit.type(ElementKind::F32, data.shape);
  Value keep = emit.materialize(*condition);
  return ImportValue::tensorOf(
      emit.atStart([&] { return emit.make<nn::SelectOp>(keep, emit.number(type, 0), emit.number(type, low)); }));
}

/// The row that a table repeats along its first dimension, if it is one row: with static shapes the exporter writes what is
/// the same for all of the batch once for each of its rows.
static std::optional<ImportValue> repeatedRow(const ImportValue &data) {
  if (data.rank() < 2 || data.shape[0] < 2 || data.isSplat())
    return std::nullopt;
  const std::vector<Scalar> &all = *data.data;
  size_t width = all.size() / data.shape[0];
  if (width * sizeof(float) > static_cast<size_t>(nn::maxConstantBytes))
    return std::nullopt;
  for (size_t i = width; i < all.size(); ++i)
    if (all[i].i != all[i - width].i)
      return std::nullopt;
  Shape row = data.shape;
  row[0] = 1;
  return ImportValue::dense(data.element, row, std::vector<Scalar>(all.begin(), all.begin() + width));
}

ImportValue Importer::importInitializer(StringRef name) {
  if (auto it = initializerValues.find(name); it != initializerValues.end())
    return it->second;
  ImportValue &value = initializerValues[name];
  value = ImportValue::poison();
  const onnx::TensorProto &tensor = *model.initializer(name);
  Location loc = onnxLocation(context, OnnxName::Initializer, name), nodeLoc = emit.loc;
  ParameterInfo *info = parameters.find(name);
  bool isParameter = info && info->trains();
  auto fail = [&](const Twine &text) {
    emitError(loc) << text;
    failedInitializer = true;
    return value;
  };

  if (!isParameter) {
    std::optional<ImportValue> data = model.read(tensor, maxMaskElements);
    bool narrow = info && tensor.data_type() != onnx::TensorProto::FLOAT;
    if (data && data->element == ElementKind::F32) {
      emit.loc = loc;
      std::optional<ImportValue> mask = importMask(*data);
      emit.loc = nodeLoc;
      if (mask)
        return value = *mask;
      std::optional<ImportValue> row = repeatedRow(*data);
      if (data->count() <= maxConstantFloats || data->isSplat() || (row && data->count() <= maxDenseElements))
        return value = *data;
      if (row) {
        emit.loc = loc;
        value = ImportValue::tensorOf(emit.atStart([&] { return emit.broadcast(emit.materialize(*row), data->shape); }));
        emit.loc = nodeLoc;
        return value;
      }
    } else if (data) {
      if (data->count() <= maxDenseElements || data->isSplat())
        return value = *data;
      if (std::optional<ImportValue> fitted = fitSymbolic(*data))
        return value = *fitted;
    }
    if (!data && tensor.data_location() != onnx::TensorProto::EXTERNAL && !elementBits(tensor.data_type()))
      return fail("has element type " + dataTypeName(tensor.data_type()) + ", which is not supported");
    std::optional<int64_t> count = numElements(Shape(tensor.dims().begin(), tensor.dims().end()));
    if (!data && tensor.data_location() != onnx::TensorProto::EXTERNAL && count && *count <= maxMaskElements)
      return fail("holds less data than its type and dimensions need");
    if (narrow)
      return fail("has element type " + dataTypeName(tensor.data_type()) + "; only float32 models are supported");
    if (!info && tensor.data_type() != onnx::TensorProto::INT64)
      return fail("is a large table of " + dataTypeName(tensor.data_type()) + "; wanted INT64");
  } else if (tensor.data_type() != onnx::TensorProto::FLOAT) {
    return fail("has element type " + dataTypeName(tensor.data_type()) + "; only float32 models are supported");
  }

  Shape shape(tensor.dims().begin(), tensor.dims().end());
  if (is_contained(shape, 0))
    return fail("has no elements");
  // A copy of a tied weight is read through the first.
  if (info && info->same) {
    info->used = true;
    ImportValue first = importInitializer(info->same->tensor->name());
    if (first.kind == ImportValue::Poison)
      return value;
    bool turned = info->transposed != info->same->transposed;
    return initializerValues[name] =
               turned ? emit.transpose(first, {1, 0}) : first;
  }

  // Inline data is addressed by name; so that a short one is found now, its size is checked.
  TensorBytes bytes = model.bytesOf(tensor);
  if (bytes.file.empty() && !tensor.has_raw_data() &&
      tensor.float_data_size() + tensor.int64_data_size() != numElements(shape).value_or(0))
    return fail("holds less data than its type and dimensions need");
  nn::SourceAttr source;
  bool transposed = info && info->transposed;
  if (!options.randomWeights)
    source = nn::SourceAttr::get(context, bytes.file, bytes.offset, bytes.length, name, transposed);
  std::string saved = info ? info->saved : name.str();
  Shape savedShape = info ? info->savedShape() : shape;
  SmallVector<Attribute> aliases;
  if (info)
    for (const std::string &alias : info->aliases)
      aliases.push_back(StringAttr::get(context, alias));
  RankedTensorType type = emit.type(info ? ElementKind::F32 : ElementKind::I64, shape);

  OpBuilder builder(context);
  builder.setInsertionPoint(function);
  std::string symbol = saved;
  for (int i = 1; module->lookupSymbol(symbol); ++i)
    symbol = saved + "_" + std::to_string(i);
  builder.create<nn::ParameterOp>(loc, symbol, StringAttr(), info ? info->kind : nn::ParameterKind::Constant, type,
                                  wholeView(context, shape, transposed), saved, savedShape, source,
                                  info ? info->init : nn::InitKind::Zero, ArrayAttr::get(context, aliases));
  if (info)
    info->used = true;
  Value read = emit.builder.create<nn::GetParameterOp>(emit.loc, type, symbol);
  return initializerValues[name] = ImportValue::tensorOf(read);
}

} // namespace galvatron

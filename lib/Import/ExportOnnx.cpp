//===- ExportOnnx.cpp - Trained weights back into the ONNX file -----------===//
//
// The model stays as it is, byte for byte where nothing trained: only the data
// of initializers that are parameters changes. What the exporter folded
// (transposes) or tied is done again with the new values.
//
//===----------------------------------------------------------------------===//

#include "Parameters.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

struct SavedTensor {
  Shape shape;
  StringRef bytes;
};

/// A safetensors file: eight bytes of header length, a JSON header, the data.
class SafetensorsReader {
public:
  LogicalResult open(StringRef path, MLIRContext *context) {
    Location loc = UnknownLoc::get(context);
    auto fail = [&](const Twine &why) { return emitError(loc) << "'" << path << "' " << why; };
    ErrorOr<std::unique_ptr<MemoryBuffer>> opened = MemoryBuffer::getFile(path, false, false);
    if (!opened)
      return emitError(loc) << "cannot read '" << path << "': " << opened.getError().message();
    buffer = std::move(*opened);
    StringRef all = buffer->getBuffer();
    if (all.size() < 8)
      return fail("is no safetensors file: it has " + Twine(all.size()) + " bytes");
    uint64_t length = support::endian::read64le(all.data());
    if (length > all.size() - 8)
      return fail("is no safetensors file, or truncated: its header has " + Twine(length) + " bytes");
    Expected<json::Value> header = json::parse(all.substr(8, length));
    if (!header || !header->getAsObject()) {
      consumeError(header.takeError());
      return fail("is no safetensors file: its header is not a JSON object");
    }
    StringRef data = all.substr(8 + length);
    for (const auto &[name, value] : *header->getAsObject()) {
      if (name == "__metadata__")
        continue;
      const json::Object *entry = value.getAsObject();
      const json::Array *shape = entry ? entry->getArray("shape") : nullptr;
      const json::Array *offsets = entry ? entry->getArray("data_offsets") : nullptr;
      std::optional<StringRef> type = entry ? entry->getString("dtype") : std::nullopt;
      if (!shape || !offsets || offsets->size() != 2 || !type)
        return fail("has a damaged entry for tensor '" + name.str() + "'");
      if (*type != "F32")
        continue;
      SavedTensor tensor;
      for (const json::Value &size : *shape)
        tensor.shape.push_back(size.getAsInteger().value_or(-1));
      std::optional<int64_t> begin = (*offsets)[0].getAsInteger(), end = (*offsets)[1].getAsInteger(),
                             count = numElements(tensor.shape);
      int64_t bytes;
      if (!begin || !end || !count || *begin < 0 || *end < *begin || static_cast<uint64_t>(*end) > data.size() ||
          MulOverflow(*count, int64_t(4), bytes) || bytes != *end - *begin)
        return fail("has a damaged entry for tensor '" + name.str() + "'");
      tensor.bytes = data.slice(*begin, *end);
      tensors[name.str()] = tensor;
    }
    return success();
  }

  StringMap<SavedTensor> tensors;

private:
  std::unique_ptr<MemoryBuffer> buffer;
};

/// Lets the first few of a kind of problem be named and counts the others: a file of another model has hundreds.
class FewOf {
public:
  bool takes() { return ++count <= most; }
  int64_t left() const { return std::max<int64_t>(0, count - most); }

private:
  static constexpr int64_t most = 5;
  int64_t count = 0;
};

std::string transposeFloats(StringRef bytes, int64_t rows, int64_t columns) {
  std::string result(bytes.size(), '\0');
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      memcpy(&result[(c * rows + r) * 4], bytes.data() + (r * columns + c) * 4, 4);
  return result;
}

/// Writes through a file beside, so that a full disk leaves the old one.
LogicalResult writeFile(StringRef path, MLIRContext *context, llvm::function_ref<void(raw_ostream &)> write) {
  std::string temporary = (path + ".partial").str();
  std::error_code code;
  {
    raw_fd_ostream os(temporary, code);
    if (!code) {
      write(os);
      os.flush();
      code = os.error();
      os.clear_error();
    }
  }
  if (!code)
    code = sys::fs::rename(temporary, path);
  if (!code)
    return success();
  sys::fs::remove(temporary);
  return emitError(UnknownLoc::get(context)) << "cannot write '" << path << "': " << code.message();
}

} // namespace

LogicalResult exportOnnx(StringRef path, StringRef weights, StringRef output, const ImportOptions &options,
                         MLIRContext *context) {
  std::unique_ptr<OnnxModel> model = OnnxModel::load(path, context);
  if (!model || failed(model->checkInitializers(/*openWeights=*/true, /*requireWeights=*/false)))
    return failure();
  Parameters parameters(*model, options);
  SafetensorsReader saved;
  if (failed(parameters.analyze()) || failed(saved.open(weights, context)))
    return failure();

  bool ok = true;
  StringMap<std::string> fresh; // initializer -> its new bytes
  llvm::StringSet<> usedNames;
  FewOf missing, misshapen;
  for (auto &[name, info] : parameters.table) {
    if (!info->trains())
      continue;
    Location loc = onnxLocation(context, OnnxName::Initializer, name);
    if (info->tensor->data_type() != onnx::TensorProto::FLOAT) {
      emitError(loc) << "has element type " << dataTypeName(info->tensor->data_type()) << "; only float32 models are supported";
      ok = false;
      continue;
    }
    const ParameterInfo &source = info->same ? *info->same : *info;
    const SavedTensor *tensor = nullptr;
    auto consider = [&](const std::string &candidate) {
      auto it = saved.tensors.find(candidate);
      if (it == saved.tensors.end())
        return;
      usedNames.insert(candidate);
      tensor = tensor ? tensor : &it->second;
    };
    consider(source.saved);
    for (const std::string &alias : source.aliases)
      consider(alias);
    if (!tensor) {
      if (missing.takes())
        emitError(loc) << "parameter '" << source.saved << "' is not in '" << weights << "'";
      ok = false;
      continue;
    }
    Shape wanted = info->savedShape();
    if (tensor->shape != wanted) {
      ok = false;
      if (!misshapen.takes())
        continue;
      InFlightDiagnostic d = emitError(loc) << "parameter '" << source.saved << "' has shape [";
      interleaveComma(tensor->shape, d);
      d << "] in '" << weights << "'; the model has [";
      interleaveComma(wanted, d);
      d << "]";
      continue;
    }
    fresh[name] = info->transposed ? transposeFloats(tensor->bytes, wanted[0], wanted[1]) : tensor->bytes.str();
  }
  Location loc = UnknownLoc::get(context);
  if (missing.left())
    emitError(loc) << "and " << missing.left() << " more parameters are not in '" << weights << "'";
  if (misshapen.left())
    emitError(loc) << "and " << misshapen.left() << " more parameters have other shapes in '" << weights << "'";
  // A checkpoint has the optimizer's state beside the parameters.
  auto isState = [&](StringRef name) {
    return (name.consume_back(".exp_avg") || name.consume_back(".exp_avg_sq") || name.consume_back(".momentum_buffer")) &&
           usedNames.contains(name);
  };
  std::vector<std::string> unknown;
  for (const auto &[name, tensor] : saved.tensors)
    if (!usedNames.contains(name) && !model->initializer(name) && !isState(name))
      unknown.push_back(name.str());
  llvm::sort(unknown);
  FewOf extra;
  for (const std::string &name : unknown)
    if (extra.takes())
      emitWarning(loc) << "'" << name << "' in '" << weights << "' is no parameter of the model";
  if (extra.left())
    emitWarning(loc) << "and " << extra.left() << " more tensors in '" << weights << "' are no parameters of the model";
  if (!ok)
    return failure();

  // What was inline stays inline; what was beside the model is written to one file beside the new one.
  std::string dataName = (sys::path::filename(output) + ".data").str();
  SmallVector<std::pair<const onnx::TensorProto *, StringRef>> external;
  int64_t offset = 0;
  for (onnx::TensorProto &tensor : *model->proto.mutable_graph()->mutable_initializer()) {
    auto it = fresh.find(tensor.name());
    if (tensor.data_location() != onnx::TensorProto::EXTERNAL) {
      if (it != fresh.end()) {
        tensor.clear_float_data();
        tensor.set_raw_data(it->second);
      }
      continue;
    }
    StringRef bytes;
    if (it != fresh.end()) {
      bytes = it->second;
    } else if (std::optional<StringRef> old = model->externalBytes(tensor)) {
      bytes = *old;
    } else {
      emitError(onnxLocation(context, OnnxName::Initializer, tensor.name()))
          << "is no parameter, and its data file '" << model->bytesOf(tensor).file << "' is missing";
      ok = false;
      continue;
    }
    tensor.clear_external_data();
    auto add = [&](StringRef key, const std::string &value) {
      onnx::StringStringEntryProto *entry = tensor.add_external_data();
      entry->set_key(key.str());
      entry->set_value(value);
    };
    add("location", dataName);
    add("offset", std::to_string(offset));
    add("length", std::to_string(bytes.size()));
    external.push_back({&tensor, bytes});
    offset += bytes.size();
  }
  if (!ok)
    return failure();
  if (!external.empty() &&
      failed(writeFile((output + ".data").str(), context, [&](raw_ostream &os) {
        for (const auto &[tensor, bytes] : external)
          os << bytes;
      })))
    return failure();
  std::string serialized;
  if (!model->proto.SerializeToString(&serialized))
    // untested: it takes a model of more than 2 GiB
    return emitError(UnknownLoc::get(context)) << "the model is too large for one protobuf; keep its weights in a file beside it";
  return writeFile(output, context, [&](raw_ostream &os) { os << serialized; });
}

} // namespace galvatron

//===- OnnxModel.cpp - An ONNX file and the weights beside it -------------===//
//
// Nothing that a file says is believed: sizes are multiplied with overflow
// checks, data ranges must lie in their files, and paths must stay beside the
// model.
//
//===----------------------------------------------------------------------===//

#include "OnnxModel.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>

using namespace llvm;
using namespace mlir;

namespace galvatron {

// Element types --------------------------------------------------------------

std::optional<ElementKind> elementKind(int32_t dataType) {
  switch (dataType) {
  case onnx::TensorProto::FLOAT:
    return ElementKind::F32;
  case onnx::TensorProto::BOOL:
    return ElementKind::I1;
  case onnx::TensorProto::INT64:
  case onnx::TensorProto::INT32:
  case onnx::TensorProto::INT16:
  case onnx::TensorProto::INT8:
  case onnx::TensorProto::UINT8:
  case onnx::TensorProto::UINT16:
  case onnx::TensorProto::UINT32:
    return ElementKind::I64;
  default:
    return std::nullopt;
  }
}

int64_t elementBits(int32_t dataType) {
  switch (dataType) {
  case onnx::TensorProto::BOOL:
  case onnx::TensorProto::INT8:
  case onnx::TensorProto::UINT8:
    return 8;
  case onnx::TensorProto::FLOAT16:
  case onnx::TensorProto::BFLOAT16:
  case onnx::TensorProto::INT16:
  case onnx::TensorProto::UINT16:
    return 16;
  case onnx::TensorProto::FLOAT:
  case onnx::TensorProto::INT32:
  case onnx::TensorProto::UINT32:
    return 32;
  case onnx::TensorProto::DOUBLE:
  case onnx::TensorProto::INT64:
  case onnx::TensorProto::UINT64:
    return 64;
  default:
    return 0;
  }
}

std::string dataTypeName(int32_t dataType) {
  if (onnx::TensorProto::DataType_IsValid(dataType))
    return onnx::TensorProto::DataType_Name(static_cast<onnx::TensorProto::DataType>(dataType));
  return "data type " + std::to_string(dataType);
}

// Parsing --------------------------------------------------------------------

/// Why bytes that protobuf refused are no model: looks at the outermost fields only.
static std::string diagnoseBytes(StringRef bytes) {
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
  while (true) {
    int position = in.CurrentPosition();
    uint32_t tag = in.ReadTag();
    if (tag == 0)
      break;
    uint32_t wire = tag & 7, field = tag >> 3;
    auto notProtobuf = [&] { return "is not an ONNX file: byte " + std::to_string(position) + " starts no protobuf field"; };
    auto truncated = [&] { return "is truncated: field " + std::to_string(field) + " at byte " + std::to_string(position) + " is longer than the file"; };
    if (field == 0 || field > 1000 || wire == 3 || wire == 4 || wire > 5)
      return notProtobuf();
    uint64_t number;
    uint32_t length;
    if (wire == 0) {
      if (!in.ReadVarint64(&number))
        return truncated();
    } else if (wire == 1 || wire == 5) {
      if (!in.Skip(wire == 1 ? 8 : 4))
        return truncated();
    } else if (!in.ReadVarint32(&length) || length > INT32_MAX || !in.Skip(length)) {
      return truncated();
    }
  }
  if (static_cast<size_t>(in.CurrentPosition()) < bytes.size())
    return "is not an ONNX file: byte " + std::to_string(in.CurrentPosition()) + " starts no protobuf field";
  return "is damaged: its contents are no ONNX model";
}

std::unique_ptr<OnnxModel> OnnxModel::load(StringRef path, MLIRContext *context) {
  Location loc = UnknownLoc::get(context);
  uint64_t size;
  if (std::error_code code = sys::fs::file_size(path, size)) {
    emitError(loc) << "cannot open '" << path << "': " << code.message();
    return nullptr;
  }
  if (size > INT32_MAX) {
    emitError(loc) << "'" << path << "' has " << size << " bytes; protobuf allows " << INT32_MAX
                   << ", larger models keep their weights in a file beside";
    return nullptr;
  }
  ErrorOr<std::unique_ptr<MemoryBuffer>> buffer = MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer) {
    emitError(loc) << "cannot read '" << path << "': " << buffer.getError().message();
    return nullptr;
  }
  return parse((*buffer)->getBuffer(), path, context);
}

std::unique_ptr<OnnxModel> OnnxModel::parse(StringRef bytes, StringRef path, MLIRContext *context) {
  Location loc = UnknownLoc::get(context);
  if (bytes.empty()) {
    emitError(loc) << "'" << path << "' is empty";
    return nullptr;
  }
  google::protobuf::SetLogHandler(nullptr);
  auto model = std::make_unique<OnnxModel>();
  model->path = path.str();
  model->context = context;
  if (!model->proto.ParseFromArray(bytes.data(), bytes.size())) {
    emitError(loc) << "'" << path << "' " << diagnoseBytes(bytes);
    return nullptr;
  }
  if (!model->proto.has_graph()) {
    emitError(loc) << "'" << path << "' holds no graph: it is not an ONNX model";
    return nullptr;
  }
  return model;
}

int64_t OnnxModel::opset(StringRef domain) const {
  auto canonical = [](StringRef d) { return d == "ai.onnx" ? StringRef() : d; };
  for (const onnx::OperatorSetIdProto &set : proto.opset_import())
    if (canonical(set.domain()) == canonical(domain))
      return set.version();
  return 0;
}

// Initializers ---------------------------------------------------------------

TensorBytes OnnxModel::bytesOf(const onnx::TensorProto &tensor) const {
  TensorBytes bytes;
  if (tensor.data_location() != onnx::TensorProto::EXTERNAL)
    return bytes;
  for (const onnx::StringStringEntryProto &entry : tensor.external_data()) {
    if (entry.key() == "location")
      bytes.file = entry.value();
    else if (entry.key() == "offset")
      StringRef(entry.value()).getAsInteger(10, bytes.offset);
    else if (entry.key() == "length")
      StringRef(entry.value()).getAsInteger(10, bytes.length);
  }
  if (bytes.length == 0) { // the length may be left out
    Shape dims(tensor.dims().begin(), tensor.dims().end());
    bytes.length = numElements(dims).value_or(0) * elementBits(tensor.data_type()) / 8;
  }
  return bytes;
}

LogicalResult OnnxModel::checkExternal(const onnx::TensorProto &tensor, Location loc, int64_t size,
                                       bool openWeights, bool requireWeights) {
  StringRef file;
  int64_t offset = 0, length = size;
  for (const onnx::StringStringEntryProto &entry : tensor.external_data()) {
    if (entry.key() == "location")
      file = entry.value();
    int64_t *number = entry.key() == "offset" ? &offset : entry.key() == "length" ? &length : nullptr;
    if (number && (StringRef(entry.value()).getAsInteger(10, *number) || *number < 0))
      return emitError(loc) << "external data has " << entry.key() << " '" << entry.value()
                            << "'; wanted a number that is not negative";
  }
  if (file.empty())
    return emitError(loc) << "external data names no file";
  if (sys::path::is_absolute(file))
    return emitError(loc) << "external data file '" << file << "' is an absolute path; it must lie beside the model";
  for (auto part = sys::path::begin(file), end = sys::path::end(file); part != end; ++part)
    if (*part == "..")
      return emitError(loc) << "external data file '" << file << "' leaves the model's folder";
  if (length != size)
    return emitError(loc) << "external data has " << length << " bytes; the tensor has " << size;
  int64_t end;
  if (AddOverflow(offset, length, end))
    return emitError(loc) << "external data ends beyond any file (offset " << offset << ", length " << length << ")";
  ranges[file].push_back({{offset, end}, tensor.name()});
  if (!openWeights)
    return success();

  SmallString<256> folder(sys::path::parent_path(path)), full(folder);
  sys::path::append(full, file);
  uint64_t fileSize;
  if (sys::fs::file_size(full, fileSize)) {
    if (!is_contained(missing, file.str())) {
      missing.push_back(file.str());
      if (requireWeights)
        return emitError(loc) << "external data file '" << full
                              << "' is missing; a program needs its weights (or --random-weights=SEED)";
    }
    return success();
  }
  SmallString<256> real, realFolder;
  if (!sys::fs::real_path(full, real) && !sys::fs::real_path(folder.empty() ? StringRef(".") : folder.str(), realFolder) &&
      !StringRef(real).starts_with(Twine(realFolder.str()).concat("/").str()) && realFolder != "/")
    return emitError(loc) << "external data file '" << file << "' is a link that leaves the model's folder";
  if (static_cast<uint64_t>(end) > fileSize)
    return emitError(loc) << "external data ends at byte " << end << " of '" << file << "', which has " << fileSize;
  return success();
}

LogicalResult OnnxModel::checkInitializers(bool openWeights, bool requireWeights) {
  bool ok = true;
  weightsReadable = openWeights;
  if (graph().sparse_initializer_size()) {
    emitError(UnknownLoc::get(context)) << "sparse initializers are not supported (the file has "
                                        << graph().sparse_initializer_size() << ")";
    ok = false;
  }
  for (const onnx::TensorProto &tensor : graph().initializer()) {
    Location loc = onnxLocation(context, OnnxName::Initializer, tensor.name());
    if (tensor.name().empty()) {
      emitError(loc) << "initializer without a name";
      ok = false;
      continue;
    }
    if (!initializers.try_emplace(tensor.name(), &tensor).second) {
      emitError(loc) << "is defined more than once";
      ok = false;
      continue;
    }
    Shape dims(tensor.dims().begin(), tensor.dims().end());
    std::optional<int64_t> count = numElements(dims);
    int64_t bits = elementBits(tensor.data_type()), bytes = 0;
    if (!count || (bits && MulOverflow(*count, bits / 8, bytes))) {
      InFlightDiagnostic d = emitError(loc) << "has impossible dimensions [";
      interleaveComma(dims, d);
      d << "]";
      ok = false;
      continue;
    }
    if (tensor.has_segment()) {
      emitError(loc) << "is stored in segments, which is not supported";
      ok = false;
      continue;
    }
    if (tensor.data_location() == onnx::TensorProto::EXTERNAL) {
      if (!bits) {
        emitError(loc) << "has element type " << dataTypeName(tensor.data_type()) << ", which external data cannot have";
        ok = false;
      } else {
        ok &= succeeded(checkExternal(tensor, loc, bytes, openWeights, requireWeights));
      }
      continue;
    }
    if (tensor.has_raw_data() && bits && static_cast<int64_t>(tensor.raw_data().size()) != bytes) {
      emitError(loc) << "holds " << tensor.raw_data().size() << " bytes; its type and dimensions need " << bytes;
      ok = false;
    }
  }
  // Two tensors may be the same bytes, or apart; anything else is a damaged file.
  for (auto &[file, list] : ranges) {
    llvm::sort(list);
    for (size_t i = 1; i < list.size(); ++i)
      if (list[i].first.first < list[i - 1].first.second && list[i].first != list[i - 1].first &&
          list[i].first.first != list[i].first.second) {
        emitError(onnxLocation(context, OnnxName::Initializer, list[i].second))
            << "overlaps initializer '" << list[i - 1].second << "' in '" << file << "': bytes "
            << list[i].first.first << " to " << list[i].first.second << " and " << list[i - 1].first.first << " to "
            << list[i - 1].first.second;
        ok = false;
      }
  }
  return success(ok);
}

std::optional<StringRef> OnnxModel::externalBytes(const onnx::TensorProto &tensor) const {
  if (!weightsReadable)
    return std::nullopt;
  TensorBytes bytes = bytesOf(tensor);
  std::unique_ptr<MemoryBuffer> &buffer = files[bytes.file];
  if (!buffer) {
    if (is_contained(missing, bytes.file))
      return std::nullopt;
    SmallString<256> full(sys::path::parent_path(path));
    sys::path::append(full, bytes.file);
    ErrorOr<std::unique_ptr<MemoryBuffer>> opened =
        MemoryBuffer::getFile(full, /*IsText=*/false, /*RequiresNullTerminator=*/false);
    if (!opened)
      return std::nullopt;
    buffer = std::move(*opened);
  }
  if (bytes.offset < 0 || bytes.length < 0 || static_cast<uint64_t>(bytes.offset) > buffer->getBufferSize() ||
      static_cast<uint64_t>(bytes.length) > buffer->getBufferSize() - bytes.offset)
    return std::nullopt;
  return buffer->getBuffer().substr(bytes.offset, bytes.length);
}

/// One element of raw little-endian data.
static Scalar rawElement(const char *at, int32_t dataType) {
  using namespace support::endian;
  Scalar s;
  s.i = 0;
  switch (dataType) {
  case onnx::TensorProto::FLOAT:
    s.f = llvm::bit_cast<float>(read32le(at));
    break;
  case onnx::TensorProto::DOUBLE:
    s.f = static_cast<float>(llvm::bit_cast<double>(read64le(at)));
    break;
  case onnx::TensorProto::FLOAT16:
  case onnx::TensorProto::BFLOAT16: {
    APFloat half(dataType == onnx::TensorProto::FLOAT16 ? APFloat::IEEEhalf() : APFloat::BFloat(),
                 APInt(16, read16le(at)));
    s.f = half.convertToFloat();
    break;
  }
  case onnx::TensorProto::INT64:
  case onnx::TensorProto::UINT64:
    s.i = static_cast<int64_t>(read64le(at));
    break;
  case onnx::TensorProto::INT32:
    s.i = static_cast<int32_t>(read32le(at));
    break;
  case onnx::TensorProto::UINT32:
    s.i = read32le(at);
    break;
  case onnx::TensorProto::INT16:
    s.i = static_cast<int16_t>(read16le(at));
    break;
  case onnx::TensorProto::UINT16:
    s.i = read16le(at);
    break;
  case onnx::TensorProto::INT8:
    s.i = static_cast<int8_t>(*at);
    break;
  case onnx::TensorProto::BOOL:
    s.i = *at != 0;
    break;
  default:
    s.i = static_cast<uint8_t>(*at);
    break;
  }
  return s;
}

std::optional<ImportValue> OnnxModel::read(const onnx::TensorProto &tensor, int64_t limit) const {
  Shape dims(tensor.dims().begin(), tensor.dims().end());
  std::optional<int64_t> count = numElements(dims);
  int32_t type = tensor.data_type();
  int64_t bits = elementBits(type);
  if (!count || *count > limit || !bits)
    return std::nullopt;
  std::optional<ElementKind> kind = elementKind(type);
  if (type == onnx::TensorProto::DOUBLE || type == onnx::TensorProto::FLOAT16 || type == onnx::TensorProto::BFLOAT16)
    kind = ElementKind::F32;
  if (type == onnx::TensorProto::UINT64)
    kind = ElementKind::I64;
  if (!kind)
    return std::nullopt;
  std::vector<Scalar> data;
  data.reserve(*count);
  StringRef raw;
  bool isRaw = tensor.has_raw_data();
  if (tensor.data_location() == onnx::TensorProto::EXTERNAL) {
    std::optional<StringRef> bytes = externalBytes(tensor);
    if (!bytes)
      return std::nullopt;
    raw = *bytes;
    isRaw = true;
  } else if (isRaw) {
    raw = tensor.raw_data();
  }
  if (isRaw) {
    if (static_cast<int64_t>(raw.size()) != *count * (bits / 8))
      return std::nullopt;
    for (int64_t i = 0; i < *count; ++i)
      data.push_back(rawElement(raw.data() + i * (bits / 8), type));
  } else {
    auto take = [&](const auto &field, auto convert) {
      if (field.size() != *count)
        return false;
      for (auto element : field)
        data.push_back(convert(element));
      return true;
    };
    auto asFloat = [](auto x) { Scalar s; s.i = 0; s.f = static_cast<float>(x); return s; };
    auto asInt = [](auto x) { Scalar s; s.i = static_cast<int64_t>(x); return s; };
    bool complete;
    switch (type) {
    case onnx::TensorProto::FLOAT:
      complete = take(tensor.float_data(), asFloat);
      break;
    case onnx::TensorProto::DOUBLE:
      complete = take(tensor.double_data(), asFloat);
      break;
    case onnx::TensorProto::INT64:
      complete = take(tensor.int64_data(), asInt);
      break;
    case onnx::TensorProto::UINT32:
    case onnx::TensorProto::UINT64:
      complete = take(tensor.uint64_data(), asInt);
      break;
    case onnx::TensorProto::FLOAT16:
    case onnx::TensorProto::BFLOAT16:
      complete = take(tensor.int32_data(), [&](int32_t bits) {
        char bytes[2] = {static_cast<char>(bits), static_cast<char>(bits >> 8)};
        return rawElement(bytes, type);
      });
      break;
    default:
      complete = take(tensor.int32_data(), asInt);
      break;
    }
    if (!complete)
      return std::nullopt;
  }
  // One repeated value is kept as one.
  bool same = !data.empty() && all_of(data, [&](Scalar s) { return s.i == data[0].i; });
  if (same)
    data.resize(1);
  return ImportValue::dense(*kind, dims, std::move(data));
}

} // namespace galvatron

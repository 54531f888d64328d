//===- Weights.cpp - The first values of a program's parameters -----------===//

#include "galvatron/Target/Weights.h"

#include "dialects/NN/NN.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace galvatron;

namespace {

/// A saved tensor and one of the parameters that are views of it.
struct Saved {
  nn::ParameterOp symbol;
  int64_t bytes;
};

} // namespace

static int64_t elementBytes(Type type) { return type.isInteger(1) ? 1 : type.getIntOrFloatBitWidth() / 8; }

static StringRef dtypeName(Type type) { return type.isF32() ? "F32" : type.isInteger(64) ? "I64" : "BOOL"; }

/// All saved tensors, once each, in the order of the program.
static FailureOr<SmallVector<Saved>> collect(ModuleOp module) {
  llvm::MapVector<StringRef, Saved> all;
  llvm::StringSet<> kept; // by some stage
  for (auto program : module.getOps<rt::ProgramOp>())
    for (auto op : program.getBody().front().getOps<rt::ParameterOp>())
      kept.insert(op.getParameter());
  bool ok = true;
  for (auto symbol : module.getOps<nn::ParameterOp>()) {
    if (!kept.contains(symbol.getSymName()))
      continue;
    if (symbol.getKind() == nn::ParameterKind::State || all.contains(symbol.getSaved()))
      continue;
    if (!symbol.getSource()) {
      symbol.emitOpError("has no source; --random-weights makes values");
      ok = false;
      continue;
    }
    int64_t bytes = elementBytes(cast<RankedTensorType>(symbol.getType()).getElementType());
    for (int64_t size : symbol.getSavedShape())
      bytes *= size;
    all.insert({symbol.getSaved(), {symbol, bytes}});
  }
  if (!ok)
    return failure();
  SmallVector<Saved> saved;
  for (auto &entry : all)
    saved.push_back(entry.second);
  return saved;
}

/// The length and the JSON that a safetensors file begins with.
static std::string makeHeader(MutableArrayRef<Saved> saved) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  llvm::json::OStream json(stream);
  int64_t offset = 0;
  json.object([&] {
    for (Saved &tensor : saved)
      json.attributeObject(tensor.symbol.getSaved(), [&] {
        json.attribute("dtype", dtypeName(cast<RankedTensorType>(tensor.symbol.getType()).getElementType()));
        json.attributeArray("shape", [&] {
          for (int64_t size : tensor.symbol.getSavedShape())
            json.value(size);
        });
        json.attributeArray("data_offsets", [&] {
          json.value(offset);
          json.value(offset += tensor.bytes);
        });
      });
  });
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string length;
  for (uint64_t rest = text.size(), i = 0; i < 8; ++i, rest >>= 8)
    length.push_back(static_cast<char>(rest & 0xff));
  return length + text;
}

/// Writes the transpose of `bytes`, a matrix of `rows` times `columns` elements.
static void writeTransposed(llvm::raw_ostream &stream, StringRef bytes, int64_t rows, int64_t columns, int64_t element) {
  std::string row(rows * element, '\0');
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t i = 0; i < rows; ++i)
      std::copy_n(bytes.data() + (i * columns + j) * element, element, row.data() + i * element);
    stream << row;
  }
}

static LogicalResult writeTensor(Saved &tensor, const WeightSources &sources, llvm::raw_ostream &stream) {
  nn::ParameterOp symbol = tensor.symbol;
  nn::SourceAttr source = *symbol.getSource();
  std::string inside;
  std::unique_ptr<llvm::MemoryBuffer> file;
  StringRef bytes;
  if (source.getFile().empty()) {
    std::optional<std::string> read = sources.readInitializer(symbol.getLoc(), source.getInitializer());
    if (!read)
      return failure();
    inside = std::move(*read);
    bytes = inside;
  } else {
    SmallString<256> path(sources.directory);
    llvm::sys::path::append(path, source.getFile());
    auto unreadable = [&](std::error_code error) {
      return symbol.emitOpError("cannot read '") << path << "': " << error.message();
    };
    uint64_t size;
    if (std::error_code error = llvm::sys::fs::file_size(path, size))
      return unreadable(error);
    // What is behind the end of a file would be read as zeros.
    uint64_t begin = source.getOffset(), end = begin + source.getLength();
    if (begin > end || end > size)
      return symbol.emitOpError("reads ") << source.getLength() << " bytes at " << source.getOffset() << " of '" << path
                                          << "', which has " << size;
    auto opened = llvm::MemoryBuffer::getFileSlice(path, source.getLength(), source.getOffset());
    if (!opened)
      return unreadable(opened.getError());
    file = std::move(*opened);
    bytes = file->getBuffer();
  }
  if (static_cast<int64_t>(bytes.size()) != tensor.bytes)
    return symbol.emitOpError("reads ") << bytes.size() << " bytes, but its saved tensor has " << tensor.bytes;
  ArrayRef<int64_t> shape = symbol.getSavedShape();
  if (source.getTransposed() && shape.size() == 2)
    writeTransposed(stream, bytes, shape[1], shape[0],
                    elementBytes(cast<RankedTensorType>(symbol.getType()).getElementType()));
  else
    stream << bytes;
  return success();
}

LogicalResult galvatron::writeWeights(ModuleOp module, const WeightSources &sources, StringRef path, StringRef name) {
  FailureOr<SmallVector<Saved>> saved = collect(module);
  if (failed(saved))
    return failure();
  std::error_code error;
  llvm::raw_fd_ostream stream(path, error, llvm::sys::fs::OF_None);
  if (error)
    return emitError(module.getLoc()) << "cannot write '" << name << "': " << error.message();
  stream << makeHeader(*saved);
  bool ok = true;
  for (Saved &tensor : *saved)
    ok = ok && succeeded(writeTensor(tensor, sources, stream));
  stream.close();
  if (stream.has_error()) {
    emitError(module.getLoc()) << "cannot write '" << name << "': " << stream.error().message();
    stream.clear_error();
    ok = false;
  }
  if (!ok)
    llvm::sys::fs::remove(path);
  return success(ok);
}

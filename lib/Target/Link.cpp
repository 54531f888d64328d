//===- Link.cpp - From an object file to an executable --------------------===//

#include "galvatron/Target/Link.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"

using namespace mlir;
using namespace galvatron;

LogicalResult galvatron::linkProgram(StringRef object, StringRef program, Location loc) {
  auto flags = llvm::MemoryBuffer::getFile(GALVATRON_LINK_FLAGS);
  if (!flags)
    return emitError(loc) << "cannot read '" << GALVATRON_LINK_FLAGS << "': " << flags.getError().message();
  SmallVector<StringRef> arguments = {GALVATRON_LINKER, object, "-o", program, "-fuse-ld=" GALVATRON_LD};
  SmallVector<StringRef> lines;
  (*flags)->getBuffer().split(lines, '\n', -1, false);
  llvm::append_range(arguments, lines);

  SmallString<128> log;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("galvatron-link", "log", log))
    return emitError(loc) << "cannot make a temporary file: " << error.message();
  std::optional<StringRef> redirects[] = {std::nullopt, StringRef(log), StringRef(log)};
  std::string message;
  int status = llvm::sys::ExecuteAndWait(GALVATRON_LINKER, arguments, std::nullopt, redirects, 0, 0, &message);
  auto output = llvm::MemoryBuffer::getFile(log);
  llvm::sys::fs::remove(log);
  if (status == 0)
    return success();
  if (message.empty() && output)
    message = (*output)->getBuffer().rtrim().str();
  return emitError(loc) << "linking '" << program << "' with " << GALVATRON_LINKER << " failed: " << message;
}

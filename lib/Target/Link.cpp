//===- Link.cpp - From an object file to an executable --------------------===//

#include "galvatron/Target/Link.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"

using namespace mlir;
using namespace galvatron;

/// A file of the runtime: in lib/galvatron beside the bin that this executable is in, wherever that is.
static SmallString<128> findRuntimeFile(StringRef name) {
  SmallString<128> path(llvm::sys::path::parent_path(llvm::sys::path::parent_path(
      llvm::sys::fs::getMainExecutable(nullptr, reinterpret_cast<void *>(&findRuntimeFile)))));
  llvm::sys::path::append(path, "lib", "galvatron", name);
  return path;
}

/// Of what a linker printed, the line that says why; after a crash there are many others.
static StringRef findReason(StringRef output) {
  SmallVector<StringRef> lines;
  output.split(lines, '\n', -1, /*KeepEmpty=*/false);
  for (StringRef line : lines)
    if (line.contains("error:"))
      return line.trim();
  return lines.empty() ? "it said nothing" : lines.front().trim();
}

LogicalResult galvatron::linkProgram(StringRef object, StringRef program, StringRef name, Location loc) {
  SmallString<128> library = findRuntimeFile("libgalvatron_rt.a"), flagsFile = findRuntimeFile("link_flags.txt");
  auto flags = llvm::MemoryBuffer::getFile(flagsFile);
  if (!flags)
    return emitError(loc) << "cannot read '" << flagsFile << "', which belongs to the runtime: " << flags.getError().message();
  SmallVector<StringRef> arguments = {GALVATRON_LINKER, object, library, "-o", program, "-fuse-ld=" GALVATRON_LD};
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
    message = findReason((*output)->getBuffer()).str();
  return emitError(loc) << "linking '" << name << "' with " << GALVATRON_LINKER << " failed: " << message;
}

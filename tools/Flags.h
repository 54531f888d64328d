//===- Flags.h - What a tool says of flags that it has not ------*- C++ -*-===//

#ifndef GALVATRON_TOOLS_FLAGS_H
#define GALVATRON_TOOLS_FLAGS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"

namespace galvatron {

/// Lets --version say what the tool is. Call before LLVM parses the command line.
inline void printVersionOf(llvm::StringRef tool) {
  llvm::cl::SetVersionPrinter([tool](llvm::raw_ostream &os) {
    os << tool << " " << GALVATRON_VERSION << " (LLVM " << LLVM_VERSION_STRING << ")\n";
  });
}

/// The flag of the tool that `name` is most like, or nothing where none is alike.
inline llvm::StringRef findNearestFlag(llvm::StringRef name) {
  llvm::StringRef nearest;
  unsigned distance = name.size() / 2;
  for (const auto &entry : llvm::cl::getRegisteredOptions())
    if (entry.getValue()->getOptionHiddenFlag() == llvm::cl::NotHidden)
      if (unsigned d = name.edit_distance(entry.getKey(), /*AllowReplacements=*/true, distance);
          d < distance || (d == distance && !nearest.empty() && entry.getKey() < nearest)) {
        distance = d;
        nearest = entry.getKey();
      }
  return nearest;
}

/// Ends the tool at a flag that it does not have and says which is nearest. Call before LLVM parses the
/// command line: it would take --optimiser for a -o that is misspelt.
inline void refuseUnknownFlags(llvm::StringRef tool, int argc, char **argv) {
  const llvm::StringMap<llvm::cl::Option *> &known = llvm::cl::getRegisteredOptions();
  for (int i = 1; i < argc; ++i) {
    llvm::StringRef argument(argv[i]);
    if (argument == "--")
      return;
    llvm::StringRef name = argument.drop_while([](char c) { return c == '-'; });
    if (argument == name || name.empty())
      continue;
    name = name.take_until([](char c) { return c == '='; });
    if (name == "h") // LLVM adds it when it parses
      continue;
    if (llvm::cl::Option *option = known.lookup(name)) {
      // The value may be the next argument.
      i += !argument.contains('=') && option->getValueExpectedFlag() == llvm::cl::ValueRequired;
      continue;
    }
    llvm::errs() << tool << ": error: unknown flag '" << argument.take_until([](char c) { return c == '='; }) << "'";
    if (llvm::StringRef nearest = findNearestFlag(name); !nearest.empty())
      llvm::errs() << "; did you mean " << (nearest.size() == 1 ? "-" : "--") << nearest << "?";
    llvm::errs() << " (--help lists all)\n";
    std::exit(1);
  }
}

} // namespace galvatron

#endif // GALVATRON_TOOLS_FLAGS_H

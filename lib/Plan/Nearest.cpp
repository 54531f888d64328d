//===- Nearest.cpp --------------------------------------------------------===//

#include "galvatron/Plan/Nearest.h"

#include "llvm/ADT/STLExtras.h"

using namespace llvm;

std::string galvatron::suggestNearest(StringRef name, ArrayRef<StringRef> known) {
  // Comparing takes the product of the lengths, and a file may say anything.
  if (name.size() > 256)
    return "";
  StringRef nearest;
  unsigned distance = name.size() / 2 + 1;
  std::string lower = name.lower();
  for (StringRef candidate : known)
    if (unsigned d = StringRef(lower).edit_distance(candidate.lower(), /*AllowReplacements=*/true, distance); d < distance) {
      distance = d;
      nearest = candidate;
    }
  return nearest.empty() ? std::string() : "; did you mean \"" + nearest.str() + "\"?";
}

std::string galvatron::listQuoted(ArrayRef<StringRef> names, StringRef last) {
  std::string text;
  for (auto [i, name] : enumerate(names))
    text += (i == 0 ? "" : i + 1 == names.size() ? last.str() : ", ") + "\"" + name.str() + "\"";
  return text;
}
